"""Measurements on the real broker: how fast, how soon, how large, and what a fault costs.

Nothing here decides what passes: every command prints what it saw, with the machine it saw it on.

* ``commands``: the command line; ``report``: how figures are printed.
* ``place``: a corner of a broker of its own, made and cleared away, with a worker on it; ``crew``:
  several of them; ``watching``: who reads what they write.
* ``throughput``: ``simple_job`` through ``engines`` in turns, and the full worker beside them.
* ``latency``, ``recovery``, ``memory``, ``timers``: a single worker; ``made_rows`` writes its
  changelog.
* ``takeover``: a worker is killed; ``storm``: workers come and go all the time.
* ``serving``: ``lookups`` over HTTP and from Redis while the engine works, in a ``live_shop``.
* ``redis_away``: Redis is killed and comes back, under a ``live_feed``; ``projected`` compares what
  it holds with the topics.
* ``commits``: our way of committing a group beside Kafka transactions.
* ``rule_load``: the core under few and many rules; ``policy_effect``: what policy does to a log,
  and its ``policy_picture``. Neither needs a broker.
"""

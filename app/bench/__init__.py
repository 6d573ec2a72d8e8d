"""Measurements on the real broker: throughput beside peers, latency, recovery, memory, timers.

Nothing here decides what passes: every command prints what it saw, with the machine it saw it on.

* ``commands``: the command line; ``report``: how figures are printed.
* ``place``: a corner of a broker of its own, made and cleared away; ``worker_process``: a real
  worker on it, measured from outside.
* ``throughput``: ``simple_job`` through ``engines`` in turns, and the full worker beside them.
* ``latency``, ``recovery``, ``memory``, ``timers``: the other four; ``filling`` writes changelogs.
"""

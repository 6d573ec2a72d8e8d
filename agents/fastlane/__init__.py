"""The fast lane: Faust for many records at a time, without losing one.

Faust's own path handles one record per step, acknowledges what an agent failed on, and commits
offsets before a table's changelog is safe. This package replaces exactly that, over four of
Faust's own extension points: the settings ``ConsumerScheduler``, ``Table`` and ``TableManager``,
and ``App._new_transport``. Agents, topics, tables, the worker, web and commands stay Faust's.

One agent reads every member topic and does nothing but hand chunks of raw records to *lanes*: a
lane is one partition number across all those topics (``agents/lane.py``). What a lane needs of the
world (``agents/ports.py``) is provided here.

* ``app``: the Faust app and its one agent; ``worker``, ``quiet``: the process around it.
* ``micro_batches``: one Faust event is a chunk of one topic-partition.
* ``consumer``, ``offsets``: where reading starts, what is held back, what is committed.
* ``table``, ``recovery``, ``lanes``: rows per lane, and who recovers when.
* ``connections``: all that is connected, namely ``producer`` under ``changelog`` and ``outputs``
  (whole record batches), and ``ends`` under ``source`` (what is asked about the member topics).
* ``topic_ids``: which topic a name means; ``failstop``: how all ends that must not go on.
"""

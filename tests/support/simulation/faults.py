"""What can go wrong in a simulated run, as plain values that can be left out and replayed.

Times are milliseconds since the run began. A fault that names a *point* strikes its process the
next time it passes one: a place where a request leaves, or where its answer has come.
"""

from typing import NamedTuple

WRITES = ("append", "append answered", "send", "send answered")
REQUESTS = ("append", "send", "ends", "commit", "read", "end", "starts", "topics")
ANYWHERE = (
    *(f"{name}{answered}" for name in REQUESTS for answered in ("", " answered")),
    *("fetch", "fetch answered", "feed", "join", "sync", "sync answered", "heartbeat"),
)


class Fault(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    at: int
    target: int = 0
    """The worker's slot, the number of a topic, or a lane."""
    lasts: int = 0
    """Milliseconds: until it is over, or until the worker is started again."""
    point: str = ""
    skip: int = 0
    """Strike not the next passage of the point, but one so many later."""

    def __str__(self) -> str:
        """Return the fault in one line."""
        rest = [f"target {self.target}"]
        if self.lasts:
            rest.append(f"for {self.lasts} ms")
        if self.kind in STRIKES:
            rest.append(f"at {self.point or 'any point'}" + (f" +{self.skip}" * (self.skip > 0)))
        return f"{self.at:7} ms  {self.kind:14} {', '.join(rest)}"


STRIKES = ("crash", "stray", "freeze", "lose request", "lose answer", "fail", "forget offset")
"""Faults that wait for a point."""

ZOMBIES = ("freeze", "stray", "cut off", "delay", "broker away")
"""Faults after which a worker may write though its lane belongs to another one."""

KINDS = (
    *STRIKES,
    "delay",  # every request of a process takes long
    "join",  # another worker comes: a rebalance
    "leave",  # a worker stops in good order, and comes back
    "lag",  # nothing of one topic is handed to anybody
    "rewind",  # what has been handed over is handed over again
    "compact",  # a changelog partition is compacted as far as its lag allows
    "broker away",  # nobody reaches the broker
    "cut off",  # one process does not
    "clock",  # the clock of a worker's machine is set
    "redis away",  # the serving store takes nothing
    "rules",  # everybody is stopped and started again with other rules
    "topic anew",  # a member topic is deleted and made again
)

"""What the demo comes to, as data and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.demo.nightly import LOOKS_AT_HOUR, SENDS_AT_HOUR, Comparison
from models.times import DAY


@dataclass(frozen=True, slots=True)
class Summary:
    """All that was counted.

    ``latencies`` are seconds; ``played`` and ``left`` are milliseconds of the feed.
    """

    events: int
    members: int
    triggers: Mapping[str, int]
    cancelled: int
    expired: int
    dead_letters: int
    seconds: float
    played: int
    left: int
    latencies: Sequence[float]
    comparison: Comparison
    interrupted: bool

    def as_json(self) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return {
            "events": self.events,
            "members": self.members,
            "triggers": dict(sorted(self.triggers.items())),
            "cancelled": self.cancelled,
            "dead_letters": self.dead_letters,
            "seconds": round(self.seconds, 3),
            "days": round(self.played / DAY, 3),
            "expired": self.expired,
            "latency_ms": {
                f"p{percent}": round(value * 1000, 1)
                for percent, value in percentiles(self.latencies).items()
            },
            "nightly": self.comparison.nightly,
            "engine": self.comparison.engine,
            "interrupted": self.interrupted,
        }

    def in_words(self) -> str:
        """Return the lines for a person; the last one is the comparison."""
        rate = self.events / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.played / DAY:,.0f} days of {self.members:,} members in {self.seconds:.0f} s"
            + (f", {self.left // DAY} days short of today" if self.left >= DAY else "")
            + (", interrupted" if self.interrupted else ""),
            "",
            f"  {self.events:>9,}  events, {rate:,.0f} a second",
            f"  {sum(self.triggers.values()):>9,}  triggers of {len(self.triggers)} rules",
        ]
        lines += [f"  {count:>9,}    {rule}" for rule, count in sorted(self.triggers.items())]
        lines += [
            f"  {self.cancelled:>9,}  taken back: overtaken by the member, or by a later step",
            f"  {self.dead_letters:>9,}  dead letters",
        ]
        if self.expired:
            lines.append(
                f"  {self.expired:>9,}  expired before they were raised: this machine cannot keep "
                "this pace (--speed, --members)"
            )
        if self.latencies:
            shown = ", ".join(
                f"p{percent} {value * 1000:.0f} ms"
                for percent, value in percentiles(self.latencies).items()
            )
            lines += ["", f"From due to seen by a plain Kafka consumer: {shown}."]
        return "\n".join([*lines, "", self.the_line()])

    def the_line(self) -> str:
        """Return the comparison in one sentence."""
        nightly, engine = self.comparison
        return (
            f"A nightly job at {LOOKS_AT_HOUR:02}:00 (sending at {SENDS_AT_HOUR}:00) would have "
            f"messaged {nightly:,} members who had already bought or come back; "
            f"this engine {engine:,}."
        )


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """Return the 50th, 95th and 99th percentile (nearest rank); nothing of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {p: ordered[max(-(-len(ordered) * p // 100) - 1, 0)] for p in (50, 95, 99)}

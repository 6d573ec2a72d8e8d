"""What the local stack remembers between commands: each server's port and process."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from app.stack.processes import Process


@dataclass(frozen=True, slots=True)
class Seat:
    """A server's place: the port it was last given, and its process unless it was stopped."""

    port: int
    process: Process | None = None

    @property
    def taken(self) -> bool:
        """Whether the server's process runs."""
        return self.process is not None and self.process.alive


def load(data: Path) -> dict[str, Seat]:
    """Return the seats kept in ``data`` by server; none when there is no readable state."""
    try:
        kept = json.loads((data / "state.json").read_text())
        return {
            name: Seat(
                port=int(seat["port"]),
                process=None if seat["process"] is None else Process(*map(int, seat["process"])),
            )
            for name, seat in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def keep(data: Path, name: str, seat: Seat) -> None:
    """Remember ``seat`` for the server called ``name``, whole or not at all."""
    seats = {**load(data), name: seat}
    fresh = data / "state.json.new"
    fresh.write_text(json.dumps({name: asdict(seat) for name, seat in seats.items()}))
    fresh.replace(data / "state.json")

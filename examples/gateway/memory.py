"""What the gateway must not forget: ids seen and cancelled, letters that wait, reports to send.

One SQLite file. What is read from the topic is written together with how far it was read, and what
becomes of a letter together with the report of it: a crash leaves neither without the other.
"""

import json
import secrets
import sqlite3
import threading
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

WEEK_MS = 7 * 86_400_000
# A cancellation whose trigger was never seen does not say when that one expires.
UNKNOWN_EXPIRY_MS = 90 * 86_400_000

State: TypeAlias = Literal[
    "waiting",  # until not_before, or for a mail server that is away
    "handing_over",  # the mail server is being given it: it may have it, or not
    "sent",
    "cancelled",
    "failed",
    "bounced",
    "missed",  # it could not be sent before not_after
    "not_ours",  # on other channels, or a task for people
]

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (
    trigger_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    member_id TEXT NOT NULL,
    forget_after INTEGER NOT NULL,
    next_try INTEGER NOT NULL DEFAULT 0,
    not_after INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    link TEXT NOT NULL DEFAULT '',
    reported TEXT NOT NULL DEFAULT '',
    trigger TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON seen (next_try) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS reports (
    number INTEGER PRIMARY KEY AUTOINCREMENT, member_id TEXT NOT NULL, event TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS places (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
"""


class Waiting(NamedTuple):
    """A letter that may go."""

    trigger: dict[str, Any]
    not_after: int
    tries: int


class Report(NamedTuple):
    """An event for the topic ``engagement``; its key is the member's id."""

    number: int
    member_id: str
    event: bytes


class Memory:
    """The file. Every method is one transaction; threads take turns. Times are epoch ms."""

    def __init__(self, path: Path, channel: str) -> None:
        """Open or make the file.

        Raises ``sqlite3.OperationalError`` when another gateway has it open.
        """
        self._channel = channel
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=1, check_same_thread=False)
        # One gateway a file: two would send everything twice.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            if self._db.execute("SELECT 1 FROM secret").fetchone() is None:
                self._db.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
        self.secret: bytes = self._db.execute("SELECT value FROM secret").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # --- what is read ---------------------------------------------------------------------------

    def places(self) -> dict[int, int]:
        """Return by partition the offset that is to be read next."""
        with self._lock:
            return dict(self._db.execute("SELECT partition, next FROM places"))

    def take_in(
        self, messages: list[dict[str, Any]], places: dict[int, int], now: int
    ) -> dict[str, int]:
        """Remember triggers and cancellations in their order, and how far was read.

        Each message has ``type``, ``trigger_id`` and ``member_id``; a trigger also ``ours``, its
        instants in milliseconds and ``link``. Returns how many were what.
        """
        found = dict.fromkeys(("new", "seen before", "cancelled", "cancelled too late"), 0)
        with self._lock, self._db:
            for message in messages:
                found[self._take(message, now)] += 1
            self._db.executemany(
                "INSERT INTO places VALUES (?, ?)"
                " ON CONFLICT (partition) DO UPDATE SET next = excluded.next",
                places.items(),
            )
        return found

    def _take(self, message: dict[str, Any], now: int) -> str:
        if message["type"] == "trigger_cancelled":
            return self._cancel(message, now)
        forget_after = message["expires_at_ms"] + WEEK_MS
        if forget_after <= now:
            return "seen before"
        ours = message["ours"]
        inserted = self._db.execute(
            "INSERT INTO seen (trigger_id, state, member_id, forget_after, next_try, not_after,"
            " link, trigger) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                message["trigger_id"],
                "waiting" if ours else "not_ours",
                message["member_id"],
                forget_after,
                message["not_before_ms"],
                message["not_after_ms"],
                message["link"],
                json.dumps(message["trigger"], ensure_ascii=False) if ours else None,
            ),
        )
        return "new" if inserted.rowcount else "seen before"

    def _cancel(self, message: dict[str, Any], now: int) -> str:
        identity = message["trigger_id"]
        known = self._db.execute(
            "UPDATE seen SET state = 'cancelled', trigger = NULL"
            " WHERE trigger_id = ? AND state = 'waiting'",
            (identity,),
        ).rowcount
        if known:
            return "cancelled"
        unknown = self._db.execute(
            "INSERT INTO seen (trigger_id, state, member_id, forget_after)"
            " VALUES (?, 'cancelled', ?, ?) ON CONFLICT DO NOTHING",
            (identity, message["member_id"], now + UNKNOWN_EXPIRY_MS),
        ).rowcount
        return "cancelled" if unknown else "cancelled too late"

    # --- letters --------------------------------------------------------------------------------

    def due(self, now: int, most: int) -> list[Waiting]:
        """Return letters whose time has come, those that waited longest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT trigger, not_after, tries FROM seen"
                " WHERE state = 'waiting' AND next_try <= ? ORDER BY next_try LIMIT ?",
                (now, most),
            ).fetchall()
        return [
            Waiting(json.loads(trigger), not_after, tries) for trigger, not_after, tries in rows
        ]

    def try_later(self, trigger_id: str, at: int) -> None:
        """Let a letter wait: nobody has taken it."""
        with self._lock, self._db:
            self._db.execute(
                "UPDATE seen SET state = 'waiting', next_try = ?, tries = tries + 1"
                " WHERE trigger_id = ?",
                (at, trigger_id),
            )

    def hand_over(self, trigger_id: str) -> None:
        """Note that from now on the mail server may have the letter."""
        with self._lock, self._db:
            self._db.execute(
                "UPDATE seen SET state = 'handing_over' WHERE trigger_id = ?", (trigger_id,)
            )

    def settle(self, trigger_id: str, state: State, at: int, *reports: str) -> None:
        """Note what became of a letter, and what is to be reported of it."""
        with self._lock, self._db:
            self._settle(trigger_id, state, at, reports)

    def _settle(self, trigger_id: str, state: State, at: int, reports: tuple[str, ...]) -> None:
        self._db.execute(
            "UPDATE seen SET state = ?, trigger = NULL WHERE trigger_id = ?", (state, trigger_id)
        )
        for kind in reports:
            self._report(trigger_id, kind, at)

    def settle_doubts(self, now: int) -> tuple[int, int]:
        """Decide about letters of which nobody knows whether the mail server has them.

        Marketing counts as sent: better none than two. Service is sent again: better two than none,
        and both have one Message-ID. Returns how many were which.
        """
        with self._lock, self._db:
            doubts = [
                (identity, json.loads(trigger)["purpose"])
                for identity, trigger in self._db.execute(
                    "SELECT trigger_id, trigger FROM seen WHERE state = 'handing_over'"
                )
            ]
            again = [identity for identity, purpose in doubts if purpose == "service"]
            for identity, purpose in doubts:
                if purpose != "service":
                    self._settle(identity, "sent", now, ("sent",))
            self._db.executemany(
                "UPDATE seen SET state = 'waiting', next_try = ?, tries = tries + 1"
                " WHERE trigger_id = ?",
                [(now, identity) for identity in again],
            )
        return len(doubts) - len(again), len(again)

    # --- reports --------------------------------------------------------------------------------

    def heard(self, trigger_id: str, kind: str, at: int) -> None:
        """Note something that the member did with a letter; what was noted before is dropped."""
        with self._lock, self._db:
            self._report(trigger_id, kind, at)

    def _report(self, trigger_id: str, kind: str, at: int) -> None:
        row = self._db.execute(
            "SELECT member_id, reported FROM seen WHERE trigger_id = ?", (trigger_id,)
        ).fetchone()
        if row is None or kind in row[1].split():
            return
        member_id, reported = row
        event = {
            "type": kind,
            # Whatever is sent again counts once.
            "event_id": f"{kind}-{trigger_id}",
            "member_id": member_id,
            "occurred_at": at,
            "channel": self._channel,
            "trigger_id": trigger_id,
            "source": "gateway",
        }
        self._db.execute(
            "UPDATE seen SET reported = ? WHERE trigger_id = ?",
            (f"{reported} {kind}".strip(), trigger_id),
        )
        self._db.execute(
            "INSERT INTO reports (member_id, event) VALUES (?, ?)", (member_id, json.dumps(event))
        )

    def unreported(self, after: int, most: int) -> list[Report]:
        """Return reports that the topic may not have yet, in their order, from ``after`` on."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number, member_id, event FROM reports WHERE number > ?"
                " ORDER BY number LIMIT ?",
                (after, most),
            ).fetchall()
        return [Report(number, member, event.encode()) for number, member, event in rows]

    def reported(self, numbers: list[int]) -> None:
        """Forget reports that the topic has."""
        with self._lock, self._db:
            self._db.executemany("DELETE FROM reports WHERE number = ?", [(n,) for n in numbers])

    # --- questions ------------------------------------------------------------------------------

    def link_of(self, trigger_id: str) -> str | None:
        """Return where a letter's link leads; None for one that is not remembered."""
        with self._lock:
            row = self._db.execute(
                "SELECT link FROM seen WHERE trigger_id = ?", (trigger_id,)
            ).fetchone()
        return None if row is None else str(row[0])

    def counts(self) -> dict[str, int]:
        """Return how many ids are in which state."""
        with self._lock:
            return dict(self._db.execute("SELECT state, count(*) FROM seen GROUP BY state"))

    def forget(self, now: int) -> int:
        """Drop ids whose week is over; return how many."""
        with self._lock, self._db:
            return self._db.execute("DELETE FROM seen WHERE forget_after <= ?", (now,)).rowcount

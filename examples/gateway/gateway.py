"""A messaging gateway: reads ``triggers``, sends e-mail, and reports on ``engagement``.

It needs Kafka, an SMTP server and this folder, and nothing of the engine: what it knows is the
contract. README.md says what happens when it is stopped at any moment.
"""

import argparse
import csv
import json
import logging
import re
import signal
import smtplib
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from letters import Recipient, letter, link_of
from memory import Memory, State, Waiting
from tracking import Tracker

log = logging.getLogger("gateway")

CHANNEL = "email"
# What a round reads before it looks at what is due, and sends before it reads again: a cancellation
# that is in the topic waits for no more than so many letters.
READ_AT_ONCE, SENT_AT_ONCE = 500, 20
NO_SUCH_MAILBOX, ABOUT_ADDRESSES = (550, 551, 553), b"1"
REPORTED_AT_ONCE = 500
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 300_000
FORGET_EVERY_MS = 3_600_000


class Away(Exception):
    """The mail server cannot be reached, or wants nothing now; nothing was handed over."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    broker: str
    memory: Path
    addresses: Path
    smtp: tuple[str, int]
    sender: str
    shop: str
    topic_prefix: str = ""
    tracking: tuple[str, int] = ("127.0.0.1", 0)
    tracking_url: str | None = None
    kafka: dict[str, str] = field(default_factory=dict)


def now_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000


class Gateway:
    """One round after the other: read, remember, send what is due, report."""

    def __init__(self, options: Options, clock: Callable[[], int] = now_ms) -> None:
        """Open everything.

        Raises ``OSError``, ``ValueError``, ``KafkaException`` or ``sqlite3.OperationalError``.
        """
        self._options = options
        self._clock = clock
        self._recipients = read_addresses(options.addresses)
        self.memory = Memory(options.memory, CHANNEL)
        self.tracker = Tracker(
            self.memory, *options.tracking, options.tracking_url, options.shop, clock
        )
        self._mail = MailServer(*options.smtp)
        common = {"bootstrap.servers": options.broker, **options.kafka}
        self._producer = Producer(
            {
                **common,
                # A member's events must lie where the engine looks for them: librdkafka's own
                # partitioner is another than Java's, which is the engine's default.
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
            }
        )
        self._consumer = Consumer(
            {
                **common,
                # How far was read stands in the memory, not at the broker.
                "group.id": "example-gateway",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        self._behind = self._assign()
        self._reporting = 0
        self._pause = FIRST_PAUSE_MS
        self._away_until = 0
        self._forget_at = 0
        served, again = self.memory.settle_doubts(clock())
        if served or again:
            log.info("letters in doubt: %d count as sent, %d are sent again", served, again)

    def _assign(self) -> set[int]:
        """Read every partition from where the memory ends; return the partitions."""
        name = f"{self._options.topic_prefix}triggers"
        topic = self._consumer.list_topics(name, timeout=30).topics[name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        places = self.memory.places()
        self._consumer.assign(
            # -2: from the beginning. What is over by now is remembered, and not sent.
            [TopicPartition(name, number, places.get(number, -2)) for number in topic.partitions]
        )
        return set(topic.partitions)

    def close(self) -> None:
        """Report what there is to report, and close everything."""
        self.tracker.close()
        self._report()
        self._producer.flush(10)
        self._mail.hang_up()
        self._consumer.close()
        self.memory.close()

    def round(self, patience: float = 0.2) -> None:
        """Do everything once; waits at most ``patience`` seconds for something to read."""
        more = self._read(patience)
        now = self._clock()
        # In what is not read yet there may be cancellations of what is due.
        if not more and not self._behind and now >= self._away_until:
            self._send()
        self._report()
        if now >= self._forget_at:
            self.memory.forget(now)
            self._forget_at = now + FORGET_EVERY_MS

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, patience: float) -> bool:
        """Remember what has come; return whether there may be more at once."""
        messages: list[dict[str, Any]] = []
        places: dict[int, int] = {}
        records = self._consumer.consume(READ_AT_ONCE, timeout=patience)
        for record in records:
            error = record.error()
            if error is None:
                places[record.partition()] = record.offset() + 1
                messages += self._understood(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._behind.discard(record.partition())
            elif error.fatal():
                raise KafkaException(error)
            else:
                log.warning("reading: %s", error.name())
        if places:
            found = self.memory.take_in(messages, places, self._clock())
            log.info("read: %s", ", ".join(f"{n} {what}" for what, n in found.items() if n))
        return len(records) == READ_AT_ONCE

    def _understood(self, record: Message) -> list[dict[str, Any]]:
        """Return what a record says as the memory takes it; nothing when it says nothing to us.

        Fields that are not known are ignored, and so are types that come later.
        """
        try:
            said = json.loads(record.value() or b"null")
            match said["type"]:
                case "trigger":
                    return [self._trigger(said)]
                case "trigger_cancelled":
                    return [{name: said[name] for name in ("type", "trigger_id", "member_id")}]
        except (ValueError, LookupError, TypeError, AttributeError):
            log.warning("no trigger: partition %d, offset %d", record.partition(), record.offset())
        return []

    def _trigger(self, said: dict[str, Any]) -> dict[str, Any]:
        channels = said["channels"]
        return {
            "type": "trigger",
            "trigger_id": said["trigger_id"],
            "member_id": said["member_id"],
            # Without channels it is the gateway that chooses.
            "ours": said["route"] == "message" and (not channels or CHANNEL in channels),
            "not_before_ms": instant(said["not_before"]),
            "not_after_ms": min(instant(said["not_after"]), instant(said["expires_at"])),
            "expires_at_ms": instant(said["expires_at"]),
            "link": link_of(said, self._options.shop),
            "trigger": said,
        }

    # --- sending ----------------------------------------------------------------------------------

    def _send(self) -> None:
        try:
            for waiting in self.memory.due(self._clock(), SENT_AT_ONCE):
                self._send_one(waiting)
        except Away as away:
            now = self._clock()
            self._away_until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_MS)
            log.warning("the mail server: %s; next try in %d ms", away, self._away_until - now)
        finally:
            self._mail.hang_up()

    def _send_one(self, waiting: Waiting) -> None:
        trigger, now = waiting.trigger, self._clock()
        identity = trigger["trigger_id"]
        if now >= waiting.not_after:
            # The slot that it has taken among the member's messages is given back by this.
            self._settle(identity, "missed", "failed")
            return
        to = self._recipients.get(trigger["member_id"])
        if to is None:
            self._settle(identity, "failed", "failed")
            return
        try:
            links = self.tracker.links(identity)
            message = letter(trigger, to, self._options.sender, links)
            content = message.as_bytes()
        except (ValueError, LookupError, TypeError, AttributeError):
            # It would be no better the next time.
            log.warning("%s: no letter can be made of it", identity)
            self._settle(identity, "failed", "failed")
            return
        self._hand_over(waiting, to.email, content)

    def _hand_over(self, waiting: Waiting, address: str, content: bytes) -> None:
        identity = waiting.trigger["trigger_id"]
        refusal = self._mail.offer(self._options.sender, address)
        if refusal is None:
            # From here on until the server has answered nobody knows whether it has the letter.
            self.memory.hand_over(identity)
            code = self._mail.give(content)
            if code is None:
                self.memory.settle_doubts(self._clock())
                raise Away("no answer to a letter")
            refused: State = "failed"
        else:
            code = refusal.code
            refused = "bounced" if refusal.nobody else "failed"
        self._pause = FIRST_PAUSE_MS
        if code < 300:
            self._settle(identity, "sent", "sent", "delivered")
        elif code < 500:
            # It is this letter that the server does not want now: others go on.
            pause = min(FIRST_PAUSE_MS << min(waiting.tries, 10), LONGEST_PAUSE_MS)
            log.info("%s: not now (%d)", identity, code)
            self.memory.try_later(identity, self._clock() + pause)
        else:
            log.info("%s: refused (%d)", identity, code)
            self._settle(identity, refused, refused)

    def _settle(self, identity: str, state: State, *reports: str) -> None:
        self.memory.settle(identity, state, self._clock(), *reports)
        log.info("%s: %s", identity, state)

    # --- reporting --------------------------------------------------------------------------------

    def _report(self) -> None:
        topic = f"{self._options.topic_prefix}engagement"
        for report in self.memory.unreported(self._reporting, REPORTED_AT_ONCE):
            try:
                self._producer.produce(
                    topic,
                    report.event,
                    key=report.member_id,
                    on_delivery=partial(self._reported, report.number),
                )
            except BufferError:
                break
            self._reporting = report.number
        self._producer.poll(0)

    def _reported(self, number: int, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.memory.reported([number])
        else:
            log.warning("a report was not taken: %s", error.name())
            self._reporting = min(self._reporting, number - 1)


class Refusal(NamedTuple):
    """Why a letter to a recipient may not be given."""

    code: int
    nobody: bool
    """The server knows no such recipient. It may as well refuse us, or have a full mailbox."""

    @classmethod
    def of(cls, code: int, said: bytes) -> "Refusal":
        """Read an answer to ``RCPT``: its code (RFC 5321), and its enhanced one (RFC 3463)."""
        enhanced = re.match(rb"5\.(\d{1,3})\.\d{1,3}\b", said)
        nobody = enhanced[1] == ABOUT_ADDRESSES if enhanced else code in NO_SUCH_MAILBOX
        return cls(code, nobody)


class MailServer:
    """An SMTP server, connected when it is needed. Codes are its own; None is none."""

    def __init__(self, host: str, port: int, timeout: float = 10.0) -> None:
        self._place = host, port
        self._timeout = timeout
        self._server: smtplib.SMTP | None = None

    def offer(self, sender: str, address: str) -> Refusal | None:
        """Name both ends; return a refusal, None when the letter may be given.

        Raises ``Away`` when there is nobody to talk to.
        """
        try:
            server = self._connected()
            code = server.mail(sender)[0]
            if code != 250:
                # It is not the member who is refused: somebody has to look at the server.
                raise Away(f"it takes nothing from us ({code})")
            code, said = server.rcpt(address)
            if code in (250, 251):
                return None
            if code == 421:
                raise Away("it is closing")
            server.rset()
            return Refusal.of(code, said)
        except (OSError, smtplib.SMTPException) as error:
            self.hang_up()
            raise Away(type(error).__name__) from None
        except Away:
            self.hang_up()
            raise

    def give(self, content: bytes) -> int | None:
        """Give the letter itself; return the code of the answer, None when there was none."""
        assert self._server is not None
        try:
            return self._server.data(content)[0]
        except smtplib.SMTPDataError as error:
            # It did not even want to begin.
            return error.smtp_code
        except (OSError, smtplib.SMTPException):
            self.hang_up()
            return None

    def _connected(self) -> smtplib.SMTP:
        if self._server is None:
            self._server = smtplib.SMTP(*self._place, timeout=self._timeout)
            self._server.ehlo_or_helo_if_needed()
        return self._server

    def hang_up(self) -> None:
        """End the conversation."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


def instant(text: str) -> int:
    """Return epoch milliseconds of RFC 3339."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def read_addresses(path: Path) -> dict[str, Recipient]:
    """Return recipients by member id, from CSV with the columns member_id, email and name.

    Raises ``OSError`` when it cannot be read, ``ValueError`` when a column is missing.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"member_id", "email"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: needs the columns member_id and email")
        return {row["member_id"]: Recipient(row["email"], row.get("name") or "") for row in rows}


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _key_and_value(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise ValueError(text)
    return key, value


def options_of(arguments: list[str]) -> Options:
    """Return what a command line says; exits with 2 when it says it wrongly."""
    parser = argparse.ArgumentParser(
        prog="gateway.py", description="Send e-mail for triggers, and report what became of it."
    )
    parser.add_argument("--broker", default="127.0.0.1:9092", help="default: %(default)s")
    parser.add_argument("--topic-prefix", default="", help="stands before the topics' names")
    parser.add_argument("--addresses", type=Path, required=True, help="CSV: member_id,email,name")
    parser.add_argument(
        "--memory", type=Path, default=Path("gateway.sqlite"), help="default: %(default)s"
    )
    parser.add_argument(
        "--smtp", type=_host_and_port, default="127.0.0.1:2525", metavar="HOST:PORT"
    )
    parser.add_argument("--sender", default="shop@example.com", help="default: %(default)s")
    parser.add_argument("--shop", default="https://shop.example.com", metavar="URL")
    parser.add_argument(
        "--tracking",
        type=_host_and_port,
        default="127.0.0.1:8090",
        metavar="HOST:PORT",
        help="where to listen for opened letters and clicked links (default: %(default)s)",
    )
    parser.add_argument("--tracking-url", metavar="URL", help="what members reach that by")
    parser.add_argument(
        "--kafka",
        type=_key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of librdkafka, such as security.protocol=SSL",
    )
    found = vars(parser.parse_args(arguments))
    return Options(**{**found, "kafka": dict(found["kafka"])})


def main(arguments: list[str]) -> int:
    """Run until a signal; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    options = options_of(arguments)
    try:
        gateway = Gateway(options)
    except (OSError, ValueError, KafkaException, sqlite3.OperationalError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    log.info("working")
    try:
        while not stopped:
            gateway.round()
    finally:
        gateway.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

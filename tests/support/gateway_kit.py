"""What stands around the example gateway in its tests: topics, mail servers, the process itself."""

import email
import email.policy
import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "gateway"
# A program in a folder, and no package: its modules are found as when it is run.
sys.path.insert(0, str(EXAMPLE))

PATIENCE = 60.0


def until(look: Callable[[], Any], what: str) -> Any:
    """Look until something is there."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, f"{what} did not come"
        time.sleep(0.02)
    return found


class Topics:
    """``triggers`` and ``engagement`` alone, with the engine played by the test."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.prefix = f"gateway-{time.time_ns():x}."
        wanted = [
            NewTopic(self.prefix + name, num_partitions=4) for name in ("triggers", "engagement")
        ]
        admin = AdminClient({"bootstrap.servers": broker})
        for made in admin.create_topics(wanted).values():
            made.result()
        self._producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})

    def say(self, *messages: dict[str, Any] | bytes) -> None:
        """Put messages on ``triggers``, all of one partition, in their order."""
        for message in messages:
            raw = message if isinstance(message, bytes) else json.dumps(message).encode()
            self._producer.produce(self.prefix + "triggers", raw, key=b"m1", partition=1)
        assert self._producer.flush(10) == 0

    def reports(self) -> list[dict[str, Any]]:
        """What is on ``engagement``."""
        name = self.prefix + "engagement"
        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": "test"})
        try:
            found: list[dict[str, Any]] = []
            for number in range(4):
                place = TopicPartition(name, number)
                low, high = consumer.get_watermark_offsets(place, timeout=10)
                place.offset = low
                consumer.assign([place])
                while low < high:
                    for message in consumer.consume(high - low, timeout=1):
                        assert message.error() is None
                        event = json.loads(message.value())
                        assert message.key() == event["member_id"].encode()
                        found.append(event)
                        low = message.offset() + 1
            return found
        finally:
            consumer.close()

    def kinds(self, trigger_id: str) -> list[str]:
        """What was reported of one trigger, each kind once."""
        return sorted({r["type"] for r in self.reports() if r["trigger_id"] == trigger_id})


class _Conversation(socketserver.StreamRequestHandler):
    server: "MailServer"

    def handle(self) -> None:
        self._say("220 here")
        to = ""
        while line := self.rfile.readline():
            words = line.decode().strip()
            match words.split(":")[0].split(" ")[0].upper():
                case "EHLO" | "HELO" | "RSET" | "MAIL":
                    self._say("250 yes")
                case "RCPT":
                    to = words.partition("<")[2].partition(">")[0]
                    self._say(self.server.answer("RCPT", to, b""))
                case "DATA":
                    self._say("354 go on")
                    content = b""
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        content += part
                    self._say(self.server.take(to, content))
                case "QUIT":
                    return
                case _:
                    self._say("500 what?")

    def _say(self, words: str) -> None:
        if words:
            self.wfile.write(words.encode() + b"\r\n")
        else:
            self.connection.close()
            raise ConnectionAbortedError


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server that says what a test wants, after it has kept the letter."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Conversation)
        self.port: int = self.server_address[1]
        self.letters: list[EmailMessage] = []
        # By "RCPT" or "DATA", and the address: the answer. "" hangs up without one.
        self.answer: Callable[[str, str, bytes], str] = lambda step, to, content: "250 yes"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def take(self, to: str, content: bytes) -> str:
        answer = self.answer("DATA", to, content)
        if answer[:1] in ("2", ""):
            self.letters.append(read_letter(content))
        return answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed ends its conversation so."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailServer]:
    server = MailServer(port)
    try:
        yield server
    finally:
        server.close()


def read_letter(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, EmailMessage, policy=email.policy.default)


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


class Process:
    """The gateway, or the mail sink, as somebody starts it."""

    def __init__(self, folder: Path, program: str, *words: str) -> None:
        self._log = folder / f"{program}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(EXAMPLE / program), *words],
                cwd=folder,
                stdout=file,
                stderr=file,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, words: str) -> None:
        def found() -> bool:
            assert self.process.poll() is None or words in self.log, self.log
            return words in self.log

        until(found, words)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

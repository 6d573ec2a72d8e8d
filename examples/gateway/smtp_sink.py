"""A mail server that delivers nothing: letters become files in a folder.

Who is written to decides what it answers: ``refused@...`` is known to nobody, ``later@...`` is to
be tried again, and a letter to ``unwanted@...`` is refused whole. Needs ``aiosmtpd``.
"""

# ruff: noqa: ARG002, N802 - aiosmtpd says what its handlers are called and given

import argparse
import asyncio
import itertools
import signal
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Sink:
    """Writes each letter to a numbered file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count(1 + len(list(folder.glob("*.eml"))))

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer whether there is such a recipient."""
        match address.partition("@")[0]:
            case "refused":
                return "550 nobody of that name"
            case "later":
                return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a letter."""
        if envelope.rcpt_tos[0].startswith("unwanted@"):
            return "554 not wanted here"
        name = f"{next(self._numbers):06}"
        # Whole or not at all, for whoever looks into the folder meanwhile.
        unfinished = self._folder / f"{name}.part"
        unfinished.write_bytes(envelope.original_content or b"")
        unfinished.rename(self._folder / f"{name}.eml")
        return "250 OK"


async def _serve(host: str, port: int, folder: Path) -> None:
    sink = Sink(folder)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: SMTP(sink, hostname="sink"), host, port)
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await stopped.wait()


def main(arguments: list[str]) -> int:
    """Run until a signal; return the exit code."""
    parser = argparse.ArgumentParser(prog="smtp_sink.py", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--folder", type=Path, default=Path("letters"))
    options = parser.parse_args(arguments)
    asyncio.run(_serve(options.host, options.port, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Links in letters: opened, clicked, and no more of these.

Anybody may guess a trigger's id, so an address carries a signature that only this gateway can make.
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from letters import Links
from memory import Memory

# A transparent picture of one pixel.
_PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
_ASK = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribe 退订</title>'
    '<form method="post"><button>No more e-mails 不再接收邮件</button></form></html>'
).encode()
_DONE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Done 已退订</title>'
    "<p>You get no more e-mails. 您将不再收到邮件。</p></html>"
).encode()
_HTML = "text/html; charset=utf-8"


class Tracker:
    """A small web server that tells the memory what members do with their letters."""

    def __init__(
        self,
        memory: Memory,
        host: str,
        port: int,
        url: str | None,
        shop: str,
        clock: Callable[[], int],
    ) -> None:
        """Listen on ``host`` and ``port``; ``url`` is what members reach that by.

        Raises ``OSError`` when the port is taken.
        """
        self._memory = memory
        self._shop = shop
        self._clock = clock
        self._server = ThreadingHTTPServer((host, port), partial(_Answer, self))
        self._url = url or f"http://{host}:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()

    def links(self, trigger_id: str) -> Links:
        """Return the addresses of one letter."""
        o, c, u = (
            f"{self._url}/{kind}/{trigger_id}.{self._sign(kind, trigger_id)}" for kind in "ocu"
        )
        return Links(open=o, click=c, stop=u)

    def _sign(self, kind: str, trigger_id: str) -> str:
        words = f"{kind}/{trigger_id}".encode()
        return hmac.new(self._memory.secret, words, hashlib.sha256).hexdigest()[:24]

    def trigger_of(self, path: str) -> tuple[str, str] | None:
        """Return the kind of link and the trigger's id; None for what is no link of ours."""
        kind, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        trigger_id, _, signature = rest.partition(".")
        if kind not in ("o", "c", "u"):
            return None
        right = self._sign(kind, trigger_id).encode()
        return (kind, trigger_id) if hmac.compare_digest(right, signature.encode()) else None

    def heard(self, trigger_id: str, kind: str) -> None:
        """Note what a member did."""
        self._memory.heard(trigger_id, kind, self._clock())

    def target_of(self, trigger_id: str) -> str:
        """Return where a click leads: never to where the address says."""
        return self._memory.link_of(trigger_id) or self._shop


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, tracker: Tracker, *args: object) -> None:
        self._tracker = tracker
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        found = self._tracker.trigger_of(self.path)
        match found:
            case ("o", trigger_id):
                self._tracker.heard(trigger_id, "opened")
                self._say(200, _PIXEL, "image/gif")
            case ("c", trigger_id):
                self._tracker.heard(trigger_id, "clicked")
                self._say(302, b"", location=self._tracker.target_of(trigger_id))
            case ("u", _):
                # Programs that look into mail follow links: only a button says no.
                self._say(200, _ASK)
            case _:
                self._say(404, b"")

    def do_POST(self) -> None:
        found = self._tracker.trigger_of(self.path)
        if found is None or found[0] != "u":
            self._say(404, b"")
            return
        self._tracker.heard(found[1], "unsubscribed")
        self._say(200, _DONE)

    def _say(self, code: int, body: bytes, kind: str = _HTML, location: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: addresses of people and of letters belong into no log."""

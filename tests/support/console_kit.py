"""The console as people use it: a browser in front of real workers that a made shop keeps busy."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from demanding import lacking
from live_kit import Upstream, event, get
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from worker_kit import World

from agents.partitioner import partition_function
from app.chaos.proxy import Proxy
from app.demo.feed import made_feed, now_ms
from app.demo.player import CommittedOffsets, FollowedClock, Player
from app.producing import EventProducer
from app.stack.files import lasting_ports
from app.topology import ensure_topics
from models.times import DAY, HOUR

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
)
TOKEN = "open-sesame"
PATIENCE = 180.0
MEMBERS, DAYS = 60, 20
EVIL = '<img src=x onerror="window.hurt=1">'
PHONE, MAIL = "+86 138-0013-8000", "Lin.Wei@Example.com"


def hashed(contact: str) -> str:
    return hashlib.sha256(contact.encode()).hexdigest()


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without it the tests are skipped, but not where everything is checked."""
    if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
        lacking("Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


class Shop:
    """A worker, a made shop, and members whose stories the tests know."""

    def __init__(self, place: World, stack: ExitStack) -> None:
        self.place = place
        [self.port] = lasting_ports(1)
        redis = urlsplit(place.env["LIFECYCLE_REDIS"])
        self._redis = stack.enter_context(closing(Proxy([redis.port or 6379])))
        place.env |= {
            "LIFECYCLE_REDIS": f"redis://127.0.0.1:{self._redis.ports[0]}{redis.path}",
            "LIFECYCLE_HTTP_PORT": str(self.port),
            "LIFECYCLE_TOKEN": TOKEN,
            "LIFECYCLE_COMMIT_INTERVAL_MS": "50",
            # A machine that does much else is slow, which is not to look like an outage.
            "LIFECYCLE_REDIS_TIMEOUT_MS": "5000",
        }
        self.url = f"http://127.0.0.1:{self.port}"
        ensure_topics(place.settings)
        # One time of the day: what happens by night is another story.
        noon = now_ms() // DAY * DAY - DAY // 2
        feed = made_feed(MEMBERS, DAYS, place.settings.time_zone, noon)
        clock = stack.enter_context(FollowedClock(place.folder / "clock", feed.start))
        self._clock_file = clock.path
        self.start = feed.start
        self._worker = self._begin()
        self._sender = EventProducer(place.settings)
        self._folded = stack.enter_context(closing(CommittedOffsets(place.settings)))
        lane = partition_function(place.settings.partitioner)
        self.player = Player(
            feed,
            self._sender,
            clock,
            self._folded,
            lambda key: lane(key, place.settings.partitions),
        )
        self.upstream = Upstream(place)
        self.empty_says = ""

    def _begin(self) -> Any:
        worker = self.place.start_worker("--clock", f"follow:{self._clock_file}")
        self.wait(lambda: self.ask("/readyz"), "a ready worker")
        return worker

    def ask(self, path: str) -> bytes:
        """What a page answers; nothing while nobody does, or a busy machine takes too long."""
        try:
            status, body = get(self.url + path)
        except OSError:
            return b""
        return body if status == 200 else b""

    def kill(self) -> None:
        """End the worker as a crash does."""
        self._worker.kill()
        self._worker.wait()

    def restart(self) -> None:
        """Start another in its place."""
        self._worker = self._begin()

    def wait(self, look: Callable[[], Any], what: str) -> Any:
        ends = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < ends, f"{what} did not come\n{self.place.logs()}"
            time.sleep(0.05)
        return found

    @property
    def now(self) -> int:
        """Members' time."""
        return self.player.position

    def play(self, days: float) -> None:
        """Let time pass, as fast as the worker can follow."""
        wanted = self.player.position + int(days * DAY)
        ends = time.monotonic() + PATIENCE
        while self.player.position < min(wanted, self.player.feed.end):
            assert time.monotonic() < ends, self.place.logs()
            self.player.play_to(min(wanted, self.player.position + 8 * HOUR), time.monotonic())
            time.sleep(0.01)
            self.player.look()

    @contextmanager
    def redis_away(self) -> Iterator[None]:
        """Let nothing through between the worker and Redis."""
        self._redis.partition()
        try:
            yield
        finally:
            self._redis.heal()

    @contextmanager
    def playing(self, days_per_second: float) -> Iterator[None]:
        """Let time pass meanwhile."""
        over = Event()

        def run() -> None:
            while not over.wait(0.1):
                self.player.look()
                self.player.play_to(
                    self.player.position + int(days_per_second * DAY / 10), time.monotonic()
                )

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def tell(self, what: str, member: str, /, **fields: Any) -> None:
        """Tell of an event at members' present."""
        self.upstream.tell(event(what, member, self.now) | fields, timestamp=self.now)
        self.upstream.flush()


def tell_stories(shop: Shop) -> None:
    """Members whom the tests ask for, beside those that the shop is made of."""
    mail = hashed(MAIL.lower())
    for member in ("ann", EVIL):
        shop.tell("register", member)
    shop.play(HOUR / DAY)
    for member in ("ann", EVIL):
        shop.tell("view_item", member, item_id=EVIL)
    shop.play(HOUR / DAY)
    shop.tell("link", "ann", other_id=hashed("+8613800138000"), kind="phone_sha256")
    shop.tell("profile", "ann", attributes={"email_sha256": mail})
    shop.tell("add_to_cart", "ann", item_id="sku-7", quantity=2, price=12.5)
    shop.play(HOUR / 2 / DAY)
    shop.tell("purchase", "ann", order_id="order-77", total=25.0)


def told(shop: Shop) -> bool:
    """Whether the stories can be read over HTTP."""
    said = json.loads(shop.ask("/members/ann/timeline") or b"{}")
    return "purchase" in {one.get("type") for one in said.get("entries", [])}


def clean_page(context: BrowserContext, origin: str) -> tuple[Page, list[str]]:
    """A page, and what went wrong in it: errors, and requests to anybody else."""
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: (
            wrong.append(f"{said.type}: {said.text}") if said.type in ("error", "warning") else None
        ),
    )
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((origin, "data:")) else wrong.append(f"asked {asked.url}")
        ),
    )
    return page, wrong

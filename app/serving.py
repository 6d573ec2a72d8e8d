"""The worker's HTTP side: everything that its answers come from, put together."""

import ipaddress
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.ports import Clock, Output
from app.foresight import Foresight
from app.lifecycle_metrics import LifecycleFigures
from app.live_why import LiveWhy
from app.member_lookup import MemberLookup
from app.mute_writer import MuteWriter
from app.observed_store import ObservedStore
from app.owners import Owners
from app.redis_store import RedisStore
from app.web.access import Access, is_loopback
from app.web.ports import Health, Sources
from app.web.server import HttpServer
from config.settings import Settings
from models.guard import Guard
from models.lifecycle_report import Report
from models.rulebook import RuleBook

FRESH_SECONDS = 30.0
"""How old lifecycle figures may be that are told without asking anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the answers need of the worker."""

    book: RuleBook
    clock: Clock
    wall: Callable[[], int]
    health: Callable[[], Health]
    metrics: Callable[[str], tuple[bytes, str]]
    lane_of: Callable[[bytes], int]
    rows: Callable[[int], Mapping[bytes, bytes] | None]
    project: Callable[[bytes, bytes | None], Sequence[Output]]
    address_of: Callable[[int], str | None]
    """Where the worker answers that owns a lane."""
    guard: Guard | None
    foresight: Foresight | None


class Serving:
    """The port, and the connections of its own behind it."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RedisStore,
        observed: ObservedStore,
        figures: LifecycleFigures | None,
    ) -> None:
        self.url = ""
        """Where it listens, once it does."""
        self._settings = settings
        self._owners = Owners(engine.address_of, settings.token)
        self._mutes = MuteWriter(settings, engine.clock.now)
        lookup = MemberLookup(
            lane_of=engine.lane_of,
            rows=engine.rows,
            project=engine.project,
            store=store,
            owners=self._owners,
            book=engine.book,
        )
        guard, foresight = engine.guard, engine.foresight
        sources = Sources(
            health=engine.health,
            metrics=engine.metrics,
            members=lookup,
            lists=store,
            observed=observed,
            report=lambda: _fresh(figures),
            mutes=self._mutes,
            whys=LiveWhy(settings, engine.book, lookup),
            book=engine.book,
            model=lambda: None if foresight is None else foresight.model(),
            drift=lambda: foresight is not None and foresight.drifts(),
            breakers=lambda: {} if guard is None else guard.rules(),
            now=lambda: _now(engine),
        )
        loopback = is_loopback(settings.http_host)
        self._http = HttpServer(sources, Access(settings.token, loopback))

    async def start(self) -> str:
        """Listen; return the URL. Raises ``OSError``."""
        self.url = await self._http.start(self._settings.http_host, self._settings.http_port)
        return self.url

    async def stop(self) -> None:
        """Finish what is being answered, and close the connections."""
        await self._http.stop()
        await self._owners.close()
        await self._mutes.close()


def advertised(url: str, broker: str) -> str:
    """Return the address by which other workers reach one that listens at ``url``.

    One that listens on every interface is reached where the broker sees it.
    """
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    try:
        everywhere = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return url
    there, _, at = broker.split(",")[0].strip().rpartition(":")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            there.strip("[]"), int(at), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # of a datagram socket: nothing is sent
            mine = probe.getsockname()[0]
    except OSError:
        mine = socket.gethostname()
    return f"{scheme}://[{mine}]:{port}" if ":" in mine else f"{scheme}://{mine}:{port}"


def _fresh(figures: LifecycleFigures | None) -> Report | None:
    if figures is None or time.time() - figures.read_at > FRESH_SECONDS:
        return None
    return figures.report


def _now(engine: Engine) -> int:
    now = engine.clock.now()
    return engine.wall() if now is None else now

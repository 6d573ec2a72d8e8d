"""What members of a shop do in a year: the events of runs under the shipped rules.

The shipped rules wait for days and months, and their calendar is the real one. Neither is changed
for the simulation: the runs are that long, in virtual time, and the world leaps over the hours in
which nothing happens (``simulation.world``). Rules with shorter durations would be others: stages,
segments, caps of a day and cells of 28 days would no longer fit together.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from models.events import TOPIC_OF
from models.times import DAY, HOUR, MINUTE, SECOND
from simulation.loop import BEGINNING

ITEMS = ("tea", "cup", "pot")
CHANNELS = ("app_push", "sms", "email", "wechat")
PAUSES = (MINUTE, 3 * HOUR, 14 * HOUR, DAY, 3 * DAY, 8 * DAY, 16 * DAY, 40 * DAY, 70 * DAY)
LONG_PAUSES = (100 * DAY, 200 * DAY)
LENGTHS = (70 * DAY, 160 * DAY, 380 * DAY)
"""How long runs last."""


class Deed(NamedTuple):
    """Something that a member does, or that is done with them."""

    after: int
    """Milliseconds since what was before it."""
    kind: str
    fields: Mapping[str, Any] = MappingProxyType({})


class Done(NamedTuple):
    """A deed at its place in the run."""

    at: int
    topic: str
    name: str
    is_anonymous: bool
    body: dict[str, Any]


def lives(rng: Random) -> tuple[list[Done], list[str]]:
    """Return what happens in a run, in order of time, and the names of its members."""
    # What was there before the first worker came is little: it would find all the rest expired.
    begins = rng.choice((0, 0, -2 * DAY))
    ends = rng.choice(LENGTHS)
    names = [f"m{rng.randrange(10_000)}" for _ in range(rng.choice((3, 4)))]
    found = [done for name in names for done in _life(rng, name, begins, ends)]
    if rng.random() < 0.5:
        found += _stroll(rng, begins, ends)
    return sorted(found, key=lambda done: done.at), names


def _life(rng: Random, name: str, begins: int, ends: int) -> Iterator[Done]:
    at = begins + rng.randrange(3 * DAY)
    todo = [deeds for deeds in rng.sample((_joins, _agrees), 2) if rng.random() < 0.9]
    while todo or rng.random() > 0.03:
        act = todo.pop(0) if todo else rng.choice(ACTS)
        for number, (after, kind, fields) in enumerate(act(rng, at)):
            at += after + rng.randrange(SECOND)
            if at > ends:
                return
            named = {"order_id": f"o{at}-{number}"} if kind in ORDERS else {}
            body = {"type": kind, "member_id": name, **named, **fields}
            yield Done(at, TOPIC_OF[kind], name, False, body)
        pauses = LONG_PAUSES if rng.random() < 0.08 else PAUSES
        at += rng.choice(pauses) if not todo else rng.randrange(HOUR)


def _stroll(rng: Random, begins: int, ends: int) -> Iterator[Done]:
    at = begins
    for _ in range(rng.randrange(1, 6)):
        at += rng.randrange((ends - begins) // 6)
        body = {"type": "view_item", "anonymous_id": "visitor", "item_id": rng.choice(ITEMS)}
        yield Done(at, "browse", "visitor", True, body)


ORDERS = ("purchase", "order_placed", "order_delivered", "return_requested", "refund", "cancel")


def _order(rng: Random, after: int, **fields: Any) -> Deed:
    total = rng.choice((20, 80, 80, 300, 1_200, 5_200))
    items = [{"item_id": item, "quantity": 1} for item in rng.sample(ITEMS, rng.randrange(3))]
    return Deed(after, "purchase", {"total": total, "items": items} | fields)


def _joins(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "register")
    if rng.random() < 0.6:
        day = f"{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        zone = rng.choice(("Asia/Shanghai", "America/New_York", "Australia/Brisbane"))
        channels = rng.sample(CHANNELS, rng.randrange(1, 5))
        said = {"birthday": day, "time_zone": zone, "channels": channels, "locale": "zh-CN"}
        known = {name: word for name, word in said.items() if rng.random() < 0.6}
        yield Deed(rng.choice((MINUTE, 2 * DAY)), "profile", known)


def _agrees(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "consent", {"channel": "all", "purpose": "marketing", "granted": True})


def _looks(rng: Random, at: int) -> Iterator[Deed]:
    item = {"item_id": rng.choice(ITEMS), "price": 10}
    for _ in range(rng.choice((1, 1, 2, 3))):
        yield Deed(rng.choice((SECOND, MINUTE, HOUR)), "view_item", item)
    if rng.random() < 0.5:
        yield Deed(MINUTE, "search", {"query": "tea"})
    if rng.random() < 0.5:
        yield Deed(MINUTE, "add_to_cart", item)
        if rng.random() < 0.3:
            yield Deed(MINUTE, "remove_from_cart", item)
        if rng.random() < 0.5:
            yield Deed(MINUTE, "begin_checkout")
            if rng.random() < 0.3:
                yield _order(rng, 10 * MINUTE)


def _orders(rng: Random, at: int) -> Iterator[Deed]:
    order = {"order_id": f"o{at}"}
    if rng.random() < 0.3:
        yield Deed(0, "order_placed", order)
    yield _order(rng, MINUTE, **order)
    if rng.random() < 0.2:
        yield Deed(3 * HOUR, "cancel", order)
        return
    if rng.random() < 0.6:
        yield Deed(2 * DAY, "order_delivered", order)
        if rng.random() < 0.4:
            yield Deed(DAY, "review", {"rating": rng.choice((1, 3, 5))})
        if rng.random() < 0.3:
            yield Deed(DAY, "return_requested", order)
            yield Deed(4 * DAY, "refund", order)


def _orders_often(rng: Random, at: int) -> Iterator[Deed]:
    gap = rng.choice((5, 9, 20)) * DAY
    for _ in range(rng.randrange(3, 7)):
        yield _order(rng, gap + rng.randrange(3 * DAY))


def _comes_daily(rng: Random, at: int) -> Iterator[Deed]:
    for _ in range(rng.randrange(18, 30)):
        yield Deed(DAY + rng.randrange(3 * HOUR), "visit")


def _has_points(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "points", {"balance": rng.choice((500, 1_200))})
    ends = BEGINNING + at + 20 * DAY
    yield Deed(rng.choice((HOUR, 2 * DAY)), "points",
               {"balance": rng.choice((700, 1_200)), "expiring": rng.choice((0, 300)),
                "expires_at": ends})  # fmt: skip


def _has_a_tier(rng: Random, at: int) -> Iterator[Deed]:
    tiers = ("bronze", "silver", "gold", "platinum")
    review = BEGINNING + at + 100 * DAY
    yield Deed(0, "tier", {"tier": rng.choice(tiers), "missing": rng.choice((50, 500)),
                           "review_at": review})  # fmt: skip


def _has_an_offer(rng: Random, at: int) -> Iterator[Deed]:
    offer = {"offer_id": f"offer{at}"}
    yield Deed(0, "offer_granted", offer | {"expires_at": BEGINNING + at + 6 * DAY})
    if rng.random() < 0.4:
        yield Deed(DAY, "offer_redeemed", offer)


def _speaks(rng: Random, at: int) -> Iterator[Deed]:
    for _ in range(rng.choice((1, 5, 6))):
        kind = rng.choice(("review", "share", "post", "invite_accepted"))
        yield Deed(rng.choice((HOUR, DAY)), kind, {"rating": 5} if kind == "review" else {})


def _has_a_problem(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "ticket_opened", {"ticket_id": f"t{at}"})
    if rng.random() < 0.7:
        yield Deed(DAY, "ticket_closed", {"ticket_id": f"t{at}"})


def _attends(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "rsvp", {"campaign": "salon"})
    yield Deed(2 * DAY, "attended", {"campaign": "salon"})


def _hears(rng: Random, at: int) -> Iterator[Deed]:
    message = {"channel": rng.choice(CHANNELS), "campaign": f"c{at}"}
    for kind in ("sent", rng.choice(("delivered", "bounced", "failed")), "opened", "clicked"):
        yield Deed(MINUTE, kind, message)
        if rng.random() < 0.3:
            return


def _refuses(rng: Random, at: int) -> Iterator[Deed]:
    match rng.randrange(4):
        case 0:
            yield Deed(0, "unsubscribed", {"channel": rng.choice(CHANNELS)})
        case 1:
            yield Deed(0, "complained", {"channel": rng.choice(CHANNELS)})
        case 2:
            yield Deed(0, "mute", {"until": BEGINNING + at + 5 * DAY})
        case 3 if rng.random() < 0.3:
            yield Deed(0, "erase")
    yield from _agrees(rng, at)


def _is_tagged(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "tag", {"tag": rng.choice(("price_sensitive", "salon_guest"))})
    if rng.random() < 0.3:
        yield Deed(DAY, "untag", {"tag": "price_sensitive"})


def _answers(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(0, "survey", {"survey_id": "s1", "answers": {"why": "price"}})


def _rests(rng: Random, at: int) -> Iterator[Deed]:
    yield Deed(rng.choice(PAUSES), "visit")


ACTS: tuple[Callable[[Random, int], Iterator[Deed]], ...] = (
    *(_looks,) * 6,
    *(_orders,) * 4,
    *(_orders_often,) * 2,
    _comes_daily,
    _has_points,
    *(_has_a_tier,) * 2,
    _has_an_offer,
    _speaks,
    *(_has_a_problem, _attends, _hears, _refuses, _is_tagged, _answers, _rests),
)

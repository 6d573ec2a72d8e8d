"""Made members of a made shop: deterministic events for demos, tests and measurements.

What is modelled, per member (every figure below is a share or a median over many members):

- **Arrival** inside the window, more of them early. A third of those who come online browse one to
  three times anonymously; then they register and are linked. Four in five say yes to messages on
  their channel, one in ten says no, six in ten fill in a profile.
- **Habit**, one of five: *loyal* (12 %: regular, buys at every second visit), *steady* (28 %),
  *fading* (25 %: keen at first, then each pause is longer than the last), *once* (15 %: leaves
  soon after a first order) and *browser* (20 %: registers and never buys).
- **Pace**: the mean pause between visits is three to six days by habit, times a log-normal factor
  per member, so that few members make most of the events. All but the loyal sometimes stay away
  for 35 to 150 days and come back with their old pace.
- **Hours and days** of the brand's zone: lunch and evening peaks, quiet nights, full weekends.
- **Visits**: a visit, sometimes a search, several views within the member's two or three favourite
  categories; now and then something goes into the cart or out of it. Who wants to buy checks out
  and mostly pays; others leave items unbought, carts standing and checkouts unfinished. A cart
  stays until it is bought. Store customers also buy in the store, which nobody sees coming.
- **Orders**: one in five with a coupon. Online orders are delivered after one to five days; 3 % are
  cancelled within the hour, 5 % are refunded in part or whole, 15 % are reviewed.
- **Messages** of a weekly campaign are rarely opened, more rarely clicked; some unsubscribe.

Not modelled: that triggers change what members do, prices that move, returning households.
Chance comes from the seed alone, a generator per member; memory grows with the members (a few
kilobytes each), not with the days.
"""

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import accumulate, count
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.event_files import Event
from models.decoding import RANK_OF
from models.events import TOPIC_OF
from models.times import DAY, HOUR, MINUTE, SECOND, from_datetime

BRAND_ZONE = "Asia/Shanghai"
# 2026-01-01T00:00:00Z: a fixed end, so that the same seed gives the same bytes on every day.
DEFAULT_END_MS = 1_767_225_600_000

CATEGORIES = {
    "tea": 60,
    "coffee": 80,
    "snacks": 25,
    "skincare": 180,
    "fragrance": 320,
    "home": 120,
    "kitchen": 90,
    "pets": 45,
}
ITEMS_PER_CATEGORY = 25
MAX_CART = 6

CHANNEL_OF = {"app": "app_push", "mini_program": "wechat", "web": "email", "store": "sms"}
SOURCE_WEIGHTS = (40, 30, 18, 12)

# Monday first.
DAY_WEIGHTS = (1.0, 0.95, 1.0, 1.0, 1.15, 1.6, 1.5)
HOUR_WEIGHTS = (
    3,
    1,
    0.5,
    0.3,
    0.3,
    0.6,
    2,
    4,
    6,
    7,
    8,
    9,
    12,
    9,
    7,
    7,
    8,
    9,
    10,
    13,
    16,
    17,
    13,
    7,
)


class Product(NamedTuple):
    """One item of the made catalogue; the price in yuan."""

    item_id: str
    category: str
    price: float


class Habit(NamedTuple):
    """How members of one kind behave.

    ``pause_days`` is the mean between visits, ``regularity`` the shape of its gamma
    distribution, ``buys`` the share of visits with the wish to buy, ``leaves`` the chance after
    each visit (after the first order) that it was the last, ``breaks`` that a long absence
    follows, ``fades`` the factor on each pause once fading has begun.
    """

    pause_days: float
    regularity: float
    buys: float
    leaves: float
    breaks: float
    fades: float = 1.0


HABITS = (
    Habit(5.0, 8.0, 0.5, 0.0, 0.0),
    Habit(6.0, 1.5, 0.2, 0.01, 0.03),
    Habit(3.0, 1.5, 0.2, 0.01, 0.03, fades=1.25),
    Habit(4.0, 1.2, 0.4, 0.6, 0.04),
    Habit(6.0, 1.2, 0.0, 0.04, 0.04),
)
HABIT_WEIGHTS = (12, 28, 25, 15, 20)

Timed = tuple[int, int, int, int, Event]


def catalogue(seed: int) -> tuple[Product, ...]:
    """Return the shop's items, the popular ones of each category first."""
    random = _random(seed, "catalogue")
    return tuple(
        Product(
            f"{category}-{number:02d}",
            category,
            round(base * random.lognormvariate(0, 0.5)) + 0.9,
        )
        for category, base in CATEGORIES.items()
        for number in range(1, ITEMS_PER_CATEGORY + 1)
    )


def catalogue_events(seed: int) -> Iterator[Event]:
    """Yield an ``item`` event for each item of the catalogue."""
    for product in catalogue(seed):
        yield {
            "type": "item",
            "item_id": product.item_id,
            "title": f"{product.category.capitalize()} no. {product.item_id[-2:]}",
            "category": product.category,
            "price": product.price,
            "currency": "CNY",
            "available": True,
        }


def simulate(
    members: int, days: int, seed: int, end_ms: int, time_zone: str = BRAND_ZONE
) -> Iterator[Event]:
    """Yield the events of ``members`` members in the ``days`` days before ``end_ms``, in order.

    The order is time, topic, member. The same arguments give the same events. A member who comes
    too late to register before ``end_ms`` has only anonymous events, or none.
    """
    shop = _Shop(catalogue(seed), ZoneInfo(time_zone), end_ms - days * DAY, end_ms)
    lives = [_Life(shop, seed, number).events() for number in range(1, members + 1)]
    for *_, event in heapq.merge(*lives):
        yield event


class _Shop:
    """What all members share: catalogue, window and the rhythm of the week."""

    def __init__(
        self, products: tuple[Product, ...], zone: ZoneInfo, start_ms: int, end_ms: int
    ) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.zone = zone
        self.by_category = {
            category: [product for product in products if product.category == category]
            for category in CATEGORIES
        }
        # Zipf: the tenth item of a category is looked at a tenth as often as the first.
        self.popularity = list(accumulate(1 / rank for rank in range(1, ITEMS_PER_CATEGORY + 1)))

    def moment(self, random: Random, earliest_ms: int) -> int:
        """Return a time within a few days after ``earliest_ms`` at which people shop."""
        earliest = datetime.fromtimestamp(earliest_ms / SECOND, self.zone)
        weights = [DAY_WEIGHTS[(earliest.weekday() + k) % 7] * 0.6**k for k in range(4)]
        (later,) = random.choices(range(4), weights)
        (hour,) = random.choices(range(24), HOUR_WEIGHTS)
        chosen = earliest.replace(
            hour=hour, minute=random.randrange(60), second=random.randrange(60), microsecond=0
        ) + timedelta(days=later)
        moment = from_datetime(chosen) + random.randrange(SECOND)
        return moment if moment >= earliest_ms else moment + DAY


class _Life:
    """One member's life; ``events`` may be called once."""

    def __init__(self, shop: _Shop, seed: int, number: int) -> None:
        random = _random(seed, str(number))
        self.shop = shop
        self.random = random
        self.number = number
        self.member_id = f"m-{number:06d}"
        self.anonymous_id = f"anon-{number:06d}"
        (self.source,) = random.choices(tuple(CHANNEL_OF), SOURCE_WEIGHTS)
        (self.habit,) = random.choices(HABITS, HABIT_WEIGHTS)
        self.own_pace = random.lognormvariate(0, 0.9)
        self.pace = self.own_pace
        self.fading_after = random.uniform(20, 120) * DAY
        self.categories = random.sample(tuple(CATEGORIES), random.choice((2, 2, 3)))
        self.anonymous_visits = (
            random.randint(1, 3) if self.source != "store" and random.random() < 0.35 else 0
        )
        self.came_anonymously = self.anonymous_visits > 0
        self.registered = False
        self.reachable = False
        self.cart: dict[str, tuple[Product, int]] = {}
        self.orders = 0
        self.waiting: list[Timed] = []
        self.sequence = count(1)

    def events(self) -> Iterator[Timed]:
        """Yield time, topic rank, member number, sequence and event, in this order."""
        window = self.shop.end_ms - self.shop.start_ms
        arrived = self.shop.start_ms + int(window * self.random.random() ** 1.4)
        start: int | None = self.shop.moment(self.random, arrived)
        while start is not None and start < self.shop.end_ms:
            # What is still waiting and earlier can no longer be overtaken by this visit.
            while self.waiting and self.waiting[0][0] < start:
                yield heapq.heappop(self.waiting)
            end = self._visit(start)
            start = self._next_visit(end, end - arrived)
        while self.waiting:
            yield heapq.heappop(self.waiting)

    def _emit(self, at: int, name: str, /, **fields: object) -> None:
        if at >= self.shop.end_ms:
            return
        sequence = next(self.sequence)
        event: Event = {"type": name, "event_id": f"{self.number}-{sequence}"}
        if self.registered:
            event["member_id"] = self.member_id
        else:
            event["anonymous_id"] = self.anonymous_id
        event["occurred_at"] = at
        event.update(fields)
        rank = RANK_OF[TOPIC_OF[name]]
        heapq.heappush(self.waiting, (at, rank, self.number, sequence, event))

    def _next_visit(self, now: int, age: int) -> int | None:
        """Return when the member comes back, or None when never."""
        random, habit = self.random, self.habit
        if not self.registered:
            return self.shop.moment(random, now + int(random.uniform(0.1, 4) * DAY))
        if (self.orders or not habit.buys) and random.random() < habit.leaves:
            return None
        if age > self.fading_after:
            self.pace *= habit.fades
        pause = habit.pause_days * self.pace * random.gammavariate(habit.regularity, 1) * DAY
        pause /= habit.regularity
        if random.random() < habit.breaks:
            pause = random.uniform(35, 150) * DAY
            self.fading_after += age
            self.pace = self.own_pace
        # A moment comes a day and a half after the earliest it may, on average.
        following = self.shop.moment(random, now + max(HOUR, int(pause - 1.5 * DAY)))
        self._message(now, following)
        return following

    def _message(self, now: int, following: int) -> None:
        """Let the member open a campaign's message between two visits, rarely."""
        random = self.random
        if not self.reachable or random.random() >= 0.08:
            return
        at = random.randint(now, following)
        week = datetime.fromtimestamp(at / SECOND, self.shop.zone).isocalendar().week
        about = {"channel": CHANNEL_OF[self.source], "campaign": f"weekly-{week:02d}"}
        self._emit(at, "opened", **about)
        if random.random() < 0.3:
            self._emit(at + random.randint(3, 40) * SECOND, "clicked", **about)
        elif random.random() < 0.06:
            self._emit(at + random.randint(3, 40) * SECOND, "unsubscribed", **about)
            self.reachable = False

    def _visit(self, at: int) -> int:
        """Make one visit's events and return when it ended."""
        if not self.registered:
            if self.anonymous_visits:
                self.anonymous_visits -= 1
                return self._browse(at, wants=False)
            at = self._register(at)
        wants = self.random.random() < self.habit.buys
        if wants and self.random.random() < (0.5 if self.source == "store" else 0.05):
            return self._buy_in_store(at)
        return self._browse(at, wants)

    def _register(self, at: int) -> int:
        random = self.random
        self.registered = True
        self._emit(at, "register", source=self.source)
        if self.came_anonymously:
            known = {"anonymous_id": self.anonymous_id, "kind": "login"}
            self._emit(at, "link", source=self.source, **known)
        answer = random.random()
        if answer < 0.9:
            self.reachable = answer < 0.8
            self._emit(
                at + 2 * SECOND,
                "consent",
                source=self.source,
                channel=CHANNEL_OF[self.source],
                purpose="marketing",
                granted=self.reachable,
            )
        if random.random() < 0.6:
            self._profile(at + random.randint(20, 90) * SECOND)
        return at + 100 * SECOND

    def _profile(self, at: int) -> None:
        random = self.random
        year = "-" if random.random() < 0.2 else f"{random.randint(1955, 2006)}"
        (zone,) = random.choices(
            (self.shop.zone.key, "Europe/London", "America/New_York"), (94, 3, 3)
        )
        self._emit(
            at,
            "profile",
            source=self.source,
            birthday=f"{year}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}",
            time_zone=zone,
            locale="en" if random.random() < 0.12 else "zh-CN",
        )

    def _browse(self, at: int, wants: bool) -> int:
        random, source = self.random, "app" if self.source == "store" else self.source
        self._emit(at, "visit", source=source)
        if random.random() < 0.25:
            at += random.randint(2, 15) * SECOND
            self._emit(at, "search", source=source, query=random.choice(self.categories))
        product = None
        for _ in range(min(12, 1 + int(random.expovariate(0.45)))):
            at += random.randint(5, 90) * SECOND
            product = self._pick()
            seen = {"item_id": product.item_id, "category": product.category}
            self._emit(at, "view_item", source=source, **seen, price=product.price)
            if random.random() < (0.4 if wants else 0.07):
                at = self._add(at, product, source)
            elif self.cart and random.random() < 0.05:
                at += random.randint(2, 20) * SECOND
                removed, quantity = self.cart.pop(random.choice(list(self.cart)))
                self._emit(
                    at,
                    "remove_from_cart",
                    source=source,
                    item_id=removed.item_id,
                    category=removed.category,
                    quantity=quantity,
                    price=removed.price,
                )
        if wants and not self.cart and product is not None:
            at = self._add(at, product, source)
        if self.registered and self.cart and random.random() < (0.95 if wants else 0.15):
            at = self._check_out(at, source, pays=wants and random.random() < 0.85)
        return at

    def _pick(self) -> Product:
        category = self.random.choice(self.categories)
        (product,) = self.random.choices(
            self.shop.by_category[category], cum_weights=self.shop.popularity
        )
        return product

    def _add(self, at: int, product: Product, source: str) -> int:
        if len(self.cart) >= MAX_CART or product.item_id in self.cart:
            return at
        quantity = 2 if self.random.random() < 0.1 else 1
        at += self.random.randint(2, 20) * SECOND
        self.cart[product.item_id] = (product, quantity)
        self._emit(
            at,
            "add_to_cart",
            source=source,
            item_id=product.item_id,
            category=product.category,
            quantity=quantity,
            price=product.price,
        )
        return at

    def _check_out(self, at: int, source: str, pays: bool) -> int:
        at += self.random.randint(5, 60) * SECOND
        lines = [_line(*entry) for entry in self.cart.values()]
        self._emit(at, "begin_checkout", source=source, items=lines, value=_value(lines))
        if not pays:
            return at
        at += self.random.randint(20, 240) * SECOND
        self.cart.clear()
        order_id, total = self._purchase(at, lines, source=source)
        self._follow_up(at, order_id, total, lines)
        return at

    def _buy_in_store(self, at: int) -> int:
        lines = [_line(self._pick(), 1) for _ in range(self.random.choice((1, 1, 2, 3)))]
        store = self.number % 5 + 1
        self._purchase(at, lines, source="store", store_id=f"store-{store}", staff_id=f"s{store}1")
        return at

    def _purchase(self, at: int, lines: list[Event], **fields: object) -> tuple[str, float]:
        self.orders += 1
        order_id = f"o-{self.number}-{self.orders}"
        total = _value(lines)
        if self.random.random() < 0.2:
            fields["coupon"] = "WELCOME10" if self.orders == 1 else "SAVE10"
            fields["discount"] = round(total / 10, 2)
            total = round(total - round(total / 10, 2), 2)
        order = {"order_id": order_id, "total": total, "currency": "CNY", "items": lines}
        self._emit(at, "purchase", **order, **fields)
        return order_id, total

    def _follow_up(self, paid_at: int, order_id: str, total: float, lines: list[Event]) -> None:
        """Make what follows an online order: cancelled, or delivered and maybe more."""
        random = self.random
        if random.random() < 0.03:
            self._emit(paid_at + random.randint(3, 55) * MINUTE, "cancel", order_id=order_id)
            return
        delivered = paid_at + int(random.uniform(1, 5) * DAY)
        self._emit(delivered, "order_delivered", order_id=order_id)
        if random.random() < 0.05:
            back = lines if random.random() < 0.5 else lines[:1]
            at = delivered + int(random.uniform(0.5, 7) * DAY)
            paid_back = round(total * _value(back) / _value(lines), 2)
            self._emit(at, "refund", order_id=order_id, total=paid_back, items=back)
        elif random.random() < 0.15:
            at = self.shop.moment(random, delivered + int(random.uniform(0.5, 8) * DAY))
            (rating,) = random.choices((5, 4, 3, 2, 1), (60, 22, 8, 5, 5))
            item_id = random.choice(lines)["item_id"]
            self._emit(at, "review", source=self.source, item_id=item_id, rating=rating)


def _random(seed: int, name: str) -> Random:
    """Return a generator of its own for each name, so that one member's draws move no other's."""
    digest = blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def _line(product: Product, quantity: int) -> Event:
    return {
        "item_id": product.item_id,
        "category": product.category,
        "quantity": quantity,
        "price": product.price,
    }


def _value(lines: list[Event]) -> float:
    return float(round(sum(line["quantity"] * line["price"] for line in lines), 2))

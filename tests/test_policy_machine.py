"""No sequence of events, clock steps, restarts and changes of rules violates the policy.

Whatever happens, in whatever order: consent, reachability, caps, quiet hours and cool-downs hold,
a member is in a control group or is not, and one occasion has one trigger.

The model is a diary: plain lists of what was said and sent, asked anew for every verdict. It shares
no code with the engine.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core_builders import DAY, HOUR, MINUTE, NOON, SECOND, absence
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from policy_kit import Judged, book, on

from models.engine import next_due
from models.outcome import Outcome
from models.times import parse_instant
from models.triggers import Decision, Trigger, TriggerCancelled

CHANNELS = ("app_push", "sms", "email")
WENT = ("sent", "delivered")
RULES = [
    on("visit", "hello", priority=10),
    on("search", "found", priority=60, group="g"),
    on("visit", "text", priority=30, channels=["sms"], reentry={"per": "member", "every": "5h"}),
    on("visit", "bill", purpose="service", expires_after="2h"),
    on("share", "once", reentry="once", priority=80),
    {"rule": "left", "when": absence("add_to_cart", "purchase", "1h"), "group": "g"}
    | {"priority": 70, "expires_after": "1d"},
    {"rule": "away", "when": absence("visit", "visit", "1d"), "episode": "recall"}
    | {"expires_after": "2d", "priority": 40},
    {"rule": "longer_away", "when": absence("visit", "visit", "2d"), "episode": "recall"}
    | {"expires_after": "2d", "priority": 41},
]
# What they may be changed into; None: the rule is gone.
CHANGED: dict[str, dict[str, Any] | None] = {
    "hello": on("visit", "hello", priority=75, group="g", version=2),
    "found": None,
    "text": on("visit", "text", priority=90, channels=["email", "sms"], version=2),
    "bill": on("visit", "bill", expires_after="1d", version=2),
    "once": on("share", "once", reentry="always", purpose="service", version=2),
    "left": {"rule": "left", "when": absence("add_to_cart", "purchase", "30m"), "version": 2}
    | {"expires_after": "2d"},
    "longer_away": {"rule": "longer_away", "when": absence("visit", "visit", "36h")}
    | {"expires_after": "2d", "priority": 41, "version": 2, "group": "g"},
    "fresh": on("search", "fresh", priority=50, reentry="once"),
}


@dataclass
class Sent:
    """Something that reached the member, or would have."""

    at: int
    name: str
    marketing: bool
    group: str | None
    channels: tuple[str, ...]
    counts: bool = True
    is_sent: bool = False
    words: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)


durations = st.sampled_from(["30m", "2h", "1d", "3d"])
caps = st.fixed_dictionaries(
    {"at_most": st.sampled_from([0, 1, 1, 2, 3])},
    optional={
        "purpose": st.sampled_from(["marketing", "service", "any"]),
        "channel": st.sampled_from(CHANNELS),
        "group": st.just("g"),
    },
).flatmap(
    lambda cap: st.one_of(
        durations.map(lambda within: cap | {"within": within}),
        st.sampled_from(["day", "week"]).map(lambda per: cap | {"per": per}),
    )
)
then = st.sampled_from(["defer", "drop"])
doings = st.lists(
    st.tuples(
        st.sampled_from(["visit", "visit", "search", "share", "add_to_cart"]),
        st.sampled_from([0, SECOND, 30 * SECOND, MINUTE, HOUR, 3 * HOUR]),
    ),
    min_size=2,
    max_size=8,
)
LINES: dict[str, st.SearchStrategy[Any]] = {
    "consent": st.one_of(
        st.just("opt_out"),
        st.fixed_dictionaries(
            {name: st.sampled_from(["allowed", "denied"]) for name in ("marketing", "service")}
        ),
    ),
    "reachability": st.just(True),
    "holds": st.just({"ticket": "1d", "complaint": "1d", "return": "1d"}),
    "silence_after_purchase": st.fixed_dictionaries({"for": st.just("5h"), "then": then}),
    "holdout": st.just({"salt": "s", "everything": "10%", "per_rule": "20%"}),
    "cool_down": st.just({"g": "6h"}),
    "arbitration": st.sampled_from(["30s", "10m", 0]),
    "quiet_hours": st.fixed_dictionaries(
        {"from": st.just("21:00"), "to": st.just("09:00"), "then": then}
    ),
    "sent_is_reported": st.just(False),
}


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A few lines of a policy: with all of them nothing would be sent that could be wrong."""
    names = draw(st.lists(st.sampled_from(sorted(LINES)), unique=True, min_size=1, max_size=4))
    policy = {name: draw(LINES[name]) for name in names}
    if "quiet_hours" in names:
        policy["pace"] = "30m"
    if "consent" in names:
        policy["consent_follows"] = draw(st.sampled_from([0, "10m", "1h"]))
    # Whatever the other caps, what was sent in the last weeks is kept in mind.
    most = {"at_most": 20, "within": "60d", "purpose": "any"}
    few = draw(st.lists(caps, max_size=2))
    return policy | {"channels": list(CHANNELS), "caps": [*few, most]}


MILLISECONDS = {"30m": 30 * MINUTE, "2h": 2 * HOUR, "1d": DAY, "3d": 3 * DAY, "60d": 60 * DAY}
WINDOWS = {"30s": 30 * SECOND, "10m": 10 * MINUTE, 0: 0}
FOLLOWS = {"10m": 10 * MINUTE, "1h": HOUR, 0: 0}


def rules_with(changed: list[str]) -> dict[str, dict[str, Any]]:
    """The rules by name, some of them changed."""
    found = {rule["rule"]: rule for rule in RULES} | {name: CHANGED[name] for name in changed}
    return {name: rule for name, rule in found.items() if rule is not None}


class Diary:
    """What is known of the member, and what may be sent by it."""

    def __init__(self, policy: dict[str, Any], rules: dict[str, dict[str, Any]]) -> None:
        self.policy = policy
        self.rules = rules
        self.words: list[tuple[int, int, str, str, bool]] = []
        self.first = 2 * NOON
        self.registered: int | None = None
        self.orders: list[int] = []
        self.mutes: list[tuple[int, int]] = []
        self.lists: list[tuple[int, tuple[str, ...]]] = []
        self.signs: list[tuple[int, str, bool]] = []
        self.tickets = 0
        self.ticket_at: list[int] = []
        self.complaints: list[int] = []
        self.returns: list[tuple[int, str, bool]] = []
        self.zones: list[tuple[int, str]] = []
        self.sent: list[Sent] = []

    # --- what holds ---

    def local(self, at: int) -> datetime:
        zone = max(self.zones, default=(0, "UTC"))[1]
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
        return moment.astimezone(ZoneInfo(zone))

    def is_muted(self, at: int) -> bool:
        return any(at < until for _, until in self.mutes)

    def allows(self, purpose: str, channel: str) -> bool:
        consent = self.policy.get("consent")
        if consent is None:
            return True
        enumerated = [
            (at, rank, number, one, granted)
            for number, (at, rank, about, one, granted) in enumerate(self.words)
            if about == purpose
        ]
        latest = [
            max(word for word in enumerated if word[3] == one)
            for one in (channel, "all")
            if any(word[3] == one for word in enumerated)
        ]
        if not latest:
            return bool(consent == "opt_out" or consent[purpose] == "allowed")
        last = max(word[:2] for word in latest)
        # Of two words at one place, about the channel and about all, a refusal wins.
        return all(word[4] for word in latest if word[:2] == last)

    def may_follow(self, purpose: str, wanted: tuple[str, ...], at: int) -> bool:
        """Whether a word may still come that allows a channel: not all of them are refused."""
        refused = {
            channel
            for channel in wanted
            if any(word[2] == purpose and word[3] in (channel, "all") for word in self.words)
            and not self.allows(purpose, channel)
        }
        since = max(self.first, self.registered or 0)
        follows = FOLLOWS[self.policy.get("consent_follows", 0)]
        return len(refused) < len(wanted) and at < since + follows

    def reaches(self, channel: str) -> bool:
        if not self.policy.get("reachability"):
            return True
        told = max(self.lists, default=(-1, CHANNELS))
        signs = [(at, n, bad) for n, (at, one, bad) in enumerate(self.signs) if one == channel]
        at, _, bad = max(signs, default=(-1, 0, False))
        return channel in told[1] and not (bad and at >= told[0])

    def holds(self, at: int) -> bool:
        if "holds" not in self.policy:
            return False
        ticket = self.tickets > 0 and at < max(self.ticket_at) + DAY
        complaint = any(at < one + DAY for one in self.complaints)
        returned = any(is_open and at < when + DAY for when, _, is_open in self.returns)
        return ticket or complaint or returned

    def is_silent(self, at: int) -> bool:
        return "silence_after_purchase" in self.policy and any(
            at < order + 5 * HOUR for order in self.orders
        )

    def rests(self, group: str | None, at: int) -> bool:
        return group in self.policy.get("cool_down", {}) and any(
            one.counts and one.group == group and one.at > at - 6 * HOUR for one in self.sent
        )

    def is_full(self, cap: dict[str, Any], at: int) -> bool:
        purpose = cap.get("purpose", "marketing")
        counted = [
            one
            for one in self.sent
            if one.counts
            and (purpose == "any" or one.marketing == (purpose == "marketing"))
            and cap.get("group") in (None, one.group)
            and (cap.get("channel") is None or cap["channel"] in one.channels)
        ]
        if "within" in cap:
            since = at - MILLISECONDS[cap["within"]]
            return sum(one.at > since for one in counted) >= cap["at_most"]
        today = self.period(cap, at)
        return sum(self.period(cap, one.at) == today for one in counted) >= cap["at_most"]

    def period(self, cap: dict[str, Any], at: int) -> tuple[int, ...]:
        local = self.local(at)
        if cap["per"] == "week":
            return local.isocalendar()[:2]
        return local.year, local.month, local.day

    def full_caps(self, name: str, at: int) -> list[dict[str, Any]]:
        return [
            cap
            for cap in self.policy["caps"]
            if cap.get("purpose", "marketing") in (self.purpose(name), "any")
            and cap.get("group") in (None, self.group(name))
            and self.is_full(cap, at)
        ]

    def purpose(self, name: str) -> str:
        return str(self.rules[name].get("purpose", "marketing"))

    def group(self, name: str) -> str | None:
        return self.rules[name].get("group")

    def is_quiet(self, at: int) -> bool:
        local = self.local(at)
        return "quiet_hours" in self.policy and not 9 <= local.hour < 21

    def leaves(self, name: str, at: int) -> tuple[int, int]:
        """Between which instants that leaves which is asked about at one."""
        waits = self.is_quiet(at) and self.policy["quiet_hours"]["then"] == "defer"
        if not waits or self.purpose(name) != "marketing":
            return at, at
        local = self.local(at)
        morning = local.replace(hour=9, minute=0, second=0, microsecond=0)
        if local.hour >= 9:
            morning += timedelta(days=1)
        end = round(morning.timestamp() * 1000)
        return end, end + 30 * MINUTE


class PolicyMachine(RuleBasedStateMachine):
    """One member, a few weeks, any policy."""

    @initialize(policy=policies(), number=st.integers(0, 30))
    def begins(self, policy: dict[str, Any], number: int) -> None:
        self.diary = Diary(policy, rules_with([]))
        self.life = Judged(book(policy, *RULES), f"m{number}")
        self.skew: int | None = None
        self.at = NOON
        self.waiting: dict[tuple[str, str], int] = {}
        self.raised: set[tuple[str, int, str]] = set()
        self.groups: dict[str, set[bool]] = {}
        self.last_marketing: int | None = None
        self.same_book_since = 0
        self.number = 0

    # --- what happens ---

    def passes(self, step: int) -> None:
        """Time passes, with a look at each instant at which something happens by itself."""
        target = self.at + step
        while (due := next_due(self.life.member, self.life.book)) <= target:
            self.at = due
            self.judges(self.life.reaches(due, self.wall))
        self.at = target
        self.judges(self.life.reaches(target, self.wall))

    @property
    def wall(self) -> int | None:
        """What the worker's clock says, if it has one."""
        return None if self.skew is None else self.at + self.skew

    def says(self, kind: str, late: int = 0, **fields: Any) -> None:
        """An event, perhaps one that happened a little while ago."""
        self.number += 1
        name = f"e{self.number}"
        self.diary.first = min(self.diary.first, self.at - late)
        self.judges(self.life.sees(kind, self.at - late, self.wall, event_id=name, **fields))

    def judges(self, outcome: Outcome) -> None:
        """Compare everything that was said, in its order, with the diary."""
        messages = list(outcome.triggers)
        while messages and isinstance(messages[0], TriggerCancelled):
            if messages[0].reason.startswith("superseded"):
                break
            self.takes_back(messages.pop(0).trigger_id)
        for decision in outcome.decisions:
            if not isinstance(decision, Decision):
                continue
            place = (decision.rule, decision.occasion)
            if decision.verdict == "raised":
                at_once = [isinstance(message, Trigger) for message in messages].index(True)
                trigger = messages[at_once]
                assert isinstance(trigger, Trigger)
                assert trigger.trigger_id == decision.trigger_id
                self.agrees(decision, trigger)
                for message in messages[:at_once]:
                    self.takes_back(message.trigger_id)
                self.goes_out(trigger)
                del messages[: at_once + 1]
            else:
                self.agrees(decision, None)
            self.waiting.pop(place, None)
            if decision.until is not None:
                self.waiting[place] = parse_instant(decision.until)
        assert not messages

    def takes_back(self, identity: str) -> None:
        for one in self.diary.sent:
            if one.name == identity and not one.is_sent:
                one.counts = one.counts and not self.diary.policy.get("sent_is_reported", True)

    def goes_out(self, trigger: Trigger) -> None:
        at = self.at
        occasion = trigger.rule, trigger.rule_version, trigger.occasion
        assert occasion not in self.raised, "one trigger an occasion"
        self.raised.add(occasion)
        marketing = trigger.purpose == "marketing"
        window = WINDOWS[self.diary.policy.get("arbitration", 0)]
        if marketing:
            last, self.last_marketing = self.last_marketing, at
            if last is not None and window and last >= self.same_book_since:
                assert at >= last + window, "two of one window"
        self.diary.sent.append(
            Sent(at, trigger.trigger_id, marketing, trigger.group, trigger.channels)
        )

    # --- what must hold ---

    def agrees(self, decision: Decision, trigger: Trigger | None) -> None:
        """A verdict has the reason that it says, and none of those that come before it."""
        diary, name, verdict, at = self.diary, decision.rule, decision.verdict, self.at
        own = ("unless", "reentry", "expired", "late", "backfill", "overtaken", "overflow")
        if verdict in own:
            return
        assert name in diary.rules, "a rule that is gone says nothing"
        purpose = diary.purpose(name)
        marketing = purpose == "marketing"
        wanted = diary.rules[name].get("channels", CHANNELS)
        allowed = [c for c in wanted if diary.allows(purpose, c)]
        open_ones = [c for c in allowed if diary.reaches(c)]
        earliest, latest = diary.leaves(name, at)
        asked = earliest if verdict == "cap" else latest
        if decision.until is not None:
            asked = parse_instant(decision.until)
        full = diary.full_caps(name, asked)
        capped = {cap.get("channel") for cap in full}
        left = [c for c in open_ones if c not in capped]
        reasons = {
            "mute": diary.is_muted(at),
            "consent": not allowed,
            "unreachable": not open_ones,
            "hold": marketing and diary.holds(at),
            "silence": marketing and diary.is_silent(at),
        }
        may_follow = diary.may_follow(purpose, tuple(wanted), at)
        waits_for = [name for name in ("consent", "silence") if reasons[name]]
        if verdict in reasons or (verdict == "held" and waits_for):
            names = list(reasons)
            said = waits_for[0] if verdict == "held" else verdict
            if said == "consent":
                assert may_follow == (verdict == "held"), decision
            assert reasons[said], decision
            assert not any(reasons[name] for name in names[: names.index(said)]), decision
            return
        assert not any(reasons.values()), (decision, reasons)
        if marketing and "holdout" in diary.policy:
            # The salt is always the same.
            self.groups.setdefault(name, set()).add(verdict == "holdout")
        if verdict == "holdout":
            assert marketing
            assert "holdout" in diary.policy
            return
        if verdict == "arbitration":
            assert decision.won_by is not None
            return
        if verdict == "cool_down":
            assert diary.rests(diary.group(name), earliest), decision
            return
        assert not diary.rests(diary.group(name), latest), decision
        if verdict == "cap":
            assert None in capped or not left, decision
            return
        assert None not in capped, (decision, full)
        assert left, (decision, full)
        if verdict in ("quiet", "held"):
            assert diary.is_quiet(at), decision
            if decision.until is not None:
                assert earliest <= parse_instant(decision.until) < latest, decision
            return
        assert verdict == "raised", decision
        assert not (marketing and diary.is_quiet(at)), decision
        assert trigger is not None
        assert list(trigger.channels) == left, decision
        assert parse_instant(trigger.not_before) <= at < parse_instant(trigger.expires_at)
        if marketing and "quiet_hours" in diary.policy and at == parse_instant(trigger.not_before):
            assert not diary.is_quiet(parse_instant(trigger.not_after) - 1)

    @invariant()
    def a_member_is_always_treated_or_never(self) -> None:
        for name, was_out in getattr(self, "groups", {}).items():
            assert len(was_out) == 1, name

    @invariant()
    def nothing_waits_in_the_past(self) -> None:
        for until in getattr(self, "waiting", {}).values():
            assert until + max(WINDOWS.values()) > self.at

    # --- the member's days ---

    @rule(step=st.sampled_from([0, 1, SECOND, 30 * SECOND, MINUTE, 20 * MINUTE, HOUR, 3 * HOUR]))
    def a_while_passes(self, step: int) -> None:
        self.passes(step)

    @rule(step=st.sampled_from([9 * HOUR, 20 * HOUR, 2 * DAY]))
    def a_day_passes(self, step: int) -> None:
        self.passes(step)

    @rule(doings=doings)
    def is_about(self, doings: list[tuple[str, int]]) -> None:
        for kind, step in doings:
            self.says(kind)
            self.passes(step)

    @rule(doings=doings)
    def is_about_after_a_while(self, doings: list[tuple[str, int]]) -> None:
        """Most of what happens is of this kind."""
        self.passes(5 * HOUR)
        self.is_about(doings)

    @rule(doings=doings)
    def is_about_after_an_order(self, doings: list[tuple[str, int]]) -> None:
        self.orders(0)
        self.is_about(doings)

    @rule(late=st.sampled_from([0, 0, MINUTE, 50 * MINUTE]))
    def orders(self, late: int) -> None:
        self.diary.orders.append(self.at - late)
        self.says("purchase", late, order_id=f"o{self.number}")

    @rule(
        channel=st.sampled_from([*CHANNELS, "all"]),
        purpose=st.sampled_from(["marketing", "service"]),
        granted=st.sampled_from([True, True, False]),
        late=st.sampled_from([0, 0, MINUTE, 50 * MINUTE]),
    )
    def consents(self, channel: str, purpose: str, granted: bool, late: int) -> None:
        self.diary.words.append((self.at - late, 1, purpose, channel, granted))
        self.says("consent", late, channel=channel, purpose=purpose, granted=granted)

    @rule(channel=st.sampled_from(CHANNELS), kind=st.sampled_from(["unsubscribed", "complained"]))
    def leaves(self, channel: str, kind: str) -> None:
        is_complaint = kind == "complained"
        self.diary.words.append(
            (self.at, 2, "marketing", "all" if is_complaint else channel, False)
        )
        if is_complaint:
            self.diary.complaints.append(self.at)
        self.says(kind, channel=channel)

    @rule(hours=st.integers(-5, 5), late=st.sampled_from([0, MINUTE]))
    def is_muted(self, hours: int, late: int) -> None:
        until = self.at + hours * HOUR
        if not self.diary.mutes or self.at - late >= self.diary.mutes[0][0]:
            self.diary.mutes = [(self.at - late, until)]
        self.says("mute", late, until=until)

    @rule(channels=st.lists(st.sampled_from([*CHANNELS, "fax"]), unique=True))
    def lists_channels(self, channels: list[str]) -> None:
        self.diary.lists = [(self.at, tuple(channels))]
        self.says("profile", channels=channels)

    @rule(zone=st.sampled_from(["Asia/Shanghai", "America/New_York", "Pacific/Kiritimati"]))
    def moves(self, zone: str) -> None:
        self.diary.zones = [(self.at, zone)]
        self.says("profile", time_zone=zone)

    @rule(late=st.sampled_from([0, MINUTE]))
    def registers(self, late: int) -> None:
        if self.diary.registered is None:
            self.diary.registered = self.at - late
        self.diary.registered = min(self.diary.registered, self.at - late)
        self.says("register", late)

    @precondition(lambda self: self.diary.registered is None)
    @rule(boxes=st.lists(st.tuples(st.sampled_from([*CHANNELS, "all"]), st.booleans()), max_size=3))
    def fills_in_a_form(self, boxes: list[tuple[str, bool]]) -> None:
        self.registers(0)
        self.is_about([("visit", SECOND), ("search", SECOND)])
        for channel, granted in boxes:
            self.consents(channel, "marketing", granted, 0)
            self.is_about([("visit", SECOND)])

    @rule(opens=st.booleans())
    def has_a_problem(self, opens: bool) -> None:
        if opens:
            self.diary.ticket_at.append(self.at)
        self.diary.tickets = max(0, self.diary.tickets + (1 if opens else -1))
        self.says("ticket_opened" if opens else "ticket_closed")

    @rule(order=st.sampled_from(["o1", "o2"]), kind=st.sampled_from(["return_requested", "refund"]))
    def sends_back(self, order: str, kind: str) -> None:
        self.diary.returns = [r for r in self.diary.returns if r[1] != order]
        self.diary.returns.append((self.at, order, kind == "return_requested"))
        self.says(kind, order_id=order)

    # --- the gateway and others ---

    def lately(self) -> list[Sent]:
        """Our own triggers that are still kept in mind."""
        return [one for one in self.diary.sent if one.name and one.at > self.at - 50 * DAY]

    @rule(channel=st.sampled_from(CHANNELS), late=st.sampled_from([0, 20 * MINUTE]))
    def a_campaign_of_others(self, channel: str, late: int) -> None:
        at = self.at - late
        self.diary.sent.append(Sent(at, "", True, None, (channel,), is_sent=True))
        self.says("sent", late, channel=channel, campaign=f"c{self.number}")

    @precondition(lambda self: self.lately())
    @rule(
        data=st.data(),
        kind=st.sampled_from(["sent", "delivered", "failed", "bounced"]),
        channel=st.sampled_from(CHANNELS),
        late=st.sampled_from([0, MINUTE]),
    )
    def the_gateway_reports(self, data: st.DataObject, kind: str, channel: str, late: int) -> None:
        one = data.draw(st.sampled_from(self.lately()))
        words = one.words.setdefault(channel, [])
        words.append((self.at - late, len(words), kind))
        went_by = [c for c in CHANNELS if max(one.words.get(c, [(0, 0, "")]))[2] in WENT]
        one.counts = bool(went_by)
        one.is_sent = True
        if one.counts:
            one.channels = tuple(went_by)
        if kind in ("delivered", "bounced"):
            self.diary.signs.append((self.at - late, channel, kind == "bounced"))
        self.says(kind, late, channel=channel, trigger_id=one.name)

    # --- our side ---

    @rule()
    def is_saved_and_loaded(self) -> None:
        self.life.is_saved_and_loaded()

    @rule(skew=st.sampled_from([None, 0, -5 * MINUTE, -3 * HOUR, MINUTE, 2 * HOUR, 2 * DAY]))
    def the_clock_is_set(self, skew: int | None) -> None:
        """By so much, or taken away: the rest is a replay."""
        self.skew = skew

    @rule(policy=policies())
    def another_policy(self, policy: dict[str, Any]) -> None:
        self.diary.policy = policy
        self.starts_anew()

    @rule(changed=st.lists(st.sampled_from(sorted(CHANGED)), unique=True))
    def other_rules(self, changed: list[str]) -> None:
        self.diary.rules = rules_with(changed)
        self.starts_anew()

    def starts_anew(self) -> None:
        """With a book that is other than the last."""
        self.life.is_saved_and_loaded()
        self.life.book = book(self.diary.policy, *self.diary.rules.values())
        self.same_book_since = self.at + 1


PolicyMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, print_blob=True
)
test_policy_never_says_the_wrong_thing = PolicyMachine.TestCase

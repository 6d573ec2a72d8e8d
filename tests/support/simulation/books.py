"""The rules of simulated runs: the shipped or the chaos runs' own, and what they change into."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
from core_builders import whole_book

import app.chaos
from config.paths import LoadedConfig, load_config
from models.audiences import Audiences
from models.policy import Arbitration, Cap, Consent, Holdout, Holds, Policy, Silence
from models.rulebook import RuleBook
from models.rules import Absence, Limits, Reentry, Rule
from models.times import DAY, HOUR
from simulation.scenario import LATENESS_MS, Kind

CONFIG = Path(app.chaos.__file__).parent / "config"

# Seconds stand for days, as in the rules.
PRESSURE = Policy(
    consent=Consent(),
    channels=("app_push", "sms"),
    reachability=True,
    holds=Holds(ticket=5_000),
    silence=Silence(3_000, "defer"),
    holdout=Holdout("simulated", per_rule=0.1),
    caps=(
        Cap(2, within=8_000),
        Cap(4, within=60_000, purpose="any"),
        Cap(1, within=6_000, channel="sms"),
    ),
    arbitration=Arbitration(700),
)


@cache
def first_book(kind: Kind = "small") -> RuleBook:
    """Return the shipped rules, or those of ``app/chaos/config``, if need be under pressure.

    Small books have no segments and no scores, which cost a third of the time: runs of that kind
    are about lanes and logs, and there are thousands of them.
    """
    if kind == "shipped":
        return whole_book()
    found = load_config(CONFIG)
    return _book(kind, found, found.rules, found.audiences)


@cache
def next_book(kind: Kind = "small") -> RuleBook:
    """Return what they change into: other windows, rules and segments less and more."""
    if kind == "shipped":
        return _next_shipped_book()
    found = load_config(CONFIG)
    rules = {rule.name: rule for rule in found.rules}
    del rules["looked_and_left"]
    rules["viewed_not_bought"] = _within(rules["viewed_not_bought"], 6_000, 2)
    rules["no_order_10s"] = _within(rules["no_order_10s"], 5_000, 1)
    rules["order_unpaid"] = msgspec.structs.replace(
        _within(rules["order_unpaid"], 4_000, 2), reentry=Reentry("every", "member", 9_000)
    )
    rules["cart_forgotten"] = msgspec.structs.replace(
        _within(rules["cart_left"], 9_000, 1), name="cart_forgotten"
    )
    return _book(kind, found, rules.values(), _next(found.audiences))


def _book(kind: Kind, found: LoadedConfig, rules: Iterable[Rule], audiences: Audiences) -> RuleBook:
    limits = Limits(allowed_lateness=LATENESS_MS)
    if kind == "pressed":
        return RuleBook(rules, found.stages, PRESSURE, limits, audiences)
    return RuleBook(rules, found.stages, found.policy, limits)


def _next_shipped_book() -> RuleBook:
    found = load_config()
    rules = {rule.name: rule for rule in found.rules}
    del rules["browse_abandoned"], rules["member_day"]
    rules["inactive_30d"] = _within(rules["inactive_30d"], 20 * DAY, 2)
    rules["no_order_60d"] = _within(rules["no_order_60d"], 25 * DAY, 3)
    rules["cart_forgotten"] = msgspec.structs.replace(
        _within(rules["cart_abandoned"], 2 * HOUR, 1), name="cart_forgotten"
    )
    policy = msgspec.structs.replace(found.policy, caps=found.policy.caps[1:])
    kept = [segment for segment in found.audiences.segments if segment.name != "slipping"]
    fresh = msgspec.structs.replace(kept[0], name="about")
    audiences = msgspec.structs.replace(found.audiences, segments=(*kept, fresh))
    return RuleBook(rules.values(), found.stages, policy, Limits(), audiences)


def _next(audiences: Audiences) -> Audiences:
    """A segment less, a segment more, and scores that begin elsewhere."""
    kept = [segment for segment in audiences.segments if segment.name != "paused"]
    fresh = msgspec.structs.replace(kept[0], name="just_bought")
    [table] = audiences.tables
    table = msgspec.structs.replace(table, frequency=(1, 2, 3, 4))
    return Audiences((*kept, fresh), audiences.tags, (table,))


def _within(rule: Rule, within: int, version: int) -> Rule:
    assert isinstance(rule.when, Absence)
    when = msgspec.structs.replace(rule.when, within=within)
    return msgspec.structs.replace(rule, when=when, version=version)

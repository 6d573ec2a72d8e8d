"""The rules that simulated runs are under: those of the chaos runs, and what they change into."""

from functools import cache
from pathlib import Path

import msgspec

import app.chaos
from config.paths import load_config
from models.audiences import Audiences
from models.policy import Arbitration, Cap, Consent, Holdout, Holds, Policy, Silence
from models.rulebook import RuleBook
from models.rules import Absence, Limits, Reentry, Rule
from simulation.scenario import LATENESS_MS

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
def first_book(pressed: bool = False) -> RuleBook:
    """Return the rules of ``app/chaos/config``, or with a policy that often says no."""
    found = load_config(CONFIG)
    policy = PRESSURE if pressed else found.policy
    limits = Limits(allowed_lateness=LATENESS_MS)
    return RuleBook(found.rules, found.stages, policy, limits, found.audiences)


@cache
def next_book(pressed: bool = False) -> RuleBook:
    """Return what they change into: other windows, rules and segments less and more."""
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
    policy = PRESSURE if pressed else found.policy
    limits = Limits(allowed_lateness=LATENESS_MS)
    return RuleBook(rules.values(), found.stages, policy, limits, _next(found.audiences))


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

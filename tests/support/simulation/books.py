"""The rules that simulated runs are under: those of the chaos runs, and what they change into."""

from functools import cache
from pathlib import Path

import msgspec

import app.chaos
from config.paths import load_config
from models.rulebook import RuleBook
from models.rules import Absence, Limits, Reentry, Rule
from simulation.scenario import LATENESS_MS

CONFIG = Path(app.chaos.__file__).parent / "config"


@cache
def first_book() -> RuleBook:
    """Return the rules of ``app/chaos/config``."""
    found = load_config(CONFIG)
    return RuleBook(found.rules, found.stages, found.policy, Limits(allowed_lateness=LATENESS_MS))


@cache
def next_book() -> RuleBook:
    """Return what they change into: longer and shorter windows, a rule less, a rule more."""
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
    return RuleBook(
        rules.values(), found.stages, found.policy, Limits(allowed_lateness=LATENESS_MS)
    )


def _within(rule: Rule, within: int, version: int) -> Rule:
    assert isinstance(rule.when, Absence)
    when = msgspec.structs.replace(rule.when, within=within)
    return msgspec.structs.replace(rule, when=when, version=version)

"""When members behave otherwise than predicted, and when the prediction has only become right."""

import random

import msgspec
import pytest

from models.checkpoint import DriftState
from models.drift import ADAPTS, Drift

REGULARS = 200
AWAY = 0.1


def alarms(drift, offs, first=0, seed=1):
    """The days on which regulars stay away by so much more than predicted, and an alarm comes."""
    chance = random.Random(seed)
    found = []
    for day, off in enumerate(offs, first):
        noise = chance.gauss(0.0, 0.01)
        if drift.add(day, [(AWAY, off + noise)] * REGULARS):
            found.append(day)
    return found


@pytest.mark.parametrize("off", [0.04, -0.04])
def test_regulars_who_change_are_seen_within_two_weeks(off):
    drift = Drift()
    (seen,) = alarms(drift, [0.0] * 60 + [off] * 14)
    assert 60 < seen < 74
    assert drift.adapting_until == seen + ADAPTS


@pytest.mark.parametrize("wrong", [0.03, -0.03])
def test_a_twin_that_was_wrong_while_it_learned_and_is_right_at_last_is_no_alarm(wrong):
    assert alarms(Drift(), [wrong] * 12 + [0.0] * 60) == []


def test_what_is_kept_of_the_days_goes_on_where_it_was():
    days = [0.0] * 60 + [0.04] * 14
    whole, first = Drift(), Drift()
    expected = alarms(whole, days)
    chance = random.Random(1)
    found = []
    drift = first
    for day, off in enumerate(days):
        drift = Drift(msgspec.convert(msgspec.to_builtins(drift.state), DriftState))
        if drift.add(day, [(AWAY, off + chance.gauss(0.0, 0.01))] * REGULARS):
            found.append(day)
    assert found == expected != []
    assert drift.state == whole.state

"""The shipped lifecycle table, stage by stage, to the millisecond."""

from random import Random

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON, Life, arrived, event, random_log, shipped_book

from models.engine import advance, handle
from models.member import Member
from models.outcome import Context
from models.stages import STAGES
from models.times import rfc3339
from models.transitions import MAX_STEPS
from models.triggers import Transition


def life() -> Life:
    return Life(shipped_book())


def stage(found: Life) -> str:
    return STAGES[found.member.stage]


def bought(found: Life, *days: float) -> Life:
    for day in days:
        found.sees("purchase", int(NOON + day * DAY))
    return found


def test_a_visitor_is_a_lead() -> None:
    member = life()
    member.sees("visit", NOON)
    assert (stage(member), member.stages) == ("lead", [])


def test_registering_makes_a_lead_new() -> None:
    member = life()
    member.sees("visit", NOON)
    member.sees("register", NOON + MINUTE)
    assert member.stages == ["new"]


def test_so_does_a_first_order() -> None:
    assert bought(life(), 0).stages == ["new"]


def test_who_registers_and_stays_quiet_is_silent_after_14_days_and_new_again_on_return() -> None:
    member = life()
    member.sees("register", NOON)
    member.reaches(NOON + 14 * DAY - 1)
    assert stage(member) == "new"
    member.reaches(NOON + 14 * DAY)
    assert stage(member) == "silent"
    member.sees("visit", NOON + 15 * DAY)
    assert member.stages == ["new", "silent", "new"]


def test_who_has_ordered_is_not_silent() -> None:
    member = bought(life(), 0)
    member.sees("register", NOON + MINUTE)
    member.reaches(NOON + 20 * DAY)
    assert stage(member) == "new"


@pytest.mark.parametrize(("gap", "after"), [(90 * DAY - 1, "active"), (90 * DAY, "new")])
def test_a_second_order_within_90_days_makes_active(gap: int, after: str) -> None:
    member = life()
    member.sees("purchase", NOON)
    member.sees("visit", NOON + 50 * DAY)  # or the pause would make them dormant
    member.sees("purchase", NOON + gap)
    assert stage(member) == after


def test_orders_a_hundred_days_apart_make_active_with_the_third() -> None:
    member = life()
    for day in (0, 100, 200):
        member.sees("visit", NOON + (day - 50) * DAY)
        member.sees("purchase", NOON + day * DAY)
    assert member.stages == ["new", "active"]


def test_five_orders_within_a_year_make_loyal_and_below_three_it_ends() -> None:
    member = bought(life(), 0, 10, 20, 30, 40)
    assert stage(member) == "loyal"
    for day in range(80, 600, 40):
        member.sees("visit", NOON + day * DAY)
    left = [
        d
        for o in member.outcomes
        for d in o.decisions
        if isinstance(d, Transition) and d.kind != "segment"
    ]
    [ended] = [d for d in left if d.before == "loyal"]
    # The third newest order leaves the year: with two, loyal is over.
    assert (ended.after, ended.at) == ("active", rfc3339(NOON + (20 + 365) * DAY))


def test_one_order_less_does_not_toggle_loyal() -> None:
    member = bought(life(), 0, 100, 200, 300, 360)
    member.sees("visit", NOON + 440 * DAY)
    # The first two orders are older than a year: three are left, and the stage holds.
    assert stage(member) == "loyal"


def test_the_bands_of_active_go_up_with_orders_and_down_after_a_week() -> None:
    member = bought(life(), 0, 1)
    assert (stage(member), member.member.band) == ("active", 0)
    bought(member, 2)
    assert member.member.band == 1
    moved = [
        d
        for o in member.outcomes
        for d in o.decisions
        if isinstance(d, Transition) and d.kind != "segment"
    ]
    assert [(d.before, d.after) for d in moved if d.kind == "band"] == [("light", "medium")]
    for day in (30, 60, 91):
        member.sees("visit", NOON + day * DAY)
    # Of three orders only one is younger than 90 days.
    assert (stage(member), member.member.band) == ("active", 0)


def test_who_turns_out_to_have_come_by_fell_asleep_that_much_later() -> None:
    member = bought(life(), 0)
    member.reaches(NOON + 100 * DAY)
    assert member.stages == ["new", "dormant"]
    member.sees("visit", NOON + 5 * DAY, now=NOON + 100 * DAY)
    assert member.stages[-1] == "dormant"
    assert member.member.stage_since == NOON + 95 * DAY
    # Taken back, and said anew: not the same id a second time.
    raised = [said.trigger_id for said in member.said if said.rule == "became_dormant"]
    assert len(raised) == 3
    assert len(set(raised)) == 2


def test_dormant_comes_to_the_millisecond_after_90_quiet_days() -> None:
    member = bought(life(), 0)
    member.reaches(NOON + 90 * DAY - 1)
    assert stage(member) == "new"
    outcome = member.reaches(NOON + 90 * DAY)
    assert stage(member) == "dormant"
    [entered] = [d for d in outcome.decisions if isinstance(d, Transition) and d.kind != "segment"]
    assert entered.at == rfc3339(NOON + 90 * DAY)
    assert "became_dormant" in member.raised


def test_an_activity_one_millisecond_before_that_keeps_awake() -> None:
    member = bought(life(), 0)
    member.sees("visit", NOON + 90 * DAY - 1)
    member.reaches(NOON + 90 * DAY)
    assert stage(member) == "new"


def test_what_is_no_activity_does_not_keep_awake() -> None:
    member = bought(life(), 0)
    member.sees("opened", NOON + 80 * DAY, channel="email")
    member.sees("points", NOON + 85 * DAY, balance=10)
    member.reaches(NOON + 90 * DAY)
    assert stage(member) == "dormant"


@pytest.mark.parametrize("kind", ["visit", "purchase"])
def test_who_comes_at_the_very_instant_fell_asleep_and_is_back(kind: str) -> None:
    # Data with dates only is full of such ties.
    member = bought(life(), 0)
    member.sees(kind, NOON + 90 * DAY)
    assert member.stages == ["new", "dormant", "active"]


def test_lost_comes_after_180_quiet_days_and_an_order_brings_back() -> None:
    member = bought(life(), 0)
    member.reaches(NOON + 180 * DAY)
    assert member.stages == ["new", "dormant", "lost"]
    assert [r for r in member.raised if r.startswith("became")] == ["became_dormant", "became_lost"]
    member.sees("purchase", NOON + 200 * DAY)
    assert stage(member) == "active"


def test_who_comes_back_without_ever_having_ordered_is_new() -> None:
    member = life()
    member.sees("register", NOON)
    member.reaches(NOON + 200 * DAY)
    assert member.stages == ["new", "silent", "dormant", "lost"]
    member.sees("visit", NOON + 200 * DAY)
    assert stage(member) == "new"


def test_a_visitor_who_stays_away_is_lost_and_a_lead_again_on_return() -> None:
    member = life()
    member.sees("visit", NOON)
    member.reaches(NOON + 180 * DAY)
    member.sees("visit", NOON + 181 * DAY)
    assert member.stages == ["lost", "lead"]


def test_a_lead_who_never_did_anything_counts_from_when_we_first_heard_of_them() -> None:
    member = life()
    member.sees("opened", NOON, channel="email")
    member.reaches(NOON + 180 * DAY - 1)
    assert stage(member) == "lead"
    member.reaches(NOON + 180 * DAY)
    assert stage(member) == "lost"


def test_a_visit_withdraws_the_message_to_the_sleeping() -> None:
    member = bought(life(), 0)
    member.reaches(NOON + 90 * DAY)
    assert "became_dormant" in member.standing
    member.sees("search", NOON + 91 * DAY)
    assert "became_dormant" not in member.standing


def test_loyal_is_thanked_once_a_year() -> None:
    member = bought(life(), 0, 1, 2, 3, 4)
    member.reaches(NOON + 100 * DAY)
    assert stage(member) == "dormant"
    bought(member, 101)
    member.reaches(NOON + 102 * DAY)
    assert member.stages[-2:] == ["active", "loyal"]
    assert member.raised.count("became_loyal") == 1
    assert ("became_loyal", "reentry") in member.verdicts


def test_every_stage_is_reached() -> None:
    member = life()
    member.sees("visit", NOON - HOUR)
    member.sees("register", NOON)
    bought(member, 20, 30, 40, 50, 60)
    member.reaches(NOON + 400 * DAY)
    assert {*member.stages, "lead"} == {
        *("lead", "new", "silent", "active", "loyal", "dormant", "lost"),
    }


def test_the_table_comes_to_rest_whatever_happens() -> None:
    book = shipped_book()
    seen: set[str] = set()
    for seed in range(80):
        random = Random(seed)
        log = random_log(random, random.choice((HOUR, 9 * DAY, 40 * DAY)), 40)
        member = Member("m1", False)
        outcomes = [
            handle(member, one, Context(book))
            for one in arrived(sorted(log, key=lambda e: e["occurred_at"]))
            if one.event.member_id == "m1"
        ]
        outcomes.append(advance(member, NOON + 4000 * DAY, Context(book)))
        for outcome in outcomes[:-1]:
            steps = [
                d for d in outcome.decisions if isinstance(d, Transition) and d.kind != "segment"
            ]
            by_instant = [d.at for d in steps if d.kind == "stage"]
            assert max((by_instant.count(at) for at in by_instant), default=0) < MAX_STEPS
            seen |= {d.after for d in steps}
    assert {"new", "silent", "active", "dormant", "lost", "medium"} <= seen


def test_an_event_of_the_past_does_not_date_a_stage_before_the_one_it_follows() -> None:
    member = life()
    member.sees("register", NOON)
    member.folds(event("purchase", NOON - MINUTE))
    moves = [
        d.at
        for o in member.outcomes
        for d in o.decisions
        if isinstance(d, Transition) and d.kind != "segment"
    ]
    assert moves == sorted(moves)

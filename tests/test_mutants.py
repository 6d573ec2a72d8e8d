"""The mutants are real mistakes, and some of each kind are seen to be noticed.

All of them are judged by `make mutants`; docs/mutants.md has the figures.
"""

from pathlib import Path

import pytest
from python_mutants import (
    POLICY_TESTS,
    ROOT,
    Copy,
    mutant_at,
    places_in,
    places_of_policy,
    policy_mutants,
    sampled,
)
from rule_mutants import RuleBookUnderTest, mutations

BOOK = RuleBookUnderTest()


def test_a_document_is_mutated_at_every_place_a_case_can_see() -> None:
    document = {"rule": "a", "when": {"event": "visit"}, "expires_after": "1h", "reentry": "once"}
    assert [what for what, _ in mutations(document)] == [
        "when/event dropped",
        "when/event: visit -> survey",
        "expires_after: 1h -> 3600001ms",
        "expires_after: 1h -> 3599999ms",
        "expires_after: 1h -> 90000000ms",
        "reentry: once -> always",
    ]


@pytest.mark.parametrize("rule", ["cart_abandoned", "became_loyal", "referral_thanks"])
def test_the_mistakes_in_a_rule_are_noticed(rule: str) -> None:
    fates = [BOOK.fate_of(mutant) for mutant in BOOK.mutants([rule])]
    survived = [fate.mutant.what for fate in fates if fate.verdict == "survived"]
    # An order empties the cart, which ends the wait as well.
    assert survived == (["when/absence/of/event/0 dropped"] if rule == "cart_abandoned" else [])
    assert any(fate.verdict == "caught" for fate in fates)


def test_a_copy_of_the_tree_notices_a_mutant_and_nothing_else(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    mutant = policy_mutants()[0]
    same = mutant._replace(text=(ROOT / mutant.file).read_text())
    assert copy.notices(mutant, POLICY_TESTS)
    assert not copy.notices(same, POLICY_TESTS)


def test_a_module_is_mutated_in_one_place_at_a_time() -> None:
    source = "def f(a, b):\n    a.x = 1\n    return a.x < b and not b\n"
    places = list(places_in("m.py", source))
    assert [place.what for place in places] == [
        "m.py:1: a.x = 1: left out",
        "m.py:2: 1: one more",
        "m.py:3: a.x < b and (not b): Or",
        "m.py:3: a.x < b: LtE",
    ]
    assert [mutant_at(place, source).text for place in places] == [
        "def f(a, b):\n    pass\n    return a.x < b and (not b)",
        "def f(a, b):\n    a.x = 2\n    return a.x < b and (not b)",
        "def f(a, b):\n    a.x = 1\n    return a.x < b or not b",
        "def f(a, b):\n    a.x = 1\n    return a.x <= b and (not b)",
    ]


def test_the_sample_is_always_the_same() -> None:
    places = places_of_policy()
    sample = sampled(places, 20)
    assert sample == sampled(places[::-1], 20)
    assert len(set(sample)) == 20
    assert {(ROOT / place.file).is_file() for place in sample} == {True}

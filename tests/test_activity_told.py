"""The document tells how active a member is when it is made, not when something last happened."""

from core_builders import NOON
from policy_kit import living, on

from models.projection import project
from models.times import DAY, rfc3339


def test_activity_halves_in_thirty_days_of_silence() -> None:
    life = living({}, on("visit", "hello"))
    life.sees("visit", NOON)
    assert project(life.member, None).activity_30d == 1.0
    for days, left in ((30, 0.5), (60, 0.25)):
        life.reaches(NOON + days * DAY)
        document = project(life.member, None)
        assert (document.updated_at, document.activity_30d) == (rfc3339(NOON + days * DAY), left)

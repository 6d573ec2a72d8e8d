"""The document tells what a member agreed to and refused, and nothing of what nobody said."""

import msgspec
from core_builders import NOON
from policy_kit import Judged, living, on

from models.projection import project
from models.triggers import ConsentSaid, MemberUpdate


def told(life: Judged) -> tuple[ConsentSaid, ...]:
    """Return it as readers decode it, after the row was read again."""
    life.is_saved_and_loaded()
    document = msgspec.json.encode(project(life.member, None, life.book))
    return msgspec.json.decode(document, type=MemberUpdate).consents


def lives() -> Judged:
    return living({}, on("visit", "hello"))


def test_who_said_nothing_neither_agreed_nor_refused() -> None:
    life = lives()
    life.sees("visit", NOON)
    assert told(life) == ()


def test_the_latest_word_on_each_channel_and_purpose_is_told() -> None:
    life = lives()
    for at, channel, purpose, granted in [
        (0, "sms", "marketing", False),
        (1, "email", "marketing", True),
        (2, "sms", "service", False),
        (3, "sms", "marketing", True),
    ]:
        life.sees("consent", NOON + at, channel=channel, purpose=purpose, granted=granted)
    assert told(life) == (
        ConsentSaid("email", "marketing", True),
        ConsentSaid("sms", "marketing", True),
        ConsentSaid("sms", "service", False),
    )


def test_a_refusal_of_all_channels_takes_back_what_was_agreed_to_before() -> None:
    life = lives()
    life.sees("consent", NOON, channel="email", purpose="marketing", granted=True)
    life.sees("complained", NOON + 1, channel="email")
    assert told(life) == (
        ConsentSaid("all", "marketing", False),
        ConsentSaid("email", "marketing", False),
    )


def test_a_document_of_before_is_read() -> None:
    before = b'{"type":"member_update","stage":"lead","since":"x","updated_at":"x"}'
    assert msgspec.json.decode(before, type=MemberUpdate).consents == ()

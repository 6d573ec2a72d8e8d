"""policy.yaml: every line is read as it is meant, and every mistake is named with its place."""

from pathlib import Path

import pytest

from config.errors import ConfigError, ConfigErrors
from config.paths import package_dir
from config.policy_files import load_policy
from models.policy import (
    Arbitration,
    Breaker,
    Cap,
    Consent,
    FeedWatch,
    Holdout,
    Holds,
    Policy,
    QuietHours,
    Silence,
)
from models.times import DAY, HOUR, MINUTE, SECOND


def read(folder: Path, text: str) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(text)
    return load_policy(path)


def mistakes(folder: Path, text: str) -> tuple[ConfigError, ...]:
    with pytest.raises(ConfigErrors) as caught:
        read(folder, text)
    return caught.value.errors


def test_the_shipped_policy_says_what_the_docs_say() -> None:
    assert load_policy(package_dir() / "policy.yaml") == Policy(
        consent=Consent("denied", "allowed"),
        consent_follows=10 * MINUTE,
        channels=("app_push", "sms", "email", "wechat"),
        reachability=True,
        holds=Holds(ticket=30 * DAY, complaint=90 * DAY, returned=30 * DAY),
        silence=Silence(DAY, "defer"),
        holdout=Holdout("first", 0.05, 0.1),
        cool_down={"abandonment": DAY, "recall": 7 * DAY},
        caps=(
            Cap(1, per="day"),
            Cap(3, within=7 * DAY),
            Cap(1, within=7 * DAY, channel="sms"),
        ),
        arbitration=Arbitration(30 * SECOND),
        quiet_hours=QuietHours(21 * 60, 9 * 60, "defer", ("marketing", "service")),
        pace=30 * MINUTE,
        sent_is_reported=False,
        feeds=FeedWatch(0.2, 50, 14 * DAY, {"pos": DAY}),
        breaker=Breaker(5.0, 500, 14 * DAY),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_no_policy(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Policy()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("consent: opt_out", Policy(consent=Consent("allowed", "allowed"))),
        ("stop: true", Policy(stop=("marketing", "service"))),
        ("stop: false", Policy()),
        ("stop: [service]", Policy(stop=("service",))),
        ("stop: marketing", Policy(stop=("marketing",))),
        ("holds: {return: 2h}", Policy(holds=Holds(returned=2 * HOUR))),
        ("silence_after_purchase: {for: 2h}", Policy(silence=Silence(2 * HOUR, "defer"))),
        ("holdout: {salt: s, everything: 2.5%}", Policy(holdout=Holdout("s", 0.025))),
        ("holdout: {salt: s, per_rule: 100%}", Policy(holdout=Holdout("s", 0, 1.0))),
        (
            "arbitration: {window: 1m, purposes: [marketing, service]}",
            Policy(arbitration=Arbitration(MINUTE, ("marketing", "service"))),
        ),
        (
            'quiet_hours: {from: "22:30", to: "07:05", then: drop, purposes: [service]}',
            Policy(quiet_hours=QuietHours(1350, 425, "drop", ("service",))),
        ),
        (
            "caps: [{at_most: 2, per: week, purpose: any, group: g}]",
            Policy(caps=(Cap(2, per="week", purpose="any", group="g"),)),
        ),
        ("feeds: {}", Policy(feeds=FeedWatch())),
        (
            "feeds: {below: 5%, expected: 200, learn: 28d, delays: {pos: 24h, web: 0}}",
            Policy(feeds=FeedWatch(0.05, 200, 28 * DAY, {"pos": DAY, "web": 0})),
        ),
        ("breaker: {}", Policy(breaker=Breaker())),
        ("breaker: {times: 2.5, at_least: 10}", Policy(breaker=Breaker(2.5, 10))),
        ("{breaker: {}, pace: 1h}", Policy(breaker=Breaker(), pace=HOUR)),
    ],
)
def test_each_line_is_read(tmp_path: Path, text: str, policy: Policy) -> None:
    assert read(tmp_path, text) == policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("caps: [{at_most: 0, per: day}]", Policy(caps=(Cap(0, per="day"),))),
        ("arbitration: 0", Policy()),
        ("silence_after_purchase: {for: 0}", Policy()),
        ("cool_down: {g: 0}", Policy(cool_down={"g": 0})),
        ("holdout: {salt: s, everything: 0}", Policy(holdout=Holdout("s"))),
        ("holds: {ticket: 0}", Policy()),
        ("pace: 0", Policy()),
    ],
)
def test_0_is_never_or_none_and_allowed(tmp_path: Path, text: str, policy: Policy) -> None:
    assert read(tmp_path, text) == policy


@pytest.mark.parametrize(
    ("text", "zero"),
    [
        ("consent:", None),
        ("consent: {marketing: null, service: allowed}", None),
        ("stop:", None),
        ("caps: null", None),
        ("caps: [{at_most: null, per: day}]", "caps: [{at_most: 0, per: day}]"),
        ("caps: [{at_most: 1, within: null}]", None),
        ("holdout:", None),
        ("holdout: {salt: s, everything: null}", "holdout: {salt: s, everything: 0}"),
        ("quiet_hours: ~", None),
        ("cool_down: {g: null}", "cool_down: {g: 0}"),
        ("holds: {return: null}", "holds: {return: 0}"),
        ("silence_after_purchase: {for: null}", "silence_after_purchase: {for: 0}"),
        ("arbitration: null", "arbitration: 0"),
        ("arbitration: {window: null}", "arbitration: {window: 0}"),
        ("consent_follows: null", "consent_follows: 0"),
        ("pace: null", "pace: 0"),
        ("feeds: null", None),
        ("feeds: {delays: {pos: null}}", "feeds: {delays: {pos: 0}}"),
        ("breaker: {times: null}", None),
        ("overrides: null", None),
    ],
)
def test_null_is_refused_with_what_to_write_instead(
    tmp_path: Path, text: str, zero: str | None
) -> None:
    error = mistakes(tmp_path, text)[0]
    if zero is None:
        assert error.message.startswith("has no value; docs/policy.md says")
    else:
        assert error.message == "has no value; leave the line out for no limit, or write 0 for none"
        read(tmp_path, zero)


def test_null_hides_no_other_mistake(tmp_path: Path) -> None:
    text = "consent: opt_in\npace: null\npacee:\nholds: {ticket: x, return: null}\n"
    assert [(error.line, error.field) for error in mistakes(tmp_path, text)] == [
        (1, "consent"),
        (2, "pace"),
        (3, "pacee"),
        (3, "pacee"),
        (4, "holds.ticket"),
        (4, "holds.return"),
    ]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("cosnent: opt_out", "cosnent", "did you mean 'consent'?"),
        ("consent: opt_in", "consent", "must be opt_out, or what holds without a word"),
        ("consent: {marketing: denied}", "consent.service", "is missing"),
        ("consent: {marketing: deny, service: allowed}", "consent.marketing", "mean 'denied'?"),
        ("stop: [marketting]", "stop[0]", "did you mean 'marketing'?"),
        ("stop: 1", "stop", "must be one of marketing, service"),
        ("reachability: yes", "reachability", "must be true or false"),
        ("holds: {complaints: 1d}", "holds.complaints", "did you mean 'complaint'?"),
        ("holds: {ticket: 91d}", "holds.ticket", "must be at most 90d"),
        ("holds: {ticket: false}", "holds.ticket", "must be a duration"),
        ("feeds: {bellow: 5%}", "feeds.bellow", "did you mean 'below'?"),
        ("feeds: {below: 0}", "feeds.below", "more than 0% and less than 100%"),
        ("feeds: {below: 100%}", "feeds.below", "more than 0% and less than 100%"),
        ("feeds: {expected: 9}", "feeds.expected", "must be a whole number from 10"),
        ("feeds: {learn: 13d}", "feeds.learn", "must be from 14d to 90d"),
        ("feeds: {learn: 91d}", "feeds.learn", "must be from 14d to 90d"),
        ("feeds: {delays: {pos: 8d}}", "feeds.delays.pos", "must be at most 7d"),
        ("feeds: {delays: 24h}", "feeds.delays", "must be a mapping of sources to durations"),
        ("breaker: {times: 1}", "breaker.times", "must be a number from 1.5 to 1000"),
        ("breaker: {at_least: 0}", "breaker.at_least", "must be a whole number from 1"),
        ("silence_after_purchase: 24h", "silence_after_purchase", "must be a mapping with for"),
        (
            "silence_after_purchase: {for: 1d, then: wait}",
            "silence_after_purchase.then",
            "allowed: defer, drop",
        ),
        ("holdout: {everything: 5%}", "holdout.salt", "another salt draws other members"),
        ("holdout: {salt: s, everything: 5}", "holdout.everything", "must be a share such as 5%"),
        ("holdout: {salt: s, per_rule: 101%}", "holdout.per_rule", "from 0% to 100%"),
        ("holdout: {salt: s, per_rule: -1%}", "holdout.per_rule", "must be a share"),
        ("cool_down: [g]", "cool_down", "must be a mapping of rule groups to durations"),
        ("cool_down: {g: soon}", "cool_down.g", "must be a duration"),
        ("caps: {at_most: 1, per: day}", "caps", "must be a list of caps"),
        ("caps: [{per: day}]", "caps[0].at_most", "is missing"),
        ("caps: [{at_most: 1}]", "caps[0]", "needs either within (rolling) or per"),
        ("caps: [{at_most: 1, per: day, within: 1d}]", "caps[0]", "needs either within"),
        ("caps: [{at_most: 1, per: dya}]", "caps[0].per", "did you mean 'day'?"),
        ("caps: [{at_most: 1, within: 0}]", "caps[0].within", "must be a duration"),
        ("caps: [{at_most: 1, within: 91d}]", "caps[0].within", "must be at most 90d"),
        ("caps: [{at_most: 21, per: day}]", "caps[0].at_most", "a whole number from 0 to 20"),
        ("caps: [{at_most: 1, per: day, chanel: sms}]", "caps[0].chanel", "mean 'channel'?"),
        ("caps: [{at_most: 1, per: day, channel: sms}]", "caps", "channels names none"),
        (
            "channels: [app_push, sms]\ncaps: [{at_most: 1, per: day, channel: sns}]",
            "caps[0].channel",
            "'sns' is no channel; allowed: app_push, sms; did you mean 'sms'?",
        ),
        ("caps: [" + "{at_most: 20, per: day}," * 4 + "]", "caps", "more than the 60 messages"),
        ("arbitration: 2h", "arbitration", "must be at most 1h"),
        ("consent: opt_out\nconsent_follows: 2h", "consent_follows", "must be at most 1h"),
        ("consent_follows: 10m", "consent_follows", "write consent"),
        ("arbitration: {window: 1m, purposes: []}", "arbitration.purposes", "empty list"),
        ('quiet_hours: {from: "21:00", to: "09:00"}', "quiet_hours.then", "defer (to their end)"),
        (
            'quiet_hours: {from: "24:00", to: "09:00", then: drop}',
            "quiet_hours.from",
            "a time of day",
        ),
        (
            'quiet_hours: {from: "9:00", to: "21:00", then: drop}',
            "quiet_hours.from",
            "a time of day",
        ),
        (
            'quiet_hours: {from: "09:00", to: "09:00", then: drop}',
            "quiet_hours.to",
            "is the same as from",
        ),
        ("pace: 30m", "pace", "there are none"),
        (
            'quiet_hours: {from: "01:00", to: "00:00", then: defer}\npace: 30m',
            "pace",
            "longer than the time between",
        ),
        ("sent_is_reported: maybe", "sent_is_reported", "must be true or false"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, text: str, field: str, message: str
) -> None:
    [error] = mistakes(tmp_path, text)
    assert (error.field, error.line >= 1, error.column >= 1) == (field, True, True)
    assert message in error.message
    assert error.file.endswith("policy.yaml")


def test_all_mistakes_come_at_once_in_their_order(tmp_path: Path) -> None:
    text = "consent: opt_in\nholds: {ticket: x}\ncaps:\n  - {at_most: -1, per: day}\npacee: 1m\n"
    found = [(error.line, error.column, error.field) for error in mistakes(tmp_path, text)]
    assert found == [
        (1, 10, "consent"),
        (2, 17, "holds.ticket"),
        (4, 15, "caps[0].at_most"),
        (5, 1, "pacee"),
    ]

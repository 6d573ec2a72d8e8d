"""The rule loader: what it reads, and that every mistake is named with its place."""

from pathlib import Path

import pytest

from config.errors import ConfigError, ConfigErrors
from config.paths import load_config
from config.policy_files import load_policy
from config.rule_files import load_rules
from models.policy import Consent, Policy
from models.rules import (
    Absence,
    Condition,
    EventHappens,
    OrdersAtLeast,
    Pattern,
    Reentry,
    Rule,
    StageEntered,
)
from models.times import DAY, HOUR, MINUTE

RULE = """\
rule: item_not_bought
version: 1
about: Viewed an item and did not buy it.
when:
  absence:
    after: {event: view_item}
    of: {event: purchase, same: item_id}
    within: 2h
  unless: {orders: {at_least: 1, within: 7d}}
reentry: {per: item_id, every: 7d}
expires_after: 24h
"""
EVENT_RULE = """\
rule: hello
version: 2
about: Hello.
when: {event: register}
reentry: once
expires_after: 1d
"""


def loaded(folder: Path, text: str, name: str = "item_not_bought") -> Rule:
    (folder / f"{name}.yaml").write_text(text)
    (rule,) = load_rules(folder)
    return rule


def errors_of(folder: Path, text: str, name: str = "item_not_bought") -> list[ConfigError]:
    (folder / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        load_rules(folder)
    return list(caught.value.errors)


def the_error(folder: Path, text: str, name: str = "item_not_bought") -> ConfigError:
    errors = errors_of(folder, text, name)
    assert len(errors) == 1, [str(error) for error in errors]
    return errors[0]


def changed(old: str, new: str) -> str:
    assert old in RULE
    return RULE.replace(old, new)


def test_the_sample_of_the_interfaces_is_read_with_its_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, RULE) == Rule(
        name="item_not_bought",
        version=1,
        about="Viewed an item and did not buy it.",
        when=Absence(
            after=(Pattern("view_item"),),
            of=(Pattern("purchase", same="item_id"),),
            within=2 * HOUR,
            same="item_id",
        ),
        unless=OrdersAtLeast(1, 7 * DAY),
        reentry=Reentry("every", "item_id", 7 * DAY),
        expires_after=DAY,
        priority=50,
        purpose="marketing",
        route="message",
    )


def test_every_other_field_is_read(tmp_path: Path) -> None:
    rule = loaded(
        tmp_path,
        EVENT_RULE
        + "priority: 7\npurpose: service\nroute: agent_task\ngroup: g\nplay: p\n"
        + "channels: [sms, email]\nepisode: e\novertaken_by: [visit, cart_emptied]\n",
        "hello",
    )
    assert (rule.priority, rule.purpose, rule.route) == (7, "service", "agent_task")
    assert (rule.group, rule.play, rule.episode) == ("g", "p", "e")
    assert rule.channels == ("sms", "email")
    assert rule.overtaken_by == (Pattern("visit"), Pattern("cart_emptied"))


def test_a_pattern_may_be_a_type_a_list_of_types_or_a_list_of_alternatives(tmp_path: Path) -> None:
    text = changed("{event: view_item}", "[view_item, {event: [share, review]}]")
    text = text.replace(
        "{event: purchase, same: item_id}", "[{event: purchase, same: item_id}, visit]"
    )
    when = loaded(tmp_path, text).when
    assert isinstance(when, Absence)
    assert [p.type for p in when.after] == ["view_item", "share", "review"]
    assert when.of == (Pattern("purchase", same="item_id"), Pattern("visit"))
    assert when.same == "item_id"


def test_where_takes_a_value_a_list_and_a_range(tmp_path: Path) -> None:
    text = EVENT_RULE.replace(
        "{event: register}",
        "{event: purchase, where: {currency: [CNY, EUR], category: tea, "
        "total: {at_least: 10, below: 99.5}, test: true}}",
    )
    when = loaded(tmp_path, text, "hello").when
    assert when == EventHappens(
        Pattern(
            "purchase",
            (
                Condition("currency", "in", ("CNY", "EUR")),
                Condition("category", "in", ("tea",)),
                Condition("total", "at_least", (10.0,)),
                Condition("total", "below", (99.5,)),
                Condition("test", "in", (True,)),
            ),
        )
    )


def test_words_that_other_yaml_readers_take_for_something_else_stay_words(tmp_path: Path) -> None:
    text = EVENT_RULE.replace(
        "{event: register}", "{event: search, where: {query: [no, 1:30, on]}}"
    )
    when = loaded(tmp_path, text, "hello").when
    assert isinstance(when, EventHappens)
    assert when.pattern.where == (Condition("query", "in", ("no", "1:30", "on")),)


def test_a_stage_rule_may_have_an_exception(tmp_path: Path) -> None:
    text = EVENT_RULE.replace(
        "{event: register}",
        "{stage_entered: dormant, unless: {orders: {at_least: 2, within: 30m}}}",
    )
    rule = loaded(tmp_path, text, "hello")
    assert rule.when == StageEntered("dormant")
    assert rule.unless == OrdersAtLeast(2, 30 * MINUTE)


def test_rules_come_by_name_and_the_policy_and_the_tests_are_none(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(EVENT_RULE.replace("hello", "b"))
    (tmp_path / "a.yaml").write_text(EVENT_RULE.replace("hello", "a"))
    (tmp_path / "policy.yaml").write_text("")
    (tmp_path / "a.test.yaml").write_text("not: a rule")
    assert [rule.name for rule in load_rules(tmp_path)] == ["a", "b"]


def test_an_error_names_file_line_column_rule_field_and_what_would_be_right(tmp_path: Path) -> None:
    error = the_error(tmp_path, changed("view_item", "viewitem"))
    assert (error.file, error.line, error.column) == (
        str(tmp_path / "item_not_bought.yaml"),
        6,
        20,
    )
    assert (error.rule, error.field) == ("item_not_bought", "when.absence.after.event")
    assert "'viewitem' is not known; allowed: register, profile" in error.message
    assert error.message.endswith("did you mean 'view_item'?")
    assert str(error).startswith(f"{error.file}:6:20: item_not_bought: when.absence.after.event: ")


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(EVENT_RULE.replace("once", "twice"))
    text = changed("version: 1", "version: '1'").replace("24h", "0h").replace("2h", "2 hours")
    errors = errors_of(tmp_path, text + "priorty: 3\n")
    assert [(Path(e.file).stem, e.field) for e in errors] == [
        ("hello", "reentry"),
        ("item_not_bought", "version"),
        ("item_not_bought", "when.absence.within"),
        ("item_not_bought", "expires_after"),
        ("item_not_bought", "priorty"),
    ]
    assert errors[-1].message.endswith("did you mean 'priority'?")


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("version: 1", "version: yes", "version", "whole number from 1 to 1000000"),
        ("version: 1", "version: 0", "version", "was the number 0"),
        ("version: 1", "version: true", "version", "was true"),
        ("version: 1", "version: 1.5", "version", "was the number 1.5"),
        ("about: Viewed an item and did not buy it.", "about: 5", "about", "write it in quotes"),
        ("about: Viewed an item and did not buy it.", "about: |\n  a\n  b", "about", "one line"),
        ("about: Viewed an item and did not buy it.", "about:", "about", "was nothing"),
        ("within: 2h", "within: 0h", "when.absence.within", "longer than 0"),
        ("within: 2h", "within: -2h", "when.absence.within", "was the text '-2h'"),
        ("within: 2h", "within: 7200", "when.absence.within", "was the number 7200"),
        ("within: 2h", "within: 99999d", "when.absence.within", "at most 3660d"),
        ("same: item_id", "same: color", "when.absence.of.same", "allowed: item_id, category"),
        ("same: item_id", "same: offer_id", "when.absence.of.same", "purchase has no offer_id"),
        ("{event: view_item}", "{event: visit}", "when.absence.after", "visit has no item_id"),
        ("{event: view_item}", "[]", "when.absence.after", "empty list"),
        ("{event: view_item}", "cart_emptied", "when.absence.after", "can only be waited for"),
        ("{event: view_item}", "erase", "when.absence.after", "nobody is left"),
        (
            "{event: view_item}",
            "{event: [view_item, view_item]}",
            "when.absence.after.event[1]",
            "stands twice",
        ),
        (
            "{event: view_item}",
            "{event: view_item, same: item_id}",
            "when.absence.after.same",
            "not known here",
        ),
        ("{per: item_id, every: 7d}", "{per: item_id}", "reentry.every", "is missing"),
        ("{per: item_id, every: 7d}", "{every: 7d}", "reentry.per", "is missing"),
        ("{per: item_id, every: 7d}", "{per: order, every: 7d}", "reentry.per", "member, item_id"),
        ("{per: item_id, every: 7d}", "sometimes", "reentry", "once, always"),
        ("reentry: {per: item_id, every: 7d}\n", "", "reentry", "is missing: once, always"),
        ("expires_after: 24h\n", "", "expires_after", "is missing"),
        (", same: item_id", "", "reentry.per", "needs `same: item_id`"),
        ("at_least: 1, within", "at_least: 9, within", "when.unless.orders.at_least", "1 to 8"),
        ("at_least: 1, within: 7d", "at_least: 1", "when.unless.orders.within", "ever: 3660d"),
        ("unless: {orders", "unless: {visits", "when.unless.visits", "not known here"),
        ("  unless:", "  where: {total: 1}\n  unless:", "when.where", "only goes with event"),
        ("  unless:", "  event: visit\n  unless:", "when", "exactly one of event, absence"),
        ("rule: item_not_bought", "rule: other", "rule", "the file is named 'item_not_bought'"),
        ("rule: item_not_bought", "rule: Item-1", "rule", "small letters"),
    ],
)
def test_a_mistake_is_named_with_its_field(
    tmp_path: Path, old: str, new: str, field: str, says: str
) -> None:
    errors = errors_of(tmp_path, changed(old, new))
    assert any(error.field.startswith(field) and says in error.message for error in errors), [
        str(error) for error in errors
    ]
    assert all(error.line > 0 and error.column > 0 for error in errors)


@pytest.mark.parametrize(
    ("when", "field", "says"),
    [
        ("{event: [visit, search]}", "when.event", "one event type"),
        ("{event: cart_emptied}", "when.event", "can only be waited for"),
        ("{event: visit, where: {item_id: a}}", "when.where.item_id", "visit has no such field"),
        ("{event: search, where: {qery: a}}", "when.where.qery", "did you mean 'query'?"),
        ("{event: search, where: {query: 5}}", "when.where.query", "write it in quotes"),
        ("{event: purchase, where: {total: a}}", "when.where.total", "must be a number"),
        ("{event: purchase, where: {total: true}}", "when.where.total", "must be a number"),
        ("{event: purchase, where: {total: []}}", "when.where.total", "empty list"),
        ("{event: purchase, where: {total: {}}}", "when.where.total", "at_least, below or both"),
        ("{event: purchase, where: {total: {at_least: 5, below: 5}}}", "when.where.total", "leave"),
        (
            "{event: purchase, where: {total: {below: 9, above: 5}}}",
            "when.where.total.above",
            "not known",
        ),
        ("{event: purchase, where: {coupon: {at_least: 5}}}", "when.where.coupon", "only a number"),
        ("{event: consent, where: {purpose: fun}}", "when.where.purpose", "marketing, service"),
        ("{event: consent, where: {granted: yes}}", "when.where.granted", "true or false"),
        ("{event: visit, where: {}}", "when.where", "a mapping of fields"),
        ("{event: visit, where: {occurred_at: 5}}", "when.where.occurred_at", "no such field"),
        ("{stage_entered: sleepy}", "when.stage_entered", "allowed: lead, new, silent"),
        ("{}", "when", "has none"),
        ("visit", "when", "must be a mapping with event, absence, stage_entered"),
    ],
)
def test_a_wrong_condition_is_named(tmp_path: Path, when: str, field: str, says: str) -> None:
    error = the_error(tmp_path, EVENT_RULE.replace("{event: register}", when), "hello")
    assert error.field.startswith(field)
    assert says in error.message


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("{event: visit}", "needs an event that is about one item"),
        ("{event: purchase}", "needs an event that is about one item"),
        ("{stage_entered: lost}", "makes no sense for a stage"),
    ],
)
def test_reentry_per_item_needs_an_item(tmp_path: Path, when: str, says: str) -> None:
    text = EVENT_RULE.replace("{event: register}", when)
    text = text.replace("reentry: once", "reentry: {per: item_id, every: 7d}")
    error = the_error(tmp_path, text, "hello")
    assert error.field == "reentry.per"
    assert says in error.message


def test_reentry_per_item_of_an_event_about_one_item_is_right(tmp_path: Path) -> None:
    text = EVENT_RULE.replace("{event: register}", "{event: view_item}")
    text = text.replace("reentry: once", "reentry: {per: item_id, every: 7d}")
    assert loaded(tmp_path, text, "hello").reentry == Reentry("every", "item_id", 7 * DAY)


def test_alternatives_with_different_keys_are_refused(tmp_path: Path) -> None:
    of = "[{event: purchase, same: item_id}, {event: view_item, same: category}]"
    error = the_error(tmp_path, changed("{event: purchase, same: item_id}", of))
    assert error.field == "when.absence.of"
    assert "category and item_id" in error.message


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    error = the_error(tmp_path, RULE + "version: 2\n")
    assert (error.line, error.message) == (12, "the key 'version' stands twice (first in line 2)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1\nb: *x\n", "anchors (&x) are not allowed"),
        ("a: &x [1]\nb: [*x, *x]\n", "aliases (*x) are not allowed"),
        ("rule: !!python/object/apply:os.system ['true']\n", "tags (tag:yaml.org,2002:python/"),
        ("rule: !local x\n", "tags (!local) are not allowed"),
        ("rule: a\n---\nrule: b\n", "more than one document"),
        ("rule: [\n", "is not YAML"),
        ("rule: 'a\x07'\n", "a character that YAML does not allow"),
        ("a: " + "[" * 30 + "]" * 30, "nested more than 20 deep"),
        ("[a]: 1\n", "a key must be a word"),
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- rule\n", "must be a mapping with rule, version"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, says: str) -> None:
    errors = errors_of(tmp_path, text)
    assert any(says in error.message for error in errors), [str(error) for error in errors]


def test_bytes_that_are_no_text_and_files_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"rule: a\nabout: \xff\n")
    (tmp_path / "b.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigErrors) as caught:
        load_rules(tmp_path)
    assert [(e.line, e.message) for e in caught.value.errors] == [
        (2, "is not UTF-8 text"),
        (1, "is larger than 1 MiB"),
    ]


def test_a_rule_file_that_would_not_be_read_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "hello.yml").write_text(EVENT_RULE)
    with pytest.raises(ConfigErrors, match=r"hello\.yml:1:1: is not read: name it \.yaml"):
        load_rules(tmp_path)


def test_two_files_cannot_be_the_same_rule(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(EVENT_RULE)
    (tmp_path / "hullo.yaml").write_text(EVENT_RULE)
    with pytest.raises(ConfigErrors) as caught:
        load_rules(tmp_path)
    assert any("two files say" in error.message for error in caught.value.errors)


def test_an_empty_policy_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("# nothing\n")
    assert load_policy(tmp_path / "policy.yaml") == Policy()


def test_a_policy_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("consent: opt_out\nchannels: [sms]\n")
    assert load_policy(path) == Policy(Consent("allowed", "allowed"), channels=("sms",))
    path.write_text("consent: opt_in\nchannels: [sms, sms]\ncaps: 3\n")
    with pytest.raises(ConfigErrors) as caught:
        load_policy(path)
    assert [(e.line, e.field) for e in caught.value.errors] == [
        (1, "consent"),
        (2, "channels[1]"),
        (3, "caps"),
    ]


def test_what_a_folder_lacks_comes_from_the_package(tmp_path: Path) -> None:
    packaged = load_config()
    assert load_config(tmp_path) == packaged
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "hello.yaml").write_text(EVENT_RULE)
    own = load_config(tmp_path)
    assert [rule.name for rule in own.rules] == ["hello"]
    assert (own.stages, own.policy) == (packaged.stages, packaged.policy)


@pytest.mark.parametrize("place", ["policy.yaml", "rules/policy.yaml"])
def test_a_policy_may_lie_beside_the_rules_or_among_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "hello.yaml").write_text(EVENT_RULE)
    (tmp_path / place).write_text("")
    assert load_config(tmp_path).policy == Policy()


def test_mistakes_in_rules_stages_and_policy_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "hello.yaml").write_text("rule: hello\n")
    (tmp_path / "stages.yaml").write_text("stages: 5\n")
    (tmp_path / "policy.yaml").write_text("consent: 5\n")
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path)
    files = {Path(error.file).name for error in caught.value.errors}
    assert files == {"hello.yaml", "stages.yaml", "policy.yaml"}


NAMES = """
channels: [app_push, sms]
cool_down: {onbording: 1d, onboarding: 1d}
caps:
  - {at_most: 1, per: day, channel: whatsap}
  - {at_most: 1, per: day, channel: whatsapp}
  - {at_most: 1, per: day, group: onbording}
  - {at_most: 1, per: day, group: recall}
"""


def test_names_in_a_policy_are_those_of_the_rules_broken_ones_included(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "hello.yaml").write_text(EVENT_RULE + "group: onboarding\n")
    (tmp_path / "rules" / "broken.yaml").write_text("group: recall\nchannels: [whatsapp]\n")
    (tmp_path / "policy.yaml").write_text(NAMES)
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path)
    told = [
        (error.line, error.field, error.message)
        for error in caught.value.errors
        if error.file.endswith("policy.yaml")
    ]
    groups = "is no group of any rule; allowed: onboarding, recall; did you mean 'onboarding'?"
    channels = "is no channel; allowed: app_push, sms, whatsapp; did you mean 'whatsapp'?"
    assert told == [
        (3, "cool_down.onbording", groups),
        (5, "caps[0].channel", f"'whatsap' {channels}"),
        (7, "caps[2].group", f"'onbording' {groups}"),
    ]
    (tmp_path / "rules" / "broken.yaml").unlink()
    with pytest.raises(ConfigErrors, match="'recall' is no group of any rule"):
        load_config(tmp_path)


def test_a_folder_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="is not a folder"):
        load_config(tmp_path / "nowhere")
    (tmp_path / "hello.yaml").write_text(EVENT_RULE)
    (tmp_path / "policy.yaml").write_text("consent: 5\n")
    with pytest.raises(ConfigErrors, match="rules lie in") as caught:
        load_config(tmp_path)
    assert len(caught.value.errors) == 2

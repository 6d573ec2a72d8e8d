"""The alerts: made from one list, of metrics that there are, with runbooks to be followed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_kit import program, quick

from app.alerting.alerts import ALERTS
from app.alerting.files import folder, rule_files
from app.alerting.kinds import RUNBOOKS, Alert, Recording, Spans
from app.alerting.recordings import RECORDINGS
from app.metric_list import METRICS, Kind
from models.times import DAY, HOUR, MINUTE, SECOND, format_duration

ROOT = Path(__file__).parents[1]
SCENES = sorted((ROOT / "tests/data/alerts").glob("*.test.yml"))
RUNBOOK_TEXT = (ROOT / RUNBOOKS).read_text()
NAME = re.compile(r"\blifecycle[_:][a-z0-9_:]+")
DECLARED = {metric.name: metric for metric in METRICS}
EXPORTED = {
    name + ending
    for name, metric in DECLARED.items()
    for ending in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
} | {recording.name for recording in RECORDINGS}


def section(alert: Alert) -> str:
    """What the runbooks say of an alert."""
    _, _, rest = RUNBOOK_TEXT.partition(f"\n### {alert.name}\n")
    return re.split(r"\n##+ ", rest)[0].strip()


# --- the files ---


@pytest.mark.parametrize("name", rule_files())
def test_the_files_are_those_of_the_declarations(name: str) -> None:
    found = (folder() / name).read_text()
    assert found == rule_files()[name], "make them again: python -m app.alerting"


def test_a_quicker_pace_changes_nothing_but_spans() -> None:
    number = re.compile(r"\b[0-9]+(\.[0-9]+)?(ms|[smhd])?\b")
    for name, text in rule_files(quick).items():
        rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        usual = yaml.safe_load(rule_files()[name])["groups"][0]["rules"]
        for one, other in zip(rules, usual, strict=True):
            assert number.sub("N", one["expr"]) == number.sub("N", other["expr"])
            assert one | {"expr": "", "for": ""} == other | {"expr": "", "for": ""}


def test_at_the_quicker_pace_a_longer_span_is_still_the_longer_one() -> None:
    spans = [40 * SECOND, *(n * MINUTE for n in (1, 2, 3, 5, 10, 15, 30, 60, 120)), 7 * DAY]
    at_pace = [quick(span) for span in spans]
    assert at_pace == sorted(set(at_pace))


# --- the rules ---


def test_every_alert_and_every_recording_has_a_name_of_its_own() -> None:
    alerts = [alert.name for alert in ALERTS]
    assert len(alerts) == len(set(alerts))
    recorded = [(one.name, tuple(one.labels.items())) for one in RECORDINGS]
    assert len(recorded) == len(set(recorded))


@pytest.mark.parametrize("rule", [*RECORDINGS, *ALERTS], ids=lambda rule: rule.name)
def test_rules_ask_for_series_that_there_are(rule: Alert | Recording) -> None:
    asked = rule.expression(Spans())
    assert set(NAME.findall(asked)) <= EXPORTED
    for name, labels in re.findall(r"\b(lifecycle_[a-z_]+)\{([^}]*)\}", asked):
        assert set(re.findall(r"(\w+)[!=]", labels)) <= set(DECLARED[name].labels)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_in_sentences_what_is_wrong(alert: Alert) -> None:
    for sentence in (alert.summary, alert.description):
        assert re.match(r"[A-Z{]", sentence)
        assert sentence.endswith(".")
    assert len(re.sub(r"{{.*?}}", "", alert.summary)) <= 80
    has_value = "$value" in alert.summary + alert.description
    is_true_or_not = re.search(r"== [01]\b", alert.expression(Spans())) or "lost" in alert.summary
    assert has_value or is_true_or_not


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_runbook_that_knows_how_urgent_it_is(alert: Alert) -> None:
    path, _, anchor = alert.runbook.partition("#")
    assert (ROOT / path).read_text() == RUNBOOK_TEXT
    assert anchor == alert.name.lower()
    said = section(alert)
    assert said.startswith(f"*{alert.severity.value.capitalize()}"), alert.name
    lasts = f" after {alert.lasts // HOUR or alert.lasts // MINUTE} " if alert.lasts else ".*"
    assert said.removeprefix(f"*{alert.severity.value.capitalize()}").startswith((lasts, ", "))
    assert len(said) > 150


def test_the_runbooks_know_no_other_alerts_and_name_series_that_there_are() -> None:
    assert re.findall(r"^### (\w+)$", RUNBOOK_TEXT, re.MULTILINE) == [
        alert.name for alert in ALERTS
    ]
    named = {name.rstrip("_:") for name in NAME.findall(RUNBOOK_TEXT)}
    patterns = {"lifecycle"}
    assert {name for name in named if name not in EXPORTED | patterns} == set()


# --- the alerts on series that are made ---


def scenes() -> list[dict[str, Any]]:
    return [scene for file in SCENES for scene in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_scene_in_which_it_is_quiet_fires_and_is_quiet_again(
    alert: Alert,
) -> None:
    in_order = [
        [bool(look.get("exp_alerts")) for look in scene["alert_rule_test"] if is_of(look, alert)]
        for scene in scenes()
    ]
    assert any(True in looks and not looks[0] and not looks[-1] for looks in in_order if looks)


def is_of(look: dict[str, Any], alert: Alert) -> bool:
    return bool(look["alertname"] == alert.name)


@pytest.mark.prometheus
@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.name)
def test_the_alerts_fire_and_clear_in_their_scenes(scene: Path, tmp_path: Path) -> None:
    for file in (*folder().glob("*.yml"), scene):
        shutil.copy(file, tmp_path)
    run(program("promtool"), "test", "rules", str(tmp_path / scene.name))


@pytest.mark.prometheus
def test_prometheus_and_alertmanager_take_their_files(tmp_path: Path) -> None:
    run(program("promtool"), "check", "config", str(folder() / "prometheus.yml"))
    run(program("amtool"), "check-config", str(folder() / "alertmanager.yml"))
    for name, text in rule_files(quick).items():
        (tmp_path / name).write_text(text)
        run(program("promtool"), "check", "rules", str(tmp_path / name))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_spans_are_written_as_prometheus_reads_them() -> None:
    for alert in ALERTS:
        assert re.fullmatch(r"[0-9]+(ms|[smhd])", format_duration(alert.lasts))
    assert Spans().over(90 * MINUTE) == "90m"
    assert Spans(quick).seconds(2 * MINUTE) == "4.2"
    assert Spans(quick).over(2 * MINUTE) == "4200ms"


# --- who is told ---


def test_everybody_is_told_by_severity_and_what_is_silenced_exists() -> None:
    given = yaml.safe_load((folder() / "alertmanager.yml").read_text())
    names = {receiver["name"] for receiver in given["receivers"]}
    routes = [given["route"], *given["route"]["routes"]]
    assert {route["receiver"] for route in routes} == names == {"page", "ticket"}
    assert given["route"]["routes"][0]["matchers"] == ['severity="page"']
    known = {alert.name for alert in ALERTS}
    for rule in given["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            _, _, value = matcher.partition("alertname")
            assert set(re.findall(r"\w+", value)) <= known

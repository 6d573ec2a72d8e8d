"""The rule files that Prometheus reads, made from the declarations."""

import re
from pathlib import Path

import yaml

from app.alerting.alerts import ALERTS
from app.alerting.kinds import Alert, Pace, Recording, Spans, as_declared
from app.alerting.recordings import RECORDINGS
from config.paths import package_dir
from models.times import format_duration

_HEAD = "# Made by `python -m app.alerting` from app/alerting/; a test keeps them alike.\n"


def rule_files(pace: Pace = as_declared) -> dict[str, str]:
    """Return every rule file: its name -> its text.

    Another ``pace`` gives the same rules for a test that cannot wait as long as operators do.
    """
    spans = Spans(pace)
    recordings = [_recording(recording, spans) for recording in RECORDINGS]
    alerts = [_alert(alert, spans) for alert in ALERTS]
    return {
        "recording.yml": _written("lifecycle-recording", recordings),
        "alerts.yml": _written("lifecycle-alerts", alerts),
    }


def folder() -> Path:
    """Return where the files lie."""
    return package_dir() / "prometheus"


def _recording(recording: Recording, spans: Spans) -> dict[str, object]:
    found: dict[str, object] = {"record": recording.name, "expr": recording.expression(spans)}
    return found | ({"labels": dict(recording.labels)} if recording.labels else {})


def _alert(alert: Alert, spans: Spans) -> dict[str, object]:
    return {
        "alert": alert.name,
        "expr": alert.expression(spans),
        **({"for": format_duration(spans.pace(alert.lasts))} if alert.lasts else {}),
        "labels": {"severity": alert.severity.value},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook": alert.runbook,
        },
    }


def _written(group: str, rules: list[dict[str, object]]) -> str:
    text = yaml.safe_dump(
        {"groups": [{"name": group, "rules": rules}]},
        sort_keys=False,
        allow_unicode=True,
        width=96,
    )
    return _HEAD + re.sub(r"^(  - (?:record|alert):)", r"\n\1", text, flags=re.MULTILINE)

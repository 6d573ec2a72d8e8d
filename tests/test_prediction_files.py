"""Reading ``predictions.yaml``, and telling people all that is wrong with one."""

from pathlib import Path

import pytest

from config.errors import ConfigErrors
from config.paths import load_config, package_dir
from config.prediction_files import read_predictions
from models.predictions import Predictions

KEYS = "horizon, share, margin"


def wrong(folder: Path, text: str) -> list[tuple[int, int, str, str]]:
    path = folder / "predictions.yaml"
    path.write_text(text)
    _, errors = read_predictions(path)
    return [(one.line, one.column, one.field, one.message) for one in errors]


def test_the_shipped_file_is_right_and_is_what_the_configuration_has() -> None:
    found, errors = read_predictions(package_dir() / "predictions.yaml")
    assert errors == []
    assert found == Predictions(horizon=30, share=1.0, margin=1.0)
    assert load_config().predictions == found


def test_only_the_horizon_must_be_said(tmp_path: Path) -> None:
    path = tmp_path / "predictions.yaml"
    path.write_text("horizon: 60d\nshare: 0.1\n")
    assert read_predictions(path) == (Predictions(horizon=60, share=0.1), [])


def test_an_empty_file_switches_predictions_off(tmp_path: Path) -> None:
    (tmp_path / "predictions.yaml").write_text("# nothing\n")
    assert load_config(tmp_path).predictions is None


def test_every_mistake_is_told_at_its_place(tmp_path: Path) -> None:
    days = "must be whole days from 7d to 90d"
    assert wrong(tmp_path, "horizon: 36h\nshare: 2\nmargn: 0.5\n") == [
        (3, 1, "margn", f"is not known here; allowed: {KEYS}; did you mean 'margin'?"),
        (1, 10, "horizon", days),
        (2, 8, "share", "must be a number from 0.001 to 1, was the number 2"),
    ]
    assert wrong(tmp_path, "horizon: 120d\n") == [(1, 10, "horizon", days)]
    assert len(wrong(tmp_path, "horizon: soon\n")) == 1
    assert wrong(tmp_path, "share: 0.5\n") == [(1, 1, "horizon", "is missing")]


def test_a_mistake_stops_the_configuration_from_being_loaded(tmp_path: Path) -> None:
    (tmp_path / "predictions.yaml").write_text("horizon: 1d\n")
    with pytest.raises(ConfigErrors, match=r"predictions\.yaml:1:10"):
        load_config(tmp_path)

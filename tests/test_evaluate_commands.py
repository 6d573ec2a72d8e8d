"""``lifecycle evaluate`` as a command: its keys, its pictures, and one line for what is wrong."""

import gzip
import json
from importlib.util import find_spec as really_find_spec
from pathlib import Path
from typing import Any

import pytest
from made_buyers import FIRST, made_orders, order

from app.cli import main
from app.evaluate import commands, gbm
from app.event_files import write_events

KEYS = {f"{figure}_active" for figure in ("auc", "logloss", "ece", "citl")} | {"auc_all"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "orders.jsonl.gz"
    write_events(path, made_orders(members=120, days=230, seed=1))
    return path


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.filterwarnings("default")
def test_churn_is_evaluated_beside_every_baseline_on_the_same_rows(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, "churn", str(file))
    assert found.keys() >= KEYS | {"rows", "members", "cold_start", "weekly_auc", "seconds"}
    assert found["members"] == 120
    assert found["horizon_days"] == 30
    # Days 115 to 199, 12 or 13 questions to each member.
    assert 115 * 12 <= found["rows"] <= 120 * 13
    for baseline in ("lightgbm", "bgnbd", "recency"):
        assert found["baselines"][baseline].keys() >= KEYS
    assert found["auc_active"] > 0.7
    assert found["truncation"]["rows"] > 500
    assert found["truncation"]["different"] == 0


def test_without_lightgbm_the_rest_still_works_and_says_so(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gbm, "installed", lambda: False)
    found = evaluated(capsys, "churn", str(file), "--horizon", "14d")
    assert "lightgbm" not in found["baselines"]
    assert "minus_lightgbm" not in found
    assert any("pip install member-lifecycle[evaluate]" in note for note in found["notes"])
    assert found["horizon_days"] == 14


@pytest.mark.parametrize("name", ["picture.png", "page.html"])
def test_the_picture_is_drawn_into_one_file(
    name: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gbm, "installed", lambda: False)
    path = tmp_path / name
    evaluated(capsys, "churn", str(file), "--plot", str(path))
    written = path.read_bytes()
    if name.endswith(".png"):
        assert written.startswith(b"\x89PNG")
    else:
        assert b"<img" in written
        assert b"data:image/png;base64," in written
        assert b"http" not in written


def test_a_picture_without_matplotlib_says_what_to_install(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        commands, "find_spec", lambda name: None if name == "matplotlib" else really_find_spec(name)
    )
    assert refused("churn", str(file), "--plot", "x.png") == 2
    said = capsys.readouterr().err
    assert "pip install member-lifecycle[evaluate]" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("horizon", ["12h", "6d", "91d", "soon", "199h"])
def test_a_horizon_is_whole_days_that_the_trainer_takes(horizon: str, file: Path) -> None:
    assert refused("churn", str(file), "--horizon", horizon) == 2


def test_a_picture_has_one_of_two_forms(file: Path) -> None:
    assert refused("churn", str(file), "--plot", "picture.gif") == 2


def test_a_folder_that_is_missing_is_noticed_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused("churn", "nothing.jsonl", "--plot", str(tmp_path / "none" / "x.png")) == 2
    said = capsys.readouterr().err
    assert "there is no folder" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", ["churn", "value", "next"])
def test_a_bad_line_is_named_with_its_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"type":"purchase","member_id":"a","occurred_at":1}\nnot json\n')
    assert main(["evaluate", kind, str(path)]) == 2
    assert f"{path}:2:" in capsys.readouterr().err


def test_a_file_that_is_not_there_or_damaged_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, cut = tmp_path / "missing.jsonl", tmp_path / "cut.jsonl.gz"
    assert main(["evaluate", "churn", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err
    cut.write_bytes(gzip.compress(b'{"type":"visit"}\n' * 100)[:-9])
    assert main(["evaluate", "churn", str(cut)]) == 2
    assert str(cut) in capsys.readouterr().err


def test_of_a_log_with_more_questions_than_are_asked_a_sample_is_evaluated(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.evaluate.running.MOST_QUESTIONS", 2000)
    found = evaluated(capsys, "next", str(file))
    assert 30 < found["members"] < 90
    assert any("sample" in note for note in found["notes"])


@pytest.mark.parametrize("kind", ["value", "next"])
def test_a_log_of_which_no_question_counts_is_told_so(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rare.jsonl"
    # Half a year apart: nobody is asked on the one day that counts, nobody orders within 60 days.
    write_events(path, [order(member, FIRST + day, 500) for day in (0, 181) for member in (0, 1)])
    assert main(["evaluate", kind, str(path), "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert path.name in said.err


def test_the_clock_does_not_begin_with_a_stray_order(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "strays.jsonl"
    write_events(path, [order(7, 0, 500), order(7, FIRST + 5000, 500)])
    figures = evaluated(capsys, "next", str(file))
    beside = evaluated(capsys, "next", str(file), str(path))
    notes = beside.pop("notes")
    assert [note for note in notes if "2 events" in note] == notes != []
    for key in ("rows", "medae", "mae", "interval_coverage", "baselines", "events"):
        assert beside[key] == figures[key]


@pytest.mark.parametrize("kind", ["churn", "value", "next"])
def test_a_log_that_says_nothing_of_orders_is_told_so(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, short, looks = (tmp_path / f"{name}.jsonl" for name in ("empty", "short", "looks"))
    empty.touch()
    write_events(short, made_orders(members=20, days=15, seed=2))
    looks.write_text('{"type":"visit","member_id":"a","occurred_at":1795255200000}\n')
    for path in (empty, short, looks):
        assert main(["evaluate", kind, str(path)]) == 1
        said = capsys.readouterr().err
        assert path.name in said
        assert "too few" in said


def test_value_and_next_order_are_evaluated_beside_theirs(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = evaluated(capsys, "value", str(file))
    figures = {"rmse", "mae", "bias", "spearman", "top_decile_share"}
    assert value.keys() >= figures | {"interval_coverage", "gross"}
    assert value["baselines"].keys() == {"bgnbd_gamma_gamma", "decayed_spend"}
    assert value["baselines"]["bgnbd_gamma_gamma"]["spearman"] > 0.5
    following = evaluated(capsys, "next", str(file))
    assert following.keys() >= {"medae", "mae", "within_7_days", "interval_coverage"}
    assert following["baselines"].keys() == {"bgnbd", "population_median", "last_and_mean_gap"}
    assert following["baselines"]["bgnbd"]["medae"] < 20


def refused(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code

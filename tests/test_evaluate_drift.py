"""Members who change their habit at once are noticed, and their scores are right again soon."""

import pytest
from drift import measure

from app.evaluate.reading import log_of
from app.event_files import write_events
from app.event_reading import ReadingReport, read_events
from app.importers import complete_journey
from app.importers.report import InputError, Report
from models.rules import Limits


@pytest.mark.slow
def test_a_third_of_the_members_buying_half_as_often_is_seen_and_mended(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    try:
        located = complete_journey.located()
    except InputError as missing:
        pytest.skip(str(missing))
    path = tmp_path_factory.mktemp("journey") / "events.jsonl"
    write_events(path, complete_journey.read(located, Report()))
    log = log_of(read_events([path], ReadingReport()), Limits())
    found = measure(log, day=180)
    assert found.early == ()
    assert found.alarm is not None
    assert found.alarm <= 14
    assert abs(found.levels[1]) <= 0.04

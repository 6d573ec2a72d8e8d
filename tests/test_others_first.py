"""Who has to wait when there is more to do than a worker gets done."""

from pathlib import Path

from core_builders import shipped_book

from agents.clocks import WallClock
from app.worker import CATCHING_UP_RECORDS, Worker
from config.settings import load_settings


async def test_the_observer_rests_while_documents_are_made_again(tmp_path: Path) -> None:
    settings = load_settings({"LIFECYCLE_DATA_DIR": str(tmp_path)})
    worker = Worker(settings, shipped_book(), WallClock())
    assert worker._observer is not None
    pressed = worker._observer._pressed
    assert not pressed()
    worker._projector.stats.behind = CATCHING_UP_RECORDS + 1
    assert pressed()
    worker._projector.stats.behind = 0
    assert not pressed()

"""What is predicted of the members, by the course that the live trainer takes over their orders.

Every member is asked once a week, labels are learned when they are due and not before, and each
answer is judged by what happened.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.evaluate import metrics
from app.evaluate.asked import Rows, ask, bare_book
from app.evaluate.counting import TooShort, days_that_count
from app.evaluate.reading import log_of
from app.try_.foresight import Bin, Foresight, Predictions, Quality, TooLittle
from app.try_.would_be import DailyModels
from models.asking import Bought, Question
from models.churn import Scorer
from models.course import rhythms
from models.decoding import Received
from models.features import FEATURES
from models.known_models import Ready
from models.model import Model
from models.next_order import usual
from models.predictions import Predictions as Chosen
from models.reason_codes import CODES, among, because
from models.replay import Replay
from models.rhythm import Rhythm, member_number
from models.rules import Limits
from models.times import DAY
from models.training import Trainer

# Below any of these the quality is not stated.
DAYS_WANTED = 120
ROWS_WANTED = 500
EACH_WANTED = 50
# Reasons that are said, of those that add so much to the log odds.
REASONS, WORTH_A_WORD = 2, 0.1


def predict(
    events: Sequence[Received],
    members: Collection[str],
    chosen: Chosen,
    limits: Limits,
    gaps: Mapping[str, float],
    progress: Callable[[float], None],
) -> Predictions | None:
    """Return everything that is predicted at the end of the last event's day.

    ``members`` are learned from, everybody is predicted. ``gaps``: the usual gap in days of who
    has a rhythm; of others it is what the base makes likely. ``progress`` gets the share done.
    None when nobody ordered anything by name.
    """
    log = log_of(events, limits)
    if log.last < log.first:
        return None
    part = replace(log, events=[one for one in log.events if one.event.member_id in members])
    learner = _Recorder(chosen.horizon)
    rows = ask(part, learner, _see_nothing, lambda _, done, of: progress(done / (of or 1)))
    known = rhythms(log.events, bare_book(limits))
    names = {member_number(name): name for name in known if name in members}
    model = learner.models[max(learner.models)]
    return Predictions(
        horizon=chosen.horizon,
        margin=chosen.margin,
        today=_today(Ready(model, chosen.margin), known, gaps, log.last),
        scores=_scores(rows, names, part.first),
        judged=judge(rows, part.first, part.length, chosen.horizon),
        models=learner.models,
        members=len(names),
        of=len(known),
    )


def scores_of(
    events: Sequence[Received], members: Collection[str], predictions: Predictions, limits: Limits
) -> dict[str, list[tuple[int, float]]]:
    """Return what was said of members week by week by the models of the time, oldest first.

    For who was not learned from: the models knew nothing of them.
    """
    names = {member_number(name): name for name in members}
    run = Replay(bare_book(limits), DailyModels(predictions.models, predictions.margin))
    found: dict[str, list[tuple[int, float]]] = {}
    first = min(predictions.models)  # on which nothing was known
    outcomes = [run.fold(event) for event in events if event.event.member_id in members]
    for outcome in (*outcomes, *run.finish((events[-1].at // DAY + 1) * DAY)):
        for message in outcome.asked:
            if isinstance(message, Question) and message.p is not None and message.day > first:
                found.setdefault(names[message.member], []).append((message.day, message.p))
    return found


def _see_nothing(*_: object) -> tuple[float, ...]:
    return ()


class _Recorder:
    """A trainer whose model of each day is kept."""

    def __init__(self, horizon: int) -> None:
        self._trainer = Trainer(horizon)
        self.models: dict[int, Model] = {}

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase or a refund."""
        self._trainer.bought(bought)

    def asked(self, question: Question) -> None:
        """Take note of a question."""
        self._trainer.asked(question)

    def close(self, day: int) -> Model:
        """Learn what is due by the end of ``day``; return the model of the next."""
        model = self.models[day + 1] = self._trainer.close(day)
        return model


def judge(rows: Rows, first: int, length: int, horizon: int) -> Quality | TooLittle:
    """Return how good the answers were, of members who had bought within the horizon."""
    try:
        days = days_that_count(length, horizon)
    except TooShort:
        days = range(0)
    counted = (rows.day >= days.start) & (rows.day < days.stop) & (rows.silence < horizon)
    left = rows.histories.churned(rows.member, rows.day, horizon)[counted]
    said, day = rows.said[counted], rows.day[counted]
    gone = int(left.sum())
    if length < DAYS_WANTED or len(said) < ROWS_WANTED or min(gone, len(said) - gone) < EACH_WANTED:
        return TooLittle(length, len(said), gone, DAYS_WANTED, ROWS_WANTED, EACH_WANTED)
    base = float(left.mean())
    return Quality(
        rows=len(said),
        members=len(np.unique(rows.member[counted])),
        first_day=first + int(day.min()),
        last_day=first + int(day.max()),
        left=base,
        said=float(said.mean()),
        auc=metrics.auc(left, said) or 0.0,
        log_loss=metrics.log_loss(left, said) or 0.0,
        guess=metrics.log_loss(left, np.full(len(said), base)) or 0.0,
        off=metrics.calibration_error(left, said) or 0.0,
        bins=tuple(
            Bin(one.rows, one.said, one.happened) for one in metrics.reliability(left, said)
        ),
    )


def _scores(rows: Rows, names: dict[int, str], first: int) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for number, day, said in zip(
        rows.number.tolist(), rows.day.tolist(), rows.said.tolist(), strict=True
    ):
        if day:  # on the first day nothing was known
            found.setdefault(names[number], []).append((first + day, said))
    return found


def _today(
    ready: Ready, known: dict[str, Rhythm], gaps: Mapping[str, float], day: int
) -> dict[str, Foresight]:
    churn = ready.model.churn
    population = churn.population
    active = [one for one in known.values() if day - one.last_day < churn.horizon]
    scorer = among(Scorer(churn), active, day)
    found = {}
    for member, rhythm in known.items():
        due = ready.model.next_order.next_order(rhythm, day, population)
        gap = gaps[member] if member in gaps else usual(rhythm, population).median
        found[member] = Foresight(
            churn=ready.churn(rhythm, day)[0],
            reasons=_reasons(scorer, rhythm, day, gap),
            value=ready.worth(rhythm, day),
            next_days=(day + due.low, day + round(due.median), day + due.high),
            usual=gap,
            silent=day - rhythm.last_day,
        )
    return found


def _reasons(scorer: Scorer, rhythm: Rhythm, day: int, gap: float) -> tuple[tuple[str, str], ...]:
    """Return what raises the risk most, the strongest first.

    Silence beyond the member's own gaps raises it even where the model lets another reason say so,
    or has not learned yet.
    """
    told = because(scorer, rhythm, day, len(FEATURES))
    raising = [(one.english, one.chinese) for one in told if one.log_odds > WORTH_A_WORD]
    if not raising and day - rhythm.last_day > gap:
        raising = [CODES["silence"].raises]
    return tuple(raising[:REASONS])

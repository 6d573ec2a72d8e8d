"""What the metrics say of predictions: the newest model, and the trainer if it is here."""

from collections.abc import Mapping

from agents.trainer import TrainerStats
from app import metric_list as declared
from models.model import Model, Quality
from models.times import DAY

Values = Mapping[tuple[str, ...], float]

_QUALITY = (
    declared.CHURN_LOG_LOSS,
    declared.CHURN_AUC,
    declared.CHURN_CALIBRATION_ERROR,
    declared.CHURN_LEVEL_ERROR,
)
_OF_PREDICTIONS = (
    declared.MODEL_VALID_FROM,
    declared.MODEL_AGE,
    *_QUALITY,
    declared.DRIFT_NOTICED,
    declared.TRAINER_WORKING,
    declared.TRAINER_BEHIND,
    declared.TRAINER_DAYS,
    declared.TRAINER_SECONDS,
    declared.TRAINER_LEARNED,
    declared.TRAINER_REFUSED,
    declared.TRAINER_DECISIONS,
)


def foresight_values(
    trainer: TrainerStats | None, model: Model | None, drift_noticed: int | None, now: int | None
) -> dict[str, Values]:
    """Return the values by metric; without a trainer, predictions are off, and nothing is said.

    ``drift_noticed`` is an epoch day; ``now`` is members' time in epoch ms, None in stream time.
    """
    if trainer is None:
        return {metric.name: {} for metric in _OF_PREDICTIONS}
    valid_from = 0 if model is None else model.valid_from * DAY
    age = 0 if model is None or now is None else max(now - valid_from, 0)
    return {
        declared.MODEL_VALID_FROM.name: {(): valid_from / 1000},
        declared.MODEL_AGE.name: {(): age / 1000},
        **_quality(model),
        declared.DRIFT_NOTICED.name: {(): (drift_noticed or 0) * DAY / 1000},
        declared.TRAINER_WORKING.name: {(): float(trainer.working)},
        declared.TRAINER_BEHIND.name: {(): float(trainer.behind)},
        declared.TRAINER_DAYS.name: {(): float(trainer.days)},
        declared.TRAINER_SECONDS.name: {(): trainer.seconds},
        declared.TRAINER_LEARNED.name: {(): float(trainer.learned)},
        declared.TRAINER_REFUSED.name: {(): float(trainer.refused)},
        declared.TRAINER_DECISIONS.name: {
            # A counter that begins with its first event shows Prometheus no increase.
            (kind,): float(trainer.decisions.get(kind, 0))
            for kind in ("trusted", "promoted", "drift", "settled")
        },
    }


def _quality(model: Model | None) -> dict[str, Values]:
    found: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in _QUALITY}
    if model is not None:
        _add(found, "active", model.figures.active)
        _add(found, "all", model.figures.everyone)
    return dict(found)


def _add(found: dict[str, dict[tuple[str, ...], float]], members: str, said: Quality) -> None:
    level = None
    if said.predicted is not None and said.churned is not None:
        level = said.predicted - said.churned
    for metric, value in (
        (declared.CHURN_LOG_LOSS, said.log_loss),
        (declared.CHURN_AUC, said.auc),
        (declared.CHURN_CALIBRATION_ERROR, said.ece),
        (declared.CHURN_LEVEL_ERROR, level),
    ):
        if value is not None:
            found[metric.name][(members,)] = value

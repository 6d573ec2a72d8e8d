"""Model quality: whether the predictions can be believed."""

from app import metric_list as m
from app.dashboards.kinds import Dashboard, Query, Section, Unit, lines, number

MODEL = Dashboard(
    "lifecycle-model",
    "Model quality",
    "How good the churn model was on answers that have come due since (prequential: each member "
    "was scored before the answer was known). docs/churn-model.md says how it is measured.",
    (
        Section(
            "At a glance",
            (
                number(
                    "AUC, active members",
                    "How well members who stay away are told from those who buy: 0.5 is chance, 1 "
                    "is perfect.",
                    Unit.PLAIN,
                    f'max({m.CHURN_AUC.name}{{members="active"}})',
                ),
                number(
                    "Calibration error",
                    "By how much a stated probability is off, on average.",
                    Unit.SHARE,
                    f'max({m.CHURN_CALIBRATION_ERROR.name}{{members="active"}})',
                    warn_above=0.05,
                ),
                number(
                    "Log loss",
                    "Of the probabilities; lower is better, and the base rate's own is the mark "
                    "to beat.",
                    Unit.PLAIN,
                    f'max({m.CHURN_LOG_LOSS.name}{{members="active"}})',
                ),
                number(
                    "Age of the model",
                    "A new one is made at each day's end.",
                    Unit.SECONDS,
                    f"max({m.MODEL_AGE.name})",
                    warn_above=172800,
                ),
                number(
                    "Drift noticed",
                    "Seconds since members began to behave otherwise than predicted; 0 when it was "
                    "never noticed.",
                    Unit.SECONDS,
                    f"(time() - max({m.DRIFT_NOTICED.name} > 0)) or vector(0)",
                    zero="never",
                ),
                number(
                    "Examples learned",
                    "Answers that came due and were learned from, by the worker that trains.",
                    Unit.COUNT,
                    f"max({m.TRAINER_LEARNED.name})",
                ),
            ),
        ),
        Section(
            "Quality over time",
            (
                lines(
                    "AUC",
                    "Of active members, and of all (easier, for most of all have long gone).",
                    Unit.PLAIN,
                    Query(f"max by (members) ({m.CHURN_AUC.name})", "{{members}}"),
                ),
                lines(
                    "Calibration",
                    "error: how far stated probabilities are off; level: predicted less seen, "
                    "below zero when more members leave than was said.",
                    Unit.SHARE,
                    Query(
                        f'max by (members) ({m.CHURN_CALIBRATION_ERROR.name}{{members="active"}})',
                        "error",
                    ),
                    Query(
                        f'max by (members) ({m.CHURN_LEVEL_ERROR.name}{{members="active"}})',
                        "level",
                    ),
                ),
                lines(
                    "Log loss over time",
                    "Lower is better.",
                    Unit.PLAIN,
                    Query(f"max by (members) ({m.CHURN_LOG_LOSS.name})", "{{members}}"),
                ),
                lines(
                    "What the trainer decided",
                    "Counted since its worker started: trusted (scores are used), promoted (a "
                    "better variant took over), drift, settled.",
                    Unit.COUNT,
                    Query(f"max by (kind) ({m.TRAINER_DECISIONS.name})", "{{kind}}"),
                ),
            ),
        ),
        Section(
            "The trainer",
            (
                lines(
                    "Questions that wait for it",
                    "Records of its topic that it has not read yet.",
                    Unit.COUNT,
                    Query(f"max({m.TRAINER_BEHIND.name})", "behind"),
                    wide=8,
                ),
                lines(
                    "Days closed",
                    "A day is closed when every lane has said all of it.",
                    Unit.COUNT,
                    Query(f"max({m.TRAINER_DAYS.name})", "days"),
                    wide=8,
                ),
                lines(
                    "Seconds a day took",
                    "The trainer's own work for each day that it closed.",
                    Unit.SECONDS,
                    Query(
                        f"max({m.TRAINER_SECONDS.name} / ({m.TRAINER_DAYS.name} > 0)) or vector(0)",
                        "mean",
                    ),
                    wide=8,
                ),
            ),
        ),
    ),
)

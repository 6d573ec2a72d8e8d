"""Model quality: whether the predictions can be believed."""

from app import metric_list as m
from app.dashboards.kinds import Dashboard, Query, Section, Unit, lines, number

MODEL = Dashboard(
    "lifecycle-model",
    "Model quality",
    "How good published churn probabilities were, by the answers of about the last four weeks "
    "(prequential: each member was scored before the answer was known). docs/churn-model.md says "
    "how it is measured.",
    (
        Section(
            "At a glance",
            (
                number(
                    "AUC, active members",
                    "Of members who had bought lately: how well those who stay away are told from "
                    "those who buy. 0.5 is chance, 1 is perfect.",
                    Unit.PLAIN,
                    f'max({m.CHURN_AUC.name}{{members="active"}})',
                ),
                number(
                    "Calibration error",
                    "Of active members: by how much the share that stayed away differs from what "
                    "was predicted, mean over classes of probability.",
                    Unit.SHARE,
                    f'max({m.CHURN_CALIBRATION_ERROR.name}{{members="active"}})',
                    warn_above=0.05,
                ),
                number(
                    "Log loss",
                    "Of active members' probabilities; lower is better, and the base rate's own is "
                    "the mark to beat.",
                    Unit.PLAIN,
                    f'max({m.CHURN_LOG_LOSS.name}{{members="active"}})',
                ),
                number(
                    "Age of the model",
                    "Time since the day began from which the newest model is valid. A new one is "
                    "made at each day's end: a day and some minutes are usual.",
                    Unit.SECONDS,
                    f"max({m.MODEL_AGE.name})",
                    warn_above=172800,
                ),
                number(
                    "Drift noticed",
                    "Time since the last day began on which it was noticed that members behave "
                    "otherwise than predicted; never: not in the last nine weeks or so.",
                    Unit.SECONDS,
                    f"(time() - max({m.DRIFT_NOTICED.name} > 0)) or vector(0)",
                    zero="never",
                ),
                number(
                    "Examples learned",
                    "Answers that came due and were learned from, since the worker that trains was "
                    "started.",
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
                    "Of active members. error: by how much shares of those who stayed away differ "
                    "from what was predicted; level: mean predicted less seen, below zero when "
                    "more stay away than was said.",
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
                    "Of active members, and of all. Lower is better.",
                    Unit.PLAIN,
                    Query(f"max by (members) ({m.CHURN_LOG_LOSS.name})", "{{members}}"),
                ),
                lines(
                    "What the trainer decided",
                    "Counted since its worker was started: trusted (what was learned counts from "
                    "now on), promoted (a better variant took over), drift (members behave "
                    "otherwise), settled (no more).",
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
                    "Since the worker that trains was started. A day is closed, and gives a "
                    "model, when every lane has said all of it.",
                    Unit.COUNT,
                    Query(f"max({m.TRAINER_DAYS.name})", "days"),
                    wide=8,
                ),
                lines(
                    "Seconds a day took",
                    "The trainer's own work for a day, mean of those closed since its worker was "
                    "started.",
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

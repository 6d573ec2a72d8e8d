"""The recording rules."""

from app import metric_list as m
from app.alerting.kinds import Recording
from models.times import DAY, HOUR, MINUTE

WEEK = 7 * DAY
JOB = "lifecycle"
UP = f'up{{job="{JOB}"}}'

TRIGGERS = Recording(
    "lifecycle:triggers:rate1h",
    "Triggers a second, over an hour.",
    lambda t: f"sum(rate({m.TRIGGERS.name}[{t.over(HOUR)}]))",
)
TRIGGERS_OF_RULE = Recording(
    "lifecycle:triggers_by_rule:rate1h",
    "The same by rule.",
    lambda t: f"sum by (rule) (rate({m.TRIGGERS.name}[{t.over(HOUR)}]))",
)
EVENTS = Recording(
    "lifecycle:events:rate1h",
    "Well-formed events a second, over an hour.",
    lambda t: f"sum(rate({m.EVENTS.name}[{t.over(HOUR)}]))",
)
TRIGGERS_PER_EVENT = Recording(
    "lifecycle:triggers_per_event:ratio1h",
    "Triggers for each event: a sale day has more of both.",
    lambda _: f"{TRIGGERS.name} / ({EVENTS.name} > 0)",
)
# Two weeks are what Prometheus keeps unless it is told otherwise (15 days).
USUAL_TRIGGERS = Recording(
    "lifecycle:triggers:usual_rate1h",
    "Triggers a second at this hour of the last two weeks; nothing is said before there were two.",
    lambda t: (
        f"({TRIGGERS.name} offset {t.over(WEEK)} + {TRIGGERS.name} offset {t.over(2 * WEEK)}) / 2"
    ),
)
USUAL_TRIGGERS_PER_EVENT = Recording(
    "lifecycle:triggers_per_event:usual_ratio1h",
    "Triggers for each event at this hour of the last two weeks.",
    lambda t: (
        f"({TRIGGERS_PER_EVENT.name} offset {t.over(WEEK)}"
        f" + {TRIGGERS_PER_EVENT.name} offset {t.over(2 * WEEK)}) / 2"
    ),
)
DEAD_LETTERS = Recording(
    "lifecycle:dead_letters:rate10m",
    "Dead letters a second by reason, those of the engine's own defects left out.",
    lambda t: (
        f'sum by (reason) (rate({m.DEAD_LETTERS.name}{{reason!="engine"}}[{t.over(10 * MINUTE)}]))'
    ),
)
BAD_SHARE = Recording(
    "lifecycle:dead_letters:ratio10m",
    "Their share of the records read.",
    lambda t: (
        f"sum({DEAD_LETTERS.name}) / (sum(rate({m.RECORDS.name}[{t.over(10 * MINUTE)}])) > 0)"
    ),
)
LATE_DEADLINES = Recording(
    "lifecycle:trigger_lateness_seconds:p99_10m",
    "By how much triggers came after they were due: 99 of 100 by no more. Of deadlines.",
    lambda t: (
        "histogram_quantile(0.99, sum by (le) "
        f"(rate({m.LATENESS.name}_bucket[{t.over(10 * MINUTE)}])))"
    ),
    {"of": "deadline"},
)
LATE_RECORDS = Recording(
    "lifecycle:trigger_lateness_seconds:p99_10m",
    "Likewise, of triggers that a record completed: after it had reached the brokers.",
    lambda t: (
        "histogram_quantile(0.99, sum by (le) "
        f"(rate({m.APPEND_LATENCY.name}_bucket[{t.over(10 * MINUTE)}])))"
    ),
    {"of": "record"},
)
WORKERS_KNOWN = Recording(
    "lifecycle:workers:known",
    "Workers that Prometheus knows of, whether they answer or not.",
    lambda _: f"count({UP})",
)
# During a release one worker may be known under two names.
WORKERS_STEADY = Recording(
    "lifecycle:workers:steady1h",
    "As many as it knew of all through the last hour; none before an hour is over.",
    lambda t: (
        f"min_over_time({WORKERS_KNOWN.name}[{t.over(HOUR)}]) "
        f"and {WORKERS_KNOWN.name} offset {t.over(HOUR)}"
    ),
)
LANES_MISSING = Recording(
    "lifecycle:lanes:missing",
    "Lanes that nobody works on.",
    lambda _: f"max({m.PARTITIONS.name}) - sum({m.LANES.name})",
)
DISK_FREE = Recording(
    "lifecycle:disk_free:ratio",
    "Share of the disk that is free.",
    lambda _: f"{m.DISK_FREE.name} / {m.DISK_SIZE.name}",
)

RECORDINGS: tuple[Recording, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Recording)
)

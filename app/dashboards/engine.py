"""Engine health: for whoever is called at night."""

from app import metric_list as m
from app.alerting import recordings as r
from app.dashboards.kinds import Dashboard, Query, Section, Unit, lines, number, stacked


def _quantile(metric: m.Declared, share: float) -> str:
    buckets = f"sum by (le) (rate({metric.name}_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


ENGINE = Dashboard(
    "lifecycle-engine",
    "Engine health",
    "Whether every event is acted on in time: workers, lanes, lag, recovery, Redis, disk. "
    "An alert's runbook says what to do; docs/metrics.md says what each metric means.",
    (
        Section(
            "At a glance",
            (
                number(
                    "Workers that answer",
                    "Workers that Prometheus reaches. Below the number that you run: see the "
                    "alerts WorkerDown (it does not answer) and WorkerGone (it is not found any "
                    "more).",
                    Unit.COUNT,
                    'sum(up{job="lifecycle"})',
                ),
                number(
                    "Lanes that stand still",
                    "Lanes that no worker works on: their members get nothing. Some seconds after "
                    "a worker died it is 0 again.",
                    Unit.COUNT,
                    r.LANES_MISSING.name,
                    warn_above=1,
                ),
                number(
                    "Lag",
                    "How long ago the worker that is furthest behind last had everything done "
                    "that there was; what arrives now waits about as long. Up to two seconds when "
                    "nothing waits.",
                    Unit.SECONDS,
                    f"max({m.LAG_SECONDS.name})",
                    warn_above=120,
                ),
                number(
                    "Oldest overdue deadline",
                    "By how much the oldest deadline is late that has not fired: an abandoned "
                    "cart of which nothing was said.",
                    Unit.SECONDS,
                    f"max({m.OVERDUE.name})",
                    warn_above=120,
                ),
                number(
                    "Documents are late by",
                    "Age of the oldest member update that was read and is not in Redis; 0 when "
                    "none.",
                    Unit.SECONDS,
                    f"max({m.PROJECTION_LAG.name})",
                    warn_above=300,
                ),
                number(
                    "Disk that is free",
                    "Free share of the disk with the worker's data, of the worker that has least. "
                    "A broker on a full disk ends.",
                    Unit.SHARE,
                    f"min({r.DISK_FREE.name})",
                    warn_below=0.15,
                ),
            ),
        ),
        Section(
            "Events",
            (
                stacked(
                    "Events by type",
                    "Well-formed events a second. When one type stops, its upstream app has "
                    "stopped sending.",
                    Unit.PER_SECOND,
                    Query(f"sum by (type) (rate({m.EVENTS.name}[$__rate_interval]))", "{{type}}"),
                ),
                stacked(
                    "Dead letters by reason",
                    "Records a second that were put aside. key and partition: a "
                    "producer's set-up; content: an upstream app's release; engine: a defect of "
                    "the product.",
                    Unit.PER_SECOND,
                    Query(
                        f"sum by (reason) (rate({m.DEAD_LETTERS.name}[$__rate_interval]))",
                        "{{reason}}",
                    ),
                ),
                lines(
                    "Odd events",
                    "Counted a second: sent twice (harmless), later than the allowed lateness "
                    "(recorded, raise nothing), more than five minutes ahead of the brokers' "
                    "clock.",
                    Unit.PER_SECOND,
                    Query(f"sum(rate({m.DUPLICATES.name}[$__rate_interval]))", "sent twice"),
                    Query(f"sum(rate({m.LATE.name}[$__rate_interval]))", "late"),
                    Query(f"sum(rate({m.AHEAD.name}[$__rate_interval]))", "ahead"),
                ),
                lines(
                    "Lag in records",
                    "Records that the brokers hold for a worker's lanes and that are not done: "
                    "folded, written and sent.",
                    Unit.COUNT,
                    Query(f"max by (instance) ({m.LAG_RECORDS.name})", "{{instance}}"),
                ),
            ),
        ),
        Section(
            "In time",
            (
                lines(
                    "From a record to its trigger",
                    "Of triggers that a record completed: how long after the record's timestamp "
                    "they were raised. Half of them, and 99 of a hundred, were by no more.",
                    Unit.SECONDS,
                    Query(_quantile(m.APPEND_LATENCY, 0.5), "half"),
                    Query(_quantile(m.APPEND_LATENCY, 0.99), "99 of 100"),
                ),
                lines(
                    "How late deadlines fire",
                    "Of triggers that a deadline raised: how long after it was due. Half of them, "
                    "and 99 of a hundred, were by no more.",
                    Unit.SECONDS,
                    Query(_quantile(m.LATENESS, 0.5), "half"),
                    Query(_quantile(m.LATENESS, 0.99), "99 of 100"),
                ),
                lines(
                    "Deadlines armed",
                    "Members with something that is due some day, one deadline each: the next.",
                    Unit.COUNT,
                    Query(f"sum({m.DEADLINES_ARMED.name})", "armed"),
                ),
                lines(
                    "Deadlines fired",
                    "Members a second for whom something was due.",
                    Unit.PER_SECOND,
                    Query(f"sum(rate({m.DEADLINES_FIRED.name}[$__rate_interval]))", "fired"),
                ),
            ),
        ),
        Section(
            "Workers and lanes",
            (
                stacked(
                    "Lanes by worker",
                    "Together they are the partition count.",
                    Unit.COUNT,
                    Query(f"sum by (instance) ({m.LANES.name})", "{{instance}}"),
                ),
                stacked(
                    "Rows by worker",
                    "Members and anonymous ids that a worker holds.",
                    Unit.COUNT,
                    Query(f"sum by (instance) ({m.ROWS.name})", "{{instance}}"),
                ),
                lines(
                    "How long lanes took to recover",
                    "From a lane's assignment to a worker until it worked; 99 of a hundred took no "
                    "longer, since the workers of now were started.",
                    Unit.SECONDS,
                    Query(
                        f"histogram_quantile(0.99, sum by (le) ({m.RECOVERY.name}_bucket))",
                        "99 of 100",
                    ),
                ),
                lines(
                    "Lanes held or stuck",
                    "Held: deadlines wait because the brokers were away. Stuck: records that the "
                    "broker holds have not come for more than ten seconds.",
                    Unit.COUNT,
                    Query(f"sum({m.LANES_HELD.name})", "held"),
                    Query(f"sum({m.LANES_STUCK.name})", "stuck"),
                ),
            ),
        ),
        Section(
            "What is written",
            (
                lines(
                    "Groups",
                    "Groups of rows written to the changelog a second, one atomic batch each.",
                    Unit.PER_SECOND,
                    Query(f"sum(rate({m.GROUPS.name}[$__rate_interval]))", "groups"),
                    wide=8,
                ),
                lines(
                    "Bytes of a saved row",
                    "Mean size of the rows that were saved, of members and anonymous ids.",
                    Unit.BYTES,
                    Query(
                        f"sum(rate({m.ROW_BYTES.name}[$__rate_interval])) / "
                        f"(sum(rate({m.ROWS_SAVED.name}[$__rate_interval])) > 0)",
                        "mean",
                    ),
                    wide=8,
                ),
                lines(
                    "Documents written to Redis",
                    "Put there or deleted, a second; fewer than updates when members change often.",
                    Unit.PER_SECOND,
                    Query(f"sum(rate({m.PROJECTION_WRITTEN.name}[$__rate_interval]))", "documents"),
                    wide=8,
                ),
            ),
        ),
    ),
)

"""The alerts. What wakes somebody is what members or their messages suffer from; causes alone wait.

Thresholds leave room for what is usual: a rolling restart stands a lane still for some ten seconds,
a broker that is restarted for a minute, a sale multiplies everything by ten.
"""

from app import metric_list as m
from app.alerting import recordings as r
from app.alerting.kinds import Alert, Severity
from models.times import DAY, HOUR, MINUTE

PAGE, TICKET = Severity.PAGE, Severity.TICKET

# --- workers and lanes ---

NO_WORKER = Alert(
    "NoWorker",
    PAGE,
    lambda _: f"absent({r.UP} == 1)",
    2 * MINUTE,
    "No worker answers: nothing is read and nobody gets a message.",
    "Prometheus reaches no worker of the job lifecycle. Events wait in their topics and are not "
    "lost; triggers are late by as long as this lasts, and what expires meanwhile is not sent.",
)
# An average also sees a worker that comes and goes. Where workers are discovered, one that starts
# may be asked before it answers, and of one that has ended the last scrapes may have failed: for as
# long as those scrapes took, no other is in the window.
WORKER_DOWN = Alert(
    "WorkerDown",
    TICKET,
    lambda t: f"avg_over_time({r.UP}[{t.over(10 * MINUTE)}]) < 0.5",
    2 * MINUTE,
    "Worker {{ $labels.instance }} is down.",
    "It answered {{ $value | humanizePercentage }} of the last ten minutes' scrapes. The others "
    "have its lanes; there is less in reserve.",
)
# A target that is discovered goes with its worker, and then does not even fail.
WORKER_GONE = Alert(
    "WorkerGone",
    TICKET,
    lambda t: f"max_over_time({r.WORKERS_STEADY.name}[{t.over(DAY)}]) - {r.WORKERS_KNOWN.name} > 0",
    10 * MINUTE,
    "There are fewer workers than there were: {{ $value }} less.",
    "Prometheus knows of {{ $value }} less than it did for an hour within the last day. The others "
    "have the lanes; there is less in reserve.",
)
# A rolling release restarts each worker once.
WORKER_RESTARTING = Alert(
    "WorkerRestarting",
    TICKET,
    lambda t: f"changes({m.STARTED.name}[{t.over(2 * HOUR)}]) > 2",
    0,
    "Worker {{ $labels.instance }} keeps restarting.",
    "It was started {{ $value }} times within two hours; the last line of its log says why it "
    "ended.",
)
# A killed worker's lanes stand still for the session time-out and their recovery: seconds, and a
# minute for a very large table.
LANES_MISSING = Alert(
    "LanesMissing",
    PAGE,
    lambda _: f"{r.LANES_MISSING.name} > 0",
    3 * MINUTE,
    "{{ $value }} lanes stand still: their members get nothing.",
    "No worker works on {{ $value }} of the lanes. Their events wait and are not lost.",
)
# A worker beyond the partition count is in reserve and never ready: only when lanes are missing is
# somebody waited for.
WORKER_NOT_READY = Alert(
    "WorkerNotReady",
    TICKET,
    lambda _: f"{m.READY.name} == 0 and on () {r.LANES_MISSING.name} > 0",
    10 * MINUTE,
    "Worker {{ $labels.instance }} does not become ready.",
    "It runs and has no lanes, though lanes are missing: /readyz of {{ $labels.instance }} says "
    "what it waits for.",
)
LANES_STUCK = Alert(
    "LanesStuck",
    PAGE,
    lambda _: f"{m.LANES_STUCK.name} > 0",
    3 * MINUTE,
    "{{ $value }} lanes of {{ $labels.instance }} cannot read what the brokers hold.",
    "{{ $value }} lanes have waited for records for more than ten seconds, and wait on. Their "
    "members get nothing.",
)
RECOVERY_LONG = Alert(
    "RecoveryLong",
    TICKET,
    lambda t: (
        "histogram_quantile(1, sum by (le, instance) "
        f"(increase({m.RECOVERY.name}_bucket[{t.over(30 * MINUTE)}])))"
        f" > {t.seconds(40_000)}"
    ),
    0,
    "Worker {{ $labels.instance }} took long to take over its lanes.",
    "It took up to {{ $value | humanizeDuration }} within the last half hour; so long do lanes "
    "stand still at every restart. The changelog is not compacted well, or the brokers are slow.",
)
CLOCK_AHEAD = Alert(
    "ClockAhead",
    TICKET,
    lambda _: f"abs({m.CLOCK_AHEAD.name}) > 5",
    10 * MINUTE,
    "The clock of {{ $labels.instance }} is wrong.",
    "It differs by {{ $value | humanizeDuration }} from the brokers'. Deadlines go by the brokers' "
    "clock and are right; logs and certificates are not.",
)

# --- lag and lateness ---

LAGGING = Alert(
    "Lagging",
    PAGE,
    lambda t: f"{m.LAG_SECONDS.name} > {t.seconds(2 * MINUTE)}",
    5 * MINUTE,
    "Worker {{ $labels.instance }} is {{ $value | humanizeDuration }} behind its topics.",
    "What arrives now is acted on in about {{ $value | humanizeDuration }}. Either more comes than "
    "it can fold, or it cannot read.",
)
# After an outage of the brokers deadlines are held for as long as it lasted: that is meant.
DEADLINES_OVERDUE = Alert(
    "DeadlinesOverdue",
    PAGE,
    lambda t: f"{m.OVERDUE.name} > {t.seconds(2 * MINUTE)} unless {m.LANES_HELD.name} > 0",
    5 * MINUTE,
    "Deadlines on {{ $labels.instance }} are overdue by {{ $value | humanizeDuration }}.",
    "The oldest deadline should have fired {{ $value | humanizeDuration }} ago. What is concluded "
    "from absence (an abandoned cart) comes late, or expires.",
)
TRIGGERS_LATE = Alert(
    "TriggersLate",
    TICKET,
    lambda t: f"{r.LATE_DEADLINES.name} > {t.seconds(MINUTE)}",
    5 * MINUTE,
    "Triggers go out late.",
    'Of the triggers of the last ten minutes (of {{ if eq $labels.of "deadline" }}deadlines'
    "{{ else }}records{{ end }}) one in a hundred came {{ $value | humanizeDuration }} or more "
    "after it could have.",
)

# --- what comes in ---

FEED_SILENT = Alert(
    "FeedSilent",
    PAGE,
    lambda _: f"max by (type, source) ({m.FEED_SILENT.name}) == 1",
    5 * MINUTE,
    "{{ $labels.type }} events from {{ if $labels.source }}{{ $labels.source }}{{ else }}"
    "an unnamed source{{ end }} have stopped.",
    "Far fewer {{ $labels.type }} events come than is usual at this hour of the week. What rules "
    "conclude from their absence is held back, and expires.",
)
DEAD_LETTERS_MANY = Alert(
    "DeadLettersMany",
    PAGE,
    lambda _: f"{r.BAD_SHARE.name} > 0.05 and sum({r.DEAD_LETTERS.name}) > 0.1",
    5 * MINUTE,
    "{{ $value | humanizePercentage }} of all records are not events of their topics.",
    "An upstream app sends what cannot be read: {{ $value | humanizePercentage }} of the last ten "
    "minutes' records. Members are taken to be silent who are not.",
)
DEAD_LETTERS = Alert(
    "DeadLetters",
    TICKET,
    lambda t: (
        "sum by (reason) (increase("
        f'{m.DEAD_LETTERS.name}{{reason!="engine"}}[{t.over(HOUR)}])) > 10'
    ),
    0,
    "Records become dead letters ({{ $labels.reason }}).",
    "{{ $value | humanize }} records of the last hour were no events of their topics; each dead "
    "letter says the field and the reason.",
)
ENGINE_DEFECT = Alert(
    "EngineDefect",
    TICKET,
    lambda t: (
        f'sum(increase({m.DEAD_LETTERS.name}{{reason="engine"}}[{t.over(HOUR)}]))'
        f" + sum(increase({m.DEADLINE_FAILURES.name}[{t.over(HOUR)}])) > 0"
    ),
    0,
    "The engine failed on a record or a deadline: a defect of the product.",
    "{{ $value | humanize }} times within the last hour. The members concerned are as they were "
    "before; everybody else is served.",
)

# --- what goes out ---

BREAKER_OPEN = Alert(
    "BreakerOpen",
    TICKET,
    lambda _: f"max by (rule) ({m.BREAKER_OPEN.name}) == 1",
    MINUTE,
    "The breaker of rule {{ $labels.rule }} is open.",
    "The rule had many times its usual number of triggers today for the events that they follow "
    "from. What it finds is held back until the day is over or the policy overrides it.",
)
TRIGGERS_MANY = Alert(
    "TriggersMany",
    PAGE,
    lambda _: (
        f"{r.TRIGGERS_PER_EVENT.name} > 5 * {r.USUAL_TRIGGERS_PER_EVENT.name}"
        f" and {r.TRIGGERS.name} * 3600 > 1000"
    ),
    5 * MINUTE,
    "Far more triggers go out than usual.",
    "{{ $value | humanize }} for each event over the last hour, more than five times what is usual "
    "at this hour of the week. What has been sent cannot be taken back.",
)
TRIGGERS_FEW = Alert(
    "TriggersFew",
    PAGE,
    lambda _: (
        f"{r.TRIGGERS.name} * 3600 < 0.2 * 3600 * {r.USUAL_TRIGGERS.name}"
        f" and {r.USUAL_TRIGGERS.name} * 3600 > 50"
    ),
    30 * MINUTE,
    "Far fewer triggers go out than usual.",
    "{{ $value | humanize }} within the last hour, less than a fifth of what is usual at this hour "
    "of the week.",
)

# --- predictions ---

MODEL_STALE = Alert(
    "ModelStale",
    TICKET,
    lambda _: f"max({m.MODEL_AGE.name}) > {2 * DAY // 1000}",
    HOUR,
    "The churn model is {{ $value | humanizeDuration }} old.",
    "A new one is made each day. Members are scored by the old one meanwhile, which is nearly as "
    "good for some weeks.",
)
MODEL_DRIFT = Alert(
    "ModelDrift",
    TICKET,
    lambda _: f"time() - max({m.DRIFT_NOTICED.name} > 0) < {3 * DAY // 1000}",
    0,
    "Members behave otherwise than the churn model predicted.",
    "Drift was noticed {{ $value | humanizeDuration }} ago. Learning is quicker for five weeks by "
    "itself; the log of the worker that trains has the evidence.",
)

# --- Redis and disks ---

# A worker that has nothing to write says 0 as well.
REDIS_AWAY = Alert(
    "RedisAway",
    TICKET,
    lambda _: f"max({m.PROJECTION_UP.name}) == 0",
    5 * MINUTE,
    "No worker can write to Redis.",
    "Processing goes on; what gateways, the support desk and the console read grows old, and is "
    "brought up to date by itself when Redis is back.",
)
REDIS_BEHIND = Alert(
    "RedisBehind",
    PAGE,
    lambda t: f"max({m.PROJECTION_LAG.name}) > {t.seconds(5 * MINUTE)}",
    5 * MINUTE,
    "What is read from Redis is {{ $value | humanizeDuration }} old.",
    "Gateways and the support desk see members as they were {{ $value | humanizeDuration }} ago. "
    "Triggers are right and in time.",
)
OBSERVER_BEHIND = Alert(
    "ObserverBehind",
    TICKET,
    lambda t: f"max({m.OBSERVER_LAG.name}) > {t.seconds(15 * MINUTE)}",
    10 * MINUTE,
    "Timelines and lifecycle figures are {{ $value | humanizeDuration }} old.",
    "What the console, the support desk's timelines and the dashboards of the lifecycle show is of "
    "{{ $value | humanizeDuration }} ago. Members' documents and triggers are not concerned.",
)
REDIS_LOST = Alert(
    "RedisLost",
    TICKET,
    lambda t: (
        f"sum(increase({m.PROJECTION_LOSSES.name}[{t.over(HOUR)}]))"
        f" + (sum(increase({m.OBSERVER_LOSSES.name}[{t.over(HOUR)}])) or vector(0)) > 0"
    ),
    0,
    "Redis has lost writes that it had acknowledged.",
    "{{ $value | humanize }} times within the last hour. What was lost is written again by itself.",
)
DISK_FULL = Alert(
    "DiskFull",
    PAGE,
    lambda _: f"{r.DISK_FREE.name} < 0.05",
    5 * MINUTE,
    "The disk of {{ $labels.instance }} is nearly full.",
    "{{ $value | humanizePercentage }} of it is free. A broker on a full disk ends, and with it "
    "everything.",
)
DISK_FILLING = Alert(
    "DiskFilling",
    TICKET,
    lambda _: f"{r.DISK_FREE.name} < 0.15",
    15 * MINUTE,
    "The disk of {{ $labels.instance }} fills up.",
    "{{ $value | humanizePercentage }} of it is free.",
)

ALERTS: tuple[Alert, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Alert)
)

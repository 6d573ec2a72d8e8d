"""Every Prometheus metric, declared once. ``docs/metrics.md`` is made from here."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric: what it says, and what to do about it."""

    name: str
    kind: Kind
    says: str
    act: str
    """What to do when it rises (or, where it says so, when it falls)."""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# A trigger should be out within 250 ms; what takes minutes is an outage being caught up on.
_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)
# 200,000 rows a second: a million members on a worker take five seconds.
_RECOVERY = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)

READY = Declared(
    "lifecycle_ready",
    Kind.GAUGE,
    "1 when the lanes are assigned and recovered, else 0.",
    "When it stays 0: `/readyz` says what is waited for. A worker that could not go on safely has "
    "ended with exit code 70 and one line of reason in its log; a supervisor starts it again.",
)
BUILD = Declared(
    "lifecycle_build_info",
    Kind.GAUGE,
    "Always 1; its labels say what runs.",
    "Nothing: it tells which workers still run another version.",
    ("version", "python"),
)
STARTED = Declared(
    "lifecycle_start_time_seconds",
    Kind.GAUGE,
    "When the worker started, in seconds since 1970.",
    "When it keeps changing, the worker keeps restarting: read the last line of its log.",
)
LANES = Declared(
    "lifecycle_lanes",
    Kind.GAUGE,
    "Lanes (partitions of the member topics) that this worker works on.",
    "Over all workers it is the partition count; when it stays below, lanes stand still: look "
    "for workers that are not ready.",
)
PARTITIONS = Declared(
    "lifecycle_partitions",
    Kind.GAUGE,
    "Lanes that there are, over all workers: the setting `LIFECYCLE_PARTITIONS`.",
    "Nothing: the lanes of all workers together are compared with it.",
)
LANES_HELD = Declared(
    "lifecycle_lanes_held",
    Kind.GAUGE,
    "Lanes whose deadlines wait because the brokers were away: producers may still be flushing.",
    "It falls by itself after as long as the outage lasted. Otherwise look at the brokers.",
)
LANES_STUCK = Declared(
    "lifecycle_lanes_stuck",
    Kind.GAUGE,
    "Lanes that have waited for more than ten seconds for records that the broker holds.",
    "Look for leaderless or unreadable partitions; restart the worker if the brokers are well.",
)
CLOCK_AHEAD = Declared(
    "lifecycle_clock_ahead_seconds",
    Kind.GAUGE,
    "By how much this machine's clock is ahead of the brokers', as far as they have told.",
    "Nothing breaks: deadlines go by the brokers' clock. Set the machine's clock (NTP).",
)
RECORDS = Declared(
    "lifecycle_records_read_total",
    Kind.COUNTER,
    "Records of the member topics taken by the lanes, whatever became of them.",
    "Nothing: it is the load. When it stops while producers produce, look at the lanes.",
)
EVENTS = Declared(
    "lifecycle_events_total",
    Kind.COUNTER,
    "Well-formed events by type.",
    "Nothing. When one type stops, its upstream app has stopped sending.",
    ("type",),
)
DEAD_LETTERS = Declared(
    "lifecycle_dead_letters_total",
    Kind.COUNTER,
    "Records that went to `dead-letters`, by what was wrong: `key` (not the member's id), "
    "`partition` (the producer places keys otherwise), `content` (not an event of its topic), "
    "`engine` (a defect of ours).",
    "Read the topic: each letter says the field and the reason. `key` and `partition` are a "
    "producer's set-up, `content` an upstream app's release, `engine` a bug to report.",
    ("reason",),
)
OPT_OUTS_SALVAGED = Declared(
    "lifecycle_opt_outs_salvaged_total",
    Kind.COUNTER,
    "Malformed opt-outs that nevertheless stopped marketing to the member they name.",
    "Repair their producer: the member is safe, the rest of what it said is lost.",
)
DUPLICATES = Declared(
    "lifecycle_duplicates_total",
    Kind.COUNTER,
    "Events whose `event_id` the member had already sent: counted once.",
    "A producer retries or replays; harmless.",
)
LATE = Declared(
    "lifecycle_late_events_total",
    Kind.COUNTER,
    "Events older than the allowed lateness: recorded, but they trigger nothing.",
    "An app sends hours after the fact: find it by `source`, or allow more lateness.",
)
AHEAD = Declared(
    "lifecycle_ahead_events_total",
    Kind.COUNTER,
    "Events more than five minutes ahead of the broker's clock.",
    "A sender's clock is wrong: its members' deadlines fire at the wrong time.",
)
SKIPPED = Declared(
    "lifecycle_records_skipped_total",
    Kind.COUNTER,
    "Records that had been applied before, read again after a restart or a rebalance.",
    "Expected after each; when it grows all the time, workers are losing their lanes.",
)
TRIGGERS = Declared(
    "lifecycle_triggers_total",
    Kind.COUNTER,
    "Triggers raised, by rule.",
    "When a rule raises far more than usual, look at its decisions before the gateway sends.",
    ("rule",),
)
CANCELLED = Declared(
    "lifecycle_triggers_cancelled_total",
    Kind.COUNTER,
    "Triggers overtaken, by rule, and by whether the gateway had said that it `sent` the message.",
    "`no`: taken back in time (or, without a cap or cool-down, not known); beside the triggers it "
    "is the share that was too early, and late feeds raise it. `yes`: the member did what it asked "
    "for, or it lost its point, after it went.",
    ("rule", "sent"),
)
VERDICTS = Declared(
    "lifecycle_verdicts_total",
    Kind.COUNTER,
    "Candidates decided, by rule and verdict (`raised` and every reason not to).",
    "`overflow` means members with more open keys than the setting allows; `late` and `expired` "
    "mean that we or the feed were too late.",
    ("rule", "verdict"),
)
TRANSITIONS = Declared(
    "lifecycle_transitions_total",
    Kind.COUNTER,
    "Changes of stage and band, before and after.",
    "Nothing: it is the life of the members. A flood into one stage is a feed that fell silent.",
    ("before", "after"),
)
FEED_SILENT = Declared(
    "lifecycle_feed_silent",
    Kind.GAUGE,
    "1 for a feed (type and source) from which far less comes than is usual at this hour of the "
    "week, 0 for one that is as usual. A feed that is not listed is not watched: it is too new or "
    "too quiet.",
    "At 1: look after its upstream app. What rules conclude from its silence waits (verdict "
    "`suspended`) and expires; if the silence is meant, say so in the policy's `overrides`.",
    ("type", "source"),
)
BREAKER_OPEN = Declared(
    "lifecycle_breaker_open",
    Kind.GAUGE,
    "1 for a rule that has had many times its usual number of triggers today for the events that "
    "they follow from, 0 for one that is as usual. A rule that is not listed is not watched yet.",
    "At 1: look at the rule's latest change and at its decisions. What it finds waits (verdict "
    "`suspended`) and expires; if it is meant, say so in the policy's `overrides`.",
    ("rule",),
)
SEGMENT_MEMBERS = Declared(
    "lifecycle_segment_members",
    Kind.GAUGE,
    "Members (and anonymous ids) in a segment, of the lanes that this worker works on. Counted by "
    "going through the rows beside the work, some 2,000 a second; over all workers they add up.",
    "Nothing: it is who the members are. For changes by the second see "
    "`lifecycle_segment_changes_total`.",
    ("segment",),
)
SEGMENT_CHANGES = Declared(
    "lifecycle_segment_changes_total",
    Kind.COUNTER,
    "Members who came into a segment (`entered`) or out of it (`left`).",
    "Nothing: it is the life of the members. A segment that all leave at once is a feed that fell "
    "silent, or a table or a file that was changed.",
    ("segment", "change"),
)
DEADLINES_ARMED = Declared(
    "lifecycle_deadlines_armed",
    Kind.GAUGE,
    "Members with a deadline coming.",
    "Nothing: it grows with the members.",
)
DEADLINES_FIRED = Declared(
    "lifecycle_deadlines_fired_total",
    Kind.COUNTER,
    "Members advanced because a deadline was due.",
    "Nothing: it is load.",
)
DEADLINE_FAILURES = Declared(
    "lifecycle_deadline_failures_total",
    Kind.COUNTER,
    "Attempts to fire a deadline on which the engine failed; made again, later and later.",
    "Any is a bug to report, with the log.",
)
OVERDUE = Declared(
    "lifecycle_oldest_overdue_deadline_seconds",
    Kind.GAUGE,
    "By how much the oldest deadline that has not fired is overdue.",
    "The worker is behind (see the queued records), a topic's end is not reached, or the brokers "
    "were away (see the lanes held).",
)
SAFE_TIME_AGE = Declared(
    "lifecycle_safe_time_age_seconds",
    Kind.GAUGE,
    "Of the lanes with an overdue deadline: how long ago the instant lies up to which absence is "
    "certain. 0 when nothing is overdue.",
    "Some topic of a lane is not read to its end: see the queued records and the lanes stuck.",
)
QUEUED = Declared(
    "lifecycle_lane_queued_records",
    Kind.GAUGE,
    "Records fetched and not yet folded, by topic.",
    "The worker is slower than the feed: add workers, up to the partition count. When only one "
    "topic waits, the merge waits for another that is not read.",
    ("topic",),
)
LAG_RECORDS = Declared(
    "lifecycle_lag_records",
    Kind.GAUGE,
    "Records of the member topics that the brokers hold for this worker's lanes and that are not "
    "done (folded, written and sent), as of the last asking, some two seconds ago.",
    "When it does not fall again: as for the lag in seconds.",
)
LAG_SECONDS = Declared(
    "lifecycle_lag_seconds",
    Kind.GAUGE,
    "How long ago this worker last had everything done that there was in its lanes' topics; up to "
    "two seconds when nothing waits. What arrives now waits about as long. It goes by the worker's "
    "own clock: old records that are loaded make it rise only while the rest waits behind them.",
    "The worker is slower than the feed, or cannot read: see the queued records, the lanes stuck "
    "and the brokers. Add workers, up to the partition count.",
)
GROUPS = Declared(
    "lifecycle_groups_total",
    Kind.COUNTER,
    "Groups written to the changelog: one atomic batch each.",
    "Nothing: beside the records it is how much is written at a time.",
)
GROUP_BYTES = Declared(
    "lifecycle_group_bytes_total",
    Kind.COUNTER,
    "Bytes of those groups.",
    "It is what the brokers write and keep until compaction.",
)
GROUP_ROWS = Declared(
    "lifecycle_group_rows_total",
    Kind.COUNTER,
    "Rows in those groups.",
    "Nothing: it is load.",
)
OUTPUTS = Declared(
    "lifecycle_outputs_total",
    Kind.COUNTER,
    "Records sent to the output topics.",
    "Nothing: it is load.",
)
REPAIRS = Declared(
    "lifecycle_changelog_repairs_total",
    Kind.COUNTER,
    "Times that a worker which had lost its lane wrote to the changelog and was overruled.",
    "Workers stall for longer than the session timeout: look at memory, disk and CPU.",
)
UPDATE_REPAIRS = Declared(
    "lifecycle_update_repairs_total",
    Kind.COUNTER,
    "Member updates sent again because somebody else's may have come behind them.",
    "A worker that had lost its lane sent old updates: look at what stalls workers.",
)
ROWS = Declared(
    "lifecycle_rows",
    Kind.GAUGE,
    "Members and anonymous ids in this worker's tables.",
    "Memory grows with it: 99 of 100 rows are below 2 kB.",
)
ROWS_SAVED = Declared(
    "lifecycle_rows_saved_total",
    Kind.COUNTER,
    "Rows encoded.",
    "Nothing: with their bytes it gives the mean size of a row.",
)
ROW_BYTES = Declared(
    "lifecycle_row_saved_bytes_total",
    Kind.COUNTER,
    "Bytes of the rows encoded.",
    "When the mean (`rate(lifecycle_row_saved_bytes_total[5m]) / "
    "rate(lifecycle_rows_saved_total[5m])`) grows, so do memory and recovery: look for members "
    "that are machines.",
)
RECOVERED_ROWS = Declared(
    "lifecycle_recovered_records_total",
    Kind.COUNTER,
    "Changelog records read in recoveries.",
    "When it is many times the rows, the changelog is not compacted well.",
)
RESENT = Declared(
    "lifecycle_outputs_resent_total",
    Kind.COUNTER,
    "Outputs sent again after a restart or a rebalance; readers drop them by id.",
    "Nothing.",
)
LATENCY = Declared(
    "lifecycle_trigger_latency_seconds",
    Kind.HISTOGRAM,
    "Of the triggers raised while a record was folded: raised_at - due_at, which is the "
    "completing event's occurred_at.",
    "When the latency since append is low, the events arrive late; otherwise we are slow.",
    buckets=_LATENCY,
)
APPEND_LATENCY = Declared(
    "lifecycle_trigger_append_latency_seconds",
    Kind.HISTOGRAM,
    "Of the same: raised_at - the timestamp of the record.",
    "We are behind: see the queued records. A feed of history also shows here.",
    buckets=_LATENCY,
)
LATENESS = Declared(
    "lifecycle_deadline_lateness_seconds",
    Kind.HISTOGRAM,
    "Of the triggers raised by a deadline: raised_at - due_at.",
    "See the oldest overdue deadline.",
    buckets=_LATENCY,
)
RECOVERY = Declared(
    "lifecycle_recovery_seconds",
    Kind.HISTOGRAM,
    "How long a lane took from its assignment until it worked.",
    "The changelog is long (see the recovered records), or the brokers are slow.",
    buckets=_RECOVERY,
)
PROJECTION_UP = Declared(
    "lifecycle_redis_up",
    Kind.GAUGE,
    "1 when the last write to Redis, or question to it, succeeded, else 0.",
    "When 0: `lifecycle_redis_failures_total` and the log say why. Processing goes on; lookups "
    "are stale until it is back.",
)
PROJECTION_BEHIND = Declared(
    "lifecycle_redis_behind_records",
    Kind.GAUGE,
    "Member updates that are in their topic and not in Redis yet.",
    "Redis is away or slow; when it is up, it cannot keep pace: see its own CPU.",
)
PROJECTION_LAG = Declared(
    "lifecycle_redis_lag_seconds",
    Kind.GAUGE,
    "Age of the oldest member update that has been read and is not in Redis; 0 when none.",
    "As above: lookups are stale by this much.",
)
PROJECTION_WRITTEN = Declared(
    "lifecycle_redis_documents_written_total",
    Kind.COUNTER,
    "Documents put into Redis or deleted.",
    "Nothing: it is load.",
)
PROJECTION_FAILURES = Declared(
    "lifecycle_redis_failures_total",
    Kind.COUNTER,
    "Writes and questions to Redis that failed; each is made again until it succeeds.",
    "Redis is away, slow, full (`maxmemory`) or refuses us: the log has its words.",
)
PROJECTION_REFUSED = Declared(
    "lifecycle_redis_updates_refused_total",
    Kind.COUNTER,
    "Records of `member-updates` that are no member update; skipped.",
    "Somebody else writes to that topic.",
)
PROJECTION_LOSSES = Declared(
    "lifecycle_redis_losses_total",
    Kind.COUNTER,
    "Times that Redis was found to have lost writes that it had acknowledged.",
    "Redis was killed, flushed, restored from an old dump, or replaced by a replica that lagged. "
    "What was lost is written again: lookups are right when `lifecycle_redis_behind_records` "
    "is 0.",
)

DISK_FREE = Declared(
    "lifecycle_disk_free_bytes",
    Kind.GAUGE,
    "Bytes that this worker may still write on the file system of `LIFECYCLE_DATA_DIR`; with "
    "`lifecycle up` the broker's and Redis' data lie there too.",
    "When it nears 0: a broker on a full disk ends, and with it everything. Make room, or have "
    "the topics keep less (`lifecycle topics --keep-outputs 7d`, `--keep-inputs`).",
)
DISK_SIZE = Declared(
    "lifecycle_disk_size_bytes",
    Kind.GAUGE,
    "Size of that file system.",
    "Nothing: what is free is a share of it.",
)

MODEL_VALID_FROM = Declared(
    "lifecycle_churn_model_valid_from_seconds",
    Kind.GAUGE,
    "First instant of the day that the newest churn model is valid from, in seconds since 1970; "
    "0 when there is none.",
    "When it stays behind the day, no day is closed: a lane stands still (`lifecycle_lanes`), or "
    "the trainer does (`lifecycle_trainer_working` is 0 everywhere, or it is behind). Members are "
    "scored by the old model meanwhile.",
)
MODEL_AGE = Declared(
    "lifecycle_churn_model_age_seconds",
    Kind.GAUGE,
    "Members' time since then; 0 when there is no model, and in stream time.",
    "A day and some minutes are usual. Above two days: as above.",
)
CHURN_LOG_LOSS = Declared(
    "lifecycle_churn_log_loss",
    Kind.GAUGE,
    "Log loss of published churn probabilities, by the answers of about the last four weeks. "
    "`active` bought within the horizon before they were asked about; nothing is said before there "
    "are answers.",
    "When it rises while `lifecycle_churn_auc` falls: members behave otherwise than they used to; "
    "drift is noticed and learned within weeks. When it stays: look at what changed in the shop or "
    "in what it sends.",
    ("members",),
)
CHURN_AUC = Declared(
    "lifecycle_churn_auc",
    Kind.GAUGE,
    "How well they rank, likewise: the share of pairs in which who stayed away had the higher "
    "probability. 0.5 is chance.",
    "When it falls: as above.",
    ("members",),
)
CHURN_CALIBRATION_ERROR = Declared(
    "lifecycle_churn_calibration_error",
    Kind.GAUGE,
    "Expected calibration error, likewise: by how much shares of members who stayed away differ "
    "from what was predicted, over classes of probability.",
    "Above 0.03 probabilities should not be read as shares; it is learned back within weeks.",
    ("members",),
)
CHURN_LEVEL_ERROR = Declared(
    "lifecycle_churn_level_error",
    Kind.GAUGE,
    "Mean predicted probability less the share that stayed away, likewise.",
    "Beyond 0.04 for weeks: churn is over- or under-told as a whole, after a season or a sale.",
    ("members",),
)
DRIFT_NOTICED = Declared(
    "lifecycle_churn_drift_noticed_seconds",
    Kind.GAUGE,
    "The last day, of about the last nine weeks, on which the trainer noticed that members behave "
    "otherwise than predicted; its beginning in seconds since 1970, 0 when there was none. Every "
    "worker says the same.",
    "Look at what changed in the shop or in what it sends. Learning is quicker for five weeks by "
    "itself.",
)
TRAINER_WORKING = Declared(
    "lifecycle_trainer_working",
    Kind.GAUGE,
    "1 when this worker trains the models, else 0. Over all workers it is 1.",
    "When 0 everywhere for longer than a session time-out: no worker is up that has predictions "
    "switched on.",
)
TRAINER_BEHIND = Declared(
    "lifecycle_trainer_behind_records",
    Kind.GAUGE,
    "Records of `churn-questions` that this worker's trainer has not read yet.",
    "When it keeps rising: learning does not keep pace; lower `share` in `predictions.yaml`.",
)
TRAINER_DAYS = Declared(
    "lifecycle_trainer_days_total",
    Kind.COUNTER,
    "Days that this worker's trainer has closed; each gives a model.",
    "One a day over all workers, more after a standstill.",
)
TRAINER_SECONDS = Declared(
    "lifecycle_trainer_seconds_total",
    Kind.COUNTER,
    "Time it has spent closing them.",
    "When a day takes minutes: lower `share` in `predictions.yaml`.",
)
TRAINER_LEARNED = Declared(
    "lifecycle_trainer_examples_learned_total",
    Kind.COUNTER,
    "Questions whose answer it has learned from.",
    "When it stays where it is for a week: nobody is asked, or no day is closed.",
)
TRAINER_REFUSED = Declared(
    "lifecycle_trainer_refused_total",
    Kind.COUNTER,
    "Records of `churn-questions` that are no message of ours; skipped.",
    "Somebody else writes to that topic.",
)
TRAINER_DECISIONS = Declared(
    "lifecycle_trainer_decisions_total",
    Kind.COUNTER,
    "What the trainer has decided by rule: `drift` is an alarm.",
    "`drift`: members behave otherwise than predicted; learning is quicker until it is `settled`. "
    "`promoted`: a shadow took the champion's place. `trusted`: what was learned counts from now "
    "on. The log has the evidence.",
    ("kind",),
)

# What all members' lives come to. Every worker reads the same figures from Redis and says them:
# over workers take `max by`, never the sum.
_READ = (
    "Every worker says the same, read from Redis every ten seconds: over workers take `max by`. "
    "Definition: `docs/lifecycle-metrics.md`."
)
OBSERVER_UP = Declared(
    "lifecycle_observer_up",
    Kind.GAUGE,
    "1 when this worker's observer could last write to Redis, or ask it, else 0. Nothing when the "
    "observer is switched off.",
    "When 0: as for `lifecycle_redis_up`. Timelines and lifecycle figures stand still until then.",
)
OBSERVER_BEHIND = Declared(
    "lifecycle_observer_behind_records",
    Kind.GAUGE,
    "Records that the observer has not counted yet.",
    "Redis is away or slow; or it has been flushed, and the topics are read from their beginning.",
)
OBSERVER_LAG = Declared(
    "lifecycle_observer_lag_seconds",
    Kind.GAUGE,
    "Age of the oldest record that has been read and is not counted; 0 when none.",
    "As above.",
)
OBSERVER_FACTS = Declared(
    "lifecycle_observer_facts_total",
    Kind.COUNTER,
    "Events, transitions, decisions, triggers and predictions counted by the observer.",
    "Nothing: it is load.",
)
OBSERVER_FAILURES = Declared(
    "lifecycle_observer_failures_total",
    Kind.COUNTER,
    "Writes and questions of the observer that failed; each is made again until it succeeds.",
    "As for `lifecycle_redis_failures_total`.",
)
OBSERVER_REFUSED = Declared(
    "lifecycle_observer_refused_total",
    Kind.COUNTER,
    "Records that are no event of their topic, or no message of ours: counted nowhere.",
    "Events among them are in `dead-letters`, with the reason.",
)
OBSERVER_LOSSES = Declared(
    "lifecycle_observer_losses_total",
    Kind.COUNTER,
    "Times that Redis was found to have lost what the observer had counted.",
    "As for `lifecycle_redis_losses_total`: it is counted again from the topics.",
)
LIFECYCLE_READ = Declared(
    "lifecycle_figures_read_seconds",
    Kind.GAUGE,
    "When the lifecycle figures were read last, in seconds since 1970; 0 when never.",
    "When it stays: Redis does not answer. The figures below are then those of that time.",
)
MEMBERS = Declared(
    "lifecycle_members",
    Kind.GAUGE,
    f"Members by where they came from. {_READ}",
    "Nothing: it is who the members are.",
    ("source",),
)
STAGE_MEMBERS = Declared(
    "lifecycle_stage_members",
    Kind.GAUGE,
    f"Members and leads in a stage now. {_READ}",
    "Nothing by itself; see `lifecycle_stage_weak`.",
    ("stage",),
)
STAGE_MOVES = Declared(
    "lifecycle_stage_moves",
    Kind.GAUGE,
    f"Moves from a stage to another since ever (it falls only when Redis is rebuilt). {_READ}",
    "Nothing: it is the life of the members.",
    ("before", "after"),
)
STAGE_MOVES_TODAY = Declared(
    "lifecycle_stage_moves_today",
    Kind.GAUGE,
    f"Moves from a stage to another on this day (UTC). {_READ}",
    "Nothing: it is the life of the members.",
    ("before", "after"),
)
STAGE_DAYS = Declared(
    "lifecycle_stage_days",
    Kind.GAUGE,
    "Mean days that members had been in a stage (`before`) who left it for another in the last 30 "
    f"days. {_READ}",
    "When the way from `new` to `active` takes longer, look at what new members are sent.",
    ("before", "after"),
)
STAGE_CONVERSION = Declared(
    "lifecycle_stage_conversion_ratio",
    Kind.GAUGE,
    f"Share of a stage's members who moved on for the better in the last whole week. {_READ}",
    "See `lifecycle_stage_weak`.",
    ("stage",),
)
STAGE_LOSS = Declared(
    "lifecycle_stage_loss_ratio",
    Kind.GAUGE,
    "Share of a stage's members who fell silent, dormant or were lost in the last whole week. "
    f"{_READ}",
    "See `lifecycle_stage_weak`.",
    ("stage",),
)
STAGE_WEAK = Declared(
    "lifecycle_stage_weak",
    Kind.GAUGE,
    "1 for a stage whose `conversion` (or `loss`) was worse in the last whole week than in the "
    f"four before it, by more than chance and by a fifth; else 0. {_READ}",
    "At 1: this is where members get lost. Look at what changed in the shop, in the offers and in "
    "the rules for that stage, and at the figure by acquisition source.",
    ("stage", "kind"),
)
ACTIVE_MEMBERS = Declared(
    "lifecycle_active_members",
    Kind.GAUGE,
    "Members who browsed, clicked, bought or took part within a window (`day`, `week`, `month` of "
    f"30 days, this day included); an estimate, within 2 percent. {_READ}",
    "When it falls faster than on this weekday usually: look for a feed that fell silent.",
    ("window",),
)
ACTIVE_RATIO = Declared(
    "lifecycle_active_ratio",
    Kind.GAUGE,
    f"Active rate: those among all members; `all`, and by source. {_READ}",
    "As above.",
    ("source", "window"),
)
RETENTION = Declared(
    "lifecycle_retention_ratio",
    Kind.GAUGE,
    "Retention: of those who entered a stage in a week (`member`: who joined), the share that was "
    "active in the 1st, 4th, 8th or 12th week after it; of the newest cohort for which that week "
    f"is over. {_READ}",
    "When it falls from cohort to cohort, look at what members are sent in those weeks.",
    ("stage", "weeks"),
)
BUYERS = Declared(
    "lifecycle_buyers",
    Kind.GAUGE,
    f"Members who have ordered, by source. {_READ}",
    "Nothing: it is what the repurchase rate is a share of.",
    ("source",),
)
REPURCHASE = Declared(
    "lifecycle_repurchase_ratio",
    Kind.GAUGE,
    f"Repurchase rate: of those who have ordered, the share that ordered again; `all`, and by "
    f"source. {_READ}",
    "When it falls: look at the second order's way (`lifecycle_stage_weak` of `new`).",
    ("source",),
)
LTV = Declared(
    "lifecycle_ltv",
    Kind.GAUGE,
    "Lifetime value per member, in the currency's units: `historic` (paid, less refunds and "
    "cancelled orders) and `expected` in the next 90 days; by stage, and `all`. Together they are "
    f"the LTV. {_READ}",
    "Nothing: it says what keeping a member of a stage may cost.",
    ("stage", "kind"),
)
LTV_BY_SOURCE = Declared(
    "lifecycle_ltv_by_source",
    Kind.GAUGE,
    f"The same by where members came from. {_READ}",
    "Nothing: it says what winning a member from there may cost.",
    ("source", "kind"),
)
REACTIVATION = Declared(
    "lifecycle_reactivation_ratio",
    Kind.GAUGE,
    "Reactivation rate: of dormant and lost members who were sent a trigger (`treated`), or held "
    "out of one (`control`), the share that was active within 14 days after; of 90 days whose "
    f"window is over. {_READ}",
    "The difference is what the operation did. When there is none, change the offer, or stop it.",
    ("arm",),
)
REACTIVATION_MEMBERS = Declared(
    "lifecycle_reactivation_members",
    Kind.GAUGE,
    f"How many of them there are. {_READ}",
    "With few in `control` the difference says little.",
    ("arm",),
)
ACTIVATION = Declared(
    "lifecycle_activation_ratio",
    Kind.GAUGE,
    "Activation rate: of members who joined in 30 days, those whose first week is over, the share "
    f"that ordered or took part within it; `all`, and by source. {_READ}",
    "When it falls: look at the welcome, and at the source that fell.",
    ("source",),
)
DORMANT = Declared(
    "lifecycle_dormant_ratio",
    Kind.GAUGE,
    f"Share of members who are dormant. {_READ}",
    "When it rises: see `lifecycle_stage_weak`.",
)
LOST = Declared(
    "lifecycle_lost_ratio",
    Kind.GAUGE,
    f"Share of members who are lost. {_READ}",
    "As above.",
)
SILENT = Declared(
    "lifecycle_silent_ratio",
    Kind.GAUGE,
    f"Share of members who are silent: registered, never ordered, and quiet since. {_READ}",
    "As above.",
)
LEAD_TO_MEMBER = Declared(
    "lifecycle_lead_to_member_ratio",
    Kind.GAUGE,
    f"Of the leads of the last 30 days, the share that became members. {_READ}",
    "When it falls: look at the way to registration.",
)
REFERRAL = Declared(
    "lifecycle_referral_ratio",
    Kind.GAUGE,
    f"Of those who joined in the last 30 days, the share that somebody referred. {_READ}",
    "Nothing: it says how much the members bring.",
)
BASKET = Declared(
    "lifecycle_average_basket",
    Kind.GAUGE,
    f"Mean order of the last 30 days, in the currency's units, cancelled orders left out. {_READ}",
    "Nothing: beside the repurchase rate it is what the shop lives on.",
)
BAND_MEMBERS = Declared(
    "lifecycle_band_members",
    Kind.GAUGE,
    f"Active members by band of frequency. {_READ}",
    "Nothing: it is who the active members are.",
    ("band",),
)
BAND_MOVES = Declared(
    "lifecycle_band_moves",
    Kind.GAUGE,
    f"Moves from band to band in the last 30 days. {_READ}",
    "When more fall than rise: look at what frequent members are offered.",
    ("before", "after"),
)
CHURN_REASONS = Declared(
    "lifecycle_churn_reason_members",
    Kind.GAUGE,
    "Members by the reason that they stated last in a survey, and their stage now; look at "
    f"`dormant` and `lost`. {_READ}",
    "The commonest reason is where to begin.",
    ("stage", "reason"),
)

METRICS: tuple[Declared, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Declared)
)


def documentation() -> str:
    """Return ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` of a worker says, and what to do about it. Made from the declarations in",
        "`app/metric_list.py`; a test keeps the two alike. The alerts made of them, and what to do",
        "when one fires: [runbooks](runbooks.md).",
    ]
    for declared in METRICS:
        labels = ", ".join(f"`{label}`" for label in declared.labels)
        kind = declared.kind.value + (f" by {labels}" if labels else "")
        lines += ["", f"## `{declared.name}`", "", f"*{kind}* {declared.says}", "", declared.act]
        if declared.buckets:
            lines += ["", f"Buckets: {', '.join(map(str, declared.buckets))}."]
    return "\n".join(lines) + "\n"

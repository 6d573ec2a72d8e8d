"""Triggers and decisions: what was said, what was held back, and why."""

from app import metric_list as m
from app.alerting import recordings as r
from app.dashboards.kinds import Dashboard, Query, Section, Unit, bars, lines, number, stacked

_NOT_SAID = 'verdict!~"raised|shadow"'
# Another verdict follows these.
_DECIDED = 'verdict!~"held|suspended|shadow"'

TRIGGERS = Dashboard(
    "lifecycle-triggers",
    "Triggers and decisions",
    "What goes to the messaging gateway, and what does not and why. The topic decisions has every "
    "verdict with its reason; a candidate that waits has another when it goes on.",
    (
        Section(
            "At a glance",
            (
                number(
                    "Triggers, last hour",
                    "Messages asked of the gateway.",
                    Unit.COUNT,
                    f"sum(increase({m.TRIGGERS.name}[1h]))",
                ),
                number(
                    "Taken back, last hour",
                    "Triggers that were overtaken before the gateway said that it sent them: the "
                    "member bought after all, withdrew consent, or they lost their point.",
                    Unit.COUNT,
                    f'sum(increase({m.CANCELLED.name}{{sent="no"}}[1h])) or vector(0)',
                ),
                number(
                    "Said, of all candidates",
                    "Of the last hour's candidates that were decided, the share that became "
                    "triggers; the others stand below by reason. Who still waits (held, "
                    "suspended) is not in it, nor are rules in shadow mode.",
                    Unit.SHARE,
                    f'sum(increase({m.VERDICTS.name}{{verdict="raised"}}[1h])) / '
                    f"(sum(increase({m.VERDICTS.name}{{{_DECIDED}}}[1h])) > 0)",
                ),
                number(
                    "Triggers for each event",
                    "Over the last hour. A sale day has more of both, so this stays; when it rises "
                    "many times, a rule has gone wrong.",
                    Unit.PLAIN,
                    r.TRIGGERS_PER_EVENT.name,
                ),
                number(
                    "Feeds that are silent",
                    "Feeds from which far less comes than is usual at this hour of the week. What "
                    "rules conclude from their silence is held back.",
                    Unit.COUNT,
                    f"sum(max by (type, source) ({m.FEED_SILENT.name})) or vector(0)",
                    warn_above=1,
                ),
                number(
                    "Breakers that are open",
                    "Rules that raised many times more than usual today, for the events that they "
                    "follow from; what they find is held back.",
                    Unit.COUNT,
                    f"sum(max by (rule) ({m.BREAKER_OPEN.name})) or vector(0)",
                    warn_above=1,
                ),
            ),
        ),
        Section(
            "Rules",
            (
                stacked(
                    "Triggers by rule",
                    "A second.",
                    Unit.PER_SECOND,
                    Query(f"sum by (rule) (rate({m.TRIGGERS.name}[$__rate_interval]))", "{{rule}}"),
                ),
                bars(
                    "Triggers by rule, last day",
                    "The twenty rules that said most.",
                    Unit.COUNT,
                    Query(f"topk(20, sum by (rule) (increase({m.TRIGGERS.name}[1d])))", "{{rule}}"),
                ),
                bars(
                    "Taken back by rule, last day",
                    "Overtaken before the gateway said that it sent them, the twenty rules with "
                    "most. A rule of which a large share is taken back speaks too early.",
                    Unit.COUNT,
                    Query(
                        f'topk(20, sum by (rule) (increase({m.CANCELLED.name}{{sent="no"}}[1d])))',
                        "{{rule}}",
                    ),
                ),
                lines(
                    "Now and as usual",
                    "Triggers a second over an hour, beside the mean of this hour one week and two "
                    "weeks ago (from the third week on).",
                    Unit.PER_SECOND,
                    Query(r.TRIGGERS.name, "now"),
                    Query(r.USUAL_TRIGGERS.name, "usual"),
                ),
            ),
        ),
        Section(
            "Held back",
            (
                stacked(
                    "Held back by reason",
                    "Verdicts a second other than raised and shadow. held and suspended wait, and "
                    "are decided again; holdout is the control group; condition, unless and "
                    "reentry are the rule's own; docs/policy.md has the order.",
                    Unit.PER_SECOND,
                    Query(
                        f"sum by (verdict) (rate({m.VERDICTS.name}{{{_NOT_SAID}}}"
                        "[$__rate_interval]))",
                        "{{verdict}}",
                    ),
                ),
                bars(
                    "Held back by reason, last day",
                    "Verdicts, as above; who waits counts again when decided. `lifecycle why` "
                    "says of one member what it was.",
                    Unit.COUNT,
                    Query(
                        f"sort_desc(sum by (verdict) (increase({m.VERDICTS.name}{{{_NOT_SAID}}}"
                        "[1d])))",
                        "{{verdict}}",
                    ),
                ),
                bars(
                    "Held back most, by rule, last day",
                    "The twenty rules with most verdicts other than raised and shadow.",
                    Unit.COUNT,
                    Query(
                        f"topk(20, sum by (rule) (increase({m.VERDICTS.name}{{{_NOT_SAID}}}[1d])))",
                        "{{rule}}",
                    ),
                ),
                lines(
                    "Control group, by rule",
                    "Of the last day's candidates that became triggers or were kept back to "
                    "compare with, the share kept back. The policy says how large the group is "
                    "meant to be: caps and quiet hours come after it, and make it look larger.",
                    Unit.SHARE,
                    Query(
                        f'sum by (rule) (increase({m.VERDICTS.name}{{verdict="holdout"}}[1d])) / '
                        f"(sum by (rule) (increase({m.VERDICTS.name}"
                        '{verdict=~"raised|holdout"}[1d])) > 0)',
                        "{{rule}}",
                    ),
                ),
            ),
        ),
    ),
)

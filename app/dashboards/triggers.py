"""Triggers and decisions: what was said, what was held back, and why."""

from app import metric_list as m
from app.alerting import recordings as r
from app.dashboards.kinds import Dashboard, Query, Section, Unit, bars, lines, number, stacked

_NOT_SAID = 'verdict!~"raised|shadow"'

TRIGGERS = Dashboard(
    "lifecycle-triggers",
    "Triggers and decisions",
    "What goes to the messaging gateway, and what does not and why. Every candidate is decided "
    "once; the topic decisions has each with its reason.",
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
                    "Triggers that the member overtook before the gateway said that it sent them: "
                    "bought after all, or withdrew consent.",
                    Unit.COUNT,
                    f'sum(increase({m.CANCELLED.name}{{sent="no"}}[1h])) or vector(0)',
                ),
                number(
                    "Said, of all candidates",
                    "The share of candidates that became triggers; the others stand below by "
                    "reason.",
                    Unit.SHARE,
                    f'sum(increase({m.VERDICTS.name}{{verdict="raised"}}[1h])) / '
                    f"(sum(increase({m.VERDICTS.name}[1h])) > 0)",
                ),
                number(
                    "Triggers for each event",
                    "A sale day has more of both, so this stays; when it rises many times, a rule "
                    "has gone wrong.",
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
                    "Rules that raised many times more than usual; what they find is held back.",
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
                    "Overtaken before the gateway said that it sent them. A rule of which much is "
                    "taken back speaks too early.",
                    Unit.COUNT,
                    Query(
                        f'topk(20, sum by (rule) (increase({m.CANCELLED.name}{{sent="no"}}[1d])))',
                        "{{rule}}",
                    ),
                ),
                lines(
                    "Now and as usual",
                    "Triggers a second over an hour, beside this hour of the last two weeks (from "
                    "the second week on).",
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
                    "Candidates a second that did not become triggers. holdout: the control group; "
                    "frequency cap, quiet hours and the rest are the policy's.",
                    Unit.PER_SECOND,
                    Query(
                        f"sum by (verdict) (rate({m.VERDICTS.name}{{{_NOT_SAID}}}"
                        "[$__rate_interval]))",
                        "{{verdict}}",
                    ),
                ),
                bars(
                    "Held back by reason, last day",
                    "A rule test shows which step of the policy it was; `lifecycle why` says so of "
                    "one member.",
                    Unit.COUNT,
                    Query(
                        f"sort_desc(sum by (verdict) (increase({m.VERDICTS.name}{{{_NOT_SAID}}}"
                        "[1d])))",
                        "{{verdict}}",
                    ),
                ),
                bars(
                    "Held back most, by rule, last day",
                    "The twenty rules whose candidates were held back most.",
                    Unit.COUNT,
                    Query(
                        f"topk(20, sum by (rule) (increase({m.VERDICTS.name}{{{_NOT_SAID}}}[1d])))",
                        "{{rule}}",
                    ),
                ),
                lines(
                    "Control group, by rule",
                    "The share of candidates that were kept back to compare with, over a day. The "
                    "policy says how large it is meant to be.",
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

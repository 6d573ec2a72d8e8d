"""The members' life, for marketers. docs/lifecycle-metrics.md has every definition.

Every worker tells the same figures, which it reads from Redis: hence ``max by``.
"""

from app import metric_list as m
from app.dashboards.kinds import Dashboard, Query, Section, Unit, bars, lines, number, stacked


def _over(metric: m.Declared, *labels: str, where: str = "") -> str:
    chosen = f"{{{where}}}" if where else ""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"max{by} ({metric.name}{chosen})"


LIFECYCLE = Dashboard(
    "lifecycle-members",
    "Member lifecycle",
    "Where the members are, how they move, what brings them back and what they are worth. "
    "docs/lifecycle-metrics.md defines each figure.",
    (
        Section(
            "At a glance",
            (
                number(
                    "Members",
                    "Members known, whatever their stage.",
                    Unit.COUNT,
                    f"sum({_over(m.MEMBERS, 'source')})",
                ),
                number(
                    "Active this week",
                    "Share of members who browsed, put something into a cart or bought within "
                    "seven days.",
                    Unit.SHARE,
                    _over(m.ACTIVE_RATIO, where='source="all",window="week"'),
                ),
                number(
                    "Buy again",
                    "Of members who have bought, those who have bought again.",
                    Unit.SHARE,
                    _over(m.REPURCHASE, where='source="all"'),
                ),
                number(
                    "Lifetime value",
                    "What a member has brought so far, refunds taken off, and what the next 90 "
                    "days are expected to bring; on average over all members.",
                    Unit.PLAIN,
                    "sum(" + _over(m.LTV, "kind", where='stage="all"') + ")",
                ),
                number(
                    "Average basket",
                    "Turnover of an order, on average.",
                    Unit.PLAIN,
                    _over(m.BASKET),
                ),
                number(
                    "Dormant or lost",
                    "Share of members who have gone quiet.",
                    Unit.SHARE,
                    f"{_over(m.DORMANT)} + {_over(m.LOST)}",
                ),
            ),
        ),
        Section(
            "Stages",
            (
                stacked(
                    "Members by stage",
                    "Where the members stand now.",
                    Unit.COUNT,
                    Query(_over(m.STAGE_MEMBERS, "stage"), "{{stage}}"),
                ),
                bars(
                    "Moves between stages today",
                    "How many went from one stage to another since midnight UTC.",
                    Unit.COUNT,
                    Query(
                        f"sort_desc({_over(m.STAGE_MOVES_TODAY, 'before', 'after')})",
                        "{{before}} to {{after}}",
                    ),
                ),
                lines(
                    "Conversion of each stage",
                    "Of those who came into a stage or stood in it, the share that went on to a "
                    "better one; last whole week.",
                    Unit.SHARE,
                    Query(_over(m.STAGE_CONVERSION, "stage"), "{{stage}}"),
                ),
                lines(
                    "Loss of each stage",
                    "The share that went to a worse one; last whole week.",
                    Unit.SHARE,
                    Query(_over(m.STAGE_LOSS, "stage"), "{{stage}}"),
                ),
                bars(
                    "Days in a stage",
                    "How long those had been in a stage who left it within 30 days, on average.",
                    Unit.PLAIN,
                    Query(_over(m.STAGE_DAYS, "before", "after"), "{{before}} to {{after}}"),
                ),
                bars(
                    "Weak stages",
                    "1 where a stage converts far less, or loses far more, than in the four weeks "
                    "before.",
                    Unit.PLAIN,
                    Query(_over(m.STAGE_WEAK, "stage", "kind"), "{{stage}}, {{kind}}"),
                ),
            ),
        ),
        Section(
            "Active, and staying",
            (
                lines(
                    "Active members",
                    "Members who browsed, put something into a cart or bought within the last day, "
                    "week and 30 days.",
                    Unit.SHARE,
                    Query(
                        _over(m.ACTIVE_RATIO, "window", where='source="all"'),
                        "{{window}}",
                    ),
                ),
                bars(
                    "Active this month by source",
                    "By where members came from.",
                    Unit.SHARE,
                    Query(
                        _over(m.ACTIVE_RATIO, "source", where='window="month"'),
                        "{{source}}",
                    ),
                ),
                bars(
                    "Retention",
                    "Of the newest cohort that is old enough: the share that was active again "
                    "one, four, eight and twelve weeks after it came into the stage.",
                    Unit.SHARE,
                    Query(
                        _over(m.RETENTION, "stage", "weeks"),
                        "{{stage}}, week {{weeks}}",
                    ),
                ),
                bars(
                    "Brought back",
                    "Of dormant and lost members, those who were active again after a message, "
                    "beside the control group, who got none.",
                    Unit.SHARE,
                    Query(_over(m.REACTIVATION, "arm"), "{{arm}}"),
                ),
            ),
        ),
        Section(
            "Buying",
            (
                bars(
                    "Buy again by source",
                    "Of members who have bought, those who have bought again.",
                    Unit.SHARE,
                    Query(_over(m.REPURCHASE, "source"), "{{source}}"),
                ),
                bars(
                    "Value of a member by stage",
                    "historic: what members have brought, refunds taken off; expected: what the "
                    "next 90 days are expected to bring. Together they are the lifetime value.",
                    Unit.PLAIN,
                    Query(_over(m.LTV, "stage", "kind"), "{{stage}}, {{kind}}"),
                ),
                bars(
                    "Frequency bands",
                    "Active members by how often they buy.",
                    Unit.COUNT,
                    Query(_over(m.BAND_MEMBERS, "band"), "{{band}}"),
                ),
                bars(
                    "Value of a member by source",
                    "What members have brought so far, on average over all who came from there.",
                    Unit.PLAIN,
                    Query(
                        _over(m.LTV_BY_SOURCE, "source", where='kind="historic"'),
                        "{{source}}",
                    ),
                ),
            ),
        ),
        Section(
            "Coming and going",
            (
                lines(
                    "Rates",
                    "Shares of members: activated after joining, leads who became members, members "
                    "who brought others, members who never did anything.",
                    Unit.SHARE,
                    Query(_over(m.ACTIVATION, where='source="all"'), "activated"),
                    Query(_over(m.LEAD_TO_MEMBER), "lead to member"),
                    Query(_over(m.REFERRAL), "referral"),
                    Query(_over(m.SILENT), "silent"),
                ),
                lines(
                    "Dormant and lost members",
                    "Share of members.",
                    Unit.SHARE,
                    Query(_over(m.DORMANT), "dormant"),
                    Query(_over(m.LOST), "lost"),
                ),
                bars(
                    "Why they say they leave",
                    "Reasons given in surveys, by the stage where those who gave them stand now.",
                    Unit.COUNT,
                    Query(
                        _over(m.CHURN_REASONS, "stage", "reason"),
                        "{{stage}}: {{reason}}",
                    ),
                ),
                bars(
                    "Members by segment",
                    "Who the members are, by config/segments.yaml; counted every few minutes.",
                    Unit.COUNT,
                    Query(f"sum by (segment) ({m.SEGMENT_MEMBERS.name})", "{{segment}}"),
                ),
            ),
        ),
    ),
)

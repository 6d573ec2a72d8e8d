"""The members' life, for marketers. docs/lifecycle-metrics.md has every definition.

Every worker tells the same figures, which it reads from Redis: hence ``max by``.
"""

from app import metric_list as m
from app.dashboards.kinds import Dashboard, Query, Section, Unit, bars, lines, number, stacked


def _over(metric: m.Declared, *labels: str, where: str = "") -> str:
    chosen = f"{{{where}}}" if where else ""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"max{by} ({metric.name}{chosen})"


# That is `models.lifecycle.EFFECTIVE`.
_DID = (
    "visited, viewed, searched, changed a cart, ordered, clicked on a message, or took part "
    "(reviews, posts, invitations, attending, surveys)."
)

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
                    "Who registered or ordered, whatever their stage now; leads are not among "
                    "them.",
                    Unit.COUNT,
                    f"sum({_over(m.MEMBERS, 'source')})",
                ),
                number(
                    "Active this week",
                    f"Share of members who within seven days, this one included, {_DID}",
                    Unit.SHARE,
                    _over(m.ACTIVE_RATIO, where='source="all",window="week"'),
                ),
                number(
                    "Buy again",
                    "Of members who have ever bought, the share that has bought again.",
                    Unit.SHARE,
                    _over(m.REPURCHASE, where='source="all"'),
                ),
                number(
                    "Lifetime value",
                    "What a member has brought so far, less refunds and cancelled orders, and what "
                    "the next 90 days are expected to bring; mean over all members.",
                    Unit.PLAIN,
                    "sum(" + _over(m.LTV, "kind", where='stage="all"') + ")",
                ),
                number(
                    "Average basket",
                    "Mean order of the last 30 days, before refunds; cancelled orders are left "
                    "out.",
                    Unit.PLAIN,
                    _over(m.BASKET),
                ),
                number(
                    "Dormant or lost",
                    "Share of members in one of these two stages.",
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
                    "Members and leads, by where they stand now.",
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
                    "Of those who stood in a stage or came into it, how many went on to a better "
                    "one (lead, new, active, loyal); the last seven whole days.",
                    Unit.SHARE,
                    Query(_over(m.STAGE_CONVERSION, "stage"), "{{stage}}"),
                ),
                lines(
                    "Loss of each stage",
                    "Of those who stood in a stage or came into it, how many fell silent, went "
                    "dormant or were lost; the last seven whole days.",
                    Unit.SHARE,
                    Query(_over(m.STAGE_LOSS, "stage"), "{{stage}}"),
                ),
                bars(
                    "Days in a stage",
                    "Mean days that those had been in a stage who left it within the last 30 days.",
                    Unit.PLAIN,
                    Query(_over(m.STAGE_DAYS, "before", "after"), "{{before}} to {{after}}"),
                ),
                bars(
                    "Weak stages",
                    "1 where a stage converted far less, or lost far more, in the last seven whole "
                    "days than in the four weeks before them.",
                    Unit.PLAIN,
                    Query(_over(m.STAGE_WEAK, "stage", "kind"), "{{stage}}, {{kind}}"),
                ),
            ),
        ),
        Section(
            "Active, and staying",
            (
                lines(
                    "Share of members active",
                    "Share of members who on this day, within seven days and within 30 (this one "
                    f"included) {_DID}",
                    Unit.SHARE,
                    Query(
                        _over(m.ACTIVE_RATIO, "window", where='source="all"'),
                        "{{window}}",
                    ),
                ),
                bars(
                    "Active this month by source",
                    "Share of members active within 30 days, by where they came from; all: of all "
                    "members.",
                    Unit.SHARE,
                    Query(
                        _over(m.ACTIVE_RATIO, "source", where='window="month"'),
                        "{{source}}",
                    ),
                ),
                bars(
                    "Retention",
                    "Of those who entered a stage in one week (member: who joined), the share that "
                    "was active in the first, fourth, eighth or twelfth week after it; the newest "
                    "for whom that week is over.",
                    Unit.SHARE,
                    Query(
                        _over(m.RETENTION, "stage", "weeks"),
                        "{{stage}}, week {{weeks}}",
                    ),
                ),
                bars(
                    "Brought back",
                    "Of dormant and lost members to whom a trigger was raised (treated) or who "
                    "were held out of one (control), the share that was active within 14 days "
                    "after; 90 days whose 14 are over.",
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
                    "Of members who have ever bought, the share that has bought again; all: of all "
                    "buyers.",
                    Unit.SHARE,
                    Query(_over(m.REPURCHASE, "source"), "{{source}}"),
                ),
                bars(
                    "Value of a member by stage",
                    "Mean of a member. historic: what was paid so far, less refunds and cancelled "
                    "orders; expected: in the next 90 days. Together they are the lifetime value. "
                    "all: of all members.",
                    Unit.PLAIN,
                    Query(_over(m.LTV, "stage", "kind"), "{{stage}}, {{kind}}"),
                ),
                bars(
                    "Frequency bands",
                    "Members of the stage active, by how often they buy; loyal ones have no band.",
                    Unit.COUNT,
                    Query(_over(m.BAND_MEMBERS, "band"), "{{band}}"),
                ),
                bars(
                    "Value of a member by source",
                    "What was paid so far, less refunds and cancelled orders; mean over all "
                    "members who came from there.",
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
                    "activated: of those who joined within 30 days and whose first week is over, "
                    "who ordered or did more than look in it. lead to member: of the leads of 30 "
                    "days, who became members. referred: of those who joined within 30 days, whom "
                    "somebody had referred. silent: of all members, who stand in that stage.",
                    Unit.SHARE,
                    Query(_over(m.ACTIVATION, where='source="all"'), "activated"),
                    Query(_over(m.LEAD_TO_MEMBER), "lead to member"),
                    Query(_over(m.REFERRAL), "referred"),
                    Query(_over(m.SILENT), "silent"),
                ),
                lines(
                    "Dormant and lost over time",
                    "Of all members, who stand in that stage.",
                    Unit.SHARE,
                    Query(_over(m.DORMANT), "dormant"),
                    Query(_over(m.LOST), "lost"),
                ),
                bars(
                    "Why they say they leave",
                    "Members by the reason that they gave last in a survey, and their stage now; "
                    "look at dormant and lost.",
                    Unit.COUNT,
                    Query(
                        _over(m.CHURN_REASONS, "stage", "reason"),
                        "{{stage}}: {{reason}}",
                    ),
                ),
                bars(
                    "Members by segment",
                    "Members and anonymous ids by segment, of config/segments.yaml. Counted on "
                    "and on, some 2,000 a second on each worker.",
                    Unit.COUNT,
                    Query(f"sum by (segment) ({m.SEGMENT_MEMBERS.name})", "{{segment}}"),
                ),
            ),
        ),
    ),
)

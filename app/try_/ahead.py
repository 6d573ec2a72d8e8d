"""The page's sections about what is predicted: value, churn, and ten members drawn."""

from collections.abc import Sequence

from app.try_.charts import (
    legend,
    line,
    marks,
    months,
    plot,
    reliability,
    ribbon,
    round_top,
    said,
    spread_bar,
    svg,
)
from app.try_.foresight import Foresight, Predictions, Quality, TooLittle
from app.try_.html import (
    NONE,
    Money,
    both,
    cards,
    date_of,
    figure,
    number,
    paragraph,
    percent,
    section,
    table,
    text,
)
from app.try_.orders import Order
from app.try_.picking import Picked
from app.try_.sections import STAGE_WORDS, days, stage_name, who
from app.try_.stages import StageHistory
from models.next_order import worth_telling
from models.predicting import Worth
from models.times import DAY

_LISTED = 25
_PERCENTS = ((0.0, "0%"), (0.5, "50%"), (1.0, "100%"))
# Above, a ranking helps to choose members; below, it is close to guessing.
_RANKS_WELL, _RANKS = 0.7, 0.6
# Up to here a probability can be taken at face value, in points of probability.
_AT_FACE, _ROUGHLY = 0.03, 0.06
# Days with orders from which on a member is a regular who can be lost.
REGULAR = 3


def value(
    predictions: Predictions,
    by_member: dict[str, list[Order]],
    now: dict[str, str],
    money: Money,
) -> str:
    """Return the section about expected value: in all, by stage, and the best members."""
    worth = {
        member: ahead.value
        for member, ahead in predictions.today.items()
        if ahead.value is not None
    }
    if not worth:
        return ""
    total = sum(one.mean for one in worth.values())
    best = sorted(worth, key=lambda member: (-worth[member].mean, member))
    tenth = best[: max(1, len(best) // 10)]
    top = max(worth[member].high or worth[member].mean for member in best[:_LISTED])
    rows = []
    for member in best[:_LISTED]:
        one = worth[member]
        ahead = predictions.today[member]
        rows.append(
            (
                who(member, now[member]),
                f"<strong>{money(one.mean)}</strong>",
                *_spread(one, top, money),
                money(sum(order.cents for order in by_member[member])),
                _next(ahead),
            )
        )
    head = (
        both("Member", "会员"),
        both("Expected, 90 days", "未来 90 天预期"),
        both("8 of 10 times between", "八成概率区间"),
        both("Drawn", "图示"),
        both("Spent so far", "累计消费"),
        both("Next order", "下一单"),
    )
    return section(
        "value",
        both("Expected value of the next 90 days", "未来 90 天的预期价值"),
        paragraph(
            both(
                "What each member is likely to spend, refunds taken off: the mean of two models, "
                "one "
                "of how often and how much people buy (BG/NBD with Gamma-Gamma), one learned from "
                "what members of the same habits spent (Poisson regression). It is an expectation, "
                "not a promise: see the interval.",
                "每位会员可能的消费(扣除退款):两个模型的平均,一个描述购买频率与金额"
                "(BG/NBD 与 Gamma-Gamma),一个从习惯相近的会员中学习(泊松回归)。这是期望值而非承诺,"
                "请看区间。",
            )
            + _earned(predictions.margin)
        ),
        cards(
            [
                (money(total), both("expected from all members", "全部会员预期合计")),
                (
                    percent(sum(worth[member].mean for member in tenth), total),
                    both("of it from the best tenth", "来自前 10% 的会员"),
                ),
            ]
        ),
        _by_stage(worth={m: v.mean for m, v in worth.items()}, now=now, total=total, money=money),
        f"<h3>{both('The most valuable members ahead', '未来最有价值的会员')}</h3>",
        table(head, rows, "tnnwnt"),
        _unlike(sum(worth[member].low is None for member in best[:_LISTED])),
    )


def _unlike(count: int) -> str:
    if not count:
        return ""
    return paragraph(
        both(
            f"{NONE}: too few members like these have been seen for 90 days to tell between "
            "which amounts it will be.",
            f"{NONE}:与其相似、且已观察满 90 天的会员太少,无法给出区间。",
        ),
        "note",
    )


def _earned(margin: float) -> str:
    if margin == 1:
        return ""
    return both(
        f" It is told in what you earn, {percent(margin)} of it (<code>predictions.yaml</code>).",
        f" 金额按您的毛利率 {percent(margin)} 折算(<code>predictions.yaml</code>)。",
    )


def _by_stage(worth: dict[str, float], now: dict[str, str], total: float, money: Money) -> str:
    rows = []
    for stage in STAGE_WORDS:
        there = [amount for member, amount in worth.items() if now[member] == stage]
        if there:
            each = money(sum(there) / len(there))
            share = percent(sum(there), total)
            rows.append((stage_name(stage), number(len(there)), each, money(sum(there)), share))
    head = (
        both("Stage", "阶段"),
        both("Members", "会员数"),
        both("Expected each", "人均预期"),
        both("Expected together", "合计预期"),
        both("Share", "占比"),
    )
    return table(head, rows, "tnnnn")


def _spread(one: Worth, top: float, money: Money) -> tuple[str, str]:
    """Return the interval in words and as a bar; neither while nobody alike was seen to the end."""
    if one.low is None or one.high is None:
        return NONE, NONE
    return money.between(one.low, one.high), spread_bar(one.low, one.mean, one.high, top)


def _next(ahead: Foresight) -> str:
    """Return when the next order is due, where it is worth telling."""
    if not worth_telling(ahead.churn):
        return NONE
    low, middle, high = (date_of(day * DAY) for day in ahead.next_days)
    return f"{middle}<br><small>{low} &ndash; {high}</small>"


def churn(
    predictions: Predictions,
    by_member: dict[str, list[Order]],
    now: dict[str, str],
    money: Money,
) -> str:
    """Return the section about churn: how good the chances were, then who is at risk."""
    horizon = predictions.horizon
    return section(
        "churn",
        both("Churn risk, and how far to trust it", "流失风险,以及它有多可信"),
        paragraph(
            both(
                f"The chance that a member will <strong>not order within {horizon} days</strong>, "
                "learned online from your own members and nobody else's.",
                f"会员在 <strong>{horizon} 天内不再下单</strong>的概率,只从您自己的会员中在线学"
                "习。",
            )
        ),
        _judged(predictions),
        _risky(predictions, by_member, now, money),
    )


def _judged(predictions: Predictions) -> str:
    judged = predictions.judged
    if isinstance(judged, TooLittle):
        return _too_little(judged, predictions.horizon)
    return _quality(judged, predictions.horizon)


def _too_little(few: TooLittle, horizon: int) -> str:
    left = number(few.left)
    stayed = number(few.rows - few.left)
    return paragraph(
        both(
            f"<strong>Too little data to judge.</strong> The file covers {number(few.days)} days; "
            f"{number(few.rows)} chances could be compared with what happened ({left} members did "
            f"not order within {horizon} days, {stayed} did). It takes {few.days_wanted} days, "
            f"{number(few.rows_wanted)} chances and {few.each_wanted} of either outcome before we "
            "say how good they are. Until then take the list below as a hint, not as a number.",
            f"<strong>数据太少,无法评判。</strong>文件覆盖 {number(few.days)} 天;可与结果对照的预"
            "测有 "
            f"{number(few.rows)} 次({left} 次 {horizon} 天内未下单,{stayed} 次下单)。需要至少 "
            f"{few.days_wanted} 天、{number(few.rows_wanted)} 次预测、两种结果各 "
            f"{few.each_wanted} 次。"
            "在此之前,请把下面的名单当作提示。",
        ),
        "warn",
    )


def _quality(judged: Quality, horizon: int) -> str:
    pairs = round(100 * judged.auc)
    off = f"{100 * judged.off:.1f}"
    better = 1 - judged.log_loss / judged.guess if judged.guess else 0.0
    rows = number(judged.rows)
    begin, end = date_of(judged.first_day * DAY), date_of(judged.last_day * DAY)
    ranked = _ranked(judged.auc)
    trust = _trust(judged.off)
    words = "<ul>" + "".join(
        f"<li>{item}</li>"
        for item in (
            both(
                f"<strong>Ranking:</strong> of two members, one who then stayed away and one who "
                f"ordered, the first had the higher risk in <strong>{pairs} of 100</strong> pairs "
                f"(AUC {judged.auc:.3f}; 50 is guessing). {ranked[0]}",
                f"<strong>排序:</strong>任取一位后来未下单和一位下了单的会员,100 对中有 "
                f"<strong>{pairs} 对</strong>前者风险更高(AUC {judged.auc:.3f};50 即瞎猜)。"
                f"{ranked[1]}",
            ),
            both(
                f"<strong>Level:</strong> on average {100 * judged.said:.0f}% was said and "
                f"{100 * judged.left:.0f}% happened; the dots lie off the line by {off} points on "
                f"average. {trust[0]}",
                f"<strong>水平:</strong>平均预测 {100 * judged.said:.0f}%,实际 "
                f"{100 * judged.left:.0f}%;各点平均偏离对角线 {off} 个百分点。{trust[1]}",
            ),
            both(
                f"<strong>Against guessing:</strong> the log loss is {judged.log_loss:.3f}; saying "
                f"everybody the average would have cost {judged.guess:.3f} "
                f"({100 * abs(better):.0f}% {'less' if better >= 0 else 'more'} with the model).",
                f"<strong>与猜平均值相比:</strong>对数损失 {judged.log_loss:.3f},对所有人都说平均"
                "值则为 "
                f"{judged.guess:.3f}。",
            ),
        )
    )
    picture = plot(
        reliability([(one.said, one.happened) for one in judged.bins]),
        "square",
        _PERCENTS,
        [(0.0, "0%"), (0.5, "50%"), (1.0, "100%")],
    )
    listed = "; ".join(f"{one.said:.0%} → {one.happened:.0%}" for one in judged.bins)
    return (
        '<div class="pair">'
        + figure(
            picture + said(f"said and happened: {listed}", f"预测与实际:{listed}"),
            both(
                "Across: the chance that was given. Upwards: how many then really did not order. "
                "Each dot is a fifteenth of the answers; on the line is right.",
                "横轴:预测的概率;纵轴:实际未下单的比例。每个点代表十五分之一的预测;落在线上即准"
                "确。",
            ),
        )
        + "<div>"
        + paragraph(
            both(
                "Tested on your own past: every member was asked about once a week, the answer "
                "was "
                f"kept, and compared {horizon} days later with what happened; the model had never "
                f"seen the outcome when it answered. {rows} answers about {number(judged.members)} "
                f"members who had bought within the {horizon} days before, from {begin} to {end}.",
                f"用您自己的历史检验:每位会员每周预测一次,{horizon} 天后与实际对照;预测时模型从未"
                "见过结果。"
                f"共 {rows} 次预测,涉及 {number(judged.members)} 位此前 {horizon} 天内购买过的会员,"
                f"{begin} 至 {end}。",
            )
        )
        + words
        + "</ul></div></div>"
    )


def _ranked(auc: float) -> tuple[str, str]:
    if auc >= _RANKS_WELL:
        return "Good enough to choose whom to write to.", "足以用来挑选触达对象。"
    if auc >= _RANKS:
        return "Some help in choosing whom to write to.", "对挑选触达对象有一定帮助。"
    return (
        "Hardly better than guessing: do not choose members by it.",
        "与瞎猜相近:不要据此挑选会员。",
    )


def _trust(off: float) -> tuple[str, str]:
    if off <= _AT_FACE:
        return "The percentages can be taken at face value.", "概率可以按字面理解。"
    if off <= _ROUGHLY:
        return "Take the percentages as rough.", "概率只能粗略理解。"
    return "Do not take the percentages at face value.", "不要按字面理解概率。"


def _risky(
    predictions: Predictions,
    by_member: dict[str, list[Order]],
    now: dict[str, str],
    money: Money,
) -> str:
    """List regulars who are still there and may go, those with the most spent first."""
    spent = {member: sum(o.cents for o in orders) for member, orders in by_member.items()}
    slipping = [
        member
        for member, ahead in predictions.today.items()
        if ahead.slipping and now[member] not in ("dormant", "lost")
    ]
    regulars = [m for m in slipping if _days_with_orders(by_member[m]) >= REGULAR]
    regulars.sort(key=lambda m: (-spent[m] * predictions.today[m].churn, m))
    rows = []
    for member in regulars[:_LISTED]:
        ahead = predictions.today[member]
        why = "".join(f"<li>{both(text(e), text(c))}</li>" for e, c in ahead.reasons)
        rows.append(
            (
                who(member, now[member]),
                f"<strong>{percent(ahead.churn)}</strong>",
                days(ahead.usual),
                days(ahead.silent),
                money(spent[member]),
                number(sum(order.cents >= 0 for order in by_member[member])),
                f'<ul class="why">{why}</ul>' if why else NONE,
            )
        )
    if not rows:
        return paragraph(both("No regular is at risk now.", "目前没有有风险的常客。"))
    head = (
        both("Member", "会员"),
        both(f"Risk, {predictions.horizon} days", f"{predictions.horizon} 天风险"),
        both("Usual gap, days", "通常间隔(天)"),
        both("Silent for, days", "已沉默(天)"),
        both("Spent", "累计消费"),
        both("Orders", "订单数"),
        both("What speaks for it", "主要依据"),
    )
    return (
        f"<h3>{both('Whom you may still keep', '还能留住的会员')}</h3>"
        + paragraph(
            both(
                f"{number(len(slipping))} members are not dormant yet, silent for longer than they "
                "usually are, and more likely to stay away for another "
                f"{predictions.horizon} days than to order. {number(len(regulars))} of them have "
                f"ordered on {REGULAR} days or more: regulars whom you can lose. Those with the "
                "most at stake first (spent &times; risk).",
                f"{number(len(slipping))} 位会员尚未休眠、沉默已超过自己的通常间隔,且未来 "
                f"{predictions.horizon} 天更可能不下单。其中 {number(len(regulars))} 位下单不少于 "
                f"{REGULAR} 天,是可能失去的常客。按“消费 &times; 风险”排序。",
            )
        )
        + table(head, rows, "tnnnnnw")
    )


def ten(
    picked: Sequence[Picked],
    by_member: dict[str, list[Order]],
    history: StageHistory,
    predictions: Predictions | None,
    money: Money,
) -> str:
    """Return the section with members drawn: orders and stages along time, the score beneath."""
    begin = min(by_member[one.member][0].at for one in picked)
    drawn = "".join(
        _life(one, by_member[one.member], history, predictions, money, begin) for one in picked
    )
    stages = {stage for one in picked for _, stage in history.courses[one.member]}
    keys = [(f"s-{stage}", both(*words)) for stage, words in STAGE_WORDS.items() if stage in stages]
    keys.append(("bought", both("an order, higher is more", "一笔订单,越高金额越大")))
    if any(order.cents < 0 for one in picked for order in by_member[one.member]):
        keys.append(("back", both("a refund", "退款")))
    if predictions is not None:
        within = both(
            f"chance of no order within {predictions.horizon} days",
            f"{predictions.horizon} 天内不下单的概率",
        )
        keys.append(("risk", within))
    return section(
        "ten",
        both(f"{len(picked)} members, drawn", f"{len(picked)} 位会员的历程"),
        paragraph(
            both(
                "Above: orders on the colour of the stage. Beneath: the churn score as it was said "
                "at the time, once a week, without knowing what came after.",
                "上:订单与阶段(底色)。下:当时每周给出的流失分数,并不知道之后发生的事。",
            )
            if predictions is not None
            else both("Orders on the colour of the stage.", "订单与阶段(底色)。")
        ),
        legend(keys),
        drawn,
    )


def _life(
    one: Picked,
    orders: Sequence[Order],
    history: StageHistory,
    predictions: Predictions | None,
    money: Money,
    begin: int,
) -> str:
    end = history.end
    long = max(end - begin, 1)

    def across(at: int) -> float:
        return min(max((at - begin) / long, 0.0), 1.0)

    course = history.courses[one.member]
    ends = [since for since, _ in course[1:]] + [end]
    stretches = [
        (across(since), across(until), f"s-{stage} pale")
        for (since, stage), until in zip(course, ends, strict=True)
    ]
    bought = [order for order in orders if order.cents >= 0]
    most = round_top(max((order.cents for order in bought), default=1) or 1)
    dots = [(across(order.at), 0.08 + 0.84 * order.cents / most) for order in bought]
    backs = [(across(order.at), 0.08) for order in orders if order.cents < 0]
    above = svg(ribbon(stretches) + marks(dots, "bought") + marks(backs, "back"))
    scores = predictions.scores.get(one.member, []) if predictions is not None else []
    beneath = ""
    x = months(begin, end)
    if predictions is not None:
        points = [(across((day + 1) * DAY), chance) for day, chance in scores]
        beneath = plot(svg(line(points, "risk")), "score", [(0.0, "0%"), (1.0, "100%")], x)
    spent = money(sum(order.cents for order in orders))
    count = number(len(bought))
    ahead = predictions.today.get(one.member) if predictions is not None else None
    risk = f" · {both('risk', '风险')} <strong>{percent(ahead.churn)}</strong>" if ahead else ""
    worth = (
        f" · {both('expected', '预期')} <strong>{money(ahead.value.mean)}</strong>"
        if ahead is not None and ahead.value is not None
        else ""
    )
    last = f"{ahead.churn:.0%}" if ahead is not None else NONE
    spoken = said(
        f"{len(bought)} orders; stages {', '.join(stage for _, stage in course)}; risk now {last}",
        f"{len(bought)} 笔订单;阶段 {'、'.join(STAGE_WORDS[s][1] for _, s in course)};当前风险 "
        f"{last}",
    )
    return (
        f'<article class="life"><h3>{text(one.member)} {stage_name(course[-1][1])}</h3>'
        f'<p class="note">{both(*one.why)} · {count} '
        f"{both('order' if len(bought) == 1 else 'orders', '单')} · {spent}{risk}{worth}</p>"
        + spoken
        + plot(above, "orders", [(0.92, money(most))], [] if beneath else x)
        + beneath
        + "</article>"
    )


def _days_with_orders(orders: Sequence[Order]) -> int:
    return len({order.at // DAY for order in orders if order.cents >= 0})

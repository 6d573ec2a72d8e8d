"""The page's sections about what was, and what the rules make of it."""

from collections import Counter
from collections.abc import Sequence

from app.try_.charts import area, bars, legend, months, plot, round_top, said
from app.try_.html import (
    NONE,
    Money,
    both,
    cards,
    date_of,
    figure,
    folded,
    number,
    paragraph,
    percent,
    section,
    table,
    text,
)
from app.try_.late import Late
from app.try_.orders import NAMED, Book, Order
from app.try_.stages import StageHistory, in_order
from app.try_.would_be import RAISED, WouldBe
from models.rules import Rule
from models.times import DAY
from models.wording import described

STAGE_WORDS = {
    "lead": ("lead", "潜客"),
    "new": ("new", "新客"),
    "silent": ("silent", "沉默"),
    "active": ("active", "活跃"),
    "loyal": ("loyal", "忠诚"),
    "dormant": ("dormant", "休眠"),
    "lost": ("lost", "流失"),
}
# From below: who is well, who has just come, who is going.
_PILE = ("loyal", "active", "new", "silent", "lead", "dormant", "lost")
_ROLES = {
    "member": ("member", "会员"),
    "order": ("order number", "订单号"),
    "time": ("time", "时间"),
    "total": ("amount", "金额"),
    "quantity": ("quantity", "数量"),
    "price": ("unit price", "单价"),
    "status": ("status", "状态"),
    "currency": ("currency", "币种"),
    "map": ("map", "映射文件"),
}
_STOPPED = {
    "holdout": ("control group", "对照组"),
    "arbitration": ("another rule spoke", "让位于其他规则"),
    "cap": ("enough sent already", "触达次数已满"),
    "cool_down": ("same kind sent lately", "同类消息冷却中"),
    "silence": ("just ordered", "刚下单静默期"),
    "quiet": ("night", "夜间免打扰"),
    "overtaken": ("overtaken by the member", "等待中会员已行动"),
    "expired": ("too old by then", "已过期"),
    "shadow": ("rule only watches", "仅观察的规则"),
    "consent": ("no consent", "未同意"),
    "unreachable": ("no channel", "无可用渠道"),
    "hold": ("open problem", "有未解决问题"),
    "mute": ("muted", "已静音"),
    "stop": ("stopped", "已停发"),
}
_LISTED = 25


def stage_name(stage: str) -> str:
    """Return a stage's name in both languages, with its colour."""
    english, chinese = STAGE_WORDS[stage]
    return f'<span class="stage"><i class="key s-{stage}"></i>{both(english, chinese)}</span>'


def who(member: str, stage: str) -> str:
    """Return a member as the first cell of a row: the id, and the stage below."""
    return f"{text(member)}{stage_name(stage)}"


def what_was_read(book: Book, by_member: dict[str, list[Order]], money: Money) -> str:
    """Return the section about the file: what is in it, and what could not be used."""
    bought = [order for order in book.orders if order.cents >= 0]
    back = [order for order in book.orders if order.cents < 0]
    again = sum(sum(o.cents >= 0 for o in orders) > 1 for orders in by_member.values())
    days = book.orders[-1].at // DAY - book.orders[0].at // DAY + 1
    shown = [
        (number(len(bought)), both("orders", "笔订单")),
        (number(len(by_member)), both("members", "位会员")),
        (number(days), both("days", "天")),
        (money(sum(order.cents for order in bought)), both("ordered", "订单金额")),
        (percent(again, len(by_member)), both("ordered more than once", "复购过的会员")),
    ]
    if back:
        gone = money(-sum(order.cents for order in back))
        shown.append((gone, both("went back (refunds)", "退款金额")))
    begin, end = date_of(book.orders[0].at), date_of(book.orders[-1].at)
    without = both(
        "The export names no currency; amounts are as they stand in it.",
        "导出文件没有写明币种,金额按原样显示。",
    )
    return section(
        "read",
        both("What was read", "读取结果"),
        cards(shown),
        paragraph(
            both(f"From {begin} to {end}.", f"{begin} 至 {end}。")
            + (f" {without}" if not money.currency else "")
        ),
        _columns(book),
        _left_out(book),
        _bad_lines(book),
    )


def _columns(book: Book) -> str:
    rows = [
        (both(*_ROLES[role]), f"<code>{text(name)}</code>") for role, name in book.columns.items()
    ]
    head = (both("Taken as", "含义"), both("Column", "列"))
    return folded(both("Which columns were used", "使用了哪些列"), table(head, rows, "tt"))


def _left_out(book: Book) -> str:
    if not book.left_out:
        return ""
    no_member = both("lines without a member (guests)", "行没有会员(游客)")
    parts = [
        f"{number(count)} " + (no_member if not why else f"<q>{text(why)}</q>")
        for why, count in sorted(book.left_out.items(), key=lambda entry: -entry[1])
    ]
    inside = ", ".join(parts)
    return paragraph(both("Left out on purpose: ", "按规则略过:") + inside, "note")


def _bad_lines(book: Book) -> str:
    if not book.bad_count:
        return ""
    rows = [(number(bad.line), text(bad.column), text(bad.reason)) for bad in book.bad]
    head = (both("Line", "行"), both("Column", "列"), both("What is wrong", "问题"))
    share = percent(book.bad_count, book.rows)
    count = number(book.bad_count)
    first = both(f" The first {NAMED}:", f" 前 {NAMED} 行:") if book.bad_count > NAMED else ""
    return folded(
        both(
            f"{count} {'line' if book.bad_count == 1 else 'lines'} ({share}) could not be read and "
            f"{'is' if book.bad_count == 1 else 'are'} not in the figures",
            f"{count} 行({share})无法读取,未计入统计",
        ),
        first + table(head, rows, "ntw"),
    )


def stages(history: StageHistory) -> str:
    """Return the section about the lifecycle: now, over time, and from where to where."""
    counts = history.counts[-1]
    there = in_order(stage for counter in history.counts for stage in counter)
    members = counts.total()
    names = {stage: stage_name(stage) for stage in there}
    shown = [(number(counts[stage]), names[stage]) for stage in there]
    return section(
        "stages",
        both("Lifecycle stages, and how they moved", "生命周期阶段与流转"),
        paragraph(
            both(
                "Each member is in one stage. The shipped table says when it changes: the second "
                "order within 90 days makes a new member active, the fifth within a year loyal; 90 "
                "days without an order make dormant, 180 lost. It can be changed "
                "(<code>stages.yaml</code>).",
                "每位会员处于一个阶段。默认规则:90 天内第二单转为活跃,一年内第五单转为忠诚;90 天未"
                "下单"
                "为休眠,180 天为流失。可在 <code>stages.yaml</code> 中修改。",
            )
        ),
        cards(shown),
        _stage_plot(history, there),
        _matrix(history, members),
    )


def _stage_plot(history: StageHistory, there: Sequence[str]) -> str:
    if len(history.weeks) < 2:
        return ""
    begin, end = history.weeks[0], history.weeks[-1]
    x = [(week - begin) / (end - begin) for week in history.weeks]
    top = round_top(max(counter.total() for counter in history.counts))
    pile = [stage for stage in _PILE if stage in there]
    layers = [(f"s-{s}", [counter[s] for counter in history.counts]) for s in pile]
    picture = plot(
        area(x, layers, top),
        "tall",
        [(share, number(top * share)) for share in (0, 0.5, 1)],
        months(begin, end),
    )
    first, last = history.counts[0], history.counts[-1]
    change = "; ".join(f"{STAGE_WORDS[s][0]} {first[s]} → {last[s]}" for s in pile)
    moved_in_chinese = ";".join(f"{STAGE_WORDS[s][1]} {first[s]} → {last[s]}" for s in pile)
    return figure(
        picture
        + said(change, moved_in_chinese)
        + legend([(f"s-{s}", both(*STAGE_WORDS[s])) for s in pile]),
        both("Members in each stage at the end of each week.", "每周末各阶段的会员数。"),
    )


def _matrix(history: StageHistory, members: int) -> str:
    if not history.moves:
        return ""
    weeks = round((history.end - history.since) / (7 * DAY))
    before = in_order(stage for stage, _ in history.moves)
    after = in_order(stage for _, stage in history.moves)
    rows = []
    for old in before:
        row = {new: history.moves[old, new] for new in after}
        total = sum(row.values())
        cells = [_share(row[new], total) for new in after]
        rows.append((stage_name(old), number(total), *cells))
    known = sum(history.moves.values())
    head = (
        both(f"{weeks} weeks ago", f"{weeks} 周前"),
        both("Members", "会员数"),
        *(both(f"now {STAGE_WORDS[s][0]}", f"现为{STAGE_WORDS[s][1]}") for s in after),
    )
    return (
        f"<h3>{both('Where they went', '流向')}</h3>"
        + table(head, rows, "tn" + "n" * len(after))
        + paragraph(
            both(
                f"Read a row across: of those who were in the stage {weeks} weeks ago, so many are "
                f"in each stage now. {number(members - known)} members came since.",
                f"按行阅读:{weeks} 周前处于该阶段的会员,现在分布在各阶段的比例。此后新增 "
                f"{number(members - known)} 位会员。",
            ),
            "note",
        )
    )


def _share(count: int, total: int) -> str:
    told = percent(count, total) if count else "&middot;"
    return f'<span class="heat" style="--heat:{count / total:.2f}">{told}</span>'


def late(
    found: Sequence[Late], now: dict[str, str], by_member: dict[str, list[Order]], money: Money
) -> str:
    """Return the section about who is late by the own rhythm; best customers first."""
    spent = {one.member: sum(o.cents for o in by_member[one.member]) for one in found}
    waiting = [one for one in found if now[one.member] not in ("dormant", "lost")]
    waiting.sort(key=lambda one: (-spent[one.member], one.member))
    rows = [
        (
            who(one.member, now[one.member]),
            f"<strong>{days(one.late / DAY)}</strong>",
            days(one.usual),
            days(one.silent),
            money(spent[one.member]),
            number(sum(o.cents >= 0 for o in by_member[one.member])),
        )
        for one in waiting[:_LISTED]
    ]
    head = (
        both("Member", "会员"),
        both("Late by, days", "已迟到(天)"),
        both("Usual gap, days", "通常间隔(天)"),
        both("Silent for, days", "已沉默(天)"),
        both("Spent", "累计消费"),
        both("Orders", "订单数"),
    )
    count, gone = number(len(waiting)), number(len(found) - len(waiting))
    if not found:
        listed = paragraph(both("Nobody is late.", "目前没有会员迟到。"))
    else:
        listed = paragraph(
            both(
                f"<strong>{count} members are late and not yet dormant</strong>: the best moment "
                "to "
                f"ask. {gone} more are late and dormant or lost already.",
                f"<strong>{count} 位会员已迟到、但尚未休眠</strong>:这是最佳的唤回时机。另有 "
                f"{gone} "
                "位迟到且已休眠或流失。",
            )
        ) + (table(head, rows, "tnnnnn") if rows else "")
    more = len(waiting) - len(rows)
    return section(
        "late",
        both("Late by their own rhythm", "按自己的节奏,谁迟到了"),
        paragraph(
            both(
                "A fixed “60 days” is too late for who comes weekly and too early for who comes "
                "twice a year. Late means: silent for longer than nine of ten of <em>this "
                "member's</em> gaps would be. Members with fewer than three orders have no rhythm "
                "yet and are not listed.",
                "固定的“60 天”对每周来的会员太晚,对半年来一次的会员又太早。这里的迟到指:沉默时间超"
                "过了"
                "<em>该会员自己</em>十次间隔中的九次。少于三单的会员还没有节奏,不列出。",
            )
        ),
        listed,
        paragraph(both(f"and {number(more)} more", f"另有 {number(more)} 位"), "note")
        if more > 0
        else "",
    )


def days(count: float) -> str:
    """Return a number of days as a cell of a table."""
    return number(count) if count >= 1 else "&lt;1"


def rules(found: WouldBe, by_name: dict[str, Rule], weeks: int) -> str:
    """Return the section about what the rules would have raised."""
    spoke = [(name, found.of_rule(name)) for name in found.rules if found.of_rule(name)]
    spoke.sort(key=lambda entry: (-entry[1][RAISED], entry[0]))
    by_week = _weekly(found, None, weeks)
    whole, part = (sum(side) for side in zip(*by_week, strict=True))
    most = round_top(max((pair[0] for pair in by_week), default=1) or 1)
    rows = [_rule_row(found, by_name[name], verdicts, weeks) for name, verdicts in spoke]
    head = (
        both("Rule", "规则"),
        both("Week by week", "每周"),
        both("Before policy", "策略前"),
        both("After policy", "策略后"),
        both("Withdrawn later", "后被撤回"),
        both("Held back because", "未发原因"),
    )
    a_part = ""
    if found.members < found.of:
        a_part = both(
            f" To be quick, {number(found.members)} of the {number(found.of)} members were "
            "replayed, chosen by a hash of their ids; the counts are theirs.",
            f" 为节省时间,按会员号哈希抽取了 {number(found.of)} 位中的 {number(found.members)} 位"
            "进行重放;以下为这些会员的数字。",
        )
    return section(
        "rules",
        both("What the shipped rules would have raised", "内置规则本会触发什么"),
        paragraph(
            both(
                "The same engine that runs live was given your orders in order of time. "
                "<em>Before policy</em>: the rule had something to say. <em>After policy</em>: it "
                "would have been sent, after control groups, caps, cool-downs, quiet hours and one "
                "voice at a time. <strong>It is assumed that every member agreed to marketing: the "
                "export does not say.</strong>",
                "将订单按时间顺序交给与线上相同的引擎。<em>策略前</em>:规则的条件成立。<em>策略后"
                "</em>:"
                "经过对照组、频次上限、冷却、免打扰与仲裁后仍会发送。<strong>假设所有会员都已同意"
                "营销:"
                "导出文件中没有这项信息。</strong>",
            )
            + a_part
        ),
        cards(
            [
                (number(whole), both("times a rule had something to say", "次规则条件成立")),
                (number(part), both("messages after policy", "条策略后的消息")),
                (
                    f"{part / max(found.members, 1) / max(weeks, 1):.2f}",
                    both("messages per member per week", "条/会员/周"),
                ),
            ]
        ),
        figure(
            plot(
                bars(by_week, most),
                "low",
                [(share, number(most * share)) for share in (0, 0.5, 1)],
                [(0.0, both(f"{weeks} weeks ago", f"{weeks} 周前")), (1.0, both("now", "现在"))],
            )
            + said(f"{whole} before policy, {part} after", f"策略前 {whole},策略后 {part}")
            + legend(
                [
                    ("whole", both("before policy", "策略前")),
                    ("part", both("after policy", "策略后")),
                ]
            ),
            both("Triggers a week, all rules.", "每周触发次数,全部规则。"),
        ),
        table(head, rows, "wwnnnw"),
        _silent(found, by_name),
    )


def _rule_row(found: WouldBe, rule: Rule, verdicts: Counter[str], weeks: int) -> tuple[str, ...]:
    pairs = _weekly(found, rule.name, weeks)
    top = max(pair[0] for pair in pairs) or 1
    stopped = [(v, n) for v, n in verdicts.most_common() if v != RAISED]
    why = ", ".join(f"{both(*_STOPPED[v])} {number(n)}" for v, n in stopped)
    about = both(text(rule.about), text(described(rule, chinese=True)))
    return (
        f"<code>{text(rule.name)}</code><br><small>{about}</small>",
        f'<span class="spark" aria-hidden="true">{bars(pairs, top)}</span>',
        number(verdicts.total()),
        f"<strong>{number(verdicts[RAISED])}</strong>",
        number(found.cancelled[rule.name]),
        f"<small>{why or NONE}</small>",
    )


def _weekly(found: WouldBe, rule: str | None, weeks: int) -> list[tuple[int, int]]:
    by_week = found.by_week(rule)
    return [by_week.get(week, (0, 0)) for week in reversed(range(weeks))]


def _silent(found: WouldBe, by_name: dict[str, Rule]) -> str:
    if not found.silent:
        return ""
    names = "".join(
        f"<li><code>{text(name)}</code> {text(by_name[name].about)}</li>" for name in found.silent
    )
    return folded(
        both(
            f"{len(found.silent)} more rules found nothing to say: most of them need events that "
            "an "
            "order export does not have (visits, carts, points, profiles)",
            f"另有 {len(found.silent)} 条规则没有触发:多数需要订单之外的事件(浏览、购物车、积分、"
            "资料)",
        ),
        f"<ul>{names}</ul>",
    )

"""Reasons and rules in words, in English and Chinese."""

import re
from collections.abc import Iterable, Sequence

from models.calendar import Calendar
from models.calendar_words import planned, reason
from models.facts import ACTIVITY
from models.rules import (
    Absence,
    ActivityDrop,
    BandEntered,
    BirthdayKnown,
    Condition,
    Count,
    Crosses,
    EventHappens,
    EventsAre,
    If,
    IsIn,
    LastWas,
    LateForMember,
    Marked,
    OrdersAre,
    Pattern,
    PointsAre,
    PredictedIs,
    Reachable,
    Requirement,
    RfmIs,
    Rule,
    SegmentEntered,
    SegmentLeft,
    Series,
    SpendIs,
    StageEntered,
    StageLeft,
    Sum,
    TierEntered,
    When,
)
from models.rules import Sequence as Steps
from models.times import DAY, format_duration, rfc3339
from models.triggers import Verdict

# What a member did: (English past, English perfect, Chinese).
_VERBS: dict[str, tuple[str, str, str]] = {
    "register": ("registered", "registered", "注册"),
    "profile": ("changed the profile", "changed the profile", "更新资料"),
    "consent": ("changed a consent", "changed a consent", "更改授权"),
    "link": ("was linked to another id", "been linked to another id", "关联账号"),
    "points": ("had the points changed", "had the points changed", "积分变动"),
    "tier": ("was told a tier", "been told a tier", "等级变动"),
    "offer_granted": ("was given an offer", "been given an offer", "获得优惠"),
    "offer_redeemed": ("used an offer", "used an offer", "使用优惠"),
    "offer_expired": ("let an offer expire", "let an offer expire", "优惠过期"),
    "visit": ("visited", "visited", "访问"),
    "view_item": ("viewed an item", "viewed an item", "浏览商品"),
    "search": ("searched", "searched", "搜索"),
    "add_to_cart": ("added to the cart", "added to the cart", "加入购物车"),
    "remove_from_cart": ("took out of the cart", "taken out of the cart", "移出购物车"),
    "begin_checkout": ("began a checkout", "begun a checkout", "开始结算"),
    "purchase": ("bought", "bought", "下单"),
    "cart_emptied": ("emptied the cart", "emptied the cart", "清空购物车"),
    "order_placed": ("placed an order", "placed an order", "提交订单"),
    "order_shipped": ("had an order shipped", "had an order shipped", "订单发货"),
    "order_delivered": ("received an order", "received an order", "收到订单"),
    "return_requested": ("asked to return an order", "asked to return an order", "申请退货"),
    "cancel": ("cancelled an order", "cancelled an order", "取消订单"),
    "refund": ("got a refund", "got a refund", "获得退款"),
    "sent": ("was sent a message", "been sent a message", "发出消息"),
    "delivered": ("got a message", "got a message", "收到消息"),
    "failed": ("could not be sent a message", "failed to get a message", "消息发送失败"),
    "bounced": ("had a message come back", "had a message come back", "消息被退回"),
    "complained": ("complained", "complained", "投诉"),
    "unsubscribed": ("unsubscribed", "unsubscribed", "退订"),
    "mute": ("was muted", "been muted", "静默"),
    "tag": ("was given a tag", "been given a tag", "获得标签"),
    "untag": ("lost a tag", "lost a tag", "移除标签"),
    "opened": ("opened a message", "opened a message", "打开消息"),
    "clicked": ("clicked in a message", "clicked in a message", "点击消息"),
    "review": ("wrote a review", "written a review", "发表评价"),
    "rating": ("gave a rating", "given a rating", "评分"),
    "share": ("shared something", "shared something", "分享"),
    "post": ("posted", "posted", "发帖"),
    "invite": ("invited somebody", "invited anybody", "邀请好友"),
    "invite_accepted": ("won a friend", "won a friend", "好友接受邀请"),
    "rsvp": ("answered an invitation", "answered an invitation", "回复邀约"),
    "attended": ("attended", "attended", "到场参加"),
    "campaign_join": ("joined an activity", "joined an activity", "参加活动"),
    "ticket_opened": ("opened a ticket", "opened a ticket", "提交工单"),
    "ticket_closed": ("had a ticket closed", "had a ticket closed", "工单关闭"),
    "survey": ("answered a survey", "answered a survey", "填写问卷"),
}
_STAGES_CHINESE = {
    "lead": "潜客",
    "new": "新客",
    "silent": "沉默",
    "active": "活跃",
    "loyal": "忠诚",
    "dormant": "沉睡",
    "lost": "流失",
}
_BANDS_CHINESE = {"light": "低频", "medium": "中频", "high": "高频"}
_MEASURES = {
    "points": ("the points", "积分"),
    "orders": ("the orders", "订单数"),
    "spend": ("the spend", "消费金额"),
    "churn": ("the churn probability", "流失概率"),
    "expected_value": ("the expected value", "预期价值"),
}
_WORDS = {
    "stage": ("the stage", "阶段"),
    "band": ("the band", "频次段"),
    "tier": ("the tier", "等级"),
    "source": ("the source of the registration", "注册来源"),
    "campaign": ("the campaign of the registration", "注册活动"),
}
_LAST = {
    "last_order": ("the last order", "最近一次下单"),
    "last_activity": ("the last activity", "最近一次活跃"),
    "registered": ("the registration", "注册"),
}
_SCORES = {
    "recency": ("RFM recency", "RFM 最近度"),
    "frequency": ("RFM frequency", "RFM 频率"),
    "monetary": ("RFM monetary value", "RFM 金额"),
}
_VERDICTS_CHINESE: dict[Verdict, str] = {
    "raised": "已触发",
    "unless": "例外成立",
    "condition": "条件不满足",
    "reentry": "未到可再次触发的时间",
    "expired": "已过期",
    "late": "事件迟到",
    "backfill": "历史数据",
    "anonymous": "匿名访客",
    "consent": "未获授权",
    "overflow": "数量超限",
    "mute": "已静默",
    "stop": "全局暂停",
    "unreachable": "无法触达",
    "hold": "有未解决的问题",
    "silence": "下单后静默期",
    "holdout": "对照组",
    "cool_down": "冷却期",
    "cap": "频次上限",
    "arbitration": "让位于其他规则",
    "quiet": "免打扰时段",
    "held": "等待中",
    "suspended": "暂缓",
    "overtaken": "已失效",
    "shadow": "影子模式",
}
_UNITS_CHINESE = {"ms": "毫秒", "s": "秒", "m": "分钟", "h": "小时", "d": "天"}
_FIELDS_CHINESE = {
    "item_id": "商品",
    "order_id": "订单",
    "category": "品类",
    "price": "价格",
    "quantity": "数量",
    "total": "金额",
    "value": "金额",
    "rating": "评分",
    "channel": "渠道",
    "source": "来源",
    "campaign": "活动",
    "coupon": "优惠券",
}
_CHANNELS_CHINESE = {"app_push": "应用推送", "sms": "短信", "email": "邮件", "wechat": "微信"}
_PURPOSES_CHINESE = {"marketing": "营销", "service": "服务"}
_PAST, _PERFECT, _CHINESE = 0, 1, 2
_LATIN_BEFORE = re.compile(r"(?<=[0-9A-Za-z])(?=[\u4e00-\u9fff])")
_LATIN_AFTER = re.compile(r"(?<=[\u4e00-\u9fff])(?=[0-9A-Za-z])")
# A window as long as a rule may have means ever.
EVER = 3650 * DAY


def is_chinese(locale: str) -> bool:
    """Tell whether a locale is served in Chinese (everything else is served in English)."""
    return locale.lower().startswith("zh")


def _verb(name: str, form: int) -> str:
    found = _VERBS.get(name)
    return name.replace("_", " ") if found is None else found[form]


def length_in_words(written: str, chinese: bool) -> str:
    """Return a duration as rules write it, in words; in English it is short enough as it is.

    >>> length_in_words("36h", True)
    '36 小时'
    """
    if not chinese:
        return written
    number = written.rstrip("dhms")
    return f"{number} {_UNITS_CHINESE[written.removeprefix(number)]}"


def _length(milliseconds: int, chinese: bool) -> str:
    return length_in_words(format_duration(milliseconds), chinese)


def _field(name: str, chinese: bool) -> str:
    return _FIELDS_CHINESE.get(name, name) if chinese else name


def channel_in_words(name: str, chinese: bool) -> str:
    """Return what a channel is called; others than the usual ones have no words."""
    return _CHANNELS_CHINESE.get(name, name) if chinese else name


def purpose_in_words(purpose: str, chinese: bool) -> str:
    """Return what messages are for."""
    return _PURPOSES_CHINESE.get(purpose, purpose) if chinese else purpose


def _minute(instant: int) -> str:
    return rfc3339(instant)[:16].replace("T", " ") + " UTC"


def _types(patterns: Iterable[Pattern]) -> list[str]:
    return list(dict.fromkeys(pattern.type for pattern in patterns))


def _either(words: Sequence[str], chinese: bool) -> str:
    return "或".join(words) if chinese else " or ".join(words)


def spaced(text: str) -> str:
    """Return Chinese text with a space wherever it meets Latin letters or digits."""
    return _LATIN_AFTER.sub(" ", _LATIN_BEFORE.sub(" ", text))


def _or(names: Iterable[str]) -> str:
    """Return names, which are no Chinese words, as Chinese alternatives."""
    return " 或 ".join(names)


def _plural(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def sentence(rule: Rule, locale: str, at: int, fact: str, key: str, why: str, number: int) -> str:
    """Return why ``rule`` is true, in one sentence.

    ``at`` is the instant of the arming or completing event (or of a stage's entry), ``fact`` the
    event's type, ``key`` the value that ties events together (empty without one), ``why`` the
    reason of a stage, ``number`` the step of a series.
    """
    chinese = is_chinese(locale)
    when = _minute(at)
    about = f" ({key})" if key else ""
    did = _verb(fact, _CHINESE if chinese else _PAST)
    match rule.when:
        case EventHappens():
            return f"会员于 {when} {did}。" if chinese else f"The member {did} at {when}."
        case StageEntered(stage=stage):
            if chinese:
                return f"会员于 {when} 进入{_STAGES_CHINESE[stage]}阶段。"
            return f"The member became {stage} at {when}: {why}."
        case StageLeft(stage=stage):
            if chinese:
                return f"会员于 {when} 离开{_STAGES_CHINESE[stage]}阶段。"
            return f"The member was no longer {stage} at {when}: {why}."
        case SegmentEntered(segment=segment):
            if chinese:
                return f"会员于 {when} 进入 {segment} 分群。"
            return f"The member came into the segment {segment} at {when}: {why}"
        case SegmentLeft(segment=segment):
            if chinese:
                return f"会员于 {when} 离开 {segment} 分群。"
            return f"The member left the segment {segment} at {when}: {why}"
        case BandEntered(band=band):
            if chinese:
                return f"会员于 {when} 进入{_BANDS_CHINESE[band]}段。"
            return f"The member entered the {band} band at {when}: {why}."
        case TierEntered(tier=tier):
            if chinese:
                return f"会员于 {when} 成为 {tier} 等级。"
            return f"The member reached the tier {tier} at {when}."
        case Count(at_least=count, within=within):
            window = format_duration(within)
            if chinese:
                return f"会员于 {when} {did}{about},{window} 内已达 {count} 次。"
            times = _plural(count, "time")
            return f"The member {did}{about} at {when}, and {times} within {window}."
        case Sum(field=field, at_least=amount, within=within):
            window = format_duration(within)
            if chinese:
                return f"会员于 {when} {did}{about},{window} 内 {field} 累计达 {amount:g}。"
            total = f"a {field} of {amount:g} within {window}"
            return f"The member {did}{about} at {when}, and so reached {total}."
        case Steps(steps=steps, within=within):
            window = format_duration(within)
            names = [
                _either([_verb(n, 2 if chinese else 0) for n in _types(s)], chinese) for s in steps
            ]
            if chinese:
                return f"会员在 {window} 内依次{'、'.join(names)}{about},于 {when} 完成。"
            return f"The member {', then '.join(names)}{about} within {window}, the last at {when}."
        case Series(steps=steps):
            if chinese:
                return f"会员于 {when} {did}{about},现为第 {number} 步(共 {len(steps)} 步)。"
            step = f"step {number} of {len(steps)}, {format_duration(steps[number - 1])} later"
            return f"The member {did}{about} at {when}; this is {step}."
        case Crosses() as crosses:
            return _crossed(crosses, when, chinese)
        case ActivityDrop(below=below, lasting=lasting):
            share, window = f"{below:.0%}", format_duration(lasting)
            if chinese:
                return f"会员的活跃度自 {when} 起低于平时的 {share},已持续 {window}。"
            below_ = f"below {share} of the usual since {when}, for {window}"
            return f"The member's activity has been {below_}."
        case Calendar() as calendar:
            return reason(calendar, fact, key, chinese)
        case LateForMember():
            if chinese:
                return f"会员上次于 {when} {did},下一次早该到来。"
            return f"The member {did} last at {when}, and the next time was to be expected by now."
        case Absence() as absence:
            within_ = format_duration(absence.within)
            form = _CHINESE if chinese else _PERFECT
            verbs = [_verb(name, form) for name in _types(absence.of)]
            if chinese:
                return f"会员于 {when} {did}{about},此后 {within_} 内没有{'、'.join(verbs)}。"
            missing = ", ".join(f"nor {verb}" for verb in verbs[1:])
            nothing = f"has neither {verbs[0]}, {missing}" if missing else f"has not {verbs[0]}"
            return f"The member {did}{about} at {when} and {nothing} within {within_}."


def _crossed(crosses: Crosses, when: str, chinese: bool) -> str:
    name = _MEASURES[crosses.measure][chinese]
    window = f" of {format_duration(crosses.within)}" if crosses.within else ""
    if chinese:
        window = f" {format_duration(crosses.within)} 内的" if crosses.within else ""
        level = f"达到 {crosses.level:g}" if crosses.upward else f"低于 {crosses.level:g}"
        stayed = f",并保持 {format_duration(crosses.dwell)}" if crosses.dwell else ""
        return f"会员{window}{name}于 {when} {level}{stayed}。"
    went = "reached" if crosses.upward else "fell below"
    name = name.removeprefix("the ")
    stayed = f" and stayed for {format_duration(crosses.dwell)}" if crosses.dwell else ""
    return f"The member's {name}{window} {went} {crosses.level:g} at {when}{stayed}."


def described(rule: Rule, chinese: bool) -> str:
    """Return when a rule raises, in words."""
    text = _when(rule.when, chinese)
    if rule.unless is not None:
        count, window = rule.unless.count, _length(rule.unless.within, chinese)
        ever = rule.unless.within >= EVER
        if chinese:
            text += f",除非{'' if ever else f' {window}内'}有 {count} 单"
        else:
            were = "was" if count == 1 else "were"
            text += f", unless there {were} {_plural(count, 'order')}"
            text += "" if ever else f" in the {window} before"
    if rule.condition is not None:
        wanted = _if(rule.condition, chinese)
        text += f",且{wanted}" if chinese else f", if {wanted}"
    return spaced(text) if chinese else text


def _when(when: When, chinese: bool) -> str:
    def said(patterns: Iterable[Pattern], form: int = _PAST) -> str:
        return _said(tuple(patterns), _CHINESE if chinese else form)

    match when:
        case EventHappens(pattern=pattern):
            return said((pattern,))
        case StageEntered(stage=stage):
            return f"进入{_STAGES_CHINESE[stage]}阶段" if chinese else f"became {stage}"
        case StageLeft(stage=stage):
            return f"离开{_STAGES_CHINESE[stage]}阶段" if chinese else f"is no longer {stage}"
        case SegmentEntered(segment=segment):
            return f"进入 {segment} 分群" if chinese else f"came into the segment {segment}"
        case SegmentLeft(segment=segment):
            return f"离开 {segment} 分群" if chinese else f"left the segment {segment}"
        case BandEntered(band=band):
            return f"进入{_BANDS_CHINESE[band]}段" if chinese else f"entered the {band} band"
        case TierEntered(tier=tier):
            return f"成为 {tier} 等级" if chinese else f"reached the tier {tier}"
        case Absence(after=after, of=of, within=within, same=same):
            window = _length(within, chinese)
            same_ = _same(same, chinese)
            if chinese:
                return f"{said(after)}后 {window}内没有{said(of)}{same_}"
            return f"{said(after)}, then in {window} has not {said(of, _PERFECT)}{same_}"
        case Count(of=of, at_least=count, within=within, same=same):
            window = _length(within, chinese)
            if chinese:
                return f"{window}内{said(of)}达 {count} 次{_same(same, True)}"
            return f"{said(of)} {_plural(count, 'time')} in {window}{_same(same, False)}"
        case Sum(of=of, field=field, at_least=amount, within=within, same=same):
            window = _length(within, chinese)
            if chinese:
                total = f"{_field(field, True)}累计达 {amount:g}"
                return f"{window}内{said(of)}的{total}{_same(same, True)}"
            reached = f"reached a {field} of {amount:g} in {window}"
            return f"{said(of)} and {reached}{_same(same, False)}"
        case Steps(steps=steps, within=within, same=same):
            window = _length(within, chinese)
            if chinese:
                return f"{window}内依次" + "、".join(map(said, steps)) + _same(same, True)
            return ", then ".join(map(said, steps)) + f" in {window}" + _same(same, False)
        case Series(after=after, until=until, steps=steps, same=same):
            times = [_length(step, chinese) for step in steps]
            if chinese:
                goal = f"直到{said(until)}{_same(same, True)}"
                return f"{said(after)}后 {'、'.join(times)}各一步,{goal}"
            goal = f"until {said(until)}{_same(same, False)}"
            return f"{said(after)}: {', '.join(times)} later, {goal}"
        case Calendar() as calendar:
            return planned(calendar, chinese)
        case Crosses() as crosses:
            return _crosses(crosses, chinese)
        case ActivityDrop(below=below, lasting=lasting):
            window = _length(lasting, chinese)
            if chinese:
                return f"活跃度低于平时的 {below:.0%} 达 {window}"
            return f"activity below {below:.0%} of the usual for {window}"
        case LateForMember(of=of, percentile=percentile, fixed=fixed):
            days = _length(fixed, chinese)
            if chinese:
                return f"距上次{said(of)}超过其自身间隔的 {percentile:g} 分位(少于三单:{days})"
            gap = f"the {percentile:g}th percentile of the member's own gaps"
            return f"no {_either(_types(of), False)} for {gap} ({days} below three)"


def _same(same: str | None, chinese: bool) -> str:
    if same is None:
        return ""
    return f"(同一{_field(same, True)})" if chinese else f" (same {same})"


def _crosses(crosses: Crosses, chinese: bool) -> str:
    name = _MEASURES[crosses.measure][chinese]
    dwell = _length(crosses.dwell, chinese) if crosses.dwell else ""
    window = _length(crosses.within, chinese) if crosses.within else ""
    if chinese:
        inside = f"{window}内的" if window else ""
        level = "达到" if crosses.upward else "低于"
        stayed = f" 并保持 {dwell}" if dwell else ""
        return f"{inside}{name}{level} {crosses.level:g}{stayed}"
    inside = f" in {window}" if window else ""
    went = "reached" if crosses.upward else "fell below"
    stayed = f" for {dwell}" if dwell else ""
    return f"{name}{inside} {went} {crosses.level:g}{stayed}"


def _said(patterns: tuple[Pattern, ...], form: int) -> str:
    plain = {pattern.type for pattern in patterns if not pattern.where}
    words, rest = [], patterns
    if plain >= ACTIVITY:
        words = [("was active", "been active", "活跃")[form]]
        rest = tuple(p for p in patterns if p.where or p.type not in ACTIVITY)
    return _either([*words, *(_pattern(pattern, form) for pattern in rest)], form == _CHINESE)


def _pattern(pattern: Pattern, form: int) -> str:
    name = _verb(pattern.type, form)
    where = [_condition(one, form == _CHINESE) for one in pattern.where]
    if not where:
        return name
    return f"{name}({','.join(where)})" if form == _CHINESE else f"{name} ({', '.join(where)})"


def _condition(condition: Condition, chinese: bool) -> str:
    field = _field(condition.field, chinese)
    if condition.op == "in":
        return f"{field} = {' / '.join(map(_value, condition.values))}"
    sign = "≥" if condition.op == "at_least" else "<"
    return f"{field} {sign} {_value(condition.values[0])}"


def _value(value: str | float | bool) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _if(wanted: If, chinese: bool) -> str:
    join, both = (",", "且") if chinese else (", ", " and ")

    def group(requirements: Iterable[Requirement]) -> str:
        return both.join(required(one, chinese) for one in requirements)

    parts = [required(one, chinese) for one in wanted.tests]
    if wanted.any_of:
        parts.append(_either([group(one) for one in wanted.any_of], chinese))
    parts += [("并非" if chinese else "not: ") + group(one) for one in wanted.none_of]
    return join.join(parts)


def required(wanted: Requirement, chinese: bool) -> str:
    """Return what a requirement asks for, in words."""
    form = int(chinese)
    match wanted:
        case OrdersAre(at_least=low, below=high, within=within):
            return _range(("orders", "订单数")[form], low, high, within, chinese)
        case SpendIs(at_least=low, below=high, within=within):
            return _range(("spend", "消费金额")[form], low, high, within, chinese)
        case EventsAre(of=kind, at_least=low, below=high):
            name = f"{_verb(kind, _CHINESE)}次数" if chinese else f"times {_verb(kind, _PAST)}"
            return _range(name, low, high, None, chinese)
        case PointsAre(at_least=low, below=high):
            return _range(("points", "积分")[form], low, high, None, chinese)
        case IsIn(what=what, words=words):
            name = _WORDS[what][form]
            known = {"stage": _STAGES_CHINESE, "band": _BANDS_CHINESE}.get(what, {})
            if chinese:
                return f"{name}为 {_or(known.get(word, word) for word in words)}"
            return f"{name} is {_either(words, False)}"
        case LastWas(what=what, older_than=older, newer_than=newer):
            name = _LAST[what][form]
            return _ago(name, older, newer, chinese)
        case Reachable(channels=channels):
            if chinese:
                return f"可通过{'或'.join(channel_in_words(one, True) for one in channels)}触达"
            return f"reachable by {_either(channels, False)}"
        case BirthdayKnown(known=known_):
            if chinese:
                return "已知生日" if known_ else "生日未知"
            return "the birthday is known" if known_ else "the birthday is not known"
        case Marked(kind=kind, names=names_):
            name = {"tag": ("tagged", "标签"), "segment": ("in segment", "分群")}[kind][form]
            return f"{name} {_or(names_) if chinese else _either(names_, False)}"
        case RfmIs(what=what, at_least=low, below=high):
            return _range(_SCORES[what][form], low, high, None, chinese)
        case PredictedIs(what=what, at_least=low, below=high):
            name = _MEASURES[what][form].removeprefix("the ")
            return _range(name, low, high, None, chinese)


def _range(
    name: str, low: float | None, high: float | None, within: int | None, chinese: bool
) -> str:
    window = "" if within is None else _length(within, chinese)
    bounds = [f"≥ {low:g}"] if low is not None else []
    bounds += [f"< {high:g}"] if high is not None else []
    if chinese:
        return f"{window + '内' if window else ''}{name} {' 且 '.join(bounds)}"
    return f"{name}{' in ' + window if window else ''} {' and '.join(bounds)}"


def _ago(name: str, older: int | None, newer: int | None, chinese: bool) -> str:
    bounds = []
    if older is not None:
        text = _length(older, chinese)
        bounds.append(f"至少 {text}前" if chinese else f"at least {text} ago")
    if newer is not None:
        text = _length(newer, chinese)
        bounds.append(f"不到 {text}前" if chinese else f"less than {text} ago")
    return f"{name}在{'且'.join(bounds)}" if chinese else f"{name} was {' and '.join(bounds)}"


def unmet(wanted: Requirement | str, chinese: bool) -> str:
    """Return why a rule's ``if`` does not hold: what of it, as ``conditions.first_unmet`` says."""
    if wanted == "any":
        return "所列的条件无一成立" if chinese else "nothing that `any` lists holds"
    if wanted == "not":
        return "所列的例外条件成立" if chinese else "something that `not` lists holds"
    assert not isinstance(wanted, str)
    said = required(wanted, chinese)
    return f"不满足:{said}" if chinese else f"this did not hold: {said}"


def waiting(due: int, since: int, key: str, step: int, fact: str, chinese: bool) -> str:
    """Return what a deadline waits for: since when (0: a date), for which value, at which step."""
    about = f" ({key})" if key else ""
    if chinese:
        begun = f"自 {_minute(since)} {_verb(fact, _CHINESE) if fact else ''}起" if since else ""
        part = f"第 {step} 步" if step else ""
        return f"{begun}{about}{part}将于 {_minute(due)} 触发".strip()
    did = f"{_verb(fact, _PAST)} " if fact else "waiting "
    begun = f"{did}{'at' if fact else 'since'} {_minute(since)}{about}, " if since else ""
    part = f"step {step} " if step else ""
    return f"{begun}{part}due at {_minute(due)}"


def stage_in_words(stage: str, chinese: bool) -> str:
    """Return what a stage is called."""
    return _STAGES_CHINESE[stage] if chinese else stage


def verdict_in_words(verdict: Verdict, chinese: bool) -> str:
    """Return a verdict as people say it."""
    return _VERDICTS_CHINESE[verdict] if chinese else verdict.replace("_", "-")

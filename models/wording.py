"""Reasons in words, in English and Chinese: what happened, what did not, and when."""

from models.rules import Absence, EventHappens, Rule, StageEntered
from models.times import format_duration, rfc3339

_ENGLISH = {
    "register": "registered",
    "visit": "visited",
    "view_item": "viewed an item",
    "search": "searched",
    "add_to_cart": "added to the cart",
    "remove_from_cart": "took out of the cart",
    "begin_checkout": "began a checkout",
    "purchase": "bought",
    "cart_emptied": "emptied the cart",
    "order_placed": "placed an order",
    "order_delivered": "received an order",
    "refund": "got a refund",
}
_CHINESE = {
    "register": "注册",
    "visit": "访问",
    "view_item": "浏览商品",
    "search": "搜索",
    "add_to_cart": "加入购物车",
    "remove_from_cart": "移出购物车",
    "begin_checkout": "开始结算",
    "purchase": "下单",
    "cart_emptied": "清空购物车",
    "order_placed": "提交订单",
    "order_delivered": "收到订单",
    "refund": "获得退款",
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


def is_chinese(locale: str) -> bool:
    """Tell whether a locale is served in Chinese (everything else is served in English)."""
    return locale.lower().startswith("zh")


# Where "has not ..." takes another form.
_PARTICIPLES = {
    "begin_checkout": "begun a checkout",
    "remove_from_cart": "taken out of the cart",
}


def _verb(name: str, chinese: bool) -> str:
    return (_CHINESE if chinese else _ENGLISH).get(name, name.replace("_", " "))


def _minute(instant: int) -> str:
    return rfc3339(instant)[:16].replace("T", " ") + " UTC"


def sentence(rule: Rule, locale: str, since: int, fact: str, key: str, stage_why: str) -> str:
    """Return why ``rule`` is true, in one sentence.

    ``since`` is the instant of the arming or completing event (or of the stage's entry), ``fact``
    its type, ``key`` the value that ties the absence together (empty without one).
    """
    chinese = is_chinese(locale)
    when = _minute(since)
    match rule.when:
        case EventHappens():
            verb = _verb(fact, chinese)
            return f"会员于 {when} {verb}。" if chinese else f"The member {verb} at {when}."
        case StageEntered(stage=stage):
            if chinese:
                return f"会员于 {when} 进入{_STAGES_CHINESE[stage]}阶段。"
            return f"The member became {stage} at {when}: {stage_why}."
        case Absence() as absence:
            within = format_duration(absence.within)
            names = list(dict.fromkeys(pattern.type for pattern in absence.of))
            verbs = [
                _PARTICIPLES.get(name, _verb(name, False)) if not chinese else _verb(name, True)
                for name in names
            ]
            about = f" ({key})" if key else ""
            if chinese:
                missing = "、".join(verbs)
                return f"会员于 {when} {_verb(fact, True)}{about},此后 {within} 内没有{missing}。"
            missing = ", ".join(f"nor {verb}" for verb in verbs[1:])
            nothing = f"has neither {verbs[0]}, {missing}" if missing else f"has not {verbs[0]}"
            did = f"{_verb(fact, False)}{about} at {when}"
            return f"The member {did} and {nothing} within {within}."

"""Why something was decided, in the language of who asks: records say it in one.

What policy says is written in English, what a rule's ``if`` says in the brand's language. Names,
instants and what operators wrote stay as they are.
"""

import re

from models.rules import Requirement, Rule
from models.wording import (
    channel_in_words,
    length_in_words,
    purpose_in_words,
    spaced,
    unmet,
)

# What a cap is about: a purpose, a channel, a group.
_OF = r"(?:(marketing|service) )?(?:on (\S+) )?(?:of group (\S+) )?"
_CHINESE: tuple[tuple[str, str], ...] = (
    (r"nothing held it back", "未受任何限制"),
    (r"completed by history, which messages nobody", "由历史数据补全,不发送消息"),
    (r"the event was older than the allowed lateness", "事件迟到超过允许的时限"),
    (r"at least (\d+) orders before the deadline", r"到期前已有至少 \1 单"),
    (r"at least (\d+) orders before it could go on", r"等待期间已有至少 \1 单"),
    (r"already raised once, at (\S+)", r"已于 \1 触发过一次"),
    (r"raised at (\S+)", r"已于 \1 触发"),
    (r"nobody to send to before the id is linked", "匿名标识尚未关联会员,无人可发送"),
    (r"decided after expires_at", "作出决定时已过期"),
    (r"waited until expires_at", "等待至过期"),
    (r"muted until (\S+)", r"静默至 \1"),
    (r"the policy has stopped everything of purpose (\w+)", r"策略已暂停全部\1消息"),
    (r"no channel is left that the member allows for (\w+)", r"会员未许可任何渠道发送\1消息"),
    (
        r"nothing is said yet that allows (\w+): it may follow",
        r"会员尚未许可\1消息,可能随后许可",
    ),
    (r"the member can be reached on none of the channels", "各渠道均无法触达会员"),
    (r"a ticket is open", "有未关闭的工单"),
    (r"complained at (\S+)", r"会员于 \1 投诉"),
    (r"a return was requested at (\S+) and is not refunded yet", r"会员于 \1 申请退货,尚未退款"),
    (r"ordered at (\S+): silence for (\w+)", r"会员于 \1 下单,静默 \2"),
    (r"quiet hours until (.+) in (\S+)", r"免打扰至 \1(\2)"),
    (r"others may compete", "可能有其他触发竞争"),
    (r"(\S+) won with priority (\S+); here (\S+)", r"\1 以优先级 \2 胜出,本规则为 \3"),
    (r"in the control group of all marketing", "属于全部营销的对照组"),
    (r"in the control group of (\S+)", r"属于 \1 的对照组"),
    (r"the rule decides and sends nothing", "该规则只作决定,不发送"),
    (r"group (\S+) rests (\w+) from (\S+)", r"组 \1 自 \3 起冷却 \2"),
    (
        rf"at most (\d+) {_OF}in (\w+): used up",
        r"频次上限已用完:\5内至多 \1 条\2\3\4消息",
    ),
    (
        rf"at most (\d+) {_OF}a (\w+): used up",
        r"频次上限已用完:\5至多 \1 条\2\3\4消息",
    ),
    (r"held until (\S+) by (.+?): (.*)", r"由 \2 暂缓至 \1:\3"),
    (r"the rule is gone or off", "规则已删除或停用"),
    (r"more candidates wait than a row has room for", "等待中的触发过多"),
    (r"superseded by (\S+)", r"被 \1 取代"),
)
# One pattern for all: most texts are tried against each of them, for each line of a timeline. Its
# groups are a sentence each, and behind each the groups in it.
_SENTENCE = re.compile(
    "|".join(f"(?P<s{number}>{english})" for number, (english, _) in enumerate(_CHINESE))
)
# By sentence: what to say, and how many groups are in it.
_SAID = {
    f"s{number}": (said, re.compile(english).groups)
    for number, (english, said) in enumerate(_CHINESE)
}
_LENGTH = re.compile(r"\d+(ms|[smhd])")
_PLACE = re.compile(r"\\(\d)")
_PERIODS = {"day": "每天", "week": "每周", "month": "每月"}
_BEFORE = "; it expires before"


def in_language(why: str, rule: Rule | None, chinese: bool) -> str:
    """Return a decision's or cancellation's ``why`` in Chinese, or in English.

    What is not known to be a sentence of ours stays as it is: an operator's words, the names of
    what happened, and what a silent feed or an open breaker says.
    """
    for wanted in _wanted(rule):
        if why == unmet(wanted, not chinese):
            return unmet(wanted, chinese)
    if not chinese:
        return why
    if why.endswith(_BEFORE):
        return f"{in_language(why.removesuffix(_BEFORE), rule, True)};在此之前已过期"
    found = _SENTENCE.fullmatch(why)
    return why if found is None else _in_chinese(found)


def _in_chinese(found: re.Match[str]) -> str:
    # The last group to be closed is the one around the others.
    sentence = found.lastgroup
    assert sentence is not None
    said, count = _SAID[sentence]
    first = found.re.groupindex[sentence] + 1
    return _filled(said, [_part(found[first + part]) for part in range(count)])


def _filled(said: str, parts: list[str]) -> str:
    return spaced(_PLACE.sub(lambda place: parts[int(place[1]) - 1], said))


def _part(said: str | None) -> str:
    """Return what a sentence names: a duration, a purpose or a channel in words, else as it is."""
    if said is None:
        return ""
    if _LENGTH.fullmatch(said):
        return length_in_words(said, chinese=True)
    period = _PERIODS.get(said, said)
    return purpose_in_words(channel_in_words(period, chinese=True), chinese=True)


def _wanted(rule: Rule | None) -> list[Requirement | str]:
    if rule is None or rule.condition is None:
        return []
    return [*rule.condition.tests, "any", "not"]

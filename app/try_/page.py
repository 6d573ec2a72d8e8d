"""The page: one file that needs nothing else, neither a network nor a server."""

from importlib.resources import files
from string import Template

import msgspec

from app.try_ import ahead, sections
from app.try_.foresight import Predictions
from app.try_.html import Money, both, date_of, paragraph, section, text
from app.try_.late import Late
from app.try_.orders import Book, members_of
from app.try_.picking import Picked
from app.try_.stages import StageHistory
from app.try_.would_be import WouldBe
from models.rules import Rule


class Findings(msgspec.Struct):
    """Everything that the page shows; ``late`` is None when no rule measures lateness."""

    name: str
    book: Book
    history: StageHistory
    late: list[Late] | None
    rules: dict[str, Rule]
    would_be: WouldBe
    predictions: Predictions | None
    picked: list[Picked]


def page_of(found: Findings) -> str:
    """Return the page as HTML."""
    book, history, foresight = found.book, found.history, found.predictions
    by_member = members_of(book.orders)
    money = Money(book.currency)
    now = history.now
    late = found.late or []
    parts = {
        "read": (both("Read", "读取"), sections.what_was_read(book, by_member, money)),
        "stages": (both("Stages", "阶段"), sections.stages(history)),
    }
    if found.late is not None:
        parts["late"] = both("Late", "迟到"), sections.late(late, now, by_member, money)
    if foresight is not None:
        worth = ahead.value(foresight, by_member, now, money)
        if worth:
            parts["value"] = both("Value", "价值"), worth
        risk = ahead.churn(foresight, by_member, now, money)
        parts["churn"] = both("Churn", "流失"), risk
    said = sections.rules(found.would_be, found.rules, len(history.weeks))
    parts["rules"] = both("Rules", "规则"), said
    drawn = ahead.ten(found.picked, by_member, history, foresight, money)
    parts["ten"] = both("Members drawn", "会员历程"), drawn
    parts["how"] = both("How it was made", "如何得出"), _how(found)
    contents = "".join(
        f'<li><a href="#{name}">{title}</a></li>' for name, (title, _) in parts.items()
    )
    begin, end = date_of(book.orders[0].at), date_of(history.end)
    template = files("app.try_").joinpath("page.html").read_text("utf-8")
    return Template(template).substitute(
        title=text(f"{found.name}: members and their lifecycle"),
        heading=both("Your members and where they stand", "您的会员,处于什么阶段"),
        about=both(
            f"From <code>{text(found.name)}</code>, {begin} to {end}. “Now” is the last order in "
            "it.",
            f"来自 <code>{text(found.name)}</code>,{begin} 至 {end}。“现在”指文件中最后一笔订单。",
        ),
        contents=contents,
        sections="\n".join(inside for _, inside in parts.values()),
        footer=both(
            "Made by <code>lifecycle try</code> on your own machine. This page contains member ids "
            "from your export: treat it as you treat the export.",
            "由 <code>lifecycle try</code> 在您自己的电脑上生成。本页含有导出文件中的会员号,请按同"
            "等级别保护。",
        ),
    )


def _how(found: Findings) -> str:
    learned = ""
    foresight = found.predictions
    if foresight is not None and foresight.members < foresight.of:
        learned = paragraph(
            both(
                f"The prediction model learned from {foresight.members:,} of the {foresight.of:,} "
                "members, chosen by a hash of their ids, to be quick; every member has a "
                "prediction.",
                f"为节省时间,预测模型从 {foresight.of:,} 位会员中按哈希抽取 {foresight.members:,} "
                "位学习;"
                "每位会员都有预测。",
            )
        )
    return section(
        "how",
        both("How it was made", "如何得出"),
        paragraph(
            both(
                "Nothing here was computed for this page alone: stages and triggers come from the "
                "engine that runs live, in replay; lateness from its rule, value and risk from its "
                "models, in the course that the live trainer takes. Orders are the only thing it "
                "knew: visits, carts and opened messages make all of this sharper.",
                "本页没有单独的算法:阶段与触发来自线上引擎的重放,迟到来自其规则,价值与风险来自其模"
                "型,"
                "学习过程与线上一致。引擎只知道订单:浏览、购物车与消息打开数据会让结果更准确。",
            )
        ),
        learned,
        paragraph(
            both(
                "Next: <code>lifecycle import csv</code> turns the export into events, "
                "<code>lifecycle replay</code> writes every trigger with its reason, and "
                "<code>lifecycle demo</code> shows it live.",
                "下一步:<code>lifecycle import csv</code> 将导出转为事件,<code>lifecycle "
                "replay</code> "
                "写出每次触发及其原因,<code>lifecycle demo</code> 实时演示。",
            )
        ),
    )

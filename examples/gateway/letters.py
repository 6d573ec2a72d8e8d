"""A short e-mail for a trigger, in Chinese or English.

A shop has templates of its own, by ``play``. What is shown here is where the words come from: the
trigger's ``reason`` (what kind of thing it was) and its ``context`` (items, cart, tier, points).
"""

from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote


class Words(NamedTuple):
    """One thing to say, in one language."""

    subject: str
    text: str


# By play, else by what kind of reason it was: English, Chinese.
_WORDS: dict[str, tuple[Words, Words]] = {
    "welcome": (
        Words("Welcome", "good to have you with us."),
        Words("欢迎加入", "很高兴您加入我们。"),
    ),
    "birthday": (
        Words("Happy birthday", "all the best on your day."),
        Words("生日快乐", "祝您生日快乐。"),
    ),
    "absence": (
        Words("Still thinking about it?", "you looked around and left. It is all still here."),
        Words("还在考虑吗?", "您看过的商品还在等您。"),
    ),
    "series": (
        Words("One more step", "there is something left that you may like to try."),
        Words("再进一步", "还有一些您可能会喜欢的内容。"),
    ),
    "stage": (
        Words("Something for you", "thank you for being with us."),
        Words("为您准备", "感谢您一路相伴。"),
    ),
    "calendar": (
        Words("Today is a special day", "and we have not forgotten it."),
        Words("特别的日子", "今天是个特别的日子,我们没有忘记。"),
    ),
    "": (
        Words("News for you", "here is something that may be of use to you."),
        Words("有新消息", "这里有一些可能对您有用的内容。"),
    ),
}
_GREETING = ("Hello {name},", "{name},您好:")
_ITEMS = ("Have another look:", "再看一眼:")
_POINTS = ("Your points: {points:g}", "您的积分:{points:g}")
_LINK = ("To the shop", "去看看")
_STOP = ("No more of these e-mails", "不再接收此类邮件")
_SHOWN = 3
# A long address in a header must not be broken or encoded: mail programs would not find it. What is
# not ASCII is encoded, for not every server takes it as it is.
_POLICY = SMTP.clone(max_line_length=998, cte_type="7bit")


class Links(NamedTuple):
    """Addresses that only this letter has."""

    open: str
    click: str
    stop: str


class Recipient(NamedTuple):
    """Who the letter goes to. No topic has an address in it: the gateway knows it."""

    email: str
    name: str = ""


def letter(trigger: dict[str, Any], to: Recipient, sender: str, links: Links) -> EmailMessage:
    """Return the letter.

    Raises ``ValueError`` when the recipient's address is none.
    """
    try:
        address = Address(addr_spec=to.email.encode("ascii").decode())
    except (HeaderParseError, IndexError) as error:
        raise ValueError("no address") from error
    chinese = str(trigger["locale"]).lower().startswith("zh")
    words = _words_of(trigger)[chinese]
    lines = _lines(trigger, words, to.name, chinese)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = address
    message["Subject"] = words.subject
    message["Date"] = datetime.fromisoformat(trigger["not_before"])
    # The same however often it is sent: mail servers and readers that see it twice keep one.
    message["Message-ID"] = f"<{trigger['trigger_id']}@{sender.rpartition('@')[2].strip('> ')}>"
    message["List-Unsubscribe"] = f"<{links.stop}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Auto-Submitted"] = "auto-generated"
    link, stop = _LINK[chinese], _STOP[chinese]
    text = "\n\n".join([*lines, f"{link}: {links.click}", f"{stop}: {links.stop}"])
    message.set_content(text + "\n")
    paragraphs = "".join(f"<p>{escape(line)}</p>".replace("\n", "<br>") for line in lines)
    message.add_alternative(
        f'<html lang="{"zh" if chinese else "en"}"><body>{paragraphs}'
        f'<p><a href="{escape(links.click)}">{link}</a></p>'
        f'<p><small><a href="{escape(links.stop)}">{stop}</a></small></p>'
        f'<img src="{escape(links.open)}" width="1" height="1" alt=""></body></html>\n',
        subtype="html",
    )
    return message


def _words_of(trigger: dict[str, Any]) -> tuple[Words, Words]:
    kind = trigger["reason"]["kind"]
    return _WORDS.get(trigger.get("play") or "") or _WORDS.get(kind) or _WORDS[""]


def _lines(trigger: dict[str, Any], words: Words, name: str, chinese: bool) -> list[str]:
    context = trigger["context"]
    greeting = _GREETING[chinese].format(name=name or ("尊敬的会员" if chinese else "there"))
    found = [greeting, words.text[0].upper() + words.text[1:]]
    items = context.get("cart") or context.get("items") or ()
    if items:
        shown = [f"- {_item(item)}" for item in items[:_SHOWN]]
        found.append("\n".join([_ITEMS[chinese], *shown]))
    if context.get("points"):
        found.append(_POINTS[chinese].format(points=context["points"]))
    return found


def _item(item: dict[str, Any]) -> str:
    price = item.get("price")
    return str(item["item_id"]) + ("" if price is None else f" ({price:.2f})")


def link_of(trigger: dict[str, Any], shop: str) -> str:
    """Return where a letter leads: to the item it is about, else to the shop."""
    context = trigger.get("context") or {}
    for item in (*context.get("cart", ()), *context.get("items", ())):
        return f"{shop}/items/{quote(item['item_id'], safe='')}"
    return shop

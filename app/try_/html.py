"""Pieces of the page: escaped text in both languages, tables, figures. No script is needed to read.

Everything that comes from the export goes through ``text``.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

NONE = "&ndash;"
"""What stands where there is nothing to say."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text(value: object) -> str:
    """Return a value as text that can stand anywhere in the page."""
    return escape(str(value), quote=True)


def both(english: str, chinese: str) -> str:
    """Return two pieces of HTML of which the chosen language shows."""
    return f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'


def number(value: float) -> str:
    """Return a number without decimals, its thousands parted."""
    return f"{round(value):,}"


def percent(part: float, of: float = 1.0) -> str:
    """Return a share; what is there is never said to be none, and what lacks is never all."""
    if not of:
        return NONE
    share = 100 * part / of
    if 0 < share < 0.5:
        return "&lt;1%"
    if 99.5 <= share < 100:
        return "&gt;99%"
    return f"{share:.0f}%"


class Money:
    """Amounts in the currency of the export, or in none when it names none."""

    def __init__(self, currency: str | None) -> None:
        self.currency = text(currency or "")

    def __call__(self, cents: float) -> str:
        """Return an amount: to the cent when it is small."""
        return f"{_amount(cents, cents)} {self.currency}".strip()

    def between(self, low: float, high: float) -> str:
        """Return two amounts, both as exact as the larger one."""
        return f"{_amount(low, high)} &ndash; {_amount(high, high)} {self.currency}".strip()


def _amount(cents: float, beside: float) -> str:
    exact = abs(beside) < 10_000 and cents
    return f"{cents / 100:,.2f}" if exact else f"{cents / 100:,.0f}"


def moment_of(at: int) -> datetime:
    """Return an instant (epoch milliseconds) in UTC."""
    return _EPOCH + timedelta(milliseconds=at)


def date_of(at: int) -> str:
    """Return the UTC date of an instant in epoch milliseconds."""
    return f'<span class="date">{moment_of(at):%Y-%m-%d}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, caption: str = "") -> str:
    """Return a table; ``kinds`` has a letter a column: t text, n number, w wide text."""
    classes = {"t": "", "n": ' class="n"', "w": ' class="w"'}
    cells = "".join(
        f'<th scope="col"{classes[kind]}>{cell}</th>'
        for cell, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{classes[kind]}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>\n"
        for row in rows
    )
    said = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region"><table>{said}'
        f"<thead><tr>{cells}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def section(name: str, title: str, *parts: str) -> str:
    """Return a section that can be linked to."""
    inside = "\n".join(part for part in parts if part)
    heading = f'<h2 id="{name}-h">{title}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{heading}\n{inside}\n</section>'


def paragraph(inside: str, kind: str = "") -> str:
    """Return a paragraph, maybe of a kind: ``lead``, ``note``, ``warn``."""
    return f'<p class="{kind}">{inside}</p>' if kind else f"<p>{inside}</p>"


def figure(inside: str, caption: str) -> str:
    """Return a picture with what it shows."""
    return f"<figure>{inside}<figcaption>{caption}</figcaption></figure>"


def cards(entries: Iterable[tuple[str, str]]) -> str:
    """Return figures with what they count: (figure, words)."""
    each = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in entries)
    return f'<dl class="cards">{each}</dl>'


def folded(summary: str, inside: str) -> str:
    """Return what opens on demand."""
    return f"<details><summary>{summary}</summary>{inside}</details>"

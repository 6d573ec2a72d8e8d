"""Reading the amounts of an export: 1,234.50 and 1.234,50 and ¥1234, as exact whole numbers."""

import re
from collections.abc import Callable, Iterable

PARTS = 1_000_000
"""Amounts and quantities are in millionths."""
_NUMBER = re.compile(
    r"(?P<sign>[-\u2212+]?)(?P<whole>[\d.,'\u2019\s\u00a0\u202f]*\d|\d)(?P<after>-?)"
)
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "￥": "CNY", "元": "CNY", "₹": "INR"}
_UNIT = re.compile(r"\s*(?:[A-Za-z]{0,2}[$€£¥￥元₹]|[A-Z]{3}|kr\.?|zł|Kč)\s*")
_ONE_COMMA = re.compile(r"[^.,]*,(\d+)\D*")

Reader = Callable[[str], int | None]


def is_amount(text: str) -> bool:
    """Tell whether a cell is a number, maybe with a currency."""
    return reader_of(())(text) is not None


def currency_of(cells: Iterable[str]) -> str | None:
    """Return the currency that the first amount with a symbol names."""
    for text in cells:
        for symbol, code in _SYMBOLS.items():
            if symbol in text:
                return code
    return None


def reader_of(cells: Iterable[str]) -> Reader:
    """Return what turns a cell of this column into millionths, None when it is no number.

    Whether a comma or a point begins the decimals follows from all the cells together.
    """
    comma = _decimal_comma(cells)

    def read(text: str) -> int | None:
        return _millionths(text, comma)

    return read


def _decimal_comma(cells: Iterable[str]) -> bool:
    """Tell whether 1,5 is one and a half: three digits behind it may be thousands, others not."""
    for text in cells:
        if "," not in text:
            continue
        if "." in text:
            return text.rindex(",") > text.rindex(".")
        one = _ONE_COMMA.fullmatch(text)
        if one is not None and len(one[1]) != 3:
            return True
    return False


def _millionths(text: str, comma: bool) -> int | None:
    text = _UNIT.sub("", text, count=2).strip()
    negative = text.startswith("(") and text.endswith(")")
    match = _NUMBER.fullmatch(text.strip("()"))
    if match is None:
        return None
    digits = re.sub(r"['\u2019\s\u00a0\u202f]", "", match["whole"])
    digits = digits.replace(".", "").replace(",", ".") if comma else digits.replace(",", "")
    whole, point, part = digits.partition(".")
    if "." in part or (point and not part) or len(whole) > 15:
        return None
    value = int(whole or "0") * PARTS + int(part[:6].ljust(6, "0") or "0")
    return -value if negative or match["sign"] in ("-", "\u2212") or match["after"] else value

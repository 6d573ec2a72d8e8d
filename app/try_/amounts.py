"""Reading the amounts of an export: 1,234.50 and 1.234,50 and ¥1234, as exact whole numbers."""

import re
from collections import Counter
from collections.abc import Callable, Iterable

PARTS = 1_000_000
"""Amounts and quantities are in millionths."""
_CODES = {
    "$": "USD",
    "US$": "USD",
    "HK$": "HKD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "S$": "SGD",
    "NT$": "TWD",
    "R$": "BRL",
    "€": "EUR",
    "£": "GBP",
    "¥": "CNY",
    "￥": "CNY",
    "CN¥": "CNY",
    "元": "CNY",
    "RMB": "CNY",
    "JP¥": "JPY",
    "円": "JPY",
    "₹": "INR",
    "RS": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "₺": "TRY",
    "TL": "TRY",
    "₫": "VND",
    "฿": "THB",
    "₪": "ILS",
    "RP": "IDR",
    "RM": "MYR",
    "ZŁ": "PLN",
    "KČ": "CZK",
    "FT": "HUF",
}
_UNIT = re.compile(
    r"\s*(?:[A-Za-z]{0,2}[$€£¥￥元円฿\u20a0-\u20cf]|[A-Z]{3}"
    r"|(?:kr|Rp|Rs|RM|Ft|TL|Fr|lei|zł|Kč)\.?)\s*"
)
_NO_UNIT = re.compile(r"[\d\s.,'\u2019()+\u2212-]+")
_CODE = re.compile(r"[A-Z]{3}")
_SIGNED = re.compile(r"(?P<sign>[-\u2212+]?)\s*(?P<digits>[\d.,'\u2019\s]*\d)\s*(?P<after>-?)")
# What parts thousands beside a comma or a point: spaces of any width (narrow and unbreakable ones
# are spaces to ``\s``) and apostrophes.
_APART = r"['\u2019\s]"
_LONGEST = 15

Reader = Callable[[str], int | None]


def is_amount(text: str) -> bool:
    """Tell whether a cell is a number, maybe with a currency."""
    return reader_of((text,))(text) is not None


def currency_of(text: str) -> str | None:
    """Return the currency that stands beside an amount; None where nothing does.

    It is a code where that is known, else what is written there, in capitals.
    """
    unit = _NO_UNIT.sub("", text).upper()
    return code_of(unit) if unit else None


def code_of(unit: str) -> str:
    """Return the code of a currency as an export writes it, in capitals where it has none."""
    unit = unit.upper()
    if unit in _CODES:
        return _CODES[unit]
    code = _CODE.search(unit)  # "USD$"
    return unit if code is None else code[0]


def reader_of(cells: Iterable[str], thousands: bool = True) -> Reader:
    """Return what turns a cell of this column into millionths, None when it is no number.

    Whether a comma or a point begins the decimals follows from all the cells together; a cell that
    is written otherwise than the column is no number. Where each cell fits both, as 1.250 does, it
    parts thousands if they are looked for (``thousands``); a comma always does.
    """
    number = _number(_decimal_mark(cells, thousands))

    def read(text: str) -> int | None:
        return _millionths(text, number)

    return read


def _decimal_mark(cells: Iterable[str], thousands: bool) -> str:
    """Return the sign that begins the decimals in most of the cells that tell."""
    told: Counter[str] = Counter()
    doubtful = False
    for text in cells:
        if "," not in text and "." not in text:
            continue
        digits = _digits(text)
        marks = re.findall("[.,]", digits)
        if not marks:
            continue
        last = marks[-1]
        if len(set(marks)) > 1:
            told[last] += 1
        elif len(marks) > 1:
            told[_other(last)] += 1
        else:
            whole, _, part = digits.partition(last)
            if len(part) != 3 or not 1 <= len(whole) <= 3 or whole.startswith("0"):
                told[last] += 1
            elif last == ".":
                doubtful = True
    if told:
        return "," if told[","] > told["."] else "."
    return "," if doubtful and thousands else "."


def _other(mark: str) -> str:
    return "." if mark == "," else ","


def _digits(text: str) -> str:
    """Return the digits of an amount with what parts them, or nothing."""
    match = _SIGNED.fullmatch(_bare(text))
    return "" if match is None else match["digits"].strip()


def _bare(text: str) -> str:
    return _UNIT.sub("", text, count=2).strip().strip("()").strip()


def _number(mark: str) -> re.Pattern[str]:
    """Return how a number is written: groups of three digits (in India: 12,34,500), decimals."""
    decimals = re.escape(mark)
    apart = f"(?:{_APART}|{re.escape(_other(mark))})"
    threes = rf"\d{{1,3}}(?P<apart>{apart})\d{{3}}(?:(?P=apart)\d{{3}})*"
    twos = r"\d{1,2}(?:,\d{2})+,\d{3}" if mark == "." else r"(?!)"
    return re.compile(rf"(?P<whole>\d*|{threes}|{twos})(?:{decimals}(?P<part>\d+))?")


def _millionths(text: str, number: re.Pattern[str]) -> int | None:
    bare = _UNIT.sub("", text, count=2).strip()
    negative = bare.startswith("(") and bare.endswith(")")
    signed = _SIGNED.fullmatch(bare.strip("()").strip())
    match = None if signed is None else number.fullmatch(signed["digits"].strip())
    if signed is None or match is None:
        return None
    whole, part = re.sub(r"\D", "", match["whole"]), match["part"] or ""
    if len(whole) > _LONGEST:
        return None
    value = int(whole or "0") * PARTS + int(part[:6].ljust(6, "0") or "0")
    return -value if negative or signed["sign"] in ("-", "\u2212") or signed["after"] else value

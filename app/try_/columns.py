"""Which column of an export is what: told by its name, and only if its cells agree."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from app.importers.report import InputError
from app.try_ import amounts, dates

# Cells of a column that must agree with what its name says.
_AGREE = 0.8
_FITS: Mapping[str, Callable[[str], bool]] = {
    "time": dates.is_time,
    "total": amounts.is_amount,
    "quantity": amounts.is_amount,
    "price": amounts.is_amount,
}
# Best first. Headings are compared without case, spaces and signs.
_NAMES: Mapping[str, str] = {
    "member": "memberid memberno membernumber customerid customerno customernumber custid userid "
    "clientid buyerid shopperid customeruser customeremail billingemail emailaddress email "
    "customerphone billingphone phone mobile householdkey visitorid accountid contactid "
    "会员id 会员号 会员编号 会员卡号 客户id 客户编号 客户号 用户id 用户编号 顾客id 买家id 买家会员"
    "名 "
    "买家昵称 手机号 手机号码 手机 邮箱 电子邮箱 member customer user client buyer shopper 会员 客"
    "户 "
    "用户 顾客 买家 customername billingname billtoname",
    "order": "orderid orderno ordernumber ordernum invoiceno invoiceid invoicenumber invoice "
    "incrementid transactionid transactionno transaction basketid receiptno receiptid receipt "
    "billno checkoutid 订单号 订单编号 订单id 主订单编号 交易号 交易编号 小票号 单号 流水号 order "
    "订单 name id",
    "time": "orderdate orderdatetime ordertime orderedat invoicedate purchasedate purchasedon "
    "purchasedat createdat datecreated createdon ordercreatedat paidat datepaid paiddate "
    "paymentdate transactiondate transactiontime completedat datecompleted soldat saledate "
    "timestamp datetime date time day 下单时间 下单日期 订单时间 订单日期 订单创建时间 订单付款时"
    "间 "
    "付款时间 支付时间 成交时间 交易时间 购买时间 购买日期 消费时间 创建时间 日期 时间",
    "total": "subtotal ordertotal ordertotalamount ordersubtotalamount totalamount totalprice "
    "grandtotal grandtotalpurchased grandtotalbase ordervalue orderamount netamount nettotal "
    "amountpaid paidamount salesvalue linetotal lineamount total amount revenue sales value spend "
    "实付金额 实付款 实收金额 买家实际支付金额 买家实付金额 支付金额 订单金额 成交金额 订单总额 总"
    "金额 "
    "消费金额 应付金额 总价 销售额 金额",
    "quantity": "quantity qty lineitemquantity itemquantity quantitysold units pieces count "
    "购买数量 商品数量 数量 件数",
    "price": "unitprice lineitemprice itemprice priceperunit itemcost price 商品单价 单价 价格 售"
    "价",
    "status": "financialstatus orderstatus paymentstatus status state 订单状态 交易状态 支付状态 "
    "状态",
    "currency": "currency currencycode ordercurrency 币种 货币",
}
_PLAIN = re.compile(r"[\W_]+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")
# Beside an amount these say how it was taken: a total including tax is a total.
_TAKEN = re.compile(
    r"(incl|including|inclusive|excl|excluding|exclusive|inc|ex|with|without|before|after|netof)"
    r"(tax(es)?|vat|gst|discounts?|coupons?|shipping|freight|fees?|refunds?)"
    r"|不?含(税|运费)|(优惠|折扣|税|折)后"
)
# What is counted or paid beside the goods, or does not come from the member.
_BESIDE = re.compile(
    r"tax|vat(?!e)|gst|duty|discount|coupon|voucher|promo|rebate|giftcard|shipping|shipment|shipped"
    r"|freight|postage|delivery|handling|fee(?!d)|surcharge|refund|return|cancel|deposit|balance"
    r"|outstanding|points|weight|profit|margin|cost|commission|tips?$|rounding|stock"
    r"|优惠|折扣|折让|运费|邮费|快递|税|红包|积分|退|抵扣|手续费|服务费|佣金|立减|满减|券|余额|押金"
    r"|成本|利润|重量|补贴|小费|定金"
)
# Headings that begin with the member and tell something about him.
_ABOUT = (
    "type types group groups city country state region province county district area zip zipcode "
    "postcode postal address street segment tier level class category status gender sex age note "
    "notes comment comments tag tags since created registered date time count orders total spent "
    "amount language locale source channel store company tax vat ip agent first last given title "
    "salutation birthday birthdate rating score discount currency consent accepts marketing "
    "newsletter service message price kind role rank grade visits new returning"
)
_ABOUT_CHINESE = re.compile(
    "类型|类别|分组|等级|级别|城市|地址|省|国家|地区|性别|年龄|备注|留言|标签|来源|渠道|生日|注册|时间|日期|"
    "应付|实付|实际|金额|付款|支付(?!宝)|评价|服务|状态|姓$|运费|积分|余额"
)
# One of so many values on so many lines tells no members apart.
_HANDFUL, _MANY_LINES = 5, 500
_SHOWN = 200

# Headings of order numbers and of much else, such as customers and goods.
_WEAK = ("name", "id")
# Up to this share of them may stand for orders of several days.
_AGAIN = 0.05

# What is missing, in the words of the one line that is said about it.
_WANTED = {
    "member": "whose order it is (such as customer_id, email, 会员号)",
    "time": "when it was (such as order_date, created_at, 下单时间)",
    "total": "what it came to (such as total, amount, 实付金额, or quantity and unit price)",
}


class Columns(msgspec.Struct, frozen=True):
    """The positions of what is read in a line; None for what the export does not have."""

    header: tuple[str, ...]
    member: int
    time: int
    order: int | None
    total: int | None
    quantity: int | None
    price: int | None
    status: int | None
    currency: int | None

    def named(self) -> dict[str, str]:
        """Return what was found, by its role."""
        found = {role: getattr(self, role) for role in _NAMES}
        return {role: self.header[at] for role, at in found.items() if at is not None}

    def name(self, position: int | None) -> str:
        """Return a column's heading."""
        return "" if position is None else self.header[position]


def find(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Columns:
    """Return what the columns are; ``rows`` are some of the lines, the more the surer.

    Raises ``InputError`` with one line that names what is missing and what was found.
    """
    cells = [[row[at].strip() for row in rows if at < len(row)] for at in range(len(header))]
    found: dict[str, int | None] = {}
    for role in ("time", "member", "order", "quantity", "price", "total", "status", "currency"):
        taken = {at for at in found.values() if at is not None}
        found[role] = _by_name(role, header, cells, taken, exact=True)
        pair = found.get("quantity") is not None and found.get("price") is not None
        if found[role] is None and not (role == "total" and pair):
            found[role] = _by_name(role, header, cells, taken, exact=False)
            if role == "total":
                _complain_of_two(path, header, cells, taken)
    if found["order"] is not None and _PLAIN.sub("", header[found["order"]].lower()) in _WEAK:
        when = [] if found["time"] is None else cells[found["time"]]
        if not _numbers_orders(cells[found["order"]], when):
            found["order"] = None
    if found["time"] is None:
        found["time"] = _by_cells(dates.is_time, cells, set())
    if found["member"] is None:
        found["member"] = _by_cells(_is_address, cells, {found["time"]})
    if found["total"] is None and (found["quantity"] is None or found["price"] is None):
        if found["price"] is not None:  # one piece a line
            found["total"], found["price"] = found["price"], None
        else:
            taken = {at for at in found.values() if at is not None}
            taken |= {at for at, name in enumerate(header) if _is_beside(name)}
            found["total"] = _by_cells(_is_money, cells, taken)
    _complain(path, header, found)
    return Columns(header=tuple(header), **found)  # type: ignore[arg-type]


def _by_name(
    role: str,
    header: Sequence[str],
    cells: list[list[str]],
    taken: set[int],
    *,
    exact: bool,
) -> int | None:
    found = _all_by_name(role, header, cells, taken, exact=exact)
    return found[0] if found else None


def _all_by_name(
    role: str,
    header: Sequence[str],
    cells: list[list[str]],
    taken: set[int],
    *,
    exact: bool,
) -> list[int]:
    """Return the columns that have the best heading of a role: several only of equal right."""
    plain = [_PLAIN.sub("", name.lower()) for name in header]
    for wanted in _NAMES[role].split():
        found = [
            at
            for at, name in enumerate(plain)
            if (
                name == wanted
                if exact
                else _contains(name, wanted) and _may_be(role, header[at], wanted)
            )
            and at not in taken
            and _agrees(role, cells[at])
        ]
        if found:
            return found
    return []


def _contains(name: str, wanted: str) -> bool:
    """Tell whether a longer heading is that one with something added, such as a unit."""
    long_enough = len(wanted) >= (6 if wanted.isascii() else 2)
    return long_enough and (name.startswith(wanted) or name.endswith(wanted))


def _may_be(role: str, name: str, wanted: str) -> bool:
    """Tell whether nothing in a heading speaks against what a part of it says."""
    if role == "member":
        plain = _PLAIN.sub("", name.lower())
        words = {word.lower() for word in _WORD.findall(name)} | {plain.removeprefix(wanted)}
        if "email" in plain:
            words -= {"address"}
        return words.isdisjoint(_ABOUT.split()) and not _ABOUT_CHINESE.search(name)
    return role not in ("total", "quantity", "price") or not _is_beside(name)


def _is_beside(name: str) -> bool:
    """Tell whether a heading is of what is paid or taken off beside the goods."""
    return bool(_BESIDE.search(_TAKEN.sub("", _PLAIN.sub("", name.lower()))))


def _agrees(role: str, cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    if not filled:
        return False
    if role == "member" and len(filled) >= _MANY_LINES and len(set(filled)) <= _HANDFUL:
        return False
    fits = _FITS.get(role)
    return fits is None or sum(map(fits, filled)) >= _AGREE * len(filled)


def _numbers_orders(cells: Sequence[str], when: Sequence[str]) -> bool:
    """Tell whether values are of one day each, as order numbers are."""
    days: dict[str, set[str]] = {}
    for value, time in zip(cells, when, strict=False):
        if value and time:
            days.setdefault(value, set()).add(dates.day_written(time))
    return sum(len(of) > 1 for of in days.values()) <= _AGAIN * len(days)


def _by_cells(
    fits: Callable[[str], bool], cells: list[list[str]], taken: Collection[int | None]
) -> int | None:
    """Return the only column whose cells are of a kind; None when there are several or none."""
    found = []
    for at, column in enumerate(cells):
        filled = [cell for cell in column if cell]
        if at not in taken and filled and all(map(fits, filled)):
            found.append(at)
    return found[0] if len(found) == 1 else None


def _is_address(text: str) -> bool:
    return bool(re.fullmatch(r"[^@\s]+@[^@\s]+", text))


def _is_money(text: str) -> bool:
    return amounts.is_amount(text) and bool(re.search(r"[.,]\d\d\D*$", text))


def _complain_of_two(
    path: Path, header: Sequence[str], cells: list[list[str]], taken: set[int]
) -> None:
    """Refuse two amounts of equal right, unless it does not matter which."""
    first, *others = _all_by_name("total", header, cells, taken, exact=False) or [0]
    other = next((at for at in others if cells[at] != cells[first]), None)
    if other is not None:
        raise InputError(
            f"{path}:1: what an order came to may be {header[first]} or {header[other]}; say which "
            "with --map"
        )


def _complain(path: Path, header: Sequence[str], found: Mapping[str, int | None]) -> None:
    lacking = [role for role in ("member", "time") if found[role] is None]
    if found["total"] is None and (found["quantity"] is None or found["price"] is None):
        lacking.append("total")
    if lacking:
        has = ", ".join(" ".join(name.split()) for name in header)[:_SHOWN] or "nothing"
        wanted = " and ".join(_WANTED[role] for role in lacking)
        raise InputError(
            f"{path}:1: no column tells {wanted}; the header has: {has}; say it with --map"
        )

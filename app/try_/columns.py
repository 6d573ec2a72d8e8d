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
_SHOWN = 200

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
        found[role] = _by_name(role, header, cells, taken)
    if found["time"] is None:
        found["time"] = _by_cells(dates.is_time, cells, set())
    if found["member"] is None:
        found["member"] = _by_cells(_is_address, cells, {found["time"]})
    if found["total"] is None and (found["quantity"] is None or found["price"] is None):
        if found["price"] is not None:  # one piece a line
            found["total"], found["price"] = found["price"], None
        else:
            taken = {at for at in found.values() if at is not None}
            found["total"] = _by_cells(_is_money, cells, taken)
    _complain(path, header, found)
    return Columns(header=tuple(header), **found)  # type: ignore[arg-type]


def _by_name(
    role: str, header: Sequence[str], cells: list[list[str]], taken: set[int]
) -> int | None:
    plain = [_PLAIN.sub("", name.lower()) for name in header]
    for exact in (True, False):
        for wanted in _NAMES[role].split():
            for at, name in enumerate(plain):
                said = name == wanted if exact else _contains(name, wanted)
                if said and at not in taken and _agrees(role, cells[at]):
                    return at
    return None


def _contains(name: str, wanted: str) -> bool:
    """Tell whether a longer heading is that one with something added, such as a unit."""
    long_enough = len(wanted) >= (6 if wanted.isascii() else 2)
    return long_enough and (name.startswith(wanted) or name.endswith(wanted))


def _agrees(role: str, cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    if not filled:
        return False
    fits = _FITS.get(role)
    return fits is None or sum(map(fits, filled)) >= _AGREE * len(filled)


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

"""What the status of an order says: whether it was bought."""

import re

_APART = re.compile(r"[\s_-]+")
# A part of an order that was cancelled or refunded leaves an order.
_PARTLY = re.compile(r"partial|partly|\bpart\b|部分")
_NOT_BOUGHT = re.compile(
    r"cancel|\bvoid|\bunpaid|\bto be paid|incomplete|unsuccess|unconfirmed|"
    r"\bnot\b.*(paid|receiv|complet|success|captur|confirm|authori|approv|accept)|"
    r"declined|denied|fraud|\btrash|\bdraft|on hold|\bonhold|"
    r"reject|expired|abandon|payment (review|error|pending|failed|failure)|pending payment|"
    r"(awaiting|waiting for) payment|"
    r"(authorization|authorisation|order|checkout) failed|checkout draft|"
    r"取消|关闭|待付款|未付款|等待买家付款|待支付|未支付|已退款|退款成功|支付失败|付款失败"
)
_NOT_BOUGHT_WHOLE = frozenset(
    ("failed", "failure", "error", "pending", "refunded", "fully refunded", "closed", "incomplete")
)
_BOUGHT = re.compile(
    r"^$|^paid|\bpaid$|complete|processing|in progress|shipped|dispatch|deliver|fulfil|fulfill|"
    r"authori[sz]ed|captured|settled|success|succeeded|done|sent|invoiced|confirmed|approved|"
    r"accepted|received|collected|ready|packed|picked|preparing|preparation|active|\bopen\b|^new$|"
    r"^ok$|^yes$|^sale$|成功|完成|已付款|已支付|发货|收货|签收|已收"
)


def was_bought(status: str) -> bool | None:
    """Tell whether an order with a status was bought; None where the status is not known."""
    plain = _APART.sub(" ", status.strip().lower()).removeprefix("wc ").strip()
    if _PARTLY.search(plain):
        return True
    if plain in _NOT_BOUGHT_WHOLE or _NOT_BOUGHT.search(plain):
        return False
    return True if _BOUGHT.search(plain) else None

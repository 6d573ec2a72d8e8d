"""Buy till you die: BG/NBD for how often a member still buys, Gamma-Gamma for how much an order is.

BG/NBD (Fader, Hardie and Lee, "Counting your customers the easy way", 2005): a member buys at a
rate of its own and after each order leaves for good with a probability of its own; rates are
gamma(r, alpha) and leaving beta(a, b) over members. Gamma-Gamma (Fader and Hardie, "The
Gamma-Gamma model of monetary value", 2013): the mean order of a member is its own too.

This is the side that workers call at every event: plain floating point, no array library. Where
the parameters come from stands in ``models.btyd_fit``.

A member is told by three numbers, times in days: ``x`` purchase days after the first one, ``t_x``
from the first to the last of them (0 when x is 0), ``age`` from the first one until now.
"""

from math import exp, expm1, log, log1p

import msgspec

# A term below this share of the sum adds nothing that a double could hold of the result.
_NEGLIGIBLE = 1e-12
# Of 1 / (1 + e^z) nothing is left beyond this z.
_FAR = 700.0


class BgNbd(msgspec.Struct, frozen=True):
    """Rates over members are gamma(r, alpha in days), leaving after an order is beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def p_alive(self, x: int, t_x: float, age: float) -> float:
        """Return the probability that the member has not left for good."""
        if x == 0:
            return 1.0
        left = log(self.a / (self.b + x - 1)) + (self.r + x) * log(
            (self.alpha + age) / (self.alpha + t_x)
        )
        return 1 / (1 + exp(left)) if left < _FAR else 0.0

    def p_no_order(self, x: int, t_x: float, age: float, horizon: float) -> float:
        """Return the probability of no order within ``horizon`` days from now."""
        often = self.r + x
        aged = self.alpha + age
        orders = -expm1(-often * log1p(horizon / aged))
        if x == 0:
            return 1 - orders
        # ``p_alive``, written out: it is asked for with every event.
        left = log(self.a / (self.b + x - 1)) + often * log(aged / (self.alpha + t_x))
        return 1 - 1 / (1 + exp(left)) * orders if left < _FAR else 1.0

    def expected_orders(self, x: int, t_x: float, age: float, horizon: float) -> float:
        """Return the mean number of purchase days within ``horizon`` days from now.

        Exact. The published form, with its hypergeometric function after Euler's transformation
        (whose series shrinks faster than ``(horizon / (alpha + age + horizon)) ** n``), rearranged
        so that nothing divides by a - 1.
        """
        alive = self.p_alive(x, t_x, age)
        if alive == 0:
            return 0.0
        log_rest = -log1p(horizon / (self.alpha + age))
        z = -expm1(log_rest)
        over = self.a - 1
        c = self.a + self.b + x - 1
        upper = self.a + self.b - 1 - self.r
        n = 1
        term = upper * z
        total = term
        # a rises by one each term, as do c and the upper parameter.
        while abs(term) > _NEGLIGIBLE * abs(total):
            term *= (upper + n) * (over + n) * z / ((c + n) * (n + 1))
            total += term
            n += 1
        shrunk = -expm1(over * log_rest) / over if over else -log_rest
        return alive * max(0.0, c * shrunk - exp(over * log_rest) * total)


class GammaGamma(msgspec.Struct, frozen=True):
    """Orders of a member are gamma(p, nu) and nu is gamma(q, gamma) over members.

    ``gamma`` is in the unit of money of the orders it was fitted to.
    """

    p: float
    q: float
    gamma: float

    def mean_spend(self, orders: int, spent: float) -> float:
        """Return the expected amount of the next order of who spent ``spent`` in ``orders``."""
        return self.p * (self.gamma + spent) / (self.p * orders + self.q - 1)

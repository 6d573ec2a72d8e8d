"""Machines that count: a number of events or a sum in a window, a level crossed, a word said."""

from abc import ABC, abstractmethod
from bisect import insort

from models.facts import cents, leaves_at, totals_within, with_orders
from models.ids import name_hash
from models.logs import Due, Log
from models.member import CELL
from models.rules import PREDICTED, Count, Crosses, Sum, TierEntered

# Parts of one unit: amounts are whole thousandths inside.
PARTS = 1000
# Amounts of one sum; beyond, the oldest no longer counts.
KEPT_AMOUNTS = 32


def parts(amount: float) -> int:
    """Return an amount in thousandths, half to even."""
    return round(amount * PARTS)


class Reach(ABC):
    """How much there was in the last ``within`` milliseconds: in at ``level``, out below ``back``.

    The first of ``times`` says since when it is in (0: out).
    """

    def __init__(self, level: int, back: int, within: int) -> None:
        self.longest = within
        self._level, self._back = level, back

    def step(self, state: Log, at: int, what: int) -> None:
        """Add an event."""
        if not state.times:
            state.times.append(0)
        if state.times[0] and self.total(state, at) < self._back:
            state.times[0] = 0
        self._add(state, at, what)
        if not state.times[0] and self.total(state, at) >= self._level:
            state.times[0] = at

    def dues(self, when: Count | Sum | Crosses, state: Log) -> tuple[Due, ...]:
        """Return when it has been in for the dwell; on the way down, when it goes out."""
        since = state.times[0] if state.times else 0
        if not since:
            return ()
        if not isinstance(when, Crosses):
            return (Due(since, since),)
        if not when.upward:
            leaves = self._leaves(state)
            return (Due(leaves, leaves),)
        if when.dwell and since + when.dwell >= self._leaves(state):
            return ()
        return (Due(since + when.dwell, since),)

    @abstractmethod
    def _add(self, state: Log, at: int, what: int) -> None:
        """Add an event to what is counted."""

    @abstractmethod
    def total(self, state: Log, at: int) -> int:
        """Return how much of what decides is in the window that ends at ``at``."""

    @abstractmethod
    def _leaves(self, state: Log) -> int:
        """Return when so much has left the window that less than ``back`` is in it."""

    @abstractmethod
    def absorb(self, state: Log, at: int, what: int) -> None:
        """Change the state by an event that is too late to take its place."""

    @abstractmethod
    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether the state is that of a member who has never done anything."""


class Spent(Reach):
    """What the orders came to, in cents.

    ``values`` are the member's own turn (``facts.turn_of``) and the cells of the member's ring.
    """

    def _add(self, state: Log, at: int, what: int) -> None:
        turn, *ring = state.values
        state.values = [turn, *with_orders(ring, at // CELL, 1, what)]

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late order: it is in the ring."""

    def total(self, state: Log, at: int) -> int:
        """Return what is in the window that ends at ``at``, to the cell."""
        turn, *ring = state.values
        return totals_within(ring, self.longest, turn, at)[1]

    def _leaves(self, state: Log) -> int:
        turn, *ring = state.values
        cells = dict(zip(ring[::3], ring[2::3], strict=True))
        total = 0
        for cell in sorted(cells, reverse=True):
            total += cells[cell]
            if total >= self._back:
                return leaves_at(cell, self.longest, turn)
        return 0

    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether it is out."""
        return not state.times or not state.times[0] or self.total(state, at) < self._back


class Window(Reach):
    """The events of a window: after the first, ``times`` are theirs, no more than matter.

    ``values``: their amounts, when it is a sum.
    """

    def __init__(self, level: int, back: int, within: int, *, amounts: bool) -> None:
        super().__init__(level, back, within)
        self._amounts = amounts

    def _add(self, state: Log, at: int, what: int) -> None:
        state.times.append(at)
        if self._amounts:
            state.values.append(what)
        self._trim(state)

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Let a late event count from now on."""
        if self._amounts:
            if len(state.values) < KEPT_AMOUNTS:
                pairs = sorted([*zip(state.times[1:], state.values, strict=True), (at, what)])
                state.times = [state.times[0] if state.times else 0, *(at for at, _ in pairs)]
                state.values = [amount for _, amount in pairs]
        else:
            if not state.times:
                state.times.append(0)
            insort(state.times, at, lo=1)
        self._trim(state)

    def _trim(self, state: Log) -> None:
        # What is older than the newest that reach the level cannot decide anything.
        if not self._amounts:
            del state.times[1 : max(1, len(state.times) - self._level)]
            return
        total = sum(state.values)
        drop = 0
        while len(state.values) - drop > KEPT_AMOUNTS or total - state.values[drop] >= self._level:
            total -= state.values[drop]
            drop += 1
        del state.values[:drop]
        del state.times[1 : 1 + drop]

    def total(self, state: Log, at: int) -> int:
        """Return how much of what decides is in the window that ends at ``at``."""
        oldest = at - self.longest
        if not self._amounts:
            return sum(1 for one in state.times[1:] if one > oldest)
        pairs = zip(state.times[1:], state.values, strict=True)
        return sum(amount for one, amount in pairs if one > oldest)

    def _leaves(self, state: Log) -> int:
        total = 0
        for index in range(len(state.times) - 1, 0, -1):
            total += state.values[index - 1] if self._amounts else 1
            if total >= self._back:
                return state.times[index] + self.longest
        return 0

    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether everything has left the window."""
        return not state.times or state.times[-1] + self.longest <= at


class Level:
    """A number as it was last said: in from ``level`` on, out below ``back``; downward negated.

    ``times``: since when it is in (0: out). Downward, what is in by the first word has been so for
    ever (1): a number cannot fall below what it never was. Of a ``guess`` no first word counts: it
    must have been back before it falls.
    """

    def __init__(self, level: int, back: int, *, upward: bool, guess: bool = False) -> None:
        self.longest = 0
        self._level, self._back, self._upward, self._guess = level, back, upward, guess

    def step(self, state: Log, at: int, what: int) -> None:
        """Take the number that was said."""
        number = what if self._upward else -what
        first = int(not self._upward and (self._guess or number >= self._level))
        since = state.times[0] if state.times else first
        if since and number < self._back:
            since = 0
        elif not since and number >= self._level:
            since = at
        state.times = [since]

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late word: a newer one has been said."""

    def dues(self, when: Crosses, state: Log) -> tuple[Due, ...]:
        """Return when it has been in for the dwell."""
        since = state.times[0] if state.times else 0
        return (Due(since + when.dwell, since),) if since > 1 else ()

    def is_over(self, state: Log, _at: int) -> bool:
        """Tell whether it is as if no number had been said."""
        if not state.times:
            return True
        if self._upward:
            return not state.times[0]
        return self._guess and state.times[0] == 1


class Word:
    """A word as it was last said; ``values`` is its hash, ``times`` since when it is said."""

    longest = 0

    def step(self, state: Log, at: int, what: int) -> None:
        """Take the word that was said."""
        if not state.values or state.values[0] != what:
            state.times, state.values = [at], [what]

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late word: a newer one has been said."""

    def dues(self, when: TierEntered, state: Log) -> tuple[Due, ...]:
        """Return since when the rule's word is said."""
        if not state.values or state.values[0] != name_hash(when.tier):
            return ()
        return (Due(state.times[0], state.times[0]),)

    def is_over(self, state: Log, _at: int) -> bool:
        """Tell whether no word has been said."""
        return not state.values


def window_of(when: Count | Sum | Crosses) -> Reach:
    """Return the machine of a rule with a window."""
    match when:
        case Count(at_least=count, within=within):
            return Window(count, count, within, amounts=False)
        case Sum(at_least=amount, within=within):
            return Window(parts(amount), parts(amount), within, amounts=True)
        case Crosses(level=level, back=back, upward=upward, within=within):
            # On the way down, what was once ``back`` is in, and goes out below the level.
            upper, lower = (level, back) if upward else (back, level)
            if when.measure == "orders":
                return Window(round(upper), round(lower), within, amounts=False)
            return Spent(cents(upper), cents(lower), within)


def level_of(when: Crosses) -> Level:
    """Return the machine of a number that is told."""
    if when.upward:
        return Level(parts(when.level), parts(when.back), upward=True)
    # below x, negated and in whole parts: more than -x; back at least y: less than 1 - y.
    level, back = 1 - parts(when.level), 1 - parts(when.back)
    return Level(level, back, upward=False, guess=when.measure in PREDICTED)

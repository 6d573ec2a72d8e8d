"""Which members have a deadline coming: an index of the earliest one per key, in little memory.

The truth is the row; the index only says when to look at it. A calendar holds every key under the
hour of its earliest deadline, as a reference to the key object and nothing more (61-70 bytes a
key in all, where a heap of pairs beside a dictionary takes 152-169, and 1 us to take one out
instead of 2-6). Once an hour has begun, its keys are looked up one by one and wait in a heap for
their exact instant.

Re-arming is lazy: a deadline that moves later leaves its entry where it is, to be looked at in
vain once; one that moves earlier gets a second entry, and the first is dropped when met. A key is
thus under at most one live entry, and a stale one costs a visit.
"""

import heapq
from collections.abc import Callable

HOUR_MS = 3_600_000
"""Width of a calendar page. Over 90 days and 16 lanes of 60,000 members an hour holds 30 keys a
lane: with minutes most lists would hold one key and cost more than they hold."""

LOOK_UPS = 500
"""Keys of a page looked up at a time: half a millisecond, so that a page of a million keys does
not stop the events."""


class DeadlineIndex:
    """Keys by their earliest deadline; ``due_of`` tells a key's deadline as it is now."""

    def __init__(self, due_of: Callable[[bytes], int | None]) -> None:
        self._due_of = due_of
        # A page is a list whose first item is its own number, so that all its keys share one int.
        self._pages: dict[int, list[int | bytes]] = {}
        self._order: list[int] = []
        self._page_of: dict[bytes, int] = {}
        self._opened: list[int | bytes] = []
        self._opened_page = -1
        self._soon: list[tuple[int, bytes]] = []
        self._soon_due: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return how many keys have an entry."""
        return len(self._page_of) + len(self._soon_due)

    def arm(self, key: bytes, due: int) -> None:
        """See to it that the key is looked at no later than at ``due``."""
        soon = self._soon_due.get(key)
        if soon is not None and soon <= due:
            return
        number = due // HOUR_MS
        if number <= self._opened_page:
            self._page_of.pop(key, None)
            self._soon_due[key] = due
            heapq.heappush(self._soon, (due, key))
            return
        # A key among the soon ones with a later due cannot be here: this page is later still.
        there = self._page_of.get(key)
        if there is not None and there <= number:
            return
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = [number]
            heapq.heappush(self._order, number)
        page.append(key)
        self._page_of[key] = page[0]  # type: ignore[assignment]

    def floor(self) -> int | None:
        """Return an instant before which nothing is due; None when nothing is armed.

        It is the exact next due instant unless the page of that hour has yet to be opened, which
        ``pop`` and ``refine`` do when the time has come.
        """
        soon, soon_due = self._soon, self._soon_due
        while soon and soon_due.get(soon[0][1]) != soon[0][0]:
            heapq.heappop(soon)
        if self._opened:
            page = self._opened_page * HOUR_MS
        elif self._order:
            page = self._order[0] * HOUR_MS
        else:
            return soon[0][0] if soon else None
        return min(soon[0][0], page) if soon else page

    def refine(self, upto: int) -> None:
        """Look up some keys of the next page that begins at or before ``upto``, if any.

        Brings ``floor`` nearer to the exact instant; call again while it stays at or below
        ``upto`` and ``pop`` gives nothing.
        """
        if not self._opened:
            if not self._order or self._order[0] * HOUR_MS > upto:
                return
            self._opened_page = heapq.heappop(self._order)
            self._opened = self._pages.pop(self._opened_page)
            self._opened.reverse()
            self._opened.pop()
        page, opened = self._opened_page, self._opened
        for _ in range(min(LOOK_UPS, len(opened))):
            key = opened.pop()
            assert isinstance(key, bytes)
            if self._page_of.get(key) != page:
                continue
            del self._page_of[key]
            due = self._due_of(key)
            if due is not None:
                self.arm(key, due)

    def pop(self, upto: int) -> tuple[int, bytes] | None:
        """Take out the key with the earliest deadline at or before ``upto``: (due, key).

        The deadline is the row's own. None: nothing is due, or a large page is still being
        opened, in which case ``floor`` is at or before ``upto``.
        """
        self.refine(upto)
        soon, soon_due = self._soon, self._soon_due
        while soon and soon[0][0] <= upto:
            entry = heapq.heappop(soon)
            armed, key = entry
            if soon_due.get(key) != armed:
                continue
            del soon_due[key]
            due = self._due_of(key)
            if due is None:
                continue
            if due <= upto:
                return due, key
            self.arm(key, due)
        return None

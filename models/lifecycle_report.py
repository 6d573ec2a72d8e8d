"""The lifecycle metrics, out of the counters: rates with what they are shares of.

Every figure is as of an instant, by UTC days; definitions in ``docs/lifecycle-metrics.md``.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from typing import Any

import msgspec

from models.lifecycle import COHORT_WEEKS, EVERY, REACTIVATION_DAYS, day_of, week_of
from models.stages import BANDS, STAGES
from models.times import DAY, rfc3339

WINDOWS: dict[str, int] = {"day": 1, "week": 7, "month": 30}
"""Windows of activity, in days, the day of the instant included."""
REPORT_DAYS = 30
ACTIVATION_DAYS = 7
REACTIVATION_REPORT_DAYS = 90
DAYS_READ = REACTIVATION_REPORT_DAYS + REACTIVATION_DAYS + 1
FORWARD: dict[str, int] = {"lead": 0, "new": 1, "active": 2, "loyal": 3}
"""Stages that follow each other for the better; a move up this row is a conversion."""
LOSS: frozenset[str] = frozenset({"silent", "dormant", "lost"})
WEEK = 7
WEEKS_BEFORE = 4
WEAK_Z = 3.0
"""Standard errors by which a stage's week is worse than the four before it: by chance one week in
some 700, and a shop has a dozen such figures."""
WEAK_CHANGE = 0.2
"""And by this share of what it was: with a million members anything is significant."""
WEAK_LEAST = 100
"""Members at risk in the week, or nothing is said."""

Counters = Mapping[str, int]
Report = dict[str, Any]


class Snapshot(msgspec.Struct, frozen=True):
    """The counters, as read at one time."""

    as_of: int
    now: Counters
    days: Mapping[int, Counters]
    """By day, from ``DAYS_READ`` days back on."""
    active: Mapping[str, int]
    """Distinct active members by window."""
    active_by_source: Mapping[str, Mapping[str, int]]
    cohorts: Mapping[str, Mapping[int, Counters]]
    """By stage (or ``member``) and week of entry."""


def rate(part: float, whole: float) -> float | None:
    """Return a share; None of nothing."""
    return round(part / whole, 6) if whole else None


def report(snapshot: Snapshot) -> Report:
    """Return all metrics, ready for JSON. Money is in the currency's units."""
    counts = _Counts(snapshot)
    return {
        "as_of": rfc3339(snapshot.as_of),
        "members": counts.total("members"),
        "active_rate": _active(snapshot, counts),
        "retention": {
            stage: list(_cohorts(weeks, snapshot.as_of))
            for stage, weeks in snapshot.cohorts.items()
        },
        "repurchase": _repurchase(counts),
        "ltv": _value(counts),
        "reactivation": _reactivation(counts),
        "stages": _stages(counts),
        "activation": _activation(counts),
        "dormant": _asleep(counts),
        "lead_to_member": _leads(counts),
        "referral": _referral(counts),
        "basket": _basket(counts),
        "bands": _bands(counts),
        "churn_reasons": _reasons(counts),
    }


class _Counts:
    """Sums over the counters."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now = snapshot.now
        self.today = day_of(snapshot.as_of)
        self.days = snapshot.days

    def by(self, name: str) -> dict[str, int]:
        """Return what stands now under a name, by what comes behind it."""
        return _by(name, self.now)

    def total(self, name: str) -> int:
        return sum(self.by(name).values())

    def over(self, name: str, first: int, last: int) -> dict[str, int]:
        """Return sums over days, both included, by what comes behind a name."""
        sums: dict[str, int] = {}
        for day in range(first, last + 1):
            for rest, count in _by(name, self.days.get(day, {})).items():
                sums[rest] = sums.get(rest, 0) + count
        return sums

    def field(self, name: str, first: int, last: int) -> int:
        return sum(self.days.get(day, {}).get(name, 0) for day in range(first, last + 1))


def _by(name: str, counters: Counters) -> dict[str, int]:
    begin = f"{name}|"
    return {
        field[len(begin) :]: count for field, count in counters.items() if field.startswith(begin)
    }


# --- the six ---


def _active(snapshot: Snapshot, counts: _Counts) -> Report:
    def told(active: Mapping[str, int], members: int) -> Report:
        # The number of distinct members is an estimate, which may exceed the whole.
        return {
            window: {
                "members": min(active.get(window, 0), members),
                "rate": rate(min(active.get(window, 0), members), members),
            }
            for window in WINDOWS
        }

    members = counts.by("members")
    by_source = {
        source: told(active, members.get(source, 0))
        for source, active in snapshot.active_by_source.items()
    }
    return {**told(snapshot.active, sum(members.values())), "by_source": by_source}


def _cohorts(weeks: Mapping[int, Counters], as_of: int) -> Iterator[Report]:
    this_week = week_of(day_of(as_of))
    for week in sorted(weeks):
        counters = weeks[week]
        members = counters.get("n", 0)
        if not members:
            continue
        # Weeks that are over; in that of the entry all were active who did something.
        last = min(this_week - week - 1, COHORT_WEEKS)
        shares = [rate(counters.get(str(after), 0), members) for after in range(last + 1)]
        monday = rfc3339((week * 7 - 3) * DAY)[:10]
        yield {"week": monday, "members": members, "retained": shares}


def _repurchase(counts: _Counts) -> Report:
    buyers, repeaters = counts.by("buyers"), counts.by("repeaters")
    return {
        **_part(sum(repeaters.values()), sum(buyers.values()), "repeaters", "buyers"),
        "by_source": {
            source: _part(repeaters.get(source, 0), bought, "repeaters", "buyers")
            for source, bought in sorted(buyers.items())
            if bought
        },
    }


def _value(counts: _Counts) -> Report:
    def told(members: int, buyers: int, spend: int, expected: int) -> Report:
        return {
            "members": members,
            "buyers": buyers,
            "historic": _mean(spend, members),
            "expected_90d": _mean(expected, members),
            "ltv": _mean(spend + expected, members),
            "historic_per_buyer": _mean(spend, buyers),
        }

    kinds = ("members", "buyers", "spend", "expected")
    by_source = _table(counts, kinds)
    by_stage = _table(counts, [f"{kind}_in" for kind in kinds])
    return {
        **told(*(counts.total(kind) for kind in kinds)),
        "by_stage": {stage: told(*row) for stage, row in by_stage.items() if row[0]},
        "by_source": {source: told(*row) for source, row in by_source.items() if row[0]},
    }


def _table(counts: _Counts, kinds: Iterable[str]) -> dict[str, tuple[int, ...]]:
    columns = [counts.by(kind) for kind in kinds]
    rows = sorted({name for column in columns for name in column})
    return {name: tuple(column.get(name, 0) for column in columns) for name in rows}


def _reactivation(counts: _Counts) -> Report:
    # The window of those who were sent something on the last day has just ended.
    last = counts.today - REACTIVATION_DAYS - 1
    first = last - REACTIVATION_REPORT_DAYS + 1
    asleep, woken = counts.over("asleep", first, last), counts.over("woken", first, last)
    rules = sorted({name.partition("|")[0] for name in asleep} - {EVERY})

    def arms(name: str) -> Report:
        told: Report = {}
        for arm in ("treated", "control"):
            sent, back = asleep.get(f"{name}|{arm}", 0), woken.get(f"{name}|{arm}", 0)
            told[arm] = _part(back, sent, "returned", "members")
        rates = told["treated"]["rate"], told["control"]["rate"]
        told["difference"] = None if None in rates else round(rates[0] - rates[1], 6)
        return told

    return {
        "window_days": REACTIVATION_DAYS,
        "over_days": REACTIVATION_REPORT_DAYS,
        **arms(EVERY),
        "by_rule": {rule: arms(rule) for rule in rules},
    }


def _stages(counts: _Counts) -> Report:
    # Days that are over: half a day is not a drop.
    last = counts.today - 1
    now = counts.by("stage")
    ever, today = counts.by("moves"), counts.over("move", counts.today, counts.today)
    week = counts.over("move", last - WEEK + 1, last)
    lately = (last - REPORT_DAYS + 1, counts.today)
    dwell, dwelt = counts.over("dwell", *lately), counts.over("dwelt", *lately)
    conversion: Report = {}
    weak: list[Report] = []
    for stage in STAGES:
        figures = _converted(counts, stage, now.get(stage, 0), last)
        conversion[stage] = figures
        for kind, sign in (("conversion", -1), ("loss", 1)):
            if _is_worse(figures["this_week"], figures["weeks_before"], kind, sign):
                weak.append({"stage": stage, "kind": kind, **_beside(figures, kind)})
    return {
        "members": {stage: now.get(stage, 0) for stage in STAGES},
        "moves": [
            {
                "from": path.partition(">")[0],
                "to": path.partition(">")[2],
                "today": today.get(path, 0),
                "week": week.get(path, 0),
                "total": total,
                "mean_days": _mean_days(dwell.get(path, 0), dwelt.get(path, 0)),
            }
            for path, total in sorted(ever.items())
        ],
        "conversion": conversion,
        "weak": weak,
    }


def _converted(counts: _Counts, stage: str, now: int, last: int) -> Report:
    """Return what became of those in a stage in the last whole week and the four before it."""
    weeks = []
    # Going back from today, day by day, undoes what moved.
    standing = now - _net(counts, stage, last + 1, counts.today)
    for number in range(1 + WEEKS_BEFORE):
        end = last - number * WEEK
        moved = counts.over("move", end - WEEK + 1, end)
        standing -= _net(counts, stage, end - WEEK + 1, end)
        into = _entered(counts, stage, end - WEEK + 1, end)
        up = sum(n for path, n in moved.items() if _is_forward(stage, path))
        lost = sum(n for path, n in moved.items() if _is_loss(stage, path))
        weeks.append((standing + into, up, lost))
    before = [sum(column) for column in zip(*weeks[1:], strict=True)]
    return {"this_week": _risk(*weeks[0]), "weeks_before": _risk(*before)}


def _risk(at_risk: int, up: int, lost: int) -> Report:
    return {
        "at_risk": at_risk,
        "converted": up,
        "lost": lost,
        "conversion": rate(up, at_risk),
        "loss": rate(lost, at_risk),
    }


def _entered(counts: _Counts, stage: str, first: int, last: int) -> int:
    moved = counts.over("move", first, last)
    into = sum(n for path, n in moved.items() if path.endswith(f">{stage}"))
    # Nobody moves to be a lead at first: who is heard of is one, if only for an instant.
    return into + (counts.field("heard", first, last) if stage == "lead" else 0)


def _net(counts: _Counts, stage: str, first: int, last: int) -> int:
    moved = counts.over("move", first, last)
    out = sum(n for path, n in moved.items() if path.startswith(f"{stage}>"))
    return _entered(counts, stage, first, last) - out


def _is_forward(stage: str, path: str) -> bool:
    before, _, after = path.partition(">")
    if before != stage:
        return False
    return after in FORWARD and FORWARD[after] > FORWARD.get(before, -1)


def _is_loss(stage: str, path: str) -> bool:
    before, _, after = path.partition(">")
    return before == stage and after in LOSS


def _is_worse(week: Report, before: Report, kind: str, sign: int) -> bool:
    n, m = week["at_risk"], before["at_risk"]
    if n < WEAK_LEAST or m < WEAK_LEAST:
        return False
    was, now = before[kind], week[kind]
    pooled = (now * n + was * m) / (n + m)
    error = sqrt(max(pooled * (1 - pooled), 0.0) * (1 / n + 1 / m))
    worse: float = sign * (now - was)
    return error > 0 and worse > WEAK_Z * error and worse > WEAK_CHANGE * was


def _beside(figures: Report, kind: str) -> Report:
    return {"this_week": figures["this_week"][kind], "before": figures["weeks_before"][kind]}


# --- the others ---


def _activation(counts: _Counts) -> Report:
    # Those whose week after joining is over.
    last = counts.today - ACTIVATION_DAYS - 1
    first = last - REPORT_DAYS + 1
    joined, done = counts.over("joined", first, last), counts.over("activated", first, last)
    return {
        "window_days": ACTIVATION_DAYS,
        **_part(sum(done.values()), sum(joined.values()), "activated", "joined"),
        "by_source": {
            source: _part(done.get(source, 0), number, "activated", "joined")
            for source, number in sorted(joined.items())
            if number
        },
    }


def _asleep(counts: _Counts) -> Report:
    stages = counts.by("members_in")
    members = sum(stages.values())
    return {
        "members": members,
        **{stage: rate(stages.get(stage, 0), members) for stage in ("dormant", "lost", "silent")},
    }


def _leads(counts: _Counts) -> Report:
    first = counts.today - REPORT_DAYS + 1
    leads = counts.field("leads", first, counts.today)
    joined = counts.field("leads_joined", first, counts.today)
    linked = counts.field("linked", first, counts.today)
    return {
        "over_days": REPORT_DAYS,
        **_part(min(joined + linked, leads), leads, "became_members", "leads"),
    }


def _referral(counts: _Counts) -> Report:
    first = counts.today - REPORT_DAYS + 1
    joined = sum(counts.over("joined", first, counts.today).values())
    referred = counts.field("referred", first, counts.today)
    members, referrers = counts.total("members"), counts.now.get("referrers", 0)
    return {
        "over_days": REPORT_DAYS,
        **_part(referred, joined, "referred", "joined"),
        "referrers": referrers,
        "referrer_rate": rate(referrers, members),
    }


def _basket(counts: _Counts) -> Report:
    first = counts.today - REPORT_DAYS + 1
    orders, sales = (counts.field(name, first, counts.today) for name in ("orders", "sales"))
    refunds = counts.field("refunds", first, counts.today)
    return {
        "over_days": REPORT_DAYS,
        "orders": orders,
        "sales": sales / 100,
        "refunds": refunds / 100,
        "average": _mean(sales, orders),
    }


def _bands(counts: _Counts) -> Report:
    now = counts.by("band")
    moved = counts.over("band", counts.today - REPORT_DAYS + 1, counts.today)
    return {
        "members": {band: now.get(band, 0) for band in BANDS},
        "moves": [
            {"from": path.partition(">")[0], "to": path.partition(">")[2], "month": number}
            for path, number in sorted(moved.items())
        ],
    }


def _reasons(counts: _Counts) -> Report:
    told: Report = {}
    for name, number in sorted(counts.by("reason").items()):
        stage, _, reason = name.partition("|")
        if number:
            told.setdefault(stage, {})[reason] = number
    return told


def _part(part: int, whole: int, name: str, of: str) -> Report:
    return {name: part, of: whole, "rate": rate(part, whole)}


def _mean(total: int, number: int) -> float | None:
    return round(total / 100 / number, 4) if number else None


def _mean_days(milliseconds: int, number: int) -> float | None:
    return round(milliseconds / DAY / number, 4) if number else None

"""New moons to within a minute, by the series of J. Meeus, Astronomical Algorithms, chapter 49."""

import datetime as dt
from math import radians, sin

# Days; power of the eccentricity; multiples of the sun's anomaly, the moon's, and the latitude.
_TERMS = (
    (-0.40720, 0, 0, 1, 0),
    (0.17241, 1, 1, 0, 0),
    (0.01608, 0, 0, 2, 0),
    (0.01039, 0, 0, 0, 2),
    (0.00739, 1, -1, 1, 0),
    (-0.00514, 1, 1, 1, 0),
    (0.00208, 2, 2, 0, 0),
    (-0.00111, 0, 0, 1, -2),
    (-0.00057, 0, 0, 1, 2),
    (0.00056, 1, 1, 2, 0),
    (-0.00042, 0, 0, 3, 0),
    (0.00042, 1, 1, 0, 2),
    (0.00038, 1, 1, 0, -2),
    (-0.00024, 1, -1, 2, 0),
    (-0.00007, 0, 2, 1, 0),
)
_PLANETS = (
    (0.000325, 299.77, 0.107408),
    (0.000165, 251.88, 0.016321),
    (0.000164, 251.83, 26.651886),
    (0.000126, 349.42, 36.412478),
    (0.000110, 84.66, 18.206239),
)
# Of terrestrial time before universal time, in these years.
_SECONDS_AHEAD = 70


def new_moon(number: int) -> dt.datetime:
    """Return the new moon of that number, counted from January 2000, in Beijing time."""
    t = number / 1236.85
    days = 2451550.09766 + 29.530588861 * number + 0.00015437 * t * t
    sun = 2.5534 + 29.10535670 * number
    moon = 201.5643 + 385.81693528 * number + 0.0107582 * t * t
    latitude = 160.7108 + 390.67050284 * number - 0.0016118 * t * t
    node = 124.7746 - 1.56375588 * number
    eccentricity = 1 - 0.002516 * t
    days -= 0.00017 * sin(radians(node))
    for size, power, a, b, c in _TERMS:
        days += size * eccentricity**power * sin(radians(a * sun + b * moon + c * latitude))
    for size, start, speed in _PLANETS:
        days += size * sin(radians(start + speed * number))
    beijing = dt.timedelta(days=days - 2451545.0, hours=8, seconds=-_SECONDS_AHEAD)
    return dt.datetime(2000, 1, 1, 12) + beijing  # noqa: DTZ001  (Beijing's wall clock)


def lunar_date(year: int, month: int, day: int, leap_month: int | None) -> dt.date:
    """Return the Gregorian date of a day of the lunar year that begins in ``year``.

    ``leap_month`` is the month that comes twice in it.
    """
    first = next(
        number
        for number in range(round((year - 2000) * 12.3685) - 1, round((year - 2000) * 12.3685) + 4)
        if dt.date(year, 1, 21) <= new_moon(number).date() <= dt.date(year, 2, 20)
    )
    number = first + month - 1 + (leap_month is not None and month > leap_month)
    return new_moon(number).date() + dt.timedelta(days=day - 1)

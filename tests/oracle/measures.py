"""Times, places and numbers, by other means than the program's: zoneinfo, the H3 library in C, exact fractions."""

import datetime
import math
import zoneinfo
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache

import h3

# The zones of the pinned package, not those of the machine.
zoneinfo.reset_tzpath(to=[])

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
EARTH_RADIUS_M = 6_371_008.8
NO_CURRENCY = "XXX"


# ── Times ──


@cache
def zone(name):
    """The zone of that name; UTC if there is none."""
    try:
        return zoneinfo.ZoneInfo(name) if name else UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def wall_clock(instant_us, zone_name):
    """What a clock on the wall shows, as a datetime without a zone; None if the instant is unknown."""
    if instant_us is None:
        return None
    return (EPOCH + datetime.timedelta(microseconds=instant_us)).astimezone(zone(zone_name)).replace(tzinfo=None)


def business_date(instant_us, zone_name, starts_at):
    """The date on the wall clock; what is before the hour that days start at belongs to the day before."""
    shown = wall_clock(instant_us, zone_name)
    if shown is None:
        return None
    hour, minute = map(int, starts_at.split(":"))
    return shown.date() - datetime.timedelta(days=1 if shown.time() < datetime.time(hour, minute) else 0)


def local_date(instant_us, zone_name):
    return wall_clock(instant_us, zone_name).date()


def daypart(shown):
    for part, first_hour in (("evening", 18), ("afternoon", 15), ("lunch", 11), ("morning", 6)):
        if shown.hour >= first_hour:
            return part
    return "night"


def minutes(start_us, end_us):
    return None if start_us is None or end_us is None else (end_us - start_us) / MINUTE_US


def plus_days(date, days):
    return date + datetime.timedelta(days)


def birthday_in(year, birth_date, leap_day):
    if (birth_date.month, birth_date.day) != (2, 29) or year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return birth_date.replace(year=year)
    return datetime.date(year, 2, 28) if leap_day == "feb28" else datetime.date(year, 3, 1)


# ── Places ──


def is_place(latitude, longitude):
    """Whether there is such a point on the earth."""
    return latitude is not None and longitude is not None and -90 <= latitude <= 90 and -180 <= longitude <= 180


def cell(latitude, longitude, resolution):
    return h3.latlng_to_cell(latitude, longitude, resolution) if is_place(latitude, longitude) else None


@cache
def boundary(cell_name):
    """The corners as (longitude, latitude), counter-clockwise, the first again at the end."""
    corners = [(longitude, latitude) for latitude, longitude in h3.cell_to_boundary(cell_name)]
    centre = h3.cell_to_latlng(cell_name)[1]
    # Across the 180th meridian the outline keeps its shape.
    corners = [(longitude - 360 * round((longitude - centre) / 360), latitude) for longitude, latitude in corners]
    return [*corners, corners[0]]


def distance_m(from_latitude, from_longitude, to_latitude, to_longitude):
    """Along the great circle: from the chord between two points on the unit sphere."""
    if not is_place(from_latitude, from_longitude) or not is_place(to_latitude, to_longitude):
        return None

    def point(latitude, longitude):
        latitude, longitude = math.radians(latitude), math.radians(longitude)
        return (math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude))

    chord = math.dist(point(from_latitude, from_longitude), point(to_latitude, to_longitude))
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, chord / 2))


# ── Numbers ──


def known(values):
    return [value for value in values if value is not None]


def mean(values):
    values = known(values)
    return math.fsum(values) / len(values) if values else None


def percentile(values, share):
    """SQL's percentile_cont: interpolated between neighbours."""
    values = sorted(known(values))
    if not values:
        return None
    place = Fraction(share) * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * float(place - below)


def ratio(part, whole):
    return float(Fraction(part) / Fraction(whole)) if whole and part is not None else None


def total(values):
    """The sum of amounts; unknown ones do not count."""
    return sum(known(values), Decimal("0.00"))


def total_known(values):
    """The same, and unknown if all are."""
    values = known(values)
    return total(values) if values else None


def rounded(amount, count):
    """An amount by a count, to the cent, half away from zero."""
    if amount is None or not count:
        return None
    exact = Fraction(amount) / count
    cents = math.floor(abs(exact) * 100 + Fraction(1, 2))
    return Decimal(cents if exact >= 0 else -cents).scaleb(-2).quantize(Decimal("0.01"), ROUND_HALF_UP)


def groups(rows, key):
    found = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def most_frequent(values, ties=None):
    """The value that most have; of equals the one that `ties` (value -> sortable) puts first, as a rule the smallest."""
    counts = Counter(known(values))
    if not counts:
        return None
    return min(counts, key=lambda value: (-counts[value], (ties or (lambda same: same))(value)))

"""Compares what a mart holds with what it must hold, key by key and column by column."""

import json
import math
import re
from decimal import Decimal

# Doubles may differ by so much of themselves, and means of nine decimals by half of the last one.
RELATIVE = 1e-9
ABSOLUTE = 1e-9
SHOWN_MAX = 5


def outline(wkt):
    """The corners of a polygon's only ring."""
    found = re.fullmatch(r"POLYGON ?\(\(([^()]*)\)\)", wkt)
    if not found:
        raise ValueError("an outline is no polygon of one ring")
    return [tuple(map(float, corner.split())) for corner in found.group(1).split(",")]


def close(found, expected):
    return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def same_ring(found, expected):
    """Equal corners in equal direction, wherever the ring begins."""
    found, expected = found[:-1] if found[0] == found[-1] else [], expected[:-1]
    if len(found) != len(expected):
        return False
    # A ring across the 180th meridian may be told from either side.
    turns = 360 * round((found[0][0] - expected[0][0]) / 360)
    expected = [(longitude + turns, latitude) for longitude, latitude in expected]
    return any(
        all(close(x, a) and close(y, b) for (x, y), (a, b) in zip(found, expected[turn:] + expected[:turn])) for turn in range(len(expected))
    )


def same(words, column, found, expected):
    if found is None or expected is None:
        return found is None and expected is None
    if column == "boundary_wkt":
        return same_ring(outline(found), expected)
    if column == "opening_hours":
        return json.loads(found) == json.loads(expected)
    if words == "double":
        return close(found, expected)
    if words.startswith("decimal"):
        return isinstance(expected, Decimal) and found == expected
    if words == "boolean":
        return found is bool(expected)
    return type(found) is type(expected) and found == expected


class Comparison:
    """What was compared of one mart, and where it differs."""

    def __init__(self, mart):
        self.mart, self.rows, self.values, self.differences, self.counts = mart, 0, 0, [], {}

    def note(self, what, key, detail=""):
        """Counts a difference; the first ones of a kind are shown, by their keys."""
        self.counts[what] = self.counts.get(what, 0) + 1
        if self.counts[what] <= SHOWN_MAX:
            shown = ", ".join(f"{column}={value}" for column, value in key.items())
            self.differences.append(f"{self.mart}: {what}: {shown}{detail}")


def compare(mart, contract, found, expected, show_values, skip=lambda column, row: False):
    """`contract` has the key and the columns. Values are shown only if asked for; keys always are."""
    result = Comparison(mart)
    key, columns = contract["key"], {name: column["type"] for name, column in contract["columns"].items()}

    def keyed(rows, whose):
        by_key = {}
        for row in rows:
            identity = tuple(row[column] for column in key)
            if identity in by_key:
                result.note(f"key twice in {whose}", dict(zip(key, identity)))
            by_key[identity] = row
        return by_key

    for row in expected:
        if lacking := sorted(set(columns) - set(row)):
            raise ValueError(f'the oracle\'s "{mart}" lacks the columns {", ".join(lacking)}')
    found, expected = keyed(found, "the mart"), keyed(expected, "the oracle")
    for identity, row in expected.items():
        shown = dict(zip(key, identity))
        other = found.get(identity)
        if other is None:
            result.note("row missing", shown)
            continue
        result.rows += 1
        for column, words in columns.items():
            if skip(column, row):
                continue
            result.values += 1
            if not same(words, column, other[column], row[column]):
                detail = f": is {other[column]!r}, should be {row[column]!r}" if show_values else ""
                result.note(f'column "{column}"', shown, detail)
    for identity in found:
        if identity not in expected:
            result.note("row too many", dict(zip(key, identity)))
    for what, count in result.counts.items():
        if count > SHOWN_MAX:
            result.differences.append(f"{mart}: {what}: {count} in all")
    return result

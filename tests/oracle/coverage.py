"""The coverage maps."""

import collections
import datetime
from fractions import Fraction

import h3
from measures import (
    DAY_US, NO_CURRENCY, boundary, cell, distance_m, groups, known, local_date, mean, most_frequent, percentile, ratio, rounded, total,
    total_known,
)  # fmt: skip


def counted(orders):
    return {
        "orders": len(orders),
        "completed": sum(row["is_completed"] for row in orders),
        "cancelled": sum(row["is_cancelled"] for row in orders),
        "late_orders": sum(row["is_late"] for row in orders),
    }


def place(cell_name):
    latitude, longitude = h3.cell_to_latlng(cell_name)
    return {"cell_latitude": latitude, "cell_longitude": longitude, "boundary_wkt": boundary(cell_name)}


def late_rate(orders):
    """Late ones by completed ones of which it can be told."""
    told = [row for row in orders if row["is_completed"] and row["promised_at"] is not None and row["delivered_at"] is not None]
    return Fraction(sum(row["is_late"] for row in told), len(told)) if told else None


def located(row):
    return row["fulfilment"] == "delivery" and cell(row["latitude"], row["longitude"], 0) is not None


def coverage_orders(world):
    resolutions = [int(text) for text in world.parameters["resolutions"].split(",")]
    placed = []
    for row in world.marts["orders"]:
        if located(row) and row["business_date"] is not None:
            finest = cell(row["latitude"], row["longitude"], max(resolutions))
            for resolution in resolutions:
                key = (row["business_date"], resolution, h3.cell_to_parent(finest, resolution), row["currency"] or NO_CURRENCY)
                placed.append((key, row))
    made = []
    for (date, resolution, cell_name, currency), pairs in groups(placed, lambda pair: pair[0]).items():
        orders = [row for _, row in pairs]
        durations = [row["delivery_minutes"] for row in orders]
        made.append({
            "business_date": date, "resolution": resolution, "cell": cell_name, "currency": currency,
            **counted(orders),
            "revenue": total_known(row["revenue"] for row in orders),
            "customers": len(set(known(row["customer_id"] for row in orders))),
            "new_customers": sum(row["is_new_customer"] for row in orders),
            "delivery_minutes_mean": mean(durations),
            "delivery_minutes_p50": percentile(durations, "0.5"),
            "delivery_minutes_p90": percentile(durations, "0.9"),
            "store_distance_mean_m": mean(row["store_distance_m"] for row in orders),
            "stores": len(set(known(row["store_id"] for row in orders))),
            "top_store_id": most_frequent(row["store_id"] for row in orders),
            **place(cell_name),
        })  # fmt: skip
    return made


def coverage_stores(world):
    radii = {row["id"]: row["delivery_radius_m"] for row in world.sources.stores}
    deliveries = groups(world.marts["deliveries"], lambda row: row["order_id"])
    orders = [row for row in world.marts["orders"] if row["business_date"] is not None and row["store_id"] is not None]
    # The cells of the coverage map: H3's do not nest exactly, and the map's coarse ones are parents of its fine ones.
    map_cell = lambda row: h3.cell_to_parent(cell(row["latitude"], row["longitude"], 9), 8)  # noqa: E731
    # Which stores served a cell on a date.
    serving = {}
    for row in orders:
        if located(row):
            serving.setdefault((row["business_date"], map_cell(row)), set()).add(row["store_id"])
    made = []
    for (date, store_id, currency), rows in groups(
        orders, lambda row: (row["business_date"], row["store_id"], row["currency"] or NO_CURRENCY)
    ).items():
        counts = counted(rows)
        revenue = total_known(row["revenue"] for row in rows)
        delivered = [row for row in rows if located(row)]
        cells = {map_cell(row) for row in delivered}
        measured = [row for row in delivered if row["store_distance_m"] is not None and radii.get(store_id) is not None]
        made.append({
            "business_date": date, "store_id": store_id, "currency": currency,
            **counts,
            "revenue": revenue,
            "average_order_value": rounded(revenue, counts["completed"]),
            "cancel_rate": ratio(counts["cancelled"], counts["orders"]),
            "late_rate": ratio(late_rate(rows), 1),
            "delivery_minutes_p50": percentile((row["delivery_minutes"] for row in rows), "0.5"),
            "delivery_minutes_p90": percentile((row["delivery_minutes"] for row in rows), "0.9"),
            "preparation_minutes_p50": percentile((row["preparation_minutes"] for row in rows), "0.5"),
            "preparation_minutes_p90": percentile((row["preparation_minutes"] for row in rows), "0.9"),
            "courier_minutes_mean": mean(way["courier_minutes"] for row in rows for way in deliveries.get(row["order_id"], [])),
            "cells": len(cells),
            "reach_p95_m": percentile((row["store_distance_m"] for row in delivered), "0.95"),
            "inside_radius_share": ratio(sum(row["store_distance_m"] <= radii[store_id] for row in measured), len(measured)),
            "shared_cells_share": ratio(sum(len(serving[date, name]) > 1 for name in cells), len(cells)),
            "rating_mean": mean(row["rating_stars"] for row in rows),
        })  # fmt: skip
    return made


def coverage_gaps(world):
    resolution = int(world.parameters["gap_resolution"])
    cancel_limit, late_limit = (Fraction(int(world.parameters[name]), 100) for name in ("gap_cancel_percent", "gap_late_percent"))
    open_stores = []
    for row in world.sources.stores:
        today = local_date(world.as_of, row["time_zone"])
        opened = row["opened_on"] is None or row["opened_on"] <= today
        if opened and (row["closed_on"] is None or row["closed_on"] >= today):
            open_stores.append(row)
    recent = [
        row
        for row in world.marts["orders"]
        if located(row) and row["placed_at"] is not None and world.as_of - 28 * DAY_US < row["placed_at"] <= world.as_of
    ]
    made = []
    for cell_name, rows in groups(recent, lambda row: cell(row["latitude"], row["longitude"], resolution)).items():
        where = place(cell_name)
        counts = counted(rows)
        attempts = counts.pop("orders")
        late = late_rate(rows)
        ways = [(distance_m(store["lat"], store["lng"], where["cell_latitude"], where["cell_longitude"]), store) for store in open_stores]
        ways = [(way, store) for way, store in ways if way is not None]
        nearest = min(ways, key=lambda way: (way[0], way[1]["id"]), default=(None, {"id": None}))
        reaching = sum(way <= (store["delivery_radius_m"] or 0) for way, store in ways)
        cancel = Fraction(counts["cancelled"], attempts)
        flags = {
            "is_out_of_reach": reaching == 0,
            "is_cancelled_often": cancel > cancel_limit,
            "is_late_often": late is not None and late > late_limit,
        }
        if not any(flags.values()):
            continue
        currency = most_frequent(row["currency"] or NO_CURRENCY for row in rows)
        made.append({
            "cell": cell_name, "attempts": attempts, **counts,
            "customers": len(set(known(row["customer_id"] for row in rows))),
            "cancel_rate": float(cancel), "late_rate": None if late is None else float(late), **flags,
            "nearest_store_id": nearest[1]["id"], "nearest_store_m": nearest[0], "stores_in_reach": reaching,
            "currency": currency,
            "lost_revenue": total(
                row["total"] for row in rows if row["is_cancelled"] and (row["currency"] or NO_CURRENCY) == currency
            ),
            **where,
        })  # fmt: skip
    made.sort(key=lambda row: (-(row["cancelled"] + row["late_orders"]), -row["attempts"], row["cell"]))
    for rank, row in enumerate(made, 1):
        row["opportunity_rank"] = rank
    return made


def families(rows, resolutions):
    """Cells of one day and currency by the cell around them; those of the coarsest resolution by None."""
    found = {}
    for row in rows:
        coarser = max((one for one in resolutions if one < row["resolution"]), default=None)
        found.setdefault(None if coarser is None else h3.cell_to_parent(row["cell"], coarser), []).append(row)
    return found


def suppressed_cells(rows, resolutions, least):
    """Top down: the cells of one day and currency that show nothing. None if nothing could be shown at all."""
    below = families(rows, resolutions)
    finest = max(resolutions)
    within = collections.Counter(
        h3.cell_to_parent(row["cell"], coarser) for row in rows if row["resolution"] == finest for coarser in resolutions if coarser < finest
    )

    def is_small(row):
        # As many orders as finest cells: each of them has one.
        return row["customers"] < least or row["orders"] == within[row["cell"]]

    if all(map(is_small, below[None])):
        return None
    hidden, waiting = set(), [None]
    while waiting:
        around = waiting.pop()
        children = below.get(around, [])
        waiting.extend(child["cell"] for child in children)
        if around in hidden:
            hidden.update(child["cell"] for child in children)
            continue
        small = {child["cell"] for child in children if is_small(child)}
        others = [child for child in children if child["cell"] not in small]
        hidden |= small
        if small and others:
            hidden.add(min(others, key=lambda child: (child["customers"], child["cell"]))["cell"])
    return hidden


SHOWN_OF_ALL = {"business_date", "resolution", "cell", "currency", "cell_latitude", "cell_longitude", "boundary_wkt"}


def coverage_orders_published(world):
    least = int(world.parameters["k_anonymity"])
    resolutions = {int(text) for text in world.parameters["resolutions"].split(",")}
    made = []
    for _, rows in groups(world.marts["coverage_orders"], lambda row: (row["business_date"], row["currency"])).items():
        hidden = suppressed_cells(rows, resolutions, least) if least > 1 else set()
        if hidden is None:
            continue
        for row in rows:
            gone = row["cell"] in hidden
            made.append({name: None if gone and name not in SHOWN_OF_ALL else value for name, value in row.items()} | {"suppressed": gone})
    return made


def coverage_gaps_published(world):
    least = int(world.parameters["k_anonymity"])
    first, last = (
        datetime.datetime.fromtimestamp(instant // 1_000_000, datetime.timezone.utc).date() for instant in (world.as_of - 28 * DAY_US, world.as_of)
    )
    counts = {"attempts": "orders", "completed": "completed", "cancelled": "cancelled", "late_orders": "late_orders"}
    days = groups(
        (row for row in world.marts["coverage_orders_published"] if first <= row["business_date"] <= last), lambda row: row["cell"]
    )
    made = []
    for row in world.marts["coverage_gaps"]:
        if least <= 1:
            made.append(row | {"suppressed": False})
        elif row["customers"] >= least:
            shown = days.get(row["cell"], [])
            adds_up = shown and not any(day["suppressed"] for day in shown)
            adds_up = adds_up and all(row[name] == sum(day[of] for day in shown) for name, of in counts.items())
            gone = set() if adds_up else {*counts, "cancel_rate", "late_rate"}
            made.append({name: None if name in gone else value for name, value in row.items()} | {"suppressed": not adds_up})
    if least > 1:
        made.sort(key=lambda row: (-row["customers"], row["cell"]))
        for rank, row in enumerate(made, 1):
            row["opportunity_rank"] = rank
    return made

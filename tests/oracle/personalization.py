"""What is known of customers, and whom to greet."""

import datetime
from collections import Counter
from fractions import Fraction
from itertools import pairwise

from base import keyed_hash
from measures import (
    DAY_US, NO_CURRENCY, birthday_in, daypart, groups, local_date, mean, most_frequent, percentile, plus_days, ratio, rounded,
    total, total_known, wall_clock,
)  # fmt: skip


def completed(world, days=None):
    """Completed orders up to the as-of, of the last so many days."""
    since = None if days is None else world.as_of - days * DAY_US
    return [
        row
        for row in world.marts["orders"]
        if row["is_completed"] and row["placed_at"] is not None and row["placed_at"] <= world.as_of and (since is None or row["placed_at"] > since)
    ]


def shown_at_store(world, row):
    """The wall clock of the order's store when it was placed."""
    store = world.sources.stores_by_id.get(row["store_id"], {})
    return wall_clock(row["placed_at"], store.get("time_zone"))


DAYPARTS = ("morning", "lunch", "afternoon", "evening", "night")


def staying(world):
    return [row for row in world.sources.customers if row["deleted_at"] is None]


def fifths(values):
    """The fifth of each key by its value, 1 the least; equal ones share the lower."""
    ordered = sorted(values.values())
    lower = {}
    for place, value in enumerate(ordered):
        lower.setdefault(value, place)
    return {key: 1 + 5 * lower[value] // len(ordered) for key, value in values.items()}


def customer_features(world):
    ever = groups((row for row in completed(world) if row["customer_id"] is not None), lambda row: row["customer_id"])
    accounts = {row["customer_id"]: row for row in world.sources.accounts}
    made = {}
    for customer in staying(world):
        mine = sorted(ever.get(customer["id"], []), key=lambda row: row["placed_at"])
        year, quarter = (
            [row for row in mine if row["placed_at"] > world.as_of - days * DAY_US] for days in (365, 90)
        )
        first, last = (mine[0]["placed_at"], mine[-1]["placed_at"]) if mine else (None, None)
        silent = None if last is None else world.as_of - last
        gap = percentile([(after["placed_at"] - before["placed_at"]) / DAY_US for before, after in pairwise(mine)], "0.5")
        latest = {}
        for row in year:
            latest[row["channel"]] = latest[row["currency"] or NO_CURRENCY] = row["placed_at"]
        currency = most_frequent((row["currency"] or NO_CURRENCY for row in year), lambda code: (-latest[code], code))
        told = [row for row in year if (row["currency"] or NO_CURRENCY) == currency]
        revenue = total_known(row["revenue"] for row in told)
        if not mine:
            stage = "never"
        elif world.as_of - first <= 30 * DAY_US:
            stage = "new"
        elif silent > 90 * DAY_US:
            stage = "lapsed"
        elif gap is not None and silent / DAY_US > 2 * gap:
            stage = "at_risk"
        else:
            stage = "active"
        account = accounts.get(customer["id"], {})
        made[customer["id"]] = {
            "customer_id": customer["id"],
            "lifecycle_stage": stage,
            "first_placed_at": first,
            "last_placed_at": last,
            "recency_days": None if silent is None else silent // DAY_US,
            "orders": len(mine),
            "orders_90_days": len(quarter),
            "orders_365_days": len(year),
            "currency": currency,
            "revenue_90_days": total(row["revenue"] for row in told if row in quarter) if told else None,
            "revenue_365_days": revenue,
            "average_basket": rounded(revenue, len(told)),
            "gap_days_median": gap,
            "favourite_store_id": most_frequent(row["store_id"] for row in year),
            "favourite_channel": most_frequent((row["channel"] for row in year), lambda channel: (-latest[channel], channel)),
            "favourite_daypart": most_frequent((daypart(shown_at_store(world, row)) for row in year), DAYPARTS.index),
            "favourite_weekday": most_frequent(row["business_date"] and row["business_date"].isoweekday() for row in year),
            "discount_share": ratio(total(row["discount"] for row in told), total_known(row["subtotal"] for row in told)),
            "refund_share": ratio(total(row["refunded"] for row in told), total_known(row["total"] for row in told)),
            "rating_mean": mean(row["rating_stars"] for row in year),
            "loyalty_tier": account.get("tier"),
            "loyalty_points": account.get("points_balance"),
        }
    scored = {key: row for key, row in made.items() if row["orders_365_days"]}
    recency = fifths({key: row["last_placed_at"] for key, row in scored.items()})
    frequency = fifths({key: row["orders_365_days"] for key, row in scored.items()})
    monetary = {}
    for rows in groups(scored.values(), lambda row: row["currency"]).values():
        monetary |= fifths({row["customer_id"]: row["revenue_365_days"] for row in rows if row["revenue_365_days"] is not None})
    for key, row in made.items():
        row |= {"recency_score": recency.get(key), "frequency_score": frequency.get(key), "monetary_score": monetary.get(key)}
    return list(made.values())


def categories_of(world):
    """The categories of each order."""
    found = {}
    for item in world.marts["order_items"]:
        if item["category"] is not None:
            found.setdefault(item["order_id"], set()).add(item["category"])
    return found


def values_of(world, row, categories, articles):
    """What an order has, as (kind, value)."""
    yield from (("category", value) for value in categories.get(row["order_id"], ()))
    yield from (("sku", value) for value in articles.get(row["order_id"], ()))
    if row["store_id"] is not None:
        yield ("store", str(row["store_id"]))
    yield ("daypart", daypart(shown_at_store(world, row)))


def valued_orders(world):
    """Completed orders of the last 365 days of customers who have not left, each with what it has."""
    categories, articles = categories_of(world), {}
    for item in world.marts["order_items"]:
        if item["sku"] is not None:
            articles.setdefault(item["order_id"], set()).add(item["sku"])
    here = {row["id"] for row in staying(world)}
    return [(row, set(values_of(world, row, categories, articles))) for row in completed(world, 365) if row["customer_id"] in here]


def customer_values(world):
    found = {}
    for row, values in valued_orders(world):
        for kind, value in values:
            orders, last = found.get((row["customer_id"], kind, value), (0, 0))
            found[row["customer_id"], kind, value] = (orders + 1, max(last, row["placed_at"]))
    return [
        {"customer_id": customer, "kind": kind, "value": value, "orders": orders, "last_placed_at": last}
        for (customer, kind, value), (orders, last) in found.items()
    ]


def category_affinities(world):
    least = int(world.parameters["affinity_orders_min"])
    categories = categories_of(world)
    baskets = [categories.get(row["order_id"], set()) for row, _ in valued_orders(world)]
    single = Counter(category for basket in baskets for category in basket)
    both = Counter((has, wants) for basket in baskets for has in basket for wants in basket if has != wants)
    return [
        {
            "has": has, "wants": wants, "orders": orders,
            "confidence": ratio(orders, single[has]),
            "lift": float(Fraction(orders, single[has]) / Fraction(single[wants], len(baskets))),
        }
        for (has, wants), orders in both.items()
        if orders >= least
    ]  # fmt: skip


def customer_preferences(world):
    orders = valued_orders(world)
    mine = Counter(row["customer_id"] for row, _ in orders)
    everybody = Counter(value for _, values in orders for value in values)
    values = world.marts["customer_values"]
    made = []
    for (customer, kind), rows in groups(values, lambda row: (row["customer_id"], row["kind"])).items():
        rows = sorted(rows, key=lambda row: (-row["orders"], -row["last_placed_at"], row["value"]))
        for place, row in enumerate(rows[:5], 1):
            share = Fraction(row["orders"], mine[customer])
            common = Fraction(everybody[kind, row["value"]], len(orders))
            made.append({**row, "place": place, "share": float(share), "lift": float(share / common)})
    affinities = groups(world.marts["category_affinities"], lambda row: row["has"])
    for customer, rows in groups((row for row in values if row["kind"] == "category"), lambda row: row["customer_id"]).items():
        had = {row["value"]: row for row in rows}
        lately = {value for value, row in had.items() if row["last_placed_at"] >= world.as_of - 60 * DAY_US}
        best = {}
        for category in had:
            for pair in affinities.get(category, []):
                if pair["lift"] > 1 and pair["wants"] not in lately:
                    best[pair["wants"]] = max(pair["lift"], best.get(pair["wants"], 0))
        if best:
            wanted = min(best, key=lambda value: (-best[value], value))
            before = had.get(wanted, {"orders": 0, "last_placed_at": None})
            made.append({
                "customer_id": customer, "kind": "next_best_category", "value": wanted, "place": 1, "orders": before["orders"],
                "share": ratio(before["orders"], mine[customer]), "last_placed_at": before["last_placed_at"], "lift": best[wanted],
            })  # fmt: skip
    return made


def birthdays_due(world):
    parameters = world.parameters
    orders = groups(completed(world, 365), lambda row: row["customer_id"])
    items = groups(world.marts["order_items"], lambda row: row["order_id"])
    made = []
    for customer in staying(world):
        birth_date = customer["birth_date"]
        mine = orders.get(customer["id"])
        if not customer["marketing_opt_in"] or birth_date is None or not mine:
            continue
        today = local_date(world.as_of, customer["time_zone"])
        ahead = [today + datetime.timedelta(days) for days in range(int(parameters["horizon_days"]) + 1)]
        birthday = next((day for day in ahead if day == birthday_in(day.year, birth_date, parameters["leap_day"])), None)
        if birthday is None or birthday.year - birth_date.year < int(parameters["minimum_age"]):
            continue
        latest = {}
        for row in mine:
            latest[row["store_id"]] = max(row["placed_at"], latest.get(row["store_id"], 0))
        quantities = Counter()
        for row in mine:
            for item in items.get(row["order_id"], []):
                if item["category"] is not None:
                    quantities[item["category"]] += item["quantity"] or 0
        code = keyed_hash(f"birthday {customer['id']} {birthday.isoformat()}", world.key)
        made.append({
            "customer_id": customer["id"], "birthday_on": birthday, "age_turned": birthday.year - birth_date.year, "today": today,
            # How a code is made is a decision of the program, which no definition tells.
            "offer_code": "B" + code[:15].upper(),
            "valid_from": birthday, "valid_to": plus_days(birthday, int(parameters["offer_valid_days"])),
            "favourite_store_id": most_frequent((row["store_id"] for row in mine), lambda store: (-latest[store], store)),
            "favourite_category": min(quantities, key=lambda category: (-quantities[category], category), default=None),
        })  # fmt: skip
    return made


def offers(world):
    nothing = {"rule": None, "discount_kind": None, "discount": None, "currency": None}
    made = [{**nothing, **row} for row in world.previous["offers"]]
    codes = {row["offer_code"] for row in made}
    for row in world.marts["birthdays_due"]:
        # An offer that has begun within the last 330 days, for another birthday, was a greeting.
        greeted = any(
            offer["customer_id"] == row["customer_id"]
            and offer["kind"] == "birthday"
            and offer["valid_from"] != row["valid_from"]
            and plus_days(row["today"], -330) <= offer["valid_from"] <= row["today"]
            for offer in world.previous["offers"]
        )
        if row["offer_code"] not in codes and not greeted:
            made.append({
                "offer_code": row["offer_code"], "kind": "birthday", "customer_id": row["customer_id"], "granted_at": world.as_of,
                "valid_from": row["valid_from"], "valid_to": row["valid_to"], **nothing,
            })  # fmt: skip
    for row in world.marts.get("discounts_due", []):
        if not row["is_held_out"] and row["offer_code"] not in codes:
            given = {name: row[name] for name in ("offer_code", "customer_id", "valid_from", "valid_to", *nothing)}
            made.append({**given, "kind": "discount", "granted_at": world.as_of})
    return made


def segment_birthdays(world):
    granted = {row["offer_code"] for row in world.marts["offers"]}
    return [
        {column: value for column, value in row.items() if column != "today"}
        for row in world.marts["birthdays_due"]
        if row["offer_code"] in granted
    ]

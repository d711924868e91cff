"""What stores had to do, the analysts' flat view, and where orders and payments contradict each other."""

from decimal import Decimal

from base import NOTHING
from coverage import counted
from measures import NO_CURRENCY, groups, known, mean, total, total_known, wall_clock


def operations_hourly(world):
    couriers = groups(world.marts["deliveries"], lambda row: row["order_id"])
    stores = world.sources.stores_by_id
    placed = []
    for row in world.marts["orders"]:
        if row["store_id"] is not None and row["placed_at"] is not None:
            shown = wall_clock(row["placed_at"], stores.get(row["store_id"], {}).get("time_zone"))
            placed.append(((shown.date(), shown.hour, row["store_id"], row["currency"] or NO_CURRENCY), row))
    made = []
    for (date, hour, store_id, currency), pairs in groups(placed, lambda pair: pair[0]).items():
        rows = [row for _, row in pairs]
        made.append({
            "local_date": date, "local_hour": hour, "store_id": store_id, "currency": currency,
            **counted(rows),
            "revenue": total_known(row["revenue"] for row in rows),
            "preparation_minutes_mean": mean(row["preparation_minutes"] for row in rows),
            "active_couriers": len(set(known(way["courier_id"] for row in rows for way in couriers.get(row["order_id"], [])))),
        })  # fmt: skip
    return made


def customer_order_history(world):
    customers = {row["customer_id"]: row for row in world.marts["customers"]}
    stores = world.sources.stores_by_id
    payments = groups((row for row in world.marts["payments"] if row["status"] == "succeeded"), lambda row: row["order_id"])
    deliveries = groups(world.marts["deliveries"], lambda row: row["order_id"])
    numbers = {}
    for rows in groups(world.marts["orders"], lambda row: row["customer_id"]).values():
        rows = sorted(rows, key=lambda row: (row["placed_at"] is None, row["placed_at"], row["order_id"]))
        numbers |= {row["order_id"]: number for number, row in enumerate(rows, 1)}
    columns = (
        "order_id order_number customer_id store_id business_date placed_at channel fulfilment status is_completed is_cancelled is_late "
        "is_new_customer item_count total discount tip refunded revenue currency delivery_minutes preparation_minutes rating_stars"
    ).split()
    made = []
    for row in world.marts["orders"]:
        customer, store = customers.get(row["customer_id"], {}), stores.get(row["store_id"], {})
        # Amounts of different currencies are never added.
        paid = [entry for entry in payments.get(row["order_id"], []) if entry["currency"] == row["currency"]]
        captures = sorted((entry for entry in paid if entry["kind"] == "capture"), key=lambda entry: (entry["created_at"], entry["transaction_id"]))
        ways = deliveries.get(row["order_id"], [])
        # The one who arrived, or was sent last.
        way = max(
            ways,
            key=lambda way: (way["delivered_at"] is not None, way["delivered_at"] or 0, way["assigned_at"] or 0, way["delivery_id"]),
            default={},
        )
        made.append({
            **{column: row[column] for column in columns},
            "customer_order_number": numbers[row["order_id"]],
            "customer_tier": customer.get("tier"), "customer_since": customer.get("created_at"),
            "store_name": store.get("name"), "store_brand": store.get("brand"), "store_city": store.get("city"),
            "captured": total(entry["amount"] for entry in captures),
            "payment_method": captures[0]["method"] if captures else None,
            "payment_provider": captures[0]["provider"] if captures else None,
            "payment_fees": sum((entry["fee"] for entry in paid), Decimal("0.0000")) if paid else None,
            "courier_id": way.get("courier_id"), "courier_minutes": way.get("courier_minutes"),
            "courier_distance_m": way.get("distance_m"),
            "delivery_cost": total_known(way["cost"] for way in ways),
            "deliveries": len(ways),
        })  # fmt: skip
    return made


def finance_reconciliation(world):
    orders = {row["order_id"]: row for row in world.marts["orders"]}
    moved = groups(
        (row for row in world.marts["payments"] if row["status"] == "succeeded" and row["kind"] in ("capture", "refund")),
        lambda row: (row["order_id"] if row["order_id"] is not None else f"transaction {row['transaction_id']}", row["currency"] or NO_CURRENCY),
    )
    captured_orders = {row["order_id"] for row in world.marts["payments"] if row["status"] == "succeeded" and row["kind"] == "capture"}
    made = []

    def find(finding, subject, currency, order_id, amounts, refunded, at_stake):
        order = orders.get(order_id, {})
        made.append({
            "subject": subject, "currency": currency, "finding": finding, "order_id": order_id, "store_id": order.get("store_id"),
            "business_date": order.get("business_date"), "total": order.get("total"), "captures": len(amounts),
            "captured": total(amounts), "refunded": refunded, "at_stake": at_stake,
        })  # fmt: skip

    for (subject, currency), rows in moved.items():
        order_id = rows[0]["order_id"]
        order = orders.get(order_id)
        amounts = [row["amount"] for row in rows if row["kind"] == "capture"]
        captured = total(amounts)
        refunded = total(row["amount"] for row in rows if row["kind"] == "refund")
        told = lambda finding, at_stake: find(finding, subject, currency, order_id, amounts, refunded, at_stake)  # noqa: E731, B023
        if order is None:
            if amounts:
                told("capture_without_order", captured)
            continue
        if currency != (order["currency"] or NO_CURRENCY):
            if amounts:
                told("currency_mismatch", captured)
            continue
        if len(amounts) > 1:
            told("double_capture", captured - max(amounts))
        elif amounts and order["total"] is not None and captured != order["total"]:
            told("amount_mismatch", abs(captured - order["total"]))
        if order["total"] is not None and refunded > order["total"]:
            told("refund_over_total", refunded - order["total"])
    for order in orders.values():
        # Where nothing was to be paid, nothing is missing.
        if order["is_completed"] and order["order_id"] not in captured_orders and (order["total"] or NOTHING) > 0:
            currency = order["currency"] or NO_CURRENCY
            refunded = total(row["amount"] for row in moved.get((order["order_id"], currency), []))
            find("missing_capture", order["order_id"], currency, order["order_id"], [], refunded, order["total"])
    return made


def loyalty_liability(world):
    orders = {row["order_id"]: row for row in world.marts["orders"]}
    stores = world.sources.stores_by_id
    entries = []
    for row in world.marts["loyalty_ledger"]:
        if row["created_at"] is None:
            continue
        store_id = orders.get(row["order_id"], {}).get("store_id") or 0
        shown = wall_clock(row["created_at"], stores.get(store_id, {}).get("time_zone"))
        entries.append((store_id, shown.date().replace(day=1), row["points"]))
    made = []
    for store_id, mine in groups(entries, lambda entry: entry[0]).items():
        outstanding = 0
        for month, rows in sorted(groups(mine, lambda entry: entry[1]).items()):
            points = known(entry[2] for entry in rows)
            earned, burnt = sum(value for value in points if value > 0), -sum(value for value in points if value < 0)
            outstanding += earned - burnt
            made.append({
                "store_id": store_id, "month": month, "entries": len(rows), "earned": earned, "burnt": burnt, "outstanding": outstanding,
            })  # fmt: skip
    return made

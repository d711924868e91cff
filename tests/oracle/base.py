"""The base marts: the things themselves, typed, with their money settled."""

import hashlib
import hmac
import json
from decimal import Decimal

from measures import business_date, cell, distance_m, minutes, total

NOTHING = Decimal("0.00")
COMPLETED = ("delivered", "picked_up")
CANCELLED = ("cancelled", "failed")


def keyed_hash(text, key):
    return None if text is None else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def zone_of(stores, store_id):
    return stores[store_id]["time_zone"] if store_id in stores else None


def first_time(history, status):
    """When a status was first reached, in the history's order."""
    return next((entry["at"] for entry in history or [] if entry["status"] == status), None)


def customer_first_orders(world):
    firsts = {}
    for row in world.sources.orders.values():
        if row["status"] in COMPLETED and row["customer_id"] is not None and row["placed_at"] is not None:
            mine = (row["placed_at"], row["order_id"])
            firsts[row["customer_id"]] = min(mine, firsts.get(row["customer_id"], mine))
    return [{"customer_id": customer, "order_id": order, "placed_at": placed} for customer, (placed, order) in firsts.items()]


def orders(world):
    refunds = {}
    for row in world.sources.transactions:
        if row["kind"] == "refund" and row["status"] == "succeeded":
            key = (row["order_id"], row["currency"])
            refunds[key] = refunds.get(key, NOTHING) + row["amount"]

    first_orders = {row["order_id"] for row in customer_first_orders(world)}
    stores = world.sources.stores_by_id
    made = []
    for row in world.sources.orders.values():
        store = stores.get(row["store_id"], {})
        completed, cancelled = row["status"] in COMPLETED, row["status"] in CANCELLED
        punctual = row["delivered_at"] is None or row["promised_at"] is None or row["delivered_at"] <= row["promised_at"]
        refunded = refunds.get((row["order_id"], row["currency"]), NOTHING) if row["currency"] is not None else NOTHING
        tip = row["tip"] or NOTHING
        revenue = NOTHING
        if completed:
            revenue = None if row["total"] is None else row["total"] - tip - refunded
        handed_over = first_time(row["history"], "on_the_way")
        if handed_over is None:
            handed_over = first_time(row["history"], "picked_up")
        made.append({
            **{
                column: row[column]
                for column in (
                    "order_id", "order_number", "schema_version", "customer_id", "store_id", "channel", "fulfilment", "status",
                    "placed_at", "promised_at", "delivered_at", "updated_at", "subtotal", "total", "currency", "city", "postcode",
                    "country", "zone_id", "latitude", "longitude",
                )
            },
            **{column: row[column] or NOTHING for column in ("discount", "delivery_fee", "service_fee", "tax")},
            "is_completed": completed,
            "is_cancelled": cancelled,
            "is_late": completed and not punctual,
            "is_new_customer": row["order_id"] in first_orders,
            "business_date": business_date(row["placed_at"], store.get("time_zone"), world.parameters["business_day_starts_at"]),
            "item_count": sum(item["quantity"] or 0 for item in row["items"] or []),
            "tip": tip,
            "refunded": refunded,
            "revenue": revenue,
            "delivery_minutes": minutes(row["placed_at"], row["delivered_at"]) if completed else None,
            "preparation_minutes": minutes(first_time(row["history"], "accepted"), handed_over),
            "store_distance_m": distance_m(store.get("lat"), store.get("lng"), row["latitude"], row["longitude"]),
            "rating_stars": row["stars"],
            "promotion_count": len(row["promotions"] or []),
        })  # fmt: skip
    return made


def order_items(world):
    made = []
    for row in world.sources.orders.values():
        date = business_date(
            row["placed_at"], zone_of(world.sources.stores_by_id, row["store_id"]), world.parameters["business_day_starts_at"]
        )
        for number, item in enumerate(row["items"] or [], 1):
            modifiers = total(price for _, price in item["modifiers"] or [])
            discount = item["discount"] or NOTHING
            line_total = None
            if item["quantity"] is not None and item["unit_price"] is not None:
                line_total = item["quantity"] * (item["unit_price"] + modifiers) - discount
            made.append({
                "order_id": row["order_id"], "line_number": number, "business_date": date, "store_id": row["store_id"],
                **{column: item[column] for column in ("sku", "name", "category", "quantity", "unit_price")},
                "modifiers_amount": modifiers, "discount": discount, "line_total": line_total, "currency": row["currency"],
            })  # fmt: skip
    return made


def order_status_events(world):
    made = []
    for row in world.sources.orders.values():
        before = None
        for number, entry in enumerate(row["history"] or [], 1):
            made.append({
                "order_id": row["order_id"], "event_number": number, "store_id": row["store_id"], "status": entry["status"],
                "occurred_at": entry["at"], "actor": entry["by"], "minutes_since_previous": minutes(before, entry["at"]),
            })  # fmt: skip
            before = entry["at"]
    return made


def payments(world):
    columns = "order_id customer_id kind status method provider amount fee currency created_at updated_at".split()
    return [{"transaction_id": row["id"], **{column: row[column] for column in columns}} for row in world.sources.transactions]


def deliveries(world):
    columns = "order_id store_id courier_id status assigned_at picked_up_at delivered_at promised_at distance_m cost updated_at".split()
    return [
        {
            "delivery_id": row["id"],
            **{column: row[column] for column in columns},
            "dropoff_longitude": row["dropoff"] and row["dropoff"][0],
            "dropoff_latitude": row["dropoff"] and row["dropoff"][1],
            "courier_minutes": minutes(row["picked_up_at"], row["delivered_at"]),
        }
        for row in world.sources.deliveries
    ]


def customers(world):
    accounts = {row["customer_id"]: row for row in world.sources.accounts}
    columns = "birth_date locale time_zone marketing_opt_in created_at updated_at deleted_at".split()
    made = []
    for row in world.sources.customers:
        account = accounts.get(row["id"], {})
        made.append({
            "customer_id": row["id"],
            **{column: keyed_hash(row[column], world.key) for column in ("email", "phone", "first_name", "last_name")},
            **{column: row[column] for column in columns},
            "tags": None if row["tags"] is None else json.dumps(row["tags"], ensure_ascii=False, separators=(",", ":")),
            **{column: account.get(column) for column in ("tier", "points_balance", "joined_on")},
        })
    return made


def customers_history(world):
    """Walks each customer's former states, as a diary is kept; the statement compares sets."""
    columns = "email phone first_name last_name birth_date locale time_zone marketing_opt_in tags deleted_at tier".split()
    states = {}
    for row in sorted(world.previous["customers_history"], key=lambda row: row["valid_from"]):
        states.setdefault(row["customer_id"], []).append(dict(row))
    accounts = {row["customer_id"]: row for row in world.sources.accounts}
    present = {row["customer_id"]: row for row in world.marts["customers"]}

    for customer, diary in states.items():
        last = diary[-1]
        if customer in present or last["valid_to"] is not None:
            continue
        if last["valid_from"] < world.as_of:
            last["valid_to"] = world.as_of
        else:
            diary.pop()

    for customer, row in present.items():
        diary = states.setdefault(customer, [])
        state = {column: row[column] for column in columns}
        holds = diary[-1] if diary and diary[-1]["valid_to"] is None else None
        if holds is None:
            registered = row["created_at"] if row["created_at"] is not None and row["created_at"] <= world.as_of else world.as_of
            begun = max(world.as_of, diary[-1]["valid_to"]) if diary else registered
            diary.append({"customer_id": customer, "valid_from": begun, "valid_to": None, **state})
            continue
        different = [column for column in columns if holds[column] != state[column]]
        if not different:
            continue
        record = row if different != ["tier"] else accounts.get(customer, {})
        told = record.get("updated_at")
        begun = told if told is not None and holds["valid_from"] < told <= world.as_of else max(world.as_of, holds["valid_from"])
        if begun > holds["valid_from"]:
            holds["valid_to"] = begun
            diary.append({"customer_id": customer, "valid_from": begun, "valid_to": None, **state})
        else:
            holds.update(state)
    return [state for diary in states.values() for state in diary]


def stores(world):
    columns = "name brand city country time_zone delivery_radius_m opened_on closed_on opening_hours updated_at".split()
    return [
        {
            "store_id": row["id"],
            **{column: row[column] for column in columns},
            "latitude": row["lat"],
            "longitude": row["lng"],
            "cell": cell(row["lat"], row["lng"], 8),
        }
        for row in world.sources.stores
    ]


def loyalty_ledger(world):
    columns = "customer_id order_id points reason created_at".split()
    return [{"entry_id": row["id"], **{column: row[column] for column in columns}} for row in world.sources.ledger]

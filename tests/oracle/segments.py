"""Who has which discount, by the rules of [segments] as `docs/segments.md` tells them."""

import hashlib
import hmac
import re
from decimal import Decimal
from fractions import Fraction

from base import NOTHING, keyed_hash
from measures import DAY_US, NO_CURRENCY, local_date, plus_days
from personalization import staying

# The conditions of the repository's rules once more, over a customer's features and the lifts of the next best category. What is not
# known fits nothing.
CONDITIONS = {
    "second_order": lambda row, next_best: row["lifecycle_stage"] == "new" and row["orders"] == 1 and row["recency_days"] >= 3,
    "win_back": lambda row, next_best: row["lifecycle_stage"] in ("at_risk", "lapsed")
    and row["orders_365_days"] >= 2
    and (row["refund_share"] or 0) < 0.5,
    "champions": lambda row, next_best: all((row[name] or 0) >= 4 for name in ("recency_score", "frequency_score", "monetary_score"))
    and (row["discount_share"] or 0) < 0.3,
    "try_something_new": lambda row, next_best: row["lifecycle_stage"] == "active"
    and row["orders_90_days"] >= 2
    and next_best.get(row["customer_id"], 0) >= 1.2,
}


def cents(exact):
    """To the cent, half away from zero; amounts here are not negative."""
    return Decimal(int(exact * 100 + Fraction(1, 2))).scaleb(-2)


def is_drawn(world, rule, name, customer):
    """Whether the keyed hash of rule and customer falls into the share that is held out."""
    share = Fraction(str(rule.get("hold_out", "0%")).removesuffix("%")) / 100
    drawn = hmac.new(world.key, f"hold-out {name} {customer}".encode(), hashlib.sha256).digest()
    return int.from_bytes(drawn[:4], "big") < share * (1 << 32)


def cost_limit(rule, currency):
    """None: no limit."""
    limit = rule.get("max_expected_cost")
    limit = limit[currency] if isinstance(limit, dict) else limit
    return None if limit is None else Fraction(str(limit))


def has_currency(rule, currency):
    """Whether a rule gives anything in a currency."""
    limits = rule.get("max_expected_cost")
    return currency != NO_CURRENCY and rule.get("currency", currency) == currency and (not isinstance(limits, dict) or currency in limits)


def words(rule, row):
    return re.sub(r"\{(\w+)\}", lambda found: str(row[found.group(1)]), rule.get("reason", rule.get("description", "")))


def candidates(world, rule, name, standing, today):
    """Those whom a rule is for and nothing keeps from it, with what they are expected to cost and to bring."""
    next_best = {row["customer_id"]: row["lift"] for row in world.marts["customer_preferences"] if row["kind"] == "next_best_category"}
    offers = [row for row in world.previous["offers"] if row["customer_id"] in today]
    discounts = [row for row in offers if row["kind"] == "discount"]
    running = {row["customer_id"] for row in discounts if row["valid_to"] >= today[row["customer_id"]]}
    running |= {row["customer_id"] for row in standing}
    birthdays = [row for row in offers if row["kind"] == "birthday"] + world.marts["birthdays_due"]
    lately = {
        row["customer_id"]
        for row in discounts
        if row["rule"] == name and row["valid_from"] >= plus_days(today[row["customer_id"]], -rule.get("again_after_days", 90))
    }
    greeted = {
        row["customer_id"]
        for row in birthdays
        if row["customer_id"] in today
        and row["valid_to"] >= today[row["customer_id"]]
        and row["valid_from"] <= plus_days(today[row["customer_id"]], rule["valid_days"])
    }
    for row in world.marts["customer_features"]:
        customer = row["customer_id"]
        if customer not in today or customer in running | lately | greeted or not CONDITIONS[name](row, next_best):
            continue
        basket = row["average_basket"]
        if not basket or basket < 0 or not has_currency(rule, row["currency"]):
            continue
        given = Fraction(basket) * Fraction(str(rule["percent"])) / 100 if "percent" in rule else min(Fraction(rule["amount"]), Fraction(basket))
        days = min(max((world.as_of - row["first_placed_at"]) // DAY_US, 30), 365)
        baskets = Fraction(row["orders_365_days"] * rule["valid_days"], days)
        yield {
            "customer_id": customer, "rule": name, "discount_kind": "percent" if "percent" in rule else "amount",
            "discount": cents(Fraction(str(rule.get("percent", rule.get("amount"))))), "currency": row["currency"],
            "valid_from": today[customer], "valid_to": plus_days(today[customer], rule["valid_days"]),
            "expected_cost": cents(given * baskets), "expected_return": cents((Fraction(basket) - given) * baskets),
            "reason": words(rule, row),
        }  # fmt: skip


def in_turn(rows):
    """The best expected return of each currency first, in proportion to how many each has."""
    found = []
    for currency in {row["currency"] for row in rows}:
        mine = sorted((row for row in rows if row["currency"] == currency), key=lambda row: (-row["expected_return"], row["customer_id"]))
        found.extend((Fraction(place, len(mine)), currency, row["customer_id"], row) for place, row in enumerate(mine, 1))
    return [row for *_, row in sorted(found, key=lambda place: place[:3])]


def discounts_due(world):
    today = {row["id"]: local_date(world.as_of, row["time_zone"]) for row in staying(world) if row["marketing_opt_in"]}
    standing = [row for row in world.previous["discounts_due"] if row["customer_id"] in today and row["valid_to"] >= today[row["customer_id"]]]
    made = list(standing)
    served = set()
    for name, rule in sorted(world.rules.items(), key=lambda pair: (-pair[1]["priority"], pair[0])):
        given = [row for row in standing if row["rule"] == name]
        places = sum(not row["is_held_out"] for row in given)
        costs, ended = {}, set()
        for row in given:
            costs[row["currency"]] = costs.get(row["currency"], NOTHING) + row["expected_cost"]
        for row in in_turn(list(candidates(world, rule, name, standing, today))):
            currency, limit = row["currency"], cost_limit(rule, row["currency"])
            if row["customer_id"] in served or currency in ended:
                continue
            if limit is not None and costs.get(currency, NOTHING) + row["expected_cost"] > limit:
                ended.add(currency)
                continue
            if "max_customers" in rule and places + 1 > rule["max_customers"]:
                break
            served.add(row["customer_id"])
            row["is_held_out"] = is_drawn(world, rule, name, row["customer_id"])
            row["offer_code"] = None
            if row["is_held_out"]:
                row |= {"expected_cost": NOTHING, "expected_return": NOTHING}
            else:
                places += 1
                costs[currency] = costs.get(currency, NOTHING) + row["expected_cost"]
                # How a code is made is a decision of the program, which no definition tells.
                code = keyed_hash(f"discount {name} {row['customer_id']} {row['valid_from'].isoformat()}", world.key)
                row["offer_code"] = "D" + code[:15].upper()
            made.append(row)
    return made


def segment_discounts(world):
    zones = {row["id"]: row["time_zone"] for row in world.sources.customers}
    greeted = {
        row["customer_id"]
        for row in world.marts["offers"]
        if row["kind"] == "birthday"
        and row["customer_id"] in zones
        and row["valid_from"] <= local_date(world.as_of, zones[row["customer_id"]]) <= row["valid_to"]
    }
    codes = {row["offer_code"] for row in world.marts["offers"]}
    return [
        row
        for row in world.marts["discounts_due"]
        if row["customer_id"] not in greeted and (row["is_held_out"] or row["offer_code"] in codes)
    ]

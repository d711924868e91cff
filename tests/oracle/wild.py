"""Adds rows at the edges of every definition to a data set: ties, borders of days and years, changes of the clocks, several currencies,
guests, strangers, misfits, values that are missing. The same seed makes the same rows.

    .services/bin/python tests/oracle/wild.py --seed 5 --from DUMPS --to DIR [--later]

With --later it is the data set one day later, made over dumps of that day: some of the rows have changed, and some are new.
"""

import argparse
import datetime
import json
import random
import shutil
import struct
import sys
import uuid
from decimal import Decimal
from pathlib import Path

import measures
from bson import encode
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from sources import EPOCH_2000_US, TABLES, unpacked

STORES, CUSTOMERS, ORDERS = 16, 90, 1_400
FIRST_STORE, FIRST_ID = 9_001, 900_000_000_000
MS, DAY_MS = 1_000, 86_400_000

# Zones with changes of the clocks on many dates, halves and quarters of hours, both sides of the date line, and one that is none.
PLACES = (
    ("Europe/Warsaw", 52.2297, 21.0122), ("Europe/Warsaw", 52.2297, 21.0122), ("Europe/Warsaw", 52.2450, 21.0400),
    ("America/New_York", 40.7128, -74.0060), ("America/New_York", 40.7300, -73.9900), ("Asia/Kathmandu", 27.7172, 85.3240),
    ("Pacific/Kiritimati", 1.8721, -157.4278), ("Pacific/Honolulu", 21.3069, -157.8583), ("Australia/Lord_Howe", -31.5553, 159.0821),
    ("Pacific/Fiji", -16.7800, 179.9990), ("Pacific/Fiji", -16.7800, -179.9990), ("Arctic/Longyearbyen", 78.2232, 15.6267),
    ("Mars/Olympus", 0.0, 0.0), ("", 0.0004, -0.0004), ("America/Santiago", -33.4489, -70.6693), ("Africa/Casablanca", 33.5731, -7.5898),
)  # fmt: skip
CURRENCIES = ("PLN", "EUR", "USD", "JPY")
CATEGORIES = ("pizza", "Pizza", "żurek", "drink", "salad", "dessert", None)
STATUSES = ("placed", "accepted", "preparing", "on_the_way", "delivered", "picked_up", "cancelled", "failed", "refunded", "teleported")


class Chance(random.Random):
    """What is made by it follows from the seed and a name."""

    def __init__(self, *name):
        super().__init__("/".join(map(str, name)))

    def often(self, percent):
        return self.random() * 100 < percent

    def maybe(self, percent, value):
        """The value, and None so often in a hundred."""
        return None if self.often(percent) else value


class Wild:
    def __init__(self, seed, as_of_ms, later):
        self.seed, self.later = seed, later
        # Rows are placed around the as-of of the first day, on both days.
        self.end_ms = as_of_ms
        self.as_of_ms = as_of_ms - (DAY_MS if later else 0)
        self.today = (measures.EPOCH + datetime.timedelta(milliseconds=self.as_of_ms)).date()
        self.customers = [str(uuid.UUID(int=Chance(seed, "customer", number).getrandbits(128), version=4)) for number in range(CUSTOMERS)]
        self.orders = [ObjectId(Chance(seed, "order", number).randbytes(12)) for number in range(ORDERS + 60)]

    def changes(self, *name, percent=8):
        """Chance for a row that changes on the later day; None if it does not."""
        chance = Chance(self.seed, "later", *name)
        return chance if self.later and chance.often(percent) else None

    def updated_ms(self, chance, changed):
        """Everything happened before the as-of; what changed or is new, during the last day."""
        usual = self.as_of_ms - chance.randrange(DAY_MS, 300 * DAY_MS)
        return self.end_ms - changed.randrange(60_000, DAY_MS - 60_000) if changed else usual

    def new(self, number):
        """Chance for what belongs to an order that is new on the later day; None if it is not."""
        return Chance(self.seed, "new", number) if number >= ORDERS else None

    # ── Stores ──

    def store(self, number):
        zone, latitude, longitude = PLACES[number]
        chance = Chance(self.seed, "store", number)
        days = datetime.timedelta
        today = self.today
        return {
            "id": FIRST_STORE + number, "name": f"Wild \"{number}\"", "brand": chance.maybe(30, "Wild"), "city": "Nowhere", "country": "XX",
            "time_zone": zone, "lat": latitude, "lng": longitude,
            "delivery_radius_m": chance.choice((0, 700, 1_500, 4_000, None)),
            "opened_on": chance.choice((today - days(900), today - days(1), today, today + days(1), None)),
            "closed_on": chance.choice((None, None, None, today - days(1), today, today + days(1))),
            "opening_hours": chance.maybe(30, json.dumps({"mon": ["09:00", "23:00"], "b": 1.50, "a": None, "ż": "\u2028"})),
            "updated_at": self.updated_ms(chance, None),
        }  # fmt: skip

    # ── Customers ──

    def customer(self, number):
        chance, changed = Chance(self.seed, "customer of", number), self.changes("customer", number, percent=40)
        birthday = self.today + datetime.timedelta(chance.choice((0, 1, chance.randrange(-3, 11))))
        year = birthday.year - chance.choice((15, 16, 17, 30, 99))
        birth_date = measures.birthday_in(year, datetime.date(2000, birthday.month, birthday.day), "feb28")
        if chance.often(12):
            birth_date = datetime.date(chance.choice((1996, 2000, 2004)), 2, 29)
        row = {
            "id": self.customers[number], "email": chance.maybe(20, f"Wild+{number}@Exämple.com"), "phone": chance.maybe(50, ""),
            "first_name": chance.maybe(20, "Zoë \U0001f355"), "last_name": chance.maybe(20, " O'Neil "),
            "birth_date": chance.maybe(5, birth_date), "locale": chance.maybe(50, "pl-PL"),
            "time_zone": chance.choice((None, "Europe/Warsaw", "Pacific/Kiritimati", "Pacific/Honolulu", "Mars/Olympus", "America/New_York")),
            "marketing_opt_in": not chance.often(12),
            "tags": chance.choice((None, [], ["a"], ["\"q\"", "back\\slash", "tab\tnew\nline", "ż\U0001f355", "\u0001"])),
            "created_at": self.as_of_ms - chance.randrange(DAY_MS, 900 * DAY_MS),
            "deleted_at": self.as_of_ms - chance.randrange(0, 5 * DAY_MS) if chance.often(8) else None,
        }  # fmt: skip
        if changed:
            change = changed.choice(("birth_date",) * 4 + ("deleted_at", "opt_in", "time_zone"))
            if change == "birth_date" and row["birth_date"]:
                row["birth_date"] += datetime.timedelta(changed.choice((1, 2, 5)))
            elif change == "deleted_at":
                row["deleted_at"] = self.end_ms - 3_600_000
            elif change == "opt_in":
                row["marketing_opt_in"] = not row["marketing_opt_in"]
            else:
                row["time_zone"] = changed.choice(("Pacific/Kiritimati", "Pacific/Honolulu"))
        return {**row, "updated_at": self.updated_ms(chance, changed)}

    def account(self, number, customer):
        chance, changed = Chance(self.seed, "account", number), self.changes("account", number, percent=40)
        return {
            "customer_id": customer, "tier": changed.choice(("gold", "silver", None)) if changed else "gold",
            "points_balance": number, "joined_on": self.today, "updated_at": self.updated_ms(chance, changed),
        }  # fmt: skip

    # ── Orders ──

    def placed_ms(self, chance, zone):
        """An instant where something begins or ends."""
        of = self.as_of_ms
        kind = chance.randrange(8)
        if kind == 0:
            days = chance.choice((0, 1, 28, 30, 60, 90, 365))
            return of - days * DAY_MS + chance.choice((-1, 0, 1))
        if kind == 1:
            return of - chance.choice((3, 3, 12, 45, 100)) * DAY_MS
        if kind in (2, 3, 4):
            # On the wall clock: where business days, parts of the day, months and summer time begin and end.
            date = self.today - datetime.timedelta(chance.randrange(0, 400 if chance.often(40) else 12))
            dates = [datetime.date(year, month, day) for year in range(self.today.year - 1, self.today.year + 1) for month, day in (
                (12, 31), (1, 1), (3, 8), (3, 29), (3, 30), (10, 25), (10, 26), (11, 1), (11, 2), (11, 3), (4, 5), (10, 5), (2, 28), (3, 1),
            )]  # fmt: skip
            dates = [date for date in dates if date <= self.today]
            date = chance.choice(dates) if chance.often(40) else date
            hour = chance.choice((0, 1, 2, 3, 4, 4, 4, 6, 11, 15, 18, 23))
            shown = datetime.datetime.combine(date, datetime.time(hour, chance.choice((0, 0, 29, 30, 59))), zone)
            shown = shown.replace(fold=chance.randrange(2))
            at = (shown - measures.EPOCH) // datetime.timedelta(milliseconds=1) + chance.choice((-1, 0, 0, 1))
            return min(at, of)
        return of - chance.randrange(0, chance.choice((1, 30, 100, 420)) * DAY_MS + 1)

    def silent_ms(self, orderer, chance):
        """Orders of a customer who came often for some weeks, and fell silent a while ago."""
        days = Chance(self.seed, "silent", orderer).choice((31, 45, 60, 75, 90, 110))
        return self.as_of_ms - days * DAY_MS - chance.choice((0, chance.randrange(0, 60 * DAY_MS)))

    def amount(self, chance, cents):
        """The same amount, in one of the kinds that hold it exactly."""
        kind = chance.randrange(5)
        if kind == 0:
            return cents / 100
        if kind == 1 and cents % 100 == 0:
            return chance.choice((int, Int64, float))(cents // 100)
        if kind == 2 and cents % 10 == 0:
            return Decimal128(Decimal(cents // 10).scaleb(-1))
        if kind == 3:
            return Decimal128(Decimal(cents * 1_000).scaleb(-5))
        return Decimal128(Decimal(cents).scaleb(-2))

    def whole(self, chance, number):
        return chance.choice((int, int, Int64, float))(number)

    def item(self, chance):
        item = {
            "sku": chance.maybe(8, f"W-{chance.randrange(9)}"), "name": "Wild", "category": chance.choice(CATEGORIES),
            "quantity": chance.maybe(4, self.whole(chance, chance.choice((1, 1, 2, 3)))),
            "unitPrice": chance.maybe(4, self.amount(chance, chance.randrange(0, 5_000))),
            "modifiers": chance.choice((None, [], [{"name": "m", "price": self.amount(chance, 150)}, {"name": "n", "price": None}])),
            "discount": chance.maybe(50, self.amount(chance, chance.choice((0, 10, 99)))),
        }  # fmt: skip
        return {name: value for name, value in item.items() if value is not None or chance.often(50)}

    def misfit(self, chance, document):
        """Puts a value where its type cannot hold it."""
        where = chance.randrange(11)
        if where == 0:
            document["storeId"] = chance.choice(("12", 1.5, Int64(1 << 40), True))
        elif where == 1:
            document["customerId"] = chance.choice(("nobody", 7, Binary(b"1234", 4)))
        elif where == 2:
            document[chance.choice(("placedAt", "promisedAt", "deliveredAt"))] = chance.choice(("2025-11-01T10:00:00Z", 1_700_000_000, True))
        elif where == 3:
            document["items"] = [{"quantity": "2"}]
        elif where == 4:
            document["items"] = [{"unitPrice": chance.choice((1.005, "5.00", Decimal128("NaN"), Decimal128("Infinity"), Decimal128("0.001")))}]
        elif where == 5:
            document["totals"] = {"total": chance.choice((Decimal128("1E+20"), 1e300, float("nan"), False))}
        elif where == 6:
            document["statusHistory"] = [{"status": "accepted", "at": "soon"}]
        elif where == 7:
            document["rating"] = {"stars": chance.choice(("five", 4.5))}
        elif where == 8:
            document["channel"] = chance.choice((5, ["web"], {"name": "web"}))
        elif where == 9:
            document["promotions"] = [{"code": "A", "amount": "1.00"}]
        else:
            document["schemaVersion"] = chance.choice(("3", 2.5))

    def history(self, chance, placed_ms):
        """Statuses in no good order, some twice."""
        entries, at = [], placed_ms
        for status in chance.sample(STATUSES, chance.randrange(0, 7)) + chance.choices(("accepted", "on_the_way", "picked_up"), k=3):
            at += chance.randrange(-60_000, 1_200_000)
            entry = {"status": status, "at": DatetimeMS(at)}
            if chance.often(30):
                entry["by"] = chance.choice(("store", None, ""))
            entries.append(chance.maybe(1, entry))
        return entries

    def currency(self, number):
        """The store's currency, as a rule."""
        return Chance(self.seed, "currency", number).choice(CURRENCIES[:2] if number % 3 else CURRENCIES)

    def order(self, number):
        """A document, and the facts that payments and deliveries go by."""
        chance, changed = Chance(self.seed, "order of", number), self.changes("order", number)
        store = chance.randrange(STORES)
        zone_name, latitude, longitude = PLACES[store]
        placed_ms = self.placed_ms(chance, measures.zone(zone_name))
        if number >= ORDERS:
            placed_ms, changed = self.end_ms - chance.randrange(0, DAY_MS), self.new(number)
        orderer = min(int(chance.expovariate(0.06)), CUSTOMERS - 1)
        customer = self.customers[orderer]
        if orderer % 4 == 3 and number < ORDERS:
            placed_ms = self.silent_ms(orderer, chance)
        status = chance.choice(("delivered",) * 12 + ("picked_up",) * 3 + STATUSES)
        total = chance.choice((0, 999, 1_000, 2_550, chance.randrange(100, 20_000)))
        currency = chance.maybe(3, self.currency(store) if not chance.often(10) else chance.choice(CURRENCIES))
        promised_ms = chance.maybe(8, placed_ms + chance.choice((0, 1_800_000, 2_400_000)))
        delivered_ms = chance.maybe(8, placed_ms + chance.choice((0, 1_800_000, 1_800_001, 2_400_000, chance.randrange(0, 5_000_000))))
        # What belongs to the order goes by what it was first.
        facts = {"id": str(self.orders[number]), "total": total, "currency": currency or "PLN", "placed_ms": placed_ms, "store": FIRST_STORE + store,
                 "customer": customer}  # fmt: skip
        if changed:
            status = changed.choice(("delivered", "cancelled", "refunded"))
            total += changed.choice((0, 100))
        customer_id = chance.choice((customer, customer.upper(), Binary(uuid.UUID(customer).bytes, 4)))
        document = {
            "_id": self.orders[number], "orderNumber": f"W-{number}", "schemaVersion": self.whole(chance, chance.choice((1, 2, 3))),
            "customerId": customer_id if not chance.often(10) else chance.choice((None, str(uuid.UUID(int=chance.getrandbits(128), version=4)))),
            "storeId": chance.choice((self.whole(chance, FIRST_STORE + store),) * 20 + (None, 77)),
            "channel": chance.maybe(3, chance.choice(("web", "ios", "android", "call_center", "partner"))),
            "fulfilment": chance.choice(("delivery",) * 8 + ("pickup", "dine_in", None)),
            "status": chance.maybe(1, status),
            "statusHistory": chance.maybe(5, self.history(chance, placed_ms)),
            "placedAt": DatetimeMS(placed_ms) if not chance.often(1) else None,
            "promisedAt": promised_ms and DatetimeMS(promised_ms),
            "deliveredAt": delivered_ms and DatetimeMS(delivered_ms),
            "items": chance.maybe(3, [chance.maybe(2, self.item(chance)) for _ in range(chance.randrange(0, 5))]),
            "totals": {
                "subtotal": self.amount(chance, total), "discount": chance.maybe(30, self.amount(chance, chance.choice((0, 100)))),
                "deliveryFee": self.amount(chance, 500), "serviceFee": chance.maybe(50, self.amount(chance, 50)),
                "tip": chance.maybe(30, self.amount(chance, chance.choice((0, 200)))), "tax": chance.maybe(50, self.amount(chance, 80)),
                "total": chance.maybe(3, self.amount(chance, total)), "currency": currency,
            },
            "promotions": chance.choice((None, [], [{"code": "A", "amount": self.amount(chance, 100)}, {"code": None}, None])),
            "rating": chance.choice((None, None, {"stars": self.whole(chance, chance.randrange(1, 6))}, {"stars": None, "comment": "–"})),
            "device": chance.choice((None, "text", 5, {"os": "ios"})),
        }  # fmt: skip
        if chance.often(85):
            spread = chance.choice((0.0, 0.002, 0.02))
            point = [longitude + chance.uniform(-spread, spread), latitude + chance.uniform(-spread, spread)]
            point[0] = (point[0] + 180) % 360 - 180
            if chance.often(4):
                point = chance.choice(([longitude, 95.0], [181.5, latitude], [longitude], [], [21, 52]))
            address = chance.choice(({"street": "1", "city": "Ł", "postcode": "0", "country": "PL"}, {"city": None}, "Street 1, City", None))
            document["delivery"] = {
                "address": address, "zoneId": chance.maybe(30, "Z"),
                "location": chance.choice(({"type": "Point", "coordinates": point},) * 12 + (None,)),
            }  # fmt: skip
        if chance.often(3):
            self.misfit(chance, document)
        for name in [name for name, value in document.items() if value is None and chance.often(50)]:
            del document[name]
        document["updatedAt"] = DatetimeMS(self.updated_ms(chance, changed))
        return document, facts

    def duplicates(self, number, document):
        """Documents of the same order, before and after the one that counts."""
        chance = Chance(self.seed, "twice", number)
        older = {**document, "status": "placed", "totals": {"total": 1, "currency": "PLN"}}
        if chance.often(97):
            return [document]
        if chance.often(50):
            return [{**older}, document]
        older["updatedAt"] = DatetimeMS(int(document["updatedAt"]) - 1)
        return [document, older]

    # ── What belongs to an order ──

    def transactions(self, number, facts):
        chance = Chance(self.seed, "payment", number)
        created_ms = facts["placed_ms"] + 60_000
        for position in range(chance.choice((0, 1, 1, 1, 1, 2, 3))):
            changed, chance = self.changes("payment", number, position), Chance(self.seed, "payment", number, position)
            kind = chance.choice(("capture",) * 6 + ("refund", "refund", "authorization", "chargeback"))
            status = chance.choice(("succeeded",) * 7 + ("pending", "failed"))
            amount = chance.choice((facts["total"],) * 6 + (0, facts["total"] + 1, chance.randrange(0, 20_000)))
            yield {
                "id": FIRST_ID + number * 10 + position,
                "order_id": chance.choice((facts["id"],) * 30 + (None, "f" * 24, str(ObjectId(chance.randbytes(12))))),
                "customer_id": chance.maybe(20, facts["customer"]), "kind": kind,
                "status": "succeeded" if changed else status, "method": chance.choice(("card", "blik", "cash", "wallet", "points")),
                "provider": chance.maybe(20, "wildpay"), "amount": Decimal(amount).scaleb(-2),
                "fee": Decimal(chance.randrange(0, 99_999)).scaleb(-4),
                "currency": facts["currency"] if not chance.often(6) else chance.choice(CURRENCIES), "provider_payload": None,
                # Some at the same instant: then the number tells which was the first.
                "created_at": created_ms + chance.choice((0, 0, 5_000)), "updated_at": self.updated_ms(chance, changed or self.new(number)),
            }  # fmt: skip

    def deliveries(self, number, facts):
        chance = Chance(self.seed, "delivery", number)
        for position in range(chance.choice((0, 1, 1, 1, 2, 3))):
            at = facts["placed_ms"] + chance.choice((600_000, 600_000, 900_000))
            yield {
                "id": FIRST_ID + number * 10 + position, "order_id": chance.choice((facts["id"],) * 30 + (None, "f" * 24)),
                "store_id": facts["store"], "courier_id": chance.maybe(10, chance.randrange(1, 9)), "status": "delivered",
                "assigned_at": chance.maybe(15, at), "picked_up_at": chance.maybe(15, at + 300_000),
                "delivered_at": chance.maybe(35, at + chance.choice((900_000, 900_000, 901_234))), "promised_at": None,
                "distance_m": chance.maybe(10, chance.randrange(0, 9_000)), "dropoff": chance.maybe(20, (21.0, 52.0)),
                "cost": chance.maybe(10, Decimal(chance.randrange(0, 3_000)).scaleb(-2)),
                "updated_at": self.updated_ms(chance, self.new(number)),
            }  # fmt: skip

    def entries(self, number, facts):
        chance = Chance(self.seed, "points", number)
        for position in range(chance.choice((0, 0, 1, 2))):
            yield {
                "id": FIRST_ID + number * 10 + position, "customer_id": facts["customer"],
                "order_id": chance.choice((facts["id"],) * 10 + (None, "f" * 24)), "points": chance.choice((0, 5, -5, 30, -200, 100)),
                "reason": "wild",
                "created_at": min(facts["placed_ms"] + chance.choice((0, 7_200_000)), self.end_ms if self.new(number) else self.as_of_ms),
            }  # fmt: skip


# ── Writing ──


def numeric(value):
    """As numeric_send does: groups of four decimal digits."""
    scale = -value.as_tuple().exponent
    units = int(abs(value).scaleb(scale))
    whole, fraction = divmod(units * 10 ** (-scale % 4), 10 ** (scale + -scale % 4))
    digits = f"{whole:d}"
    digits = digits.zfill(-(-len(digits) // 4) * 4)
    groups = [int(digits[at : at + 4]) for at in range(0, len(digits), 4)]
    weight = len(groups) - 1
    tail = f"{fraction:0{scale + -scale % 4}d}"
    groups += [int(tail[at : at + 4]) for at in range(0, len(tail), 4)]
    return struct.pack(f">hhHh{len(groups)}h", len(groups), weight, 0x4000 if value < 0 else 0, scale, *groups)


def texts(values):
    if not values:
        return struct.pack(">iii", 0, 0, 25)
    encoded = [value.encode() for value in values]
    return struct.pack(">iiiii", 1, 0, 25, len(encoded), 1) + b"".join(struct.pack(">i", len(value)) + value for value in encoded)


WRITERS = {
    "int4": lambda value: struct.pack(">i", value),
    "int8": lambda value: struct.pack(">q", value),
    "text": lambda value: value.encode(),
    "uuid": lambda value: uuid.UUID(value).bytes,
    "bool": lambda value: struct.pack(">?", value),
    "double": lambda value: struct.pack(">d", value),
    "point": lambda value: struct.pack(">dd", *value),
    "date": lambda value: struct.pack(">i", (value - datetime.date(2000, 1, 1)).days),
    "jsonb": lambda value: b"\x01" + value.encode(),
    "numeric": numeric,
    "instant": lambda value: struct.pack(">q", value * MS - EPOCH_2000_US),
    "texts": texts,
}


def copied(name, rows):
    """Tuples of COPY's binary format."""
    columns = [column.split(":") for column in TABLES[name].split()]
    for row in rows:
        if set(row) != {column for column, _ in columns}:
            raise ValueError(f'a row of "{name}" has other columns than the table')
        yield struct.pack(">h", len(columns))
        for column, kind in columns:
            data = None if row[column] is None else WRITERS[kind](row[column])
            yield struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def append(source, target, name, rows):
    """The dump with these rows at its end."""
    file = f"postgres/{name}.copy"
    data = unpacked(source / file)
    replace(target / file, data[:-2] + b"".join(copied(name, rows)) + data[-2:])


def replace(path, data):
    """Writes the file, and takes a compressed one of the same name away."""
    path.with_name(path.name + ".gz").unlink(missing_ok=True)
    path.write_bytes(data)


def write(source, target, seed, later):
    if not (source / "answers.json").is_file():
        raise ValueError(f'"{source}" holds no answers.json\n\nhint: Make a data set there: pipeline demo generate --to {source}')
    if source.resolve().is_relative_to(target.resolve()) or (target.exists() and not (target / "answers.json").is_file()):
        raise ValueError(f'"{target}" is no data set that may be replaced\n\nhint: Name a folder that is not there yet.')
    answers = json.loads((source / "answers.json").read_text())
    as_of = datetime.datetime.fromisoformat(answers["as_of"].replace("Z", "+00:00"))
    wild = Wild(seed, (as_of - measures.EPOCH) // datetime.timedelta(milliseconds=1), later)
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
    made = [wild.order(number) for number in range(ORDERS + (60 if later else 0))]
    documents = b"".join(encode(copy) for number, (document, _) in enumerate(made) for copy in wild.duplicates(number, document))
    replace(target / "mongodb/shop/orders.bson", unpacked(source / "mongodb/shop/orders.bson") + documents)
    # An order that is new on the later day has new rows, and those of before keep theirs.
    facts = [(number, fact) for number, (_, fact) in enumerate(made)]
    append(source, target, "admin.stores", map(wild.store, range(STORES)))
    append(source, target, "admin.customers", map(wild.customer, range(CUSTOMERS)))
    append(source, target, "payments.transactions", (row for fact in facts for row in wild.transactions(*fact)))
    append(source, target, "delivery.deliveries", (row for fact in facts for row in wild.deliveries(*fact)))
    append(source, target, "loyalty.ledger", (row for fact in facts for row in wild.entries(*fact)))
    owners = [*wild.customers[::2], str(uuid.UUID(int=seed, version=4))]
    append(source, target, "loyalty.accounts", (wild.account(number, customer) for number, customer in enumerate(owners)))
    print(f"added {len(made)} orders")


def main():
    parser = argparse.ArgumentParser(prog="wild", description="Adds rows at the edges of every definition to a data set.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="dumps that `pipeline demo generate` wrote")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="the folder to write; a data set in it is replaced")
    parser.add_argument("--later", action="store_true", help="the dumps are of the day later")
    options = parser.parse_args()
    try:
        write(options.source, options.target, options.seed, options.later)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

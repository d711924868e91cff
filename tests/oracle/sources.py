"""Reads the dumps as the sources' definitions say: `mongodump`'s BSON and PostgreSQL's `COPY … (FORMAT binary)`.

A value that does not fit its declared type sends its whole row away. Of documents with one key the one that changed last counts,
of those that changed at the same instant the one that stands later in the dump.

Instants are whole microseconds since 1970 (UTC), dates are `datetime.date`, money is `decimal.Decimal`. Nothing becomes a float that
was none.
"""

import datetime
import gzip
import struct
import uuid
from decimal import Context, Decimal, DecimalException
from pathlib import Path

from bson import decode_all
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

EXACT = Context(prec=60)
EPOCH_2000_US = 946_684_800_000_000


class Misfit(Exception):
    """A value that its declared type cannot hold."""


# ── MongoDB ──


def whole(value, bits=32):
    """A whole number of so many bits; another kind of number counts if nothing is lost."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal128)):
        raise Misfit
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, Decimal) and not number.is_finite():
        raise Misfit
    try:
        result = int(number)
    except (ValueError, OverflowError):
        raise Misfit from None
    if result != number or not -(1 << (bits - 1)) <= result < 1 << (bits - 1):
        raise Misfit
    return result


def money(value, digits=18, scale=2):
    """An amount: of a double its shortest decimal form counts, and nothing is ever rounded."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal128)):
        raise Misfit
    number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise Misfit
    try:
        result = EXACT.quantize(number, Decimal(1).scaleb(-scale))
    except DecimalException:
        raise Misfit from None
    if result != number or abs(result) >= Decimal(10) ** (digits - scale):
        raise Misfit
    return result if result else abs(result)


def instant(value):
    if value is None:
        return None
    if not isinstance(value, DatetimeMS) or not -(1 << 63) <= int(value) * 1000 < 1 << 63:
        raise Misfit
    return int(value) * 1000


def text(value):
    if value is not None and not isinstance(value, str):
        raise Misfit
    return value


def number(value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Misfit
    return float(value)


def identity(value):
    """A UUID, however it is written."""
    if value is None:
        return None
    try:
        if isinstance(value, Binary) and value.subtype == 4:
            return str(uuid.UUID(bytes=bytes(value)))
        if isinstance(value, str):
            return str(uuid.UUID(value))
    except ValueError:
        raise Misfit from None
    raise Misfit


def document(value):
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Misfit
    return value


def array(value):
    if value is None:
        return None
    if not isinstance(value, list):
        raise Misfit
    return value


def entries(value, read):
    """A list of documents, each read by a function; None stays None."""
    return None if array(value) is None else [read(document(entry)) for entry in value]


def order(source):
    """One order of `shop.orders`, typed."""
    totals, delivery, rating = document(source.get("totals")), document(source.get("delivery")), document(source.get("rating"))
    address = delivery.get("address")
    if not isinstance(address, (dict, str, type(None))):
        raise Misfit
    # Version 1 has the address as one text, in which no city can be told.
    address = address if isinstance(address, dict) else {}
    point = array(document(delivery.get("location")).get("coordinates")) or []
    typed = {
        "order_id": str(source["_id"]) if isinstance(source["_id"], ObjectId) else text(source["_id"]),
        "order_number": text(source.get("orderNumber")),
        "schema_version": whole(source.get("schemaVersion")),
        "customer_id": identity(source.get("customerId")),
        "store_id": whole(source.get("storeId")),
        "channel": text(source.get("channel")),
        "fulfilment": text(source.get("fulfilment")),
        "status": text(source.get("status")),
        "history": entries(
            source.get("statusHistory"),
            lambda entry: {"status": text(entry.get("status")), "at": instant(entry.get("at")), "by": text(entry.get("by"))},
        ),
        "placed_at": instant(source.get("placedAt")),
        "promised_at": instant(source.get("promisedAt")),
        "delivered_at": instant(source.get("deliveredAt")),
        "updated_at": instant(source.get("updatedAt")),
        "items": entries(
            source.get("items"),
            lambda entry: {
                "sku": text(entry.get("sku")),
                "name": text(entry.get("name")),
                "category": text(entry.get("category")),
                "quantity": whole(entry.get("quantity")),
                "unit_price": money(entry.get("unitPrice")),
                "modifiers": entries(entry.get("modifiers"), lambda modifier: (text(modifier.get("name")), money(modifier.get("price")))),
                "discount": money(entry.get("discount")),
            },
        ),
        "promotions": entries(source.get("promotions"), lambda entry: (text(entry.get("code")), money(entry.get("amount")))),
        "stars": whole(rating.get("stars")),
        "city": text(address.get("city")),
        "postcode": text(address.get("postcode")),
        "country": text(address.get("country")),
        "zone_id": text(delivery.get("zoneId")),
        "longitude": number(point[0]) if len(point) > 0 else None,
        "latitude": number(point[1]) if len(point) > 1 else None,
        "currency": text(totals.get("currency")),
    }
    for column, field in (
        ("subtotal", "subtotal"), ("discount", "discount"), ("delivery_fee", "deliveryFee"), ("service_fee", "serviceFee"),
        ("tip", "tip"), ("tax", "tax"), ("total", "total"),
    ):  # fmt: skip
        typed[column] = money(totals.get(field))
    # Fields that no mart shows, but whose misfits send the row away all the same.
    text(rating.get("comment")), instant(rating.get("at")), text(delivery.get("notes")), text(address.get("street"))
    return typed


def orders(folder):
    """The orders that fit, by identity, and how many rows were sent away."""
    options = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    latest, rejected = {}, 0
    for source in decode_all(unpacked(Path(folder) / "mongodb/shop/orders.bson"), options):
        try:
            row = order(source)
        except Misfit:
            rejected += 1
            continue
        before = latest.get(row["order_id"])
        if before is None or (row["updated_at"] or 0) >= (before["updated_at"] or 0):
            latest[row["order_id"]] = row
    return latest, rejected


# ── PostgreSQL ──


def unpacked(path):
    compressed = path.with_name(path.name + ".gz")
    return gzip.decompress(compressed.read_bytes()) if compressed.exists() else path.read_bytes()


def tuples(data):
    """The fields of each tuple, as bytes or None."""
    if not data.startswith(b"PGCOPY\n\xff\r\n\0"):
        raise ValueError("the file has not the signature of COPY's binary format")
    position = 19 + int.from_bytes(data[15:19], "big")
    while (count := struct.unpack_from(">h", data, position)[0]) >= 0:
        position += 2
        fields = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", data, position)
            position += 4
            fields.append(None if length < 0 else data[position : position + length])
            position += max(length, 0)
        yield fields


def sql_numeric(data):
    count, weight, sign, scale = struct.unpack_from(">hhHh", data)
    if sign not in (0, 0x4000):
        raise Misfit
    digits = struct.unpack_from(f">{count}h", data, 8)
    value = sum((Decimal(digit).scaleb(4 * (weight - place), EXACT) for place, digit in enumerate(digits)), Decimal(0))
    value = EXACT.quantize(value, Decimal(1).scaleb(-scale))
    return -value if sign and value else value


def sql_instant(data):
    (value,) = struct.unpack(">q", data)
    if abs(value) >= (1 << 63) - 1:
        raise Misfit
    return value + EPOCH_2000_US


def sql_texts(data):
    dimensions = struct.unpack_from(">i", data)[0]
    if dimensions == 0:
        return []
    (count,), position, found = struct.unpack_from(">i", data, 12), 20, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, position)
        position += 4
        found.append(None if length < 0 else data[position : position + length].decode())
        position += max(length, 0)
    return found


READERS = {
    "int4": lambda data: int.from_bytes(data, "big", signed=True),
    "int8": lambda data: int.from_bytes(data, "big", signed=True),
    "text": lambda data: data.decode(),
    "uuid": lambda data: str(uuid.UUID(bytes=data)),
    "bool": lambda data: data != b"\0",
    "double": lambda data: struct.unpack(">d", data)[0],
    "point": lambda data: struct.unpack(">dd", data),
    "date": lambda data: datetime.date(2000, 1, 1) + datetime.timedelta(struct.unpack(">i", data)[0]),
    "jsonb": lambda data: data[1:].decode(),
    "numeric": sql_numeric,
    "instant": sql_instant,
    "texts": sql_texts,
}

TABLES = {
    "payments.transactions": "id:int8 order_id:text customer_id:uuid kind:text status:text method:text provider:text amount:numeric fee:numeric "
    "currency:text provider_payload:jsonb created_at:instant updated_at:instant",
    "delivery.deliveries": "id:int8 order_id:text store_id:int4 courier_id:int4 status:text assigned_at:instant picked_up_at:instant "
    "delivered_at:instant promised_at:instant distance_m:int4 dropoff:point cost:numeric updated_at:instant",
    "loyalty.accounts": "customer_id:uuid tier:text points_balance:int4 joined_on:date updated_at:instant",
    "loyalty.ledger": "id:int8 customer_id:uuid order_id:text points:int4 reason:text created_at:instant",
    "admin.customers": "id:uuid email:text phone:text first_name:text last_name:text birth_date:date locale:text time_zone:text "
    "marketing_opt_in:bool tags:texts created_at:instant updated_at:instant deleted_at:instant",
    "admin.stores": "id:int4 name:text brand:text city:text country:text time_zone:text lat:double lng:double delivery_radius_m:int4 "
    "opened_on:date closed_on:date opening_hours:jsonb updated_at:instant",
}


def table(folder, name):
    """The rows of one table, in the dump's order."""
    columns = [column.split(":") for column in TABLES[name].split()]
    rows = []
    for fields in tuples(unpacked(Path(folder) / "postgres" / f"{name}.copy")):
        if len(fields) != len(columns):
            raise ValueError(f'"{name}" has {len(fields)} fields in a tuple, and not {len(columns)}')
        rows.append({column: None if data is None else READERS[kind](data) for (column, kind), data in zip(columns, fields)})
    return rows


class Sources:
    """All that the marts are made from."""

    def __init__(self, folder):
        self.orders, self.rejected = orders(folder)
        self.transactions = table(folder, "payments.transactions")
        self.deliveries = table(folder, "delivery.deliveries")
        self.accounts = table(folder, "loyalty.accounts")
        self.ledger = table(folder, "loyalty.ledger")
        self.customers = table(folder, "admin.customers")
        self.stores = table(folder, "admin.stores")

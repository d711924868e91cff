//! An order as the document the shop's database holds, in each of the three schema versions and with what is wrong with some.

use crate::calendar;
use crate::catalogue::{PRODUCTS, sku};
use crate::customer;
use crate::defect::Defect;
use crate::document::DocumentWriter;
use crate::order::{Arrival, Destination, Line, Order, Status};
use crate::world::World;

/// A date no timestamp of microseconds can hold.
const DATE_OUT_OF_RANGE_MS: i64 = 9_100_000_000_000_000_000;

/// Keys of array elements.
const INDICES: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

/// Appends the order's document.
pub(crate) fn write(bytes: &mut Vec<u8>, world: &World, order: &Order) {
    let mut writer = DocumentWriter::new(bytes);
    writer.object_id("_id", order.id);
    writer.text("orderNumber", &order.number);
    if order.defect == Some(Defect::SchemaVersionDouble) {
        writer.double("schemaVersion", f64::from(order.version));
    } else {
        writer.int32("schemaVersion", order.version);
    }
    customer_id(&mut writer, world, order);
    let store_id = world.stores[order.store].id;
    if order.defect == Some(Defect::StoreIdLong) {
        writer.int64("storeId", i64::from(store_id));
    } else {
        writer.int32("storeId", store_id);
    }
    writer.text("channel", order.channel);
    writer.text("fulfilment", order.fulfilment.name());
    writer.text("status", order.status.name());
    history(&mut writer, order);
    instants(&mut writer, order);
    writer.array("items");
    for (number, line) in order.lines.iter().enumerate() {
        writer.document(INDICES[number]);
        item(&mut writer, order, number, line);
        writer.end();
    }
    writer.end();
    totals(&mut writer, order);
    if let Some(delivery) = &order.delivery {
        destination(&mut writer, world, order, delivery);
    }
    promotions(&mut writer, order);
    rating(&mut writer, order);
    device(&mut writer, order);
    extra(&mut writer, order);
    writer.finish();
}

fn customer_id(writer: &mut DocumentWriter<'_>, world: &World, order: &Order) {
    let Some(customer) = order.customer else {
        writer.null("customerId");
        return;
    };
    let id = customer::id(world.options.seed, customer);
    if order.customer_is_binary {
        writer.uuid("customerId", id);
    } else {
        writer.text("customerId", &uuid::Uuid::from_bytes(id).to_string());
    }
}

fn history(writer: &mut DocumentWriter<'_>, order: &Order) {
    writer.array("statusHistory");
    for (number, (status, at_ms, by)) in order.history.iter().enumerate() {
        writer.document(INDICES[number]);
        writer.text("status", status.name());
        writer.date("at", *at_ms);
        if let Some(by) = by {
            writer.text("by", by);
        }
        writer.end();
    }
    writer.end();
}

fn instants(writer: &mut DocumentWriter<'_>, order: &Order) {
    writer.date("placedAt", order.placed_ms);
    match (order.defect, order.promised_ms) {
        (Some(Defect::DateOutOfRange), _) => writer.date("promisedAt", DATE_OUT_OF_RANGE_MS),
        (_, Some(promised_ms)) => writer.date("promisedAt", promised_ms),
        (_, None) => writer.null("promisedAt"),
    }
    match (order.defect, order.arrival) {
        (Some(Defect::DateText), Arrival::At(at_ms)) => writer.text("deliveredAt", &calendar::text(at_ms)),
        (_, Arrival::At(at_ms)) => writer.date("deliveredAt", at_ms),
        (_, Arrival::Null) => writer.null("deliveredAt"),
        (_, Arrival::Missing) => {}
    }
    writer.date("updatedAt", order.updated_ms);
}

/// An amount: a double in version 1, a Decimal128 since.
fn money(writer: &mut DocumentWriter<'_>, version: i32, key: &str, amount: i64) {
    if version == 1 {
        writer.double(key, amount as f64 / 100.0);
    } else {
        writer.decimal(key, amount, 2);
    }
}

fn item(writer: &mut DocumentWriter<'_>, order: &Order, number: usize, line: &Line) {
    let product = &PRODUCTS[line.product];
    writer.text("sku", &sku(line.product));
    writer.text("name", line.name.as_deref().unwrap_or(product.name));
    writer.text("category", product.category);
    let defect = order.defect.filter(|_| number == 0);
    match defect {
        Some(Defect::QuantityText) => writer.text("quantity", &line.quantity.to_string()),
        Some(Defect::QuantityLong) => writer.int64("quantity", i64::from(line.quantity)),
        Some(Defect::QuantityDouble) => writer.double("quantity", f64::from(line.quantity)),
        _ => writer.int32("quantity", line.quantity),
    }
    if defect == Some(Defect::DecimalsTooMany) {
        writer.double("unitPrice", (line.unit_price * 10 + 5) as f64 / 1_000.0);
    } else {
        money(writer, order.version, "unitPrice", line.unit_price);
    }
    writer.array("modifiers");
    for (number, (name, price)) in line.modifiers.iter().enumerate() {
        writer.document(INDICES[number]);
        writer.text("name", name);
        money(writer, order.version, "price", *price);
        writer.end();
    }
    writer.end();
    if line.discount > 0 || order.version == 3 {
        money(writer, order.version, "discount", line.discount);
    }
}

fn totals(writer: &mut DocumentWriter<'_>, order: &Order) {
    let totals = &order.totals;
    let version = order.version;
    writer.document("totals");
    money(writer, version, "subtotal", totals.subtotal);
    money(writer, version, "discount", totals.discount);
    money(writer, version, "deliveryFee", totals.delivery_fee);
    if version == 3 {
        money(writer, version, "serviceFee", totals.service_fee);
    }
    match order.defect {
        Some(Defect::MoneyInteger) => writer.int32("tip", i32::try_from(totals.tip / 100).expect("a tip is small")),
        Some(Defect::DecimalNotANumber) => writer.decimal_not_a_number("tip"),
        // Many writers leave the decimals off a nought.
        _ if version > 1 && totals.tip == 0 && order.ordinal.is_multiple_of(2) => writer.decimal("tip", 0, 0),
        _ => money(writer, version, "tip", totals.tip),
    }
    money(writer, version, "tax", totals.tax);
    money(writer, version, "total", totals.total);
    writer.text("currency", order.currency.code);
    writer.end();
}

fn destination(writer: &mut DocumentWriter<'_>, world: &World, order: &Order, delivery: &Destination) {
    let city = world.stores[order.store].city();
    writer.document("delivery");
    if order.version == 1 {
        writer.text("address", &format!("{}, {} {}", delivery.street, delivery.postcode, city.name));
    } else {
        writer.document("address");
        writer.text("street", &delivery.street);
        writer.text("city", city.name);
        writer.text("postcode", &delivery.postcode);
        writer.text("country", city.country);
        writer.end();
    }
    if let Some(place) = delivery.place {
        writer.document("location");
        writer.text("type", "Point");
        writer.array("coordinates");
        writer.double("0", place.longitude);
        writer.double("1", place.latitude);
        writer.end();
        writer.end();
    }
    if delivery.zone.is_some() || order.version > 1 {
        writer.optional_text("zoneId", delivery.zone.as_deref());
    }
    if let Some(notes) = &delivery.notes {
        writer.text("notes", notes);
    }
    if let Some(floor) = delivery.floor {
        writer.int32("floor", floor);
    }
    writer.end();
}

fn promotions(writer: &mut DocumentWriter<'_>, order: &Order) {
    if order.promotions.is_empty() && order.version == 1 {
        return;
    }
    writer.array("promotions");
    for (number, (code, amount)) in order.promotions.iter().enumerate() {
        writer.document(INDICES[number]);
        writer.text("code", code);
        money(writer, order.version, "amount", *amount);
        writer.end();
    }
    writer.end();
}

fn rating(writer: &mut DocumentWriter<'_>, order: &Order) {
    let Some(rating) = &order.rating else { return };
    writer.document("rating");
    if order.defect == Some(Defect::StarsLong) {
        writer.int64("stars", i64::from(rating.stars));
    } else {
        writer.int32("stars", rating.stars);
    }
    if let Some(comment) = &rating.comment {
        writer.text("comment", comment);
    }
    writer.date("at", rating.at_ms);
    writer.end();
}

/// Whatever a device tells of itself: another shape for each channel.
fn device(writer: &mut DocumentWriter<'_>, order: &Order) {
    let draw = order.device;
    match order.channel {
        "web" => {
            writer.document("device");
            writer.text("browser", ["firefox", "chrome", "safari"][(draw % 3) as usize]);
            writer.array("viewport");
            writer.int32("0", 1_280 + (draw % 640) as i32);
            writer.int32("1", 720);
            writer.end();
            writer.end();
        }
        "ios" | "android" => {
            writer.document("device");
            writer.text("os", order.channel);
            writer.double("version", 14.0 + (draw % 40) as f64 / 10.0);
            writer.boolean("push", draw % 5 > 1);
            writer.document("app");
            writer.text("build", &format!("7.{}.{}", draw % 20, draw % 7));
            writer.int64("installs", (draw % 9) as i64);
            writer.end();
            writer.end();
        }
        "call_center" => writer.null("device"),
        _ => {}
    }
}

/// Fields nobody declared.
fn extra(writer: &mut DocumentWriter<'_>, order: &Order) {
    if order.defect != Some(Defect::ExtraField) {
        return;
    }
    writer.document("gift");
    writer.text("from", "Zoë & Łukasz");
    writer.boolean("wrapped", true);
    writer.array("cards");
    writer.text("0", "Sto lat!");
    writer.end();
    writer.end();
    writer.text("utmSource", "newsletter-2025");
    writer.int64("loyaltyScore", 9_007_199_254_740_993);
}

/// An older state of the order, as it was while the courier was on the way. `updatedAt` is the smaller.
pub(crate) fn stale(order: &Order) -> Order {
    let mut stale = order.clone();
    stale.history.retain(|(status, ..)| matches!(status, Status::Placed | Status::Accepted | Status::Preparing | Status::OnTheWay));
    let (status, at_ms, _) = *stale.history.last().expect("every order was placed");
    stale.status = status;
    stale.arrival = Arrival::Missing;
    stale.rating = None;
    stale.updated_ms = at_ms + 500;
    with_larger_tip(stale)
}

/// Another state of the order with the same `updatedAt`.
pub(crate) fn same_instant(order: &Order) -> Order {
    let mut other = order.clone();
    other.rating = None;
    with_larger_tip(other)
}

/// Counting the wrong document must show in the sums.
fn with_larger_tip(mut order: Order) -> Order {
    order.totals.tip += 100;
    order.totals.total += 100;
    order
}

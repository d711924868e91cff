//! Rows of PostgreSQL's tables as binary COPY tuples, in the columns' order of [`crate::schema`].

use crate::catalogue::{PRODUCTS, PROMOTIONS, Reward, sku};
use crate::copy_binary::TupleWriter;
use crate::customer::{self, Customer};
use crate::loyalty::{Account, Entry};
use crate::payment::{Delivery, Transaction};
use crate::random::{Random, Topic};
use crate::store::{Courier, Store};
use crate::world::World;
use crate::{calendar, calendar::DAY_MS};

pub(crate) fn transaction(bytes: &mut Vec<u8>, world: &World, row: &Transaction) {
    let mut tuple = TupleWriter::new(bytes, 13);
    tuple.bigint(row.id);
    tuple.text(&row.order_id);
    tuple.optional(row.customer, |tuple, number| tuple.uuid(customer::id(world.options.seed, number)));
    tuple.text(row.kind);
    tuple.text(row.status);
    tuple.text(row.method);
    tuple.text(row.provider);
    tuple.numeric(row.amount, 2);
    tuple.numeric(row.fee, 4);
    tuple.text(row.currency);
    tuple.optional(row.payload.as_deref(), TupleWriter::jsonb);
    tuple.timestamp_us(row.created_us);
    tuple.timestamp_us(row.updated_us);
}

pub(crate) fn delivery(bytes: &mut Vec<u8>, row: &Delivery) {
    let mut tuple = TupleWriter::new(bytes, 13);
    tuple.bigint(row.id);
    tuple.text(&row.order_id);
    tuple.integer(row.store_id);
    tuple.optional(row.courier_id, TupleWriter::integer);
    tuple.text(row.status);
    tuple.optional(row.assigned_ms, TupleWriter::timestamp_ms);
    tuple.optional(row.picked_up_ms, TupleWriter::timestamp_ms);
    tuple.optional(row.delivered_ms, TupleWriter::timestamp_ms);
    tuple.optional(row.promised_ms, TupleWriter::timestamp_ms);
    tuple.integer(row.distance_m);
    tuple.point(row.dropoff);
    tuple.numeric(row.cost, 2);
    tuple.timestamp_ms(row.updated_ms);
}

pub(crate) fn ledger_entry(bytes: &mut Vec<u8>, world: &World, row: &Entry) {
    let mut tuple = TupleWriter::new(bytes, 6);
    tuple.bigint(row.id);
    tuple.uuid(customer::id(world.options.seed, row.customer));
    tuple.text(&row.order_id);
    tuple.integer(row.points);
    tuple.text(row.reason);
    tuple.timestamp_ms(row.created_ms);
}

pub(crate) fn account(bytes: &mut Vec<u8>, world: &World, row: &Account) {
    let mut tuple = TupleWriter::new(bytes, 5);
    tuple.uuid(customer::id(world.options.seed, row.customer));
    tuple.text(row.tier);
    tuple.integer(row.points);
    tuple.date(calendar::local_date(row.joined_ms, chrono_tz::UTC));
    tuple.timestamp_ms(row.updated_ms);
}

pub(crate) fn customer(bytes: &mut Vec<u8>, row: &Customer) {
    let mut tuple = TupleWriter::new(bytes, 13);
    tuple.uuid(row.id);
    tuple.optional(row.email.as_deref(), TupleWriter::text);
    tuple.optional(row.phone.as_deref(), TupleWriter::text);
    tuple.optional(row.first_name.as_deref(), TupleWriter::text);
    tuple.optional(row.last_name.as_deref(), TupleWriter::text);
    tuple.optional(row.birth_date, TupleWriter::date);
    tuple.optional(row.locale, TupleWriter::text);
    tuple.optional(row.time_zone, |tuple, zone| tuple.text(zone.name()));
    tuple.boolean(row.marketing_opt_in);
    tuple.optional(row.tags.as_deref(), TupleWriter::text_array);
    tuple.timestamp_ms(row.created_ms);
    tuple.timestamp_ms(row.updated_ms);
    tuple.optional(row.deleted_ms, TupleWriter::timestamp_ms);
}

pub(crate) fn store(bytes: &mut Vec<u8>, row: &Store) {
    let city = row.city();
    let mut tuple = TupleWriter::new(bytes, 13);
    tuple.integer(row.id);
    tuple.text(&row.name);
    tuple.text(row.brand);
    tuple.text(city.name);
    tuple.text(city.country);
    tuple.text(city.zone.name());
    tuple.double(row.place.latitude);
    tuple.double(row.place.longitude);
    tuple.integer(row.delivery_radius_m);
    tuple.date(row.opened_on);
    tuple.optional(row.closed_on, TupleWriter::date);
    tuple.optional(row.opening_hours.as_deref(), TupleWriter::jsonb);
    tuple.timestamp_ms(row.updated_ms);
}

pub(crate) fn courier(bytes: &mut Vec<u8>, row: &Courier) {
    let mut tuple = TupleWriter::new(bytes, 6);
    tuple.integer(row.id);
    tuple.text(&row.name);
    tuple.text(row.vehicle);
    tuple.optional(row.home_store_id, TupleWriter::integer);
    tuple.boolean(row.active);
    tuple.timestamp_ms(row.updated_ms);
}

/// When a row of the catalogue was last edited: some day before the first business date.
fn edited_ms(world: &World, random: &mut Random) -> i64 {
    calendar::midnight_ms(world.options.first_date()) - random.between(1, 400 * DAY_MS)
}

pub(crate) fn product(bytes: &mut Vec<u8>, world: &World, number: usize) {
    let product = &PRODUCTS[number];
    let mut random = Random::new(world.options.seed, Topic::Product, number as u64);
    let mut tuple = TupleWriter::new(bytes, 6);
    tuple.text(&sku(number));
    tuple.text(product.name);
    tuple.text(product.category);
    tuple.numeric(product.price, 2);
    tuple.boolean(!random.permille(80));
    tuple.timestamp_ms(edited_ms(world, &mut random));
}

/// A promotion's value, smallest basket and budget in hundredths.
pub(crate) fn promotion_amounts(number: usize) -> (Option<i64>, i64, Option<i64>) {
    let promotion = &PROMOTIONS[number];
    let value = match promotion.reward {
        Reward::Percent(percent) => Some(percent * 100),
        Reward::Amount(euro_cents) => Some(euro_cents),
        Reward::FreeDelivery => None,
    };
    (value, promotion.basket_min, promotion.budget.map(|euros| euros * 100))
}

pub(crate) fn promotion(bytes: &mut Vec<u8>, world: &World, number: usize) {
    let promotion = &PROMOTIONS[number];
    let first = world.options.first_date();
    let mut random = Random::new(world.options.seed, Topic::Product, (1 << 32) | number as u64);
    let (value, basket_min, budget) = promotion_amounts(number);
    let mut tuple = TupleWriter::new(bytes, 8);
    tuple.text(promotion.code);
    tuple.text(match promotion.reward {
        Reward::Percent(_) => "percent",
        Reward::Amount(_) => "amount",
        Reward::FreeDelivery => "free_delivery",
    });
    tuple.optional(value, |tuple, value| tuple.numeric(value, 2));
    tuple.numeric(basket_min, 2);
    tuple.date(promotion.starts_on(first));
    tuple.optional(promotion.ends_on(first), TupleWriter::date);
    tuple.optional(budget, |tuple, budget| tuple.numeric(budget, 2));
    tuple.timestamp_ms(edited_ms(world, &mut random));
}

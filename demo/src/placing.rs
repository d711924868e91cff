//! Makes an order: who orders what, when, from where, and what it costs.

use chrono::{Datelike, NaiveDate};

use crate::calendar::{BusinessDay, HOUR_MS};
use crate::catalogue::{MODIFIERS, PRODUCTS, PROMOTIONS, Reward};
use crate::city::{Currency, NEIGHBOURHOODS};
use crate::defect::Defect;
use crate::order::{Arrival, Destination, Fulfilment, Line, Order, Status, Totals, object_id};
use crate::random::{Random, Topic};
use crate::world::World;
use crate::{course, customer, words};

/// Orders by hour of the business day, 04:00 first: lunch and dinner stand out, the night has a few.
const HOURS: [u32; 24] = [1, 2, 4, 7, 10, 14, 26, 52, 92, 88, 44, 30, 36, 58, 98, 120, 112, 78, 48, 30, 17, 10, 6, 3];
const WEEKEND_HOURS: [u32; 24] = [1, 1, 2, 4, 10, 18, 28, 44, 72, 88, 70, 52, 50, 66, 96, 124, 126, 98, 70, 50, 36, 24, 14, 7];

/// Where orders come from, by how often they do.
const CHANNELS: [&str; 12] = ["web", "web", "web", "ios", "ios", "ios", "ios", "android", "android", "android", "partner", "call_center"];

/// Where in the data set an order stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'day> {
    pub(crate) ordinal: u64,
    /// Count of the store's orders on that date, from 0.
    pub(crate) sequence: u64,
    pub(crate) store: usize,
    pub(crate) day: u32,
    pub(crate) date: NaiveDate,
    pub(crate) clock: &'day BusinessDay,
}

/// Makes the order as it is in the base data set.
pub(crate) fn order(world: &World, position: Position<'_>) -> Order {
    let Position { ordinal, store, date, .. } = position;
    let mut random = Random::new(world.options.seed, Topic::Order, ordinal);
    let defect = if ordinal < world.orders { world.defects.of(ordinal) } else { None };
    let plain = defect.is_some_and(Defect::needs_plain_delivery);
    let city = world.stores[store].city();

    let placed_ms = placed_ms(world, position, &mut random);
    let version = version(world, position, defect, &mut random);
    let channel = *random.pick(&CHANNELS);
    let fulfilment = match random.below(100) {
        _ if plain => Fulfilment::Delivery,
        0..=76 => Fulfilment::Delivery,
        77..=93 => Fulfilment::Pickup,
        _ => Fulfilment::DineIn,
    };
    let (neighbourhood, customer) = orderer(world, position, channel, plain, &mut random);
    let customer_is_binary = match (defect, version) {
        (Some(Defect::CustomerBinary), _) => true,
        (Some(Defect::CustomerText), _) | (_, 1) => false,
        (_, 2) => random.permille(400),
        _ => random.permille(800),
    };
    let currency = match city.second_currency {
        Some(currency) if random.permille(40) => currency,
        _ => city.currency,
    };
    let lines = lines(currency, defect, &mut random);
    let delivery =
        (fulfilment == Fulfilment::Delivery).then(|| destination(world, (store, neighbourhood, customer), version, defect, &mut random));
    let (promotions, free_delivery) = promotions(world, &lines, currency, date, &mut random);
    let mut order = Order {
        ordinal,
        id: object_id(world.options.seed, ordinal, placed_ms),
        number: format!("{}-{}-{}-{:04}", city.code, date.format("%Y%m%d"), world.stores[store].id, position.sequence + 1),
        version,
        customer,
        customer_is_binary,
        store,
        channel,
        fulfilment,
        status: Status::Placed,
        history: Vec::with_capacity(6),
        placed_ms,
        promised_ms: None,
        arrival: Arrival::Missing,
        handed_over_ms: None,
        updated_ms: placed_ms,
        business_date: date,
        lines,
        totals: Totals::default(),
        currency,
        delivery,
        promotions,
        rating: None,
        device: 0,
        refunds: Vec::new(),
        defect,
        changed: ordinal >= world.orders,
        is_new: ordinal >= world.orders,
        recaptured_ms: None,
        tip_added: 0,
        closed_late: false,
    };
    order.totals = totals(world, &order, free_delivery, &mut random);
    order.device = random.next();
    course::run(world, &mut order, plain, &mut random);
    order
}

/// Who orders, and the neighbourhood the order comes from: near the store, as a rule.
fn orderer(world: &World, position: Position<'_>, channel: &str, plain: bool, random: &mut Random) -> (u64, Option<u64>) {
    let store = &world.stores[position.store];
    let nearest = random.weighted(&[52, 24, 12, 6, 3, 1, 1, 1]);
    let neighbourhood = store.neighbourhoods[nearest];
    let guest = random.permille(if channel == "call_center" { 600 } else { 45 });
    if guest && !plain {
        return (neighbourhood, None);
    }
    let drawn = world.population.draw(store.city, neighbourhood, u64::from(position.day), random);
    (neighbourhood, drawn.filter(|customer| customer::orders_on(&world.options, *customer, position.date)))
}

/// What the order costs.
fn totals(world: &World, order: &Order, free_delivery: bool, random: &mut Random) -> Totals {
    let Order { currency, version, .. } = *order;
    let store = &world.stores[order.store];
    let discount: i64 = order.promotions.iter().map(|(_, amount)| amount).sum();
    let subtotal: i64 = order.lines.iter().map(Line::total).sum();
    let distance_m = order.delivery.as_ref().map(|delivery| store.place.distance_m(delivery.dropoff));
    let fee = distance_m.map_or(0, |distance_m| currency.price(149 + 10 * (distance_m / 200.0) as i64));
    let delivery_fee = if free_delivery { 0 } else { fee };
    let service_fee = if version == 3 { currency.price(30 + random.between(0, 6) * 10) } else { 0 };
    let mut tip = if random.permille(220) { currency.price(random.between(1, 6) * 50) } else { 0 };
    if order.defect == Some(Defect::MoneyInteger) {
        tip = 200;
    }
    let taxed = subtotal - discount;
    // New York's sales tax comes on top; elsewhere 8 % are inside the price.
    let on_top = store.city().tax_on_top;
    let tax = if on_top { (taxed * 8_875 + 50_000) / 100_000 } else { (taxed * 8 + 54) / 108 };
    let total = taxed + delivery_fee + service_fee + tip + if on_top { tax } else { 0 };
    Totals { subtotal, discount, delivery_fee, service_fee, tip, tax, total }
}

fn placed_ms(world: &World, position: Position<'_>, random: &mut Random) -> i64 {
    let weekend = position.date.weekday().num_days_from_monday() >= 4;
    let hour = random.weighted(if weekend { &WEEKEND_HOURS } else { &HOURS }) as i64;
    let after_ms = hour * HOUR_MS + random.between(0, HOUR_MS - 1);
    let later = random.permille(500);
    let mut at = position.clock.instant_ms(after_ms, later);
    let late = position.ordinal >= world.orders;
    let latest = if late { world.as_of_ms() } else { world.base_as_of_ms } - 3 * HOUR_MS;
    // What cannot be over by the as-of was placed earlier on the same business date; what is new was placed after the base's as-of.
    while at >= latest && after_ms >= 8 * HOUR_MS {
        at -= 4 * HOUR_MS;
    }
    while late && at <= world.base_as_of_ms {
        at += HOUR_MS;
    }
    at
}

/// Documents of all three versions come all the time; the share of the first falls.
fn version(world: &World, position: Position<'_>, defect: Option<Defect>, random: &mut Random) -> i32 {
    let progress = 100 * u64::from(position.day) / u64::from(world.options.days);
    let drawn = match random.below(1_000) {
        share if share < 180 - progress => 1,
        share if share < 540 - 2 * progress => 2,
        _ => 3,
    };
    defect.and_then(Defect::version).unwrap_or(drawn)
}

fn lines(currency: Currency, defect: Option<Defect>, random: &mut Random) -> Vec<Line> {
    let weights: [u32; PRODUCTS.len()] = std::array::from_fn(|number| PRODUCTS[number].weight);
    let count = 1 + random.weighted(&[30, 32, 20, 10, 5, 3]);
    let mut lines: Vec<Line> = (0..count)
        .map(|_| {
            let product = random.weighted(&weights);
            let quantity = [1, 2, 3, 4, 8][random.weighted(&[70, 20, 6, 3, 1])];
            let unit_price = currency.price(PRODUCTS[product].price);
            let modifiers = match random.below(10) {
                0..=6 => 0,
                7..=8 => 1,
                _ => 2,
            };
            let modifiers = (0..modifiers)
                .map(|_| {
                    let (name, price) = *random.pick(&MODIFIERS);
                    (name, currency.price(price))
                })
                .collect();
            let discount = if random.permille(40) { i64::from(quantity) * unit_price / 10 } else { 0 };
            Line { product, name: None, quantity, unit_price, modifiers, discount }
        })
        .collect();
    if defect == Some(Defect::ItemName256Bytes) {
        let last = if random.permille(500) { 'ż' } else { '\u{1f355}' };
        lines[0].name = Some(words::text_of_bytes("Pizza z pieczarkami, żółtą papryką i sýrem ", last, 256));
    }
    lines
}

fn destination(
    world: &World,
    (store, neighbourhood, customer): (usize, u64, Option<u64>),
    version: i32,
    defect: Option<Defect>,
    random: &mut Random,
) -> Destination {
    let city = world.stores[store].city();
    let places = &world.neighbourhoods[world.stores[store].city];
    // One in eight orders of a customer goes to the office.
    let away = random.permille(125);
    let dropoff = match customer {
        Some(customer) if !away => {
            let place = places[world.population.neighbourhood(customer) as usize];
            customer::home(world.options.seed, place, customer)
        }
        _ => places[neighbourhood as usize].moved(random.bell() * 420.0, random.bell() * 420.0),
    };
    let unlocated = random.permille(8);
    let street = format!("{} {}", words::street(random), 1 + random.below(140));
    let postcode = words::postcode(city.country, random);
    let zone = (!random.permille(50)).then(|| format!("{}-{}", city.code, neighbourhood % NEIGHBOURHOODS + 1));
    let notes = match defect {
        Some(Defect::Notes257Bytes) => {
            Some(format!("{}ł", "Please ring at the green door. ".repeat(9).chars().take(255).collect::<String>()))
        }
        Some(Defect::Emoji) => Some("Dziękuję \u{1f64f}\u{1f3fd} – brama \u{1f6aa} nr 3".to_owned()),
        _ => random.permille(180).then(|| words::note(random).to_owned()),
    };
    let floor = (defect == Some(Defect::ExtraNestedField)).then(|| random.between(1, 12) as i32);
    let place = if version == 1 || (unlocated && defect.is_none()) { None } else { Some(dropoff) };
    Destination { street, postcode, place, dropoff, zone, notes, floor }
}

fn promotions(world: &World, lines: &[Line], currency: Currency, date: NaiveDate, random: &mut Random) -> (Vec<(&'static str, i64)>, bool) {
    let mut taken = Vec::new();
    let mut free_delivery = false;
    let tries = random.weighted(&[72, 24, 4]);
    let subtotal = lines.iter().map(Line::total).sum::<i64>();
    for _ in 0..tries {
        let promotion = random.pick(&PROMOTIONS);
        let fits = promotion.runs(world.options.first_date(), date) && subtotal >= currency.price(promotion.basket_min);
        if !fits || taken.iter().any(|(code, _)| *code == promotion.code) {
            continue;
        }
        let left = subtotal - taken.iter().map(|(_, amount)| amount).sum::<i64>();
        let amount = match promotion.reward {
            Reward::Percent(percent) => subtotal * percent / 100,
            Reward::Amount(euro_cents) => currency.price(euro_cents),
            Reward::FreeDelivery => {
                free_delivery = true;
                0
            }
        };
        taken.push((promotion.code, amount.min(left)));
    }
    (taken, free_delivery)
}

//! The facts of one order, in the words of the chain.

use chrono::NaiveDate;

use crate::calendar::{BusinessDay, DAY_MS, HOUR_MS, MINUTE_MS};
use crate::catalogue::{MODIFIERS, PRODUCTS, PROMOTIONS, Reward};
use crate::city::{self, Currency, NEIGHBOURHOODS, Place};
use crate::customer;
use crate::defect::Defect;
use crate::random::{Random, Topic};
use crate::words;
use crate::world::World;

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Placed,
    Accepted,
    Preparing,
    OnTheWay,
    Delivered,
    PickedUp,
    Cancelled,
    Failed,
    Refunded,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::OnTheWay => "on_the_way",
            Self::Delivered => "delivered",
            Self::PickedUp => "picked_up",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
        }
    }

    pub(crate) fn is_completed(self) -> bool {
        matches!(self, Self::Delivered | Self::PickedUp)
    }

    pub(crate) fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed)
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Placed | Self::Accepted | Self::Preparing | Self::OnTheWay)
    }
}

/// How the meal reaches the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fulfilment {
    Delivery,
    Pickup,
    DineIn,
}

impl Fulfilment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Pickup => "pickup",
            Self::DineIn => "dine_in",
        }
    }
}

/// One line of an order. Amounts are hundredths of the order's currency.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Position in [`PRODUCTS`].
    pub(crate) product: usize,
    /// A name other than the product's.
    pub(crate) name: Option<String>,
    pub(crate) quantity: i32,
    pub(crate) unit_price: i64,
    /// Name and price of each extra.
    pub(crate) modifiers: Vec<(&'static str, i64)>,
    pub(crate) discount: i64,
}

impl Line {
    pub(crate) fn modifiers_amount(&self) -> i64 {
        self.modifiers.iter().map(|(_, price)| price).sum()
    }

    pub(crate) fn total(&self) -> i64 {
        i64::from(self.quantity) * (self.unit_price + self.modifiers_amount()) - self.discount
    }
}

/// The amounts of an order, in hundredths of its currency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) subtotal: i64,
    pub(crate) discount: i64,
    pub(crate) delivery_fee: i64,
    pub(crate) service_fee: i64,
    pub(crate) tip: i64,
    pub(crate) tax: i64,
    pub(crate) total: i64,
}

/// Where an order goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) street: String,
    pub(crate) postcode: String,
    /// Missing in version 1, and now and then later.
    pub(crate) place: Option<Place>,
    /// Where it truly is: the courier knows, whatever the document says.
    pub(crate) dropoff: Place,
    pub(crate) zone: Option<String>,
    pub(crate) notes: Option<String>,
    pub(crate) floor: Option<i32>,
}

/// When an order arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    At(i64),
    /// The field is there and holds null.
    Null,
    /// The field is not there.
    Missing,
}

impl Arrival {
    pub(crate) fn instant_ms(self) -> Option<i64> {
        match self {
            Self::At(instant_ms) => Some(instant_ms),
            Self::Null | Self::Missing => None,
        }
    }
}

/// A guest's opinion.
#[derive(Debug, Clone)]
pub(crate) struct Rating {
    pub(crate) stars: i32,
    pub(crate) comment: Option<String>,
    pub(crate) at_ms: i64,
}

/// Money given back.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) amount: i64,
    pub(crate) at_ms: i64,
    pub(crate) succeeded: bool,
    /// Whether it belongs to the day after the base data set.
    pub(crate) late: bool,
}

/// One order. Instants are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) ordinal: u64,
    pub(crate) id: [u8; 12],
    pub(crate) number: String,
    pub(crate) version: i32,
    pub(crate) customer: Option<u64>,
    /// Whether the customer's id is a Binary rather than text.
    pub(crate) customer_is_binary: bool,
    /// Position in the world's stores.
    pub(crate) store: usize,
    pub(crate) channel: &'static str,
    pub(crate) fulfilment: Fulfilment,
    pub(crate) status: Status,
    pub(crate) history: Vec<(Status, i64, Option<&'static str>)>,
    pub(crate) placed_ms: i64,
    pub(crate) promised_ms: Option<i64>,
    pub(crate) arrival: Arrival,
    /// When the courier handed it over, if at all, whatever the document says.
    pub(crate) handed_over_ms: Option<i64>,
    pub(crate) updated_ms: i64,
    pub(crate) business_date: NaiveDate,
    pub(crate) lines: Vec<Line>,
    pub(crate) totals: Totals,
    pub(crate) currency: Currency,
    pub(crate) delivery: Option<Destination>,
    pub(crate) promotions: Vec<(&'static str, i64)>,
    pub(crate) rating: Option<Rating>,
    pub(crate) device: u64,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) defect: Option<Defect>,
    /// Whether it is new or was edited during the day after the base data set.
    pub(crate) changed: bool,
    /// Whether it was placed during the day after the base data set.
    pub(crate) is_new: bool,
    /// When an edit raised the total and so the capture, and by how much.
    pub(crate) recaptured_ms: Option<i64>,
    pub(crate) tip_added: i64,
    /// Whether the order was open in the base data set and was closed by the edit.
    pub(crate) closed_late: bool,
}

impl Order {
    /// Succeeded refunds.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|refund| refund.succeeded).map(|refund| refund.amount).sum()
    }

    pub(crate) fn revenue(&self) -> i64 {
        if self.status.is_completed() { self.totals.total - self.totals.tip - self.refunded() } else { 0 }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.status.is_completed()
            && self.arrival.instant_ms().zip(self.promised_ms).is_some_and(|(arrived, promised)| arrived > promised)
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        self.defect.is_some_and(Defect::is_quarantined)
    }

    /// The first time a status was reached.
    pub(crate) fn reached_ms(&self, status: Status) -> Option<i64> {
        self.history.iter().find(|(reached, ..)| *reached == status).map(|(_, at, _)| *at)
    }

    pub(crate) fn id_text(&self) -> String {
        hex::encode(self.id)
    }
}

/// Orders by hour of the business day, 04:00 first: lunch and dinner stand out, the night has a few.
const HOURS: [u32; 24] = [1, 2, 4, 7, 10, 14, 26, 52, 92, 88, 44, 30, 36, 58, 98, 120, 112, 78, 48, 30, 17, 10, 6, 3];
const WEEKEND_HOURS: [u32; 24] = [1, 1, 2, 4, 10, 18, 28, 44, 72, 88, 70, 52, 50, 66, 96, 124, 126, 98, 70, 50, 36, 24, 14, 7];

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
    let channel = *random.pick(&["web", "web", "web", "ios", "ios", "ios", "ios", "android", "android", "android", "partner", "call_center"]);
    let fulfilment = match random.below(100) {
        _ if plain => Fulfilment::Delivery,
        0..=76 => Fulfilment::Delivery,
        77..=93 => Fulfilment::Pickup,
        _ => Fulfilment::DineIn,
    };
    let neighbourhood = {
        let nearest = random.weighted(&[52, 24, 12, 6, 3, 1, 1, 1]);
        world.stores[store].neighbourhoods[nearest]
    };
    let guest = random.permille(if channel == "call_center" { 600 } else { 45 });
    let customer = if guest && !plain {
        None
    } else {
        let drawn = world.population.draw(world.stores[store].city, neighbourhood, u64::from(position.day), &mut random);
        drawn.filter(|customer| customer::orders_on(&world.options, *customer, date))
    };
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
    let mut lines = lines(currency, &mut random);
    if defect == Some(Defect::ItemName256Bytes) {
        let last = if random.permille(500) { 'ż' } else { '\u{1f355}' };
        lines[0].name = Some(words::text_of_bytes("Pizza z pieczarkami, żółtą papryką i sýrem ", last, 256));
    }
    let delivery = (fulfilment == Fulfilment::Delivery)
        .then(|| destination(world, (store, neighbourhood, customer), version, defect, &mut random));
    let (promotions, free_delivery) = promotions(world, &lines, currency, date, &mut random);
    let totals = {
        let discount: i64 = promotions.iter().map(|(_, amount)| amount).sum();
        let subtotal = lines.iter().map(Line::total).sum::<i64>();
        let distance_m = delivery.as_ref().map(|delivery| world.stores[store].place.distance_m(delivery.dropoff));
        let fee = distance_m.map_or(0, |distance_m| currency.price(149 + 10 * (distance_m / 200.0) as i64));
        let delivery_fee = if free_delivery { 0 } else { fee };
        let service_fee = if version == 3 { currency.price(30 + random.between(0, 6) * 10) } else { 0 };
        let mut tip = if random.permille(220) { currency.price(random.between(1, 6) * 50) } else { 0 };
        if defect == Some(Defect::MoneyInteger) {
            tip = 200;
        }
        let taxed = subtotal - discount;
        let tax = if city.tax_on_top { (taxed * 8_875 + 50_000) / 100_000 } else { (taxed * 8 + 54) / 108 };
        let added_tax = if city.tax_on_top { tax } else { 0 };
        let total = taxed + delivery_fee + service_fee + tip + added_tax;
        Totals { subtotal, discount, delivery_fee, service_fee, tip, tax, total }
    };
    let sequence = position.sequence + 1;
    let number = format!("{}-{}-{}-{sequence:04}", city.code, date.format("%Y%m%d"), world.stores[store].id);
    let mut order = Order {
        ordinal,
        id: object_id(world.options.seed, ordinal, placed_ms),
        number,
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
        totals,
        currency,
        delivery,
        promotions,
        rating: None,
        device: random.next(),
        refunds: Vec::new(),
        defect,
        changed: ordinal >= world.orders,
        is_new: ordinal >= world.orders,
        recaptured_ms: None,
        tip_added: 0,
        closed_late: false,
    };
    let limit_ms = if ordinal < world.orders { world.base_as_of_ms } else { world.as_of_ms() };
    live(world, &mut order, plain, limit_ms, &mut random);
    order
}

fn placed_ms(world: &World, position: Position<'_>, random: &mut Random) -> i64 {
    use chrono::Datelike;
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

/// An ObjectId as a driver makes it: seconds, five bytes of a process, a counter.
pub(crate) fn object_id(seed: u64, ordinal: u64, placed_ms: i64) -> [u8; 12] {
    let mut id = [0; 12];
    let seconds = u32::try_from(placed_ms / 1_000).unwrap_or(u32::MAX);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    let process = Random::new(seed, Topic::OrderId, ordinal >> 24).bytes::<5>();
    id[4..9].copy_from_slice(&process);
    let counter = (ordinal & 0xff_ffff) as u32;
    id[9..].copy_from_slice(&counter.to_be_bytes()[1..]);
    id
}

fn lines(currency: Currency, random: &mut Random) -> Vec<Line> {
    let weights: [u32; PRODUCTS.len()] = std::array::from_fn(|number| PRODUCTS[number].weight);
    let count = 1 + random.weighted(&[30, 32, 20, 10, 5, 3]);
    (0..count)
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
        .collect()
}

fn destination(
    world: &World,
    (store, neighbourhood, customer): (usize, u64, Option<u64>),
    version: i32,
    defect: Option<Defect>,
    random: &mut Random,
) -> Destination {
    let city_number = world.stores[store].city;
    let city = world.stores[store].city();
    // One in eight orders of a customer goes to the office.
    let away = random.permille(125);
    let dropoff = match customer {
        Some(customer) if !away => {
            customer::home(world.options.seed, city_number, world.population.neighbourhood(customer), customer)
        }
        _ => city::neighbourhood(world.options.seed, city_number, neighbourhood).moved(random.bell() * 420.0, random.bell() * 420.0),
    };
    let unlocated = random.permille(8);
    let street = format!("{} {}", words::street(random), 1 + random.below(140));
    let postcode = words::postcode(city.country, random);
    let zone = (!random.permille(50)).then(|| format!("{}-{}", city.code, neighbourhood % NEIGHBOURHOODS + 1));
    let notes = match defect {
        Some(Defect::Notes257Bytes) => Some(format!("{}ł", "Please ring at the green door. ".repeat(9).chars().take(255).collect::<String>())),
        Some(Defect::Emoji) => Some("Dziękuję \u{1f64f}\u{1f3fd} – brama \u{1f6aa} nr 3".to_owned()),
        _ => random.permille(180).then(|| words::note(random).to_owned()),
    };
    let floor = (defect == Some(Defect::ExtraNestedField)).then(|| random.between(1, 12) as i32);
    let place = if version == 1 || (unlocated && defect.is_none()) { None } else { Some(dropoff) };
    Destination { street, postcode, place, dropoff, zone, notes, floor }
}

fn promotions(
    world: &World,
    lines: &[Line],
    currency: Currency,
    date: NaiveDate,
    random: &mut Random,
) -> (Vec<(&'static str, i64)>, bool) {
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

/// Lets the order run its course: statuses, arrival, rating, refunds. Nothing happens at or after `limit_ms`.
fn live(world: &World, order: &mut Order, plain: bool, limit_ms: i64, random: &mut Random) {
    let mut minutes = |low: i64, high: i64| random.between(low * MINUTE_MS, high * MINUTE_MS);
    let accepted_ms = order.placed_ms + minutes(1, 5) - 30_000;
    let preparing_ms = accepted_ms + minutes(0, 3);
    let ready_ms = preparing_ms + minutes(7, 26);
    let travel_ms = minutes(4, 13);
    let promised_after = minutes(8, 11) / MINUTE_MS * 5;
    let distance_m =
        order.delivery.as_ref().map_or(0.0, |delivery| world.stores[order.store].place.distance_m(delivery.dropoff));
    let rush = if random.permille(60) { random.between(10, 45) * MINUTE_MS } else { 0 };
    let arrived_ms = ready_ms + travel_ms + rush + (distance_m * 260.0) as i64;
    let arrived_ms = arrived_ms.min(order.placed_ms + 170 * MINUTE_MS);
    order.promised_ms = match order.fulfilment {
        Fulfilment::Delivery => Some(order.placed_ms + promised_after * MINUTE_MS),
        Fulfilment::Pickup => (plain || !random.permille(300)).then(|| order.placed_ms + (promised_after - 10) * MINUTE_MS),
        Fulfilment::DineIn => None,
    };
    let by = *random.pick(&["store", "store", "kds", "call_center"]);
    order.history.push((Status::Placed, order.placed_ms, None));
    let fate = if plain { 999 } else { random.below(1_000) };
    let last_day = order.business_date == world.options.until && order.ordinal < world.orders;
    if fate < 48 {
        let status = if fate < 40 { Status::Cancelled } else { Status::Failed };
        let late = fate % 3 == 0;
        if late {
            order.history.push((Status::Accepted, accepted_ms, Some(by)));
        }
        let at = if late { preparing_ms } else { order.placed_ms } + random.between(5_000, 400_000);
        order.history.push((status, at, Some(if fate % 2 == 0 { "customer" } else { "store" })));
    } else if fate < 110 && last_day {
        // Still open when the data set is shown.
        let open = [(Status::Accepted, accepted_ms), (Status::Preparing, preparing_ms)];
        let reached = random.below(3) as usize;
        order.history.extend(open.iter().take(reached).map(|(status, at)| (*status, *at, Some(by))));
    } else {
        complete(order, (accepted_ms, preparing_ms, ready_ms, arrived_ms), by);
        afterwards(order, plain, limit_ms, random);
    }
    let (status, at, _) = *order.history.last().expect("every order was placed");
    order.status = status;
    if order.arrival == Arrival::Missing && random.permille(400) {
        order.arrival = Arrival::Null;
    }
    match order.defect {
        Some(Defect::DeliveredAtNull) => order.arrival = Arrival::Null,
        Some(Defect::DeliveredAtMissing) => order.arrival = Arrival::Missing,
        _ => {}
    }
    let last_ms = order.rating.as_ref().map_or(at, |rating| rating.at_ms.max(at));
    order.updated_ms = last_ms + random.between(0, 4_000);
    if order.defect == Some(Defect::LateUpdate) {
        let wanted = order.placed_ms + random.between(12 * DAY_MS, 30 * DAY_MS);
        order.updated_ms = wanted.min(limit_ms - random.between(60_000, 90_000)).max(order.updated_ms);
    }
}

/// The way to the guest, from acceptance to the hand-over.
pub(crate) fn complete(order: &mut Order, instants: (i64, i64, i64, i64), by: &'static str) {
    let (accepted_ms, preparing_ms, ready_ms, arrived_ms) = instants;
    order.history.push((Status::Accepted, accepted_ms, Some(by)));
    order.history.push((Status::Preparing, preparing_ms, Some("kds")));
    match order.fulfilment {
        Fulfilment::Delivery => {
            order.history.push((Status::OnTheWay, ready_ms, None));
            order.history.push((Status::Delivered, arrived_ms, Some("courier")));
            order.arrival = Arrival::At(arrived_ms);
            order.handed_over_ms = Some(arrived_ms);
        }
        Fulfilment::Pickup => order.history.push((Status::PickedUp, ready_ms, Some(by))),
        Fulfilment::DineIn => order.history.push((Status::Delivered, ready_ms, Some(by))),
    }
}

/// Ratings and refunds.
fn afterwards(order: &mut Order, plain: bool, limit_ms: i64, random: &mut Random) {
    let done_ms = order.history.last().map_or(order.placed_ms, |(_, at, _)| *at);
    let rated_ms = done_ms + random.between(5 * MINUTE_MS, 20 * HOUR_MS);
    let wants_rating = random.permille(240) || matches!(order.defect, Some(Defect::StarsLong | Defect::Emoji));
    if wants_rating {
        let at_ms = if rated_ms < limit_ms - MINUTE_MS { rated_ms } else { done_ms + 5 * MINUTE_MS };
        let stars = 1 + random.weighted(&[4, 5, 12, 34, 45]) as i32;
        let mut comment = random.permille(450).then(|| words::comment(random).to_owned());
        if order.defect == Some(Defect::Emoji) {
            comment = Some("\u{1f355}\u{1f355}\u{1f355} pyszne! \u{1f468}\u{200d}\u{1f373}".to_owned());
        }
        order.rating = Some(Rating { stars, comment, at_ms });
    }
    let refunded_ms = done_ms + random.between(30 * MINUTE_MS, 40 * HOUR_MS);
    let in_time = refunded_ms < limit_ms - MINUTE_MS;
    let fate = random.below(1_000);
    let total = order.totals.total;
    if order.defect == Some(Defect::RefundOverTotal) {
        let at_ms = refunded_ms.min(limit_ms - MINUTE_MS);
        order.refunds.push(Refund { amount: total + 500, at_ms, succeeded: true, late: false });
    } else if plain || !in_time {
        // Nothing is given back.
    } else if fate < 12 {
        order.refunds.push(Refund { amount: total, at_ms: refunded_ms, succeeded: true, late: false });
        order.history.push((Status::Refunded, refunded_ms, Some("call_center")));
    } else if fate < 34 {
        let amount = (total * random.between(5, 60) / 100).max(1);
        order.refunds.push(Refund { amount, at_ms: refunded_ms, succeeded: !random.permille(150), late: false });
    }
}

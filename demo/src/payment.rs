//! The payments and the delivery that belong to an order.

use crate::calendar::MINUTE_MS;
use crate::city::CITIES;
use crate::defect::Defect;
use crate::order::{Fulfilment, Order, Status, object_id};
use crate::random::{Random, Topic};
use crate::store::COURIERS_PER_STORE;
use crate::world::World;

/// Transactions an order may have, so that a transaction's id follows from the order's number.
const PER_ORDER: u64 = 8;

/// A row of `payments.transactions`. Instants are microseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) id: i64,
    pub(crate) order_id: String,
    pub(crate) customer: Option<u64>,
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) method: &'static str,
    pub(crate) provider: &'static str,
    /// Hundredths.
    pub(crate) amount: i64,
    /// Ten-thousandths.
    pub(crate) fee: i64,
    pub(crate) currency: &'static str,
    pub(crate) payload: Option<String>,
    pub(crate) created_us: i64,
    pub(crate) updated_us: i64,
    pub(crate) changed: bool,
}

/// What is common to the transactions of an order.
struct Ledger<'order> {
    order: &'order Order,
    method: &'static str,
    provider: &'static str,
    random: Random,
    rows: Vec<Transaction>,
}

impl Ledger<'_> {
    fn push(&mut self, slot: u64, kind: &'static str, status: &'static str, amount: i64, at_ms: i64) -> &mut Transaction {
        let created_us = at_ms * 1_000 + self.random.between(0, 999);
        let settled_us = created_us + self.random.between(80_000, 2_500_000);
        // 1.4 % and, when a refund is made, nothing.
        let fee = if kind == "capture" && self.method != "cash" { amount * 14 / 10 } else { 0 };
        let payload = (self.provider != "till").then(|| self.payload());
        self.rows.push(Transaction {
            id: (1 + self.order.ordinal * PER_ORDER + slot) as i64,
            order_id: self.order.id_text(),
            customer: self.order.customer,
            kind,
            status,
            method: self.method,
            provider: self.provider,
            amount,
            fee,
            currency: self.order.currency.code,
            payload,
            created_us,
            updated_us: settled_us,
            changed: self.order.is_new,
        });
        self.rows.last_mut().expect("it was pushed just now")
    }

    fn payload(&mut self) -> String {
        let reference = hex::encode(self.random.bytes::<8>());
        let risk = self.random.below(1_000);
        match self.method {
            "card" => {
                let network = self.random.pick(&["visa", "mastercard", "amex"]);
                format!(
                    "{{\"card\": {{\"network\": \"{network}\", \"three_d_secure\": {}}}, \"risk\": 0.{risk:03}, \"reference\": \"{reference}\"}}",
                    risk > 400
                )
            }
            "blik" => format!("{{\"bank\": \"Bank Pod Lipą\", \"reference\": \"{reference}\", \"attempts\": {}}}", 1 + risk % 3),
            _ => format!("{{\"reference\": \"{reference}\", \"tags\": [], \"note\": null}}"),
        }
    }
}

/// All transactions of an order, and those seeded beside it.
pub(crate) fn transactions(world: &World, order: &Order) -> Vec<Transaction> {
    let mut random = Random::new(world.options.seed, Topic::Payment, order.ordinal);
    let plain = order.defect.is_some_and(Defect::needs_plain_delivery);
    let polish = CITIES[world.stores[order.store].city].country == "PL";
    let method = match random.below(100) {
        _ if plain => "card",
        0..=24 if polish => "blik",
        0..=58 => "card",
        59..=76 => "wallet",
        77..=80 if order.customer.is_some() => "points",
        _ => "cash",
    };
    let provider = match method {
        "cash" => "till",
        "points" => "loyalty",
        "blik" => "payhub",
        _ => *random.pick(&["payhub", "cardwise"]),
    };
    let mut ledger = Ledger { order, method, provider, random, rows: Vec::with_capacity(4) };
    let placed_ms = order.placed_ms;
    // What was authorized when the order was placed: an edit of the total comes later.
    let authorized = order.totals.total - order.tip_added;
    let failed = order.status == Status::Failed;
    if method != "cash" {
        ledger.push(0, "authorization", if failed { "failed" } else { "succeeded" }, authorized, placed_ms + 1_500);
    }
    capture(order, &mut ledger);
    refunds(world, order, &mut ledger, false);
    let is_charged_back = order.defect.is_none() && method == "card" && order.ordinal % 977 == 5 && !order.closed_late;
    if let Some(at_ms) = order.handed_over_ms.filter(|_| is_charged_back) {
        let as_of_ms = if order.is_new { world.as_of_ms() } else { world.base_as_of_ms };
        let at_ms = (at_ms + 3 * 24 * 60 * MINUTE_MS).min(as_of_ms - 10 * MINUTE_MS);
        ledger.push(5, "chargeback", "succeeded", authorized, at_ms.max(order.placed_ms));
    }
    // Last, so that the numbers drawn for the rows before it are those of the base data set.
    refunds(world, order, &mut ledger, true);
    if order.defect == Some(Defect::OrphanCapture) {
        let row = ledger.push(6, "capture", "succeeded", order.totals.total, order.placed_ms + 3_000);
        row.order_id = orphan_id(world, order);
        row.customer = None;
    }
    ledger.rows
}

fn refunds(world: &World, order: &Order, ledger: &mut Ledger<'_>, late: bool) {
    for (number, refund) in order.refunds.iter().enumerate().filter(|(_, refund)| refund.late == late) {
        let status = if refund.succeeded { "succeeded" } else { "failed" };
        let row = ledger.push(2 + number as u64, "refund", status, refund.amount, refund.at_ms);
        if late {
            row.id = late_id(world, order.ordinal);
            row.changed = true;
        }
    }
}

fn capture(order: &Order, ledger: &mut Ledger<'_>) {
    let authorized = order.totals.total - order.tip_added;
    let done_ms = order.history.iter().find(|(status, ..)| status.is_completed()).map(|(_, at, _)| *at);
    if order.defect == Some(Defect::MissingCapture) {
        return;
    }
    match (order.status, done_ms) {
        (Status::Cancelled | Status::Failed, _) => {
            // The authorization lapses, and nothing is captured; what was pending fails.
            if order.closed_late {
                let row = ledger.push(1, "capture", "failed", authorized, order.placed_ms + 4_000);
                row.updated_us = order.updated_ms * 1_000;
                row.changed = true;
            }
        }
        (_, Some(done_ms)) => {
            let amount = if order.defect == Some(Defect::AmountMismatch) { authorized - 1 } else { authorized };
            // An order that was open had no capture yet: it is new.
            let at_ms = done_ms + 20_000;
            let closed_late = order.closed_late;
            let row = ledger.push(1, "capture", "succeeded", amount, at_ms);
            row.changed |= closed_late;
            if let Some(edited_ms) = order.recaptured_ms {
                row.amount = order.totals.total;
                row.fee = if row.fee == 0 { 0 } else { row.amount * 14 / 10 };
                row.updated_us = edited_ms * 1_000 + 250_000;
                row.changed = true;
            }
            if closed_late {
                row.created_us = row.created_us.max(order.updated_ms * 1_000);
                row.updated_us = row.created_us + 400_000;
            }
            if order.defect == Some(Defect::DoubleCapture) {
                ledger.push(4, "capture", "succeeded", amount, at_ms + 45_000);
            }
        }
        (_, None) => {
            ledger.push(1, "capture", "pending", authorized, order.placed_ms + 4_000);
        }
    }
}

/// The id of a row added during the day after the base data set: above all ids that were there.
fn late_id(world: &World, ordinal: u64) -> i64 {
    (1 + (world.orders + world.late_orders) * PER_ORDER + ordinal) as i64
}

/// An ObjectId that no order has.
pub(crate) fn orphan_id(world: &World, order: &Order) -> String {
    hex::encode(object_id(world.options.seed ^ Topic::Orphan as u64, u64::MAX - order.ordinal, order.placed_ms))
}

/// A row of `delivery.deliveries`. Instants are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) order_id: String,
    pub(crate) store_id: i32,
    pub(crate) courier_id: Option<i32>,
    pub(crate) status: &'static str,
    pub(crate) assigned_ms: Option<i64>,
    pub(crate) picked_up_ms: Option<i64>,
    pub(crate) delivered_ms: Option<i64>,
    pub(crate) promised_ms: Option<i64>,
    pub(crate) distance_m: i32,
    /// Longitude and latitude.
    pub(crate) dropoff: (f64, f64),
    /// Hundredths.
    pub(crate) cost: i64,
    pub(crate) updated_ms: i64,
    pub(crate) changed: bool,
}

/// The delivery of an order that is to be delivered.
pub(crate) fn delivery(world: &World, order: &Order) -> Option<Delivery> {
    if order.fulfilment != Fulfilment::Delivery {
        return None;
    }
    let destination = order.delivery.as_ref()?;
    let store = &world.stores[order.store];
    // Streets are a third longer than the way of a bird.
    let distance_m = (store.place.distance_m(destination.dropoff) * 1.32) as i32;
    let picked_up_ms = order.reached_ms(Status::OnTheWay);
    let accepted_ms = order.reached_ms(Status::Accepted);
    let status = match (order.handed_over_ms, picked_up_ms, order.status) {
        (Some(_), ..) => "delivered",
        (None, _, Status::Cancelled) => "cancelled",
        (None, _, Status::Failed) => "failed",
        (None, Some(_), _) => "picked_up",
        _ => "assigned",
    };
    let assigned_ms = accepted_ms.map(|at_ms| at_ms + 20_000);
    let number = (order.ordinal % u64::from(COURIERS_PER_STORE)) as u32;
    let courier_id = assigned_ms.map(|_| (order.store as u32 * COURIERS_PER_STORE + number) as i32 + 1);
    let updated_ms = [assigned_ms, picked_up_ms, order.handed_over_ms].into_iter().flatten().max().unwrap_or(order.placed_ms) + 700;
    let changed = order.is_new || order.closed_late;
    Some(Delivery {
        id: (1 + order.ordinal) as i64,
        order_id: order.id_text(),
        store_id: store.id,
        courier_id,
        status,
        assigned_ms,
        picked_up_ms,
        delivered_ms: order.handed_over_ms,
        promised_ms: order.promised_ms,
        distance_m,
        dropoff: (destination.dropoff.longitude, destination.dropoff.latitude),
        cost: order.currency.price(180 + i64::from(distance_m) / 25),
        updated_ms: if order.closed_late { updated_ms.max(order.updated_ms) } else { updated_ms },
        changed,
    })
}

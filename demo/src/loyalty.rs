//! Loyalty: who takes part, what is earned and burnt, and the balances, which must agree with the ledger.

use crate::customer;
use crate::order::{Order, Status};
use crate::random::{Random, Topic};
use crate::world::World;

/// Entries an order may have, so that an entry's id follows from the order's number.
const PER_ORDER: u64 = 4;

/// A row of `loyalty.ledger`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) customer: u64,
    pub(crate) order_id: String,
    pub(crate) points: i32,
    pub(crate) reason: &'static str,
    pub(crate) created_ms: i64,
    pub(crate) changed: bool,
}

/// A row of `loyalty.accounts`.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) customer: u64,
    pub(crate) tier: &'static str,
    pub(crate) points: i32,
    pub(crate) joined_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) changed: bool,
}

/// The balances of all customers: twelve bytes each, sixteen when changes are made.
#[derive(Debug)]
pub(crate) struct Balances {
    /// Points in the base data set.
    base: Vec<i32>,
    /// Points that came or went during the day after it; empty if there is no such day.
    late: Vec<i32>,
    /// Seconds since 1970 of the last entry; 0: none.
    touched: Vec<u32>,
    late_touched: Vec<u32>,
}

/// Whether a customer takes part: three in five do.
pub(crate) fn takes_part(seed: u64, customer: u64) -> bool {
    Random::new(seed, Topic::Loyalty, customer).permille(600)
}

impl Balances {
    pub(crate) fn new(world: &World) -> Self {
        let customers = usize::try_from(world.options.customers).expect("options keep customers below a billion");
        let late = if world.late_orders > 0 { customers } else { 0 };
        Self { base: vec![0; customers], late: vec![0; late], touched: vec![0; customers], late_touched: vec![0; late] }
    }

    /// The entries an order makes. Entries of the base data set do not depend on what happens a day later.
    pub(crate) fn post(&mut self, world: &World, order: &Order) -> Vec<Entry> {
        let mut entries = Vec::new();
        let Some(customer) = order.customer else {
            return entries;
        };
        let earned_ms = order.history.iter().find(|(status, ..)| status.is_completed()).map(|(_, at, _)| *at);
        let Some(earned_ms) = earned_ms.filter(|_| takes_part(world.options.seed, customer)) else {
            return entries;
        };
        let late = order.is_new || order.closed_late;
        let posted_ms = if order.closed_late { order.updated_ms } else { earned_ms };
        let eligible = order.totals.subtotal - order.totals.discount;
        let points = (order.currency.in_euro_cents(eligible) / 100).clamp(1, 100_000) as i32;
        let id = 1 + order.ordinal * PER_ORDER;
        let entry = |id: u64, points, reason, created_ms, changed| Entry {
            id: id as i64,
            customer,
            order_id: order.id_text(),
            points,
            reason,
            created_ms,
            changed,
        };
        entries.push(entry(id, points, "order", posted_ms, late));
        let index = customer as usize;
        if !late && self.base[index] > 250 && order.ordinal.is_multiple_of(3) {
            entries.push(entry(id + 1, -200, "redeemed", order.placed_ms, false));
        }
        if order.status == Status::Refunded {
            let refund = order.refunds.iter().find(|refund| refund.succeeded);
            let refund_late = refund.is_some_and(|refund| refund.late);
            let at_ms = refund.map_or(earned_ms, |refund| refund.at_ms);
            // What a later day adds has an id above all that were there.
            let above = 1 + (world.orders + world.late_orders) * PER_ORDER + order.ordinal;
            let id = if refund_late { above } else { id + 2 };
            entries.push(entry(id, -points, "reversal", at_ms, refund_late || late));
        }
        for entry in &entries {
            let (balances, touched) =
                if entry.changed { (&mut self.late, &mut self.late_touched) } else { (&mut self.base, &mut self.touched) };
            balances[index] += entry.points;
            touched[index] = touched[index].max((entry.created_ms / 1_000) as u32);
        }
        entries
    }

    /// The account of a customer who takes part.
    pub(crate) fn account(&self, world: &World, customer: u64) -> Option<Account> {
        if !takes_part(world.options.seed, customer) {
            return None;
        }
        let index = customer as usize;
        let late = self.late_touched.get(index).is_some_and(|seconds| *seconds > 0);
        let points = self.base[index] + self.late.get(index).copied().unwrap_or(0);
        let tier = match points {
            500.. => "gold",
            150..=499 => "silver",
            _ => "bronze",
        };
        let joined_ms = customer::customer(&world.options, &world.population, customer, None).created_ms;
        let seconds = if late { self.late_touched[index] } else { self.touched[index] };
        Some(Account { customer, tier, points, joined_ms, updated_ms: (i64::from(seconds) * 1_000).max(joined_ms), changed: late })
    }
}

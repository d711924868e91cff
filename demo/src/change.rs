//! What happens to orders during the day after the base data set: some are edited, with an `updatedAt` after everything there was.

use crate::calendar::{DAY_MS, MINUTE_MS};
use crate::course;
use crate::order::{Fulfilment, Order, Rating, Refund, Status};
use crate::random::{Random, Topic};
use crate::world::World;

/// Edits the order if it is one of the share that changes. Orders with a seeded defect stay as they are.
pub(crate) fn apply(world: &World, order: &mut Order) {
    let Some(later_ms) = world.later_as_of_ms else {
        return;
    };
    if order.changed || order.defect.is_some() {
        return;
    }
    let mut random = Random::new(world.options.seed, Topic::Change, order.ordinal);
    if random.unit() >= world.options.change_share {
        return;
    }
    let at_ms = later_ms - random.between(10 * MINUTE_MS, DAY_MS - 10 * MINUTE_MS);
    order.changed = true;
    order.updated_ms = at_ms + random.between(0, 4_000);
    if order.status.is_open() {
        close(order, at_ms);
        return;
    }
    let untouched = order.refunds.is_empty();
    match random.below(3) {
        0 if order.status.is_completed() && untouched => {
            order.refunds.push(Refund { amount: order.totals.total, at_ms, succeeded: true, late: true });
            order.history.push((Status::Refunded, at_ms, Some("call_center")));
            order.status = Status::Refunded;
        }
        1 if order.status.is_completed() && untouched => {
            let more = order.currency.price(random.between(1, 5) * 50);
            order.totals.tip += more;
            order.totals.total += more;
            order.tip_added = more;
            order.recaptured_ms = Some(at_ms);
        }
        _ => {
            let stars = random.between(1, 5) as i32;
            order.rating = Some(Rating { stars, comment: Some("Edited a day later – dziękuję".to_owned()), at_ms });
        }
    }
}

/// An order that was open comes to its end.
fn close(order: &mut Order, at_ms: i64) {
    order.closed_late = true;
    if order.ordinal.is_multiple_of(4) {
        order.history.push((Status::Cancelled, at_ms, Some("call_center")));
        order.status = Status::Cancelled;
        return;
    }
    order.history.truncate(1);
    let start = order.placed_ms;
    let arrived_ms = if order.fulfilment == Fulfilment::Delivery { at_ms } else { start + 20 * MINUTE_MS };
    course::complete(order, (start + MINUTE_MS, start + 2 * MINUTE_MS, start + 20 * MINUTE_MS, arrived_ms), "store");
    order.status = order.history.last().map_or(order.status, |(status, ..)| *status);
}

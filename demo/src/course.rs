//! What becomes of an order once it is placed.

use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::defect::Defect;
use crate::order::{Arrival, Fulfilment, Order, Rating, Refund, Status};
use crate::random::Random;
use crate::words;
use crate::world::World;

/// Lets the order run its course: statuses, arrival, rating, refunds. Nothing happens at or after the
/// as-of it is made for.
pub(crate) fn run(world: &World, order: &mut Order, plain: bool, random: &mut Random) {
    let limit_ms = if order.is_new { world.as_of_ms() } else { world.base_as_of_ms };
    let mut minutes = |low: i64, high: i64| random.between(low * MINUTE_MS, high * MINUTE_MS);
    let accepted_ms = order.placed_ms + minutes(1, 5) - 30_000;
    let preparing_ms = accepted_ms + minutes(0, 3);
    let ready_ms = preparing_ms + minutes(7, 26);
    let travel_ms = minutes(4, 13);
    let promised_after = minutes(8, 11) / MINUTE_MS * 5;
    let distance_m = order.delivery.as_ref().map_or(0.0, |delivery| world.stores[order.store].place.distance_m(delivery.dropoff));
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
        let late = fate.is_multiple_of(3);
        if late {
            order.history.push((Status::Accepted, accepted_ms, Some(by)));
        }
        let at = if late { preparing_ms } else { order.placed_ms } + random.between(5_000, 400_000);
        order.history.push((status, at, Some(if fate.is_multiple_of(2) { "customer" } else { "store" })));
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

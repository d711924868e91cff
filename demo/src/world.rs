//! What is fixed for a whole data set: who and where, how many orders fall on which store and date, and the as-of.

use chrono::NaiveDate;

use crate::calendar::{self, DAY_MS, plus};
use crate::city::{self, Neighbourhoods};
use crate::customer::Population;
use crate::defect::Plan;
use crate::options::Options;
use crate::random::{Random, Topic};
use crate::store::{self, Store};

/// How busy the days of the week are, Monday first.
const WEEKDAYS: [u64; 7] = [88, 90, 95, 106, 134, 142, 122];

/// The data set's frame.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) population: Population,
    pub(crate) stores: Vec<Store>,
    pub(crate) neighbourhoods: Neighbourhoods,
    pub(crate) defects: Plan,
    /// Orders of the base data set.
    pub(crate) orders: u64,
    /// Orders of the day after it; 0 unless changes are made.
    pub(crate) late_orders: u64,
    /// The as-of of the base data set.
    pub(crate) base_as_of_ms: i64,
    /// The as-of one day later, if changes are made.
    pub(crate) later_as_of_ms: Option<i64>,
    weight_total: u128,
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let neighbourhoods = city::neighbourhoods(options.seed);
        let stores = store::stores(options, &neighbourhoods);
        let orders = options.orders_total();
        let base_as_of_ms = calendar::as_of_ms(options.until);
        let changes = options.change_share > 0.0;
        let late_orders = if changes { ((orders as f64 * options.change_share / 10.0).ceil() as u64).max(1) } else { 0 };
        let mut world = Self {
            population: Population::new(options),
            defects: Plan::new(orders),
            options: options.clone(),
            stores,
            neighbourhoods,
            orders,
            late_orders,
            base_as_of_ms,
            later_as_of_ms: changes.then_some(base_as_of_ms + DAY_MS),
            weight_total: 0,
        };
        world.weight_total = (0..options.days)
            .flat_map(|day| (0..world.stores.len()).map(move |store| (day, store)))
            .map(|(day, store)| u128::from(world.weight(day, store)))
            .sum();
        world
    }

    /// The as-of the data set is shown at.
    pub(crate) fn as_of_ms(&self) -> i64 {
        self.later_as_of_ms.unwrap_or(self.base_as_of_ms)
    }

    /// The business date of a day; the day after the last is that of the late orders.
    pub(crate) fn date(&self, day: u32) -> NaiveDate {
        plus(self.options.first_date(), u64::from(day))
    }

    /// Business dates with orders.
    pub(crate) fn days(&self) -> u32 {
        self.options.days + u32::from(self.late_orders > 0)
    }

    /// The share of a store and day in the base data set's orders.
    fn weight(&self, day: u32, store: usize) -> u64 {
        let weekday = chrono::Datelike::weekday(&self.date(day)).num_days_from_monday() as usize;
        let growth = 100 + 30 * u64::from(day) / u64::from(self.options.days);
        let index = (u64::from(day) << 32) | store as u64;
        let noise = 80 + Random::new(self.options.seed, Topic::DayWeight, index).below(41);
        let city = u64::from(self.stores[store].city().weight);
        self.stores[store].weight * (city + 10) * WEEKDAYS[weekday] * growth * noise
    }

    /// How many orders each store has on each day, in the order of days and stores; the sum is exactly the number asked for.
    pub(crate) fn counts(&self) -> Counts<'_> {
        Counts { world: self, day: 0, weight_before: 0 }
    }
}

/// Deals orders to days: each day gives the first order's number and the number of orders for every store.
#[derive(Debug)]
pub(crate) struct Counts<'world> {
    world: &'world World,
    day: u32,
    weight_before: u128,
}

impl Iterator for Counts<'_> {
    type Item = Vec<(u64, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let world = self.world;
        let day = self.day;
        if day >= world.days() {
            return None;
        }
        self.day += 1;
        if day == world.options.days {
            let open: Vec<bool> = world.stores.iter().map(|store| store.weight > 0).collect();
            let count = open.iter().filter(|open| **open).count() as u64;
            let mut position = 0;
            let share = |position: u64| world.late_orders * position / count;
            return Some(
                open.into_iter()
                    .map(|open| {
                        let first = share(position);
                        position += u64::from(open);
                        (world.orders + first, share(position) - first)
                    })
                    .collect(),
            );
        }
        let share = |weight: u128| (u128::from(world.orders) * weight / world.weight_total) as u64;
        let counts = (0..world.stores.len())
            .map(|store| {
                let first = share(self.weight_before);
                self.weight_before += u128::from(world.weight(day, store));
                (first, share(self.weight_before) - first)
            })
            .collect();
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_dealt_once() {
        for (orders, change_share) in [(1, 0.0), (2_777, 0.0), (1_000, 0.05)] {
            let options = Options { orders: Some(orders), change_share, ..Options::default() };
            let world = World::new(&options);
            let mut next = 0;
            for counts in world.counts() {
                for (first, count) in counts {
                    assert_eq!(first, next);
                    next += count;
                }
            }
            assert_eq!(next, orders + world.late_orders);
        }
    }
}

//! Stores and their couriers.

use chrono::NaiveDate;

use crate::calendar::{self, minus};
use crate::city::{self, CITIES, City, NEIGHBOURHOODS, Neighbourhoods, Place};
use crate::options::Options;
use crate::random::{Random, Topic};
use crate::words;

/// Couriers each store has.
pub(crate) const COURIERS_PER_STORE: u32 = 5;

const BRANDS: [&str; 3] = ["Piec & Ogień", "Blue Bowl", "Rollo"];

/// What the chain knows of a store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) id: i32,
    /// Position in [`CITIES`].
    pub(crate) city: usize,
    pub(crate) name: String,
    pub(crate) brand: &'static str,
    pub(crate) place: Place,
    pub(crate) delivery_radius_m: i32,
    pub(crate) opened_on: NaiveDate,
    pub(crate) closed_on: Option<NaiveDate>,
    /// JSON, or none for a store that never told.
    pub(crate) opening_hours: Option<String>,
    pub(crate) updated_ms: i64,
    /// Share of the chain's orders; 0 for a closed store.
    pub(crate) weight: u64,
    /// The city's neighbourhoods, nearest first.
    pub(crate) neighbourhoods: Vec<u64>,
}

impl Store {
    pub(crate) fn city(&self) -> &'static City {
        &CITIES[self.city]
    }
}

/// One courier.
#[derive(Debug)]
pub(crate) struct Courier {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) vehicle: &'static str,
    pub(crate) home_store_id: Option<i32>,
    pub(crate) active: bool,
    pub(crate) updated_ms: i64,
}

/// All stores, grouped by city.
pub(crate) fn stores(options: &Options, neighbourhoods: &Neighbourhoods) -> Vec<Store> {
    let cities = city::used(options.stores);
    let mut assigned = vec![0_u32; cities];
    let weights: Vec<u32> = CITIES.iter().take(cities).map(|city| city.weight).collect();
    for number in 0..options.stores as usize {
        // Two each first, so that no city has a lonely store; then by the cities' weights.
        let city =
            if number < 2 * cities { number % cities } else { Random::new(options.seed, Topic::Store, number as u64).weighted(&weights) };
        assigned[city] += 1;
    }
    let mut stores = Vec::with_capacity(options.stores as usize);
    for (city, count) in assigned.into_iter().enumerate() {
        for within in 0..count {
            let number = stores.len() as u32;
            // One store in twelve closed before the first day; never a city's first.
            let closed = within > 0 && number % 12 == 11;
            stores.push(store(options, (number, city), neighbourhoods, closed));
        }
    }
    stores
}

fn store(options: &Options, (number, city): (u32, usize), places: &Neighbourhoods, closed: bool) -> Store {
    let mut random = Random::new(options.seed, Topic::Store, (1 << 32) | u64::from(number));
    let first = options.first_date();
    let home = random.below(NEIGHBOURHOODS);
    let centre = places[city][home as usize];
    let place = centre.moved(random.bell() * 250.0, random.bell() * 250.0);
    let mut neighbourhoods: Vec<u64> = (0..NEIGHBOURHOODS).collect();
    neighbourhoods.sort_by(|left, right| {
        let distance_m = |number: &u64| place.distance_m(places[city][*number as usize]);
        distance_m(left).total_cmp(&distance_m(right))
    });
    let brand = *random.pick(&BRANDS);
    let opened_on = minus(first, 200 + random.below(3_000));
    let closed_on = closed.then(|| minus(first, 20 + random.below(100)));
    let hours = 9 + random.below(3);
    let opening_hours = (!random.permille(60)).then(|| {
        format!(
            "{{\"mon-thu\": [\"{hours:02}:00\", \"23:00\"], \"fri-sat\": [\"{hours:02}:00\", \"04:00\"], \"sun\": [\"{:02}:30\", \"22:30\"], \"holidays\": null}}",
            hours + 1
        )
    });
    let street = words::street(&mut random);
    let weight = if closed { 0 } else { 40 + random.below(60) };
    let updated_ms = match closed_on {
        Some(date) => calendar::midnight_ms(date) + random.between(0, calendar::DAY_MS - 1),
        None => calendar::midnight_ms(minus(first, 5)) - random.between(0, 150 * calendar::DAY_MS),
    };
    Store {
        id: 101 + number as i32,
        city,
        name: format!("{brand} {} {street}", CITIES[city].name),
        brand,
        place,
        delivery_radius_m: (1_500 + random.below(6) * 500) as i32,
        opened_on,
        closed_on,
        opening_hours,
        updated_ms,
        weight,
        neighbourhoods,
    }
}

/// A store's courier; `number` is below [`COURIERS_PER_STORE`].
pub(crate) fn courier(options: &Options, stores: &[Store], store: usize, number: u32) -> Courier {
    let index = store as u32 * COURIERS_PER_STORE + number;
    let mut random = Random::new(options.seed, Topic::Courier, u64::from(index));
    let name = format!("{} {}", words::given_name(&mut random), words::family_name(&mut random));
    let vehicle = *random.pick(&["bike", "bike", "scooter", "car"]);
    let active = stores[store].closed_on.is_none() && !random.permille(100);
    let home_store_id = (!random.permille(50)).then_some(stores[store].id);
    let updated_ms = calendar::midnight_ms(minus(options.first_date(), 1)) - random.between(0, 300 * calendar::DAY_MS);
    Courier { id: index as i32 + 1, name, vehicle, home_store_id, active, updated_ms }
}

//! Customers: everything about one follows from the seed and the number.

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use crate::calendar::{self, DAY_MS, minus, plus};
use crate::city::{self, CITIES, NEIGHBOURHOODS, Place};
use crate::options::Options;
use crate::random::{Random, Topic};
use crate::words;

/// Customers live in cities in this rhythm, so that any number of them is spread by the cities' weights.
const SLOTS: u64 = 100;

/// The first customers are placed around the birthday segment's edges.
pub(crate) const EDGE_CASES: u64 = 18;

/// What the chain knows of a customer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Customer {
    pub(crate) id: [u8; 16],
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) locale: Option<&'static str>,
    pub(crate) time_zone: Option<Tz>,
    pub(crate) marketing_opt_in: bool,
    pub(crate) tags: Option<Vec<&'static str>>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) deleted_ms: Option<i64>,
    /// Whether the customer was edited during the day after the base data set's as-of.
    pub(crate) changed: bool,
}

/// Where customers live and when they came.
#[derive(Debug)]
pub(crate) struct Population {
    customers: u64,
    days: u64,
    /// The city of each slot.
    slots: Vec<usize>,
    /// The slots of each city.
    places: Vec<Vec<u64>>,
}

impl Population {
    pub(crate) fn new(options: &Options) -> Self {
        let cities = city::used(options.stores);
        let total: u32 = CITIES.iter().take(cities).map(|city| city.weight).sum();
        // Largest credit first: neighbouring slots belong to different cities.
        let mut credit = vec![0_i64; cities];
        let mut slots = Vec::with_capacity(SLOTS as usize);
        for _ in 0..SLOTS {
            for (city, credit) in credit.iter_mut().enumerate() {
                *credit += i64::from(CITIES[city].weight);
            }
            let richest = (0..cities).max_by_key(|city| (credit[*city], cities - city)).expect("there is at least one city");
            credit[richest] -= i64::from(total);
            slots.push(richest);
        }
        let mut places = vec![Vec::new(); cities];
        for (slot, city) in slots.iter().enumerate() {
            places[*city].push(slot as u64);
        }
        Self { customers: options.customers, days: u64::from(options.days), slots, places }
    }

    pub(crate) fn city(&self, customer: u64) -> usize {
        self.slots[(customer % SLOTS) as usize]
    }

    /// How many of the first `customers` live in a city.
    fn in_city(&self, city: usize, customers: u64) -> u64 {
        let places = &self.places[city];
        let partial = places.iter().filter(|slot| **slot < customers % SLOTS).count() as u64;
        customers / SLOTS * places.len() as u64 + partial
    }

    /// The number of a city's `within`-th customer.
    fn number(&self, city: usize, within: u64) -> u64 {
        let places = &self.places[city];
        let count = places.len() as u64;
        within / count * SLOTS + places[(within % count) as usize]
    }

    /// A customer's position among those of the city, whose remainder is the neighbourhood.
    fn within(&self, customer: u64) -> u64 {
        self.in_city(self.city(customer), customer)
    }

    pub(crate) fn neighbourhood(&self, customer: u64) -> u64 {
        self.within(customer) % NEIGHBOURHOODS
    }

    /// Customers who were there before the first day: four in five.
    fn early(&self) -> u64 {
        self.customers - self.customers / 5
    }

    /// How many customers there are on the morning of a day (0 is the first).
    fn present(&self, day: u64) -> u64 {
        self.early() + ((self.customers / 5) * day.min(self.days)).div_ceil(self.days)
    }

    /// The day a customer came on; `None` if before the first.
    fn joined_day(&self, customer: u64) -> Option<u64> {
        let after = customer.checked_sub(self.early())?;
        Some(after * self.days / (self.customers / 5))
    }

    /// Draws who orders from a neighbourhood. Half the orders come from anyone, half from the regulars: rank follows a power law.
    pub(crate) fn draw(&self, city: usize, neighbourhood: u64, day: u64, random: &mut Random) -> Option<u64> {
        let residents = self.in_city(city, self.present(day));
        let neighbours = (residents + NEIGHBOURHOODS - 1).saturating_sub(neighbourhood) / NEIGHBOURHOODS;
        if neighbours == 0 {
            return None;
        }
        let share = random.unit();
        let skewed = if random.permille(500) { share } else { share * share.sqrt() };
        let rank = ((neighbours as f64 * skewed) as u64).min(neighbours - 1);
        Some(self.number(city, rank * NEIGHBOURHOODS + neighbourhood))
    }
}

/// A customer's UUID, in the form of version 4.
pub(crate) fn id(seed: u64, customer: u64) -> [u8; 16] {
    let mut id = Random::new(seed, Topic::CustomerId, customer).bytes::<16>();
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

/// Where a customer lives, from the centre of the neighbourhood.
pub(crate) fn home(seed: u64, neighbourhood: Place, customer: u64) -> Place {
    let mut random = Random::new(seed, Topic::CustomerHome, customer);
    neighbourhood.moved(random.bell() * 420.0, random.bell() * 420.0)
}

/// Whether a customer may place orders on a date: some never do, and the deleted no longer.
pub(crate) fn orders_on(options: &Options, customer: u64, date: NaiveDate) -> bool {
    if customer == 8 {
        return false;
    }
    deleted_on(options, customer).is_none_or(|deleted| date < deleted)
}

/// The date of a deletion: one customer in eighty, in the last ten days.
fn deleted_on(options: &Options, customer: u64) -> Option<NaiveDate> {
    if customer == 6 {
        return Some(options.until);
    }
    let mut random = Random::new(options.seed, Topic::Customer, customer ^ (1 << 63));
    (customer >= EDGE_CASES && random.below(80) == 0).then(|| minus(options.until, random.below(10)))
}

/// The birthdays at the segment's edges: days after the as-of's date, age turned then, time zone other than home's.
fn edge_case(customer: u64) -> Option<(i64, i32, Option<Option<Tz>>)> {
    let at_home = None;
    Some(match customer {
        0 => (0, 30, at_home),
        1 => (7, 41, at_home),
        2 => (8, 27, at_home),
        3 => (-1, 35, at_home),
        4 => (3, 16, at_home),
        5 => (3, 15, at_home),
        6..=8 => (2, 33, at_home),
        9 => (-1, 29, Some(Some(Tz::Pacific__Honolulu))),
        10 => (7, 52, Some(Some(Tz::Pacific__Honolulu))),
        11 => (5, 22, Some(None)),
        14 => (4, 38, at_home),
        15 => (6, 64, at_home),
        16 => (0, 19, Some(Some(Tz::Pacific__Kiritimati))),
        17 => (1, 45, at_home),
        _ => return None,
    })
}

const TAGS: [&str; 7] = ["vip", "vegan", "łagodny", "no \"onion\", please", "office", "{curly}", "staff\\family"];

/// Everything about one customer. `later_ms` is the as-of of the data set one day later, if that is what is made.
pub(crate) fn customer(options: &Options, population: &Population, number: u64, later_ms: Option<i64>) -> Customer {
    let mut random = Random::new(options.seed, Topic::Customer, number);
    let city = &CITIES[population.city(number)];
    let as_of_ms = calendar::as_of_ms(options.until);
    let first = options.first_date();
    let created_on = match population.joined_day(number) {
        Some(day) => plus(first, day),
        None => minus(first, 1 + random.below(1_100)),
    };
    let created_ms = (calendar::midnight_ms(created_on) + random.between(0, DAY_MS - 1)).min(as_of_ms - 3_600_000);
    let given = words::given_name(&mut random);
    let family = words::family_name(&mut random);
    let email = format!("{}.{}{number}@example.{}", words::ascii(&given), words::ascii(&family), random.pick(&["com", "org"]));
    let phone = format!("{} 555 {:03} {:03}", city.dialling, random.below(1_000), random.below(1_000));
    let mut birth_date = birth_date(&mut random, options.until);
    let mut time_zone = (!random.permille(15)).then_some(city.zone);
    let mut marketing_opt_in = random.permille(620);
    let tags = match random.below(10) {
        0..=4 => Some(Vec::new()),
        5..=6 => None,
        count => Some((0..count - 6).map(|_| *random.pick(&TAGS)).collect()),
    };
    let mut first_name = (!random.permille(20)).then_some(given);
    if random.permille(3) {
        first_name = first_name.map(|name| format!("{name} \u{1f355}"));
    }
    if number == 12 {
        birth_date = NaiveDate::from_ymd_opt(1996, 2, 29);
    } else if number == 13 {
        birth_date = None;
    }
    if let Some((days, age, zone)) = edge_case(number) {
        let today = as_of_date(options);
        let birthday = if days < 0 { minus(today, days.unsigned_abs()) } else { plus(today, days.unsigned_abs()) };
        birth_date = with_year(birthday, birthday.year() - age);
        time_zone = zone.unwrap_or(Some(city.zone));
    }
    if number < EDGE_CASES {
        marketing_opt_in = number != 7;
    }
    let deleted_ms =
        deleted_on(options, number).map(|date| (calendar::midnight_ms(date) + random.between(0, DAY_MS - 1)).max(created_ms + 60_000));
    let edited_ms = created_ms + random.below(((as_of_ms - 60_000 - created_ms).max(1)) as u64) as i64;
    let mut updated_ms = deleted_ms.unwrap_or(if random.permille(400) { edited_ms } else { created_ms }).max(created_ms);
    let mut changed = false;
    if let Some(later_ms) = later_ms {
        let mut change = Random::new(options.seed, Topic::CustomerChange, number);
        if number >= EDGE_CASES && deleted_ms.is_none() && change.unit() < options.change_share {
            marketing_opt_in = !marketing_opt_in;
            updated_ms = later_ms - change.between(60_000, DAY_MS - 60_000);
            changed = true;
        }
    }
    Customer {
        id: id(options.seed, number),
        email: (!random.permille(20)).then_some(email),
        phone: (!random.permille(100)).then_some(phone),
        first_name,
        last_name: (!random.permille(25)).then_some(family),
        birth_date,
        locale: (!random.permille(30)).then_some(city.locale),
        time_zone,
        marketing_opt_in,
        tags,
        created_ms,
        updated_ms,
        deleted_ms,
        changed,
    }
}

/// The as-of's date in UTC, for the base data set.
fn as_of_date(options: &Options) -> NaiveDate {
    calendar::next(options.until)
}

/// Most people have a birth date; one in 250 was born on 29 February (in truth one in 1,461).
fn birth_date(random: &mut Random, until: NaiveDate) -> Option<NaiveDate> {
    let years = (16 + random.below(34) + random.below(34)) as i32;
    let day = random.below(365);
    let leap = random.below(250) == 0;
    let known = !random.permille(80);
    let year = until.year() - years;
    let date = if leap {
        NaiveDate::from_ymd_opt(year - year.rem_euclid(4), 2, 29)
    } else {
        NaiveDate::from_ymd_opt(year, 1, 1).map(|start| plus(start, day))
    };
    if known { date } else { None }
}

/// The date in another year; 29 February becomes the 28th in common years.
pub(crate) fn with_year(date: NaiveDate, year: i32) -> Option<NaiveDate> {
    date.with_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 2, 28))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(customers: u64) -> Options {
        Options { customers, stores: 30, ..Options::default() }
    }

    #[test]
    fn customers_of_cities_are_numbered_without_gaps() {
        let population = Population::new(&options(1_234));
        let mut seen = [false; 1_234];
        for city in 0..CITIES.len() {
            for within in 0..population.in_city(city, 1_234) {
                let number = population.number(city, within);
                assert_eq!(population.city(number), city);
                assert_eq!(population.within(number), within);
                assert!(!std::mem::replace(&mut seen[number as usize], true));
            }
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn nobody_orders_before_joining() {
        let options = options(2_000);
        let population = Population::new(&options);
        for number in 0..2_000 {
            let customer = customer(&options, &population, number, None);
            if let Some(day) = population.joined_day(number) {
                assert!(number >= population.present(day));
                assert!(number < population.present(day + 1));
                assert!(customer.created_ms < calendar::midnight_ms(plus(options.first_date(), day + 1)));
            }
            assert!(customer.updated_ms >= customer.created_ms);
            assert!(customer.updated_ms < calendar::as_of_ms(options.until));
        }
    }

    #[test]
    fn leap_day_births_exist() {
        let options = options(2_000);
        let population = Population::new(&options);
        let leap = (0..2_000)
            .filter_map(|number| customer(&options, &population, number, None).birth_date)
            .filter(|date| (date.month(), date.day()) == (2, 29))
            .count();
        assert!(leap >= 3, "{leap}");
    }

    #[test]
    fn the_edges_of_the_birthday_segment_are_seeded() {
        let options = options(100);
        let population = Population::new(&options);
        let get = |number| customer(&options, &population, number, None);
        assert_eq!(get(4).birth_date, NaiveDate::from_ymd_opt(2009, 11, 7));
        assert_eq!(get(5).birth_date, NaiveDate::from_ymd_opt(2010, 11, 7));
        assert!(get(6).deleted_ms.is_some());
        assert!(!get(7).marketing_opt_in);
        assert!(!orders_on(&options, 8, options.until));
        assert_eq!(get(11).time_zone, None);
        assert_eq!(get(12).birth_date, NaiveDate::from_ymd_opt(1996, 2, 29));
    }
}

//! The cities the chain is in. Names, centres, time zones and currencies are facts (centres: city-centre coordinates in WGS 84, rounded to
//! a hundredth of a degree); how heavily each weighs is made up.

use chrono_tz::Tz;

use crate::random::{Random, Topic};

/// Metres in a degree of latitude, on a sphere of the mean earth radius.
pub(crate) const DEGREE_M: f64 = 111_195.08;

/// How many neighbourhoods each city has.
pub(crate) const NEIGHBOURHOODS: u64 = 8;

/// What prices are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Currency {
    /// ISO 4217 code.
    pub(crate) code: &'static str,
    /// Prices of the catalogue are euro cents: they are multiplied by this many hundredths.
    percent: i64,
    /// …and then rounded to a multiple of this many hundredths of the currency.
    step: i64,
}

const EUR: Currency = Currency { code: "EUR", percent: 100, step: 10 };
const PLN: Currency = Currency { code: "PLN", percent: 380, step: 50 };
const CZK: Currency = Currency { code: "CZK", percent: 2_100, step: 100 };
const GBP: Currency = Currency { code: "GBP", percent: 95, step: 5 };
const USD: Currency = Currency { code: "USD", percent: 125, step: 1 };
const HUF: Currency = Currency { code: "HUF", percent: 33_000, step: 500 };
const SEK: Currency = Currency { code: "SEK", percent: 1_150, step: 100 };

impl Currency {
    /// A catalogue price (euro cents) in hundredths of this currency; never 0 unless the price is.
    pub(crate) fn price(self, euro_cents: i64) -> i64 {
        if euro_cents == 0 {
            return 0;
        }
        let exact = euro_cents * self.percent / 100;
        ((exact + self.step / 2) / self.step * self.step).max(self.step)
    }

    /// An amount of this currency in euro cents, roughly: what loyalty points are counted from.
    pub(crate) fn in_euro_cents(self, amount: i64) -> i64 {
        amount * 100 / self.percent
    }
}

/// One city.
#[derive(Debug)]
pub(crate) struct City {
    pub(crate) name: &'static str,
    /// Three letters, used in order numbers and zones.
    pub(crate) code: &'static str,
    /// ISO 3166 code.
    pub(crate) country: &'static str,
    pub(crate) zone: Tz,
    pub(crate) currency: Currency,
    /// What some visitors pay in.
    pub(crate) second_currency: Option<Currency>,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    /// Share of customers and stores.
    pub(crate) weight: u32,
    pub(crate) locale: &'static str,
    /// International dialling prefix.
    pub(crate) dialling: &'static str,
    /// Whether tax comes on top of prices, as in the United States.
    pub(crate) tax_on_top: bool,
}

const fn city(
    (name, code, country): (&'static str, &'static str, &'static str),
    zone: Tz,
    currency: Currency,
    (latitude, longitude): (f64, f64),
    weight: u32,
    (locale, dialling): (&'static str, &'static str),
) -> City {
    City { name, code, country, zone, currency, second_currency: None, latitude, longitude, weight, locale, dialling, tax_on_top: false }
}

/// All cities; a small data set uses the first ones.
pub(crate) const CITIES: [City; 12] = [
    city(("Warszawa", "WAW", "PL"), Tz::Europe__Warsaw, PLN, (52.23, 21.01), 20, ("pl-PL", "+48")),
    city(("New York", "NYC", "US"), Tz::America__New_York, USD, (40.71, -74.01), 14, ("en-US", "+1")).with_tax_on_top(),
    city(("Praha", "PRG", "CZ"), Tz::Europe__Prague, CZK, (50.09, 14.42), 9, ("cs-CZ", "+420")).with_second_currency(EUR),
    city(("London", "LON", "GB"), Tz::Europe__London, GBP, (51.51, -0.13), 12, ("en-GB", "+44")),
    city(("Kraków", "KRK", "PL"), Tz::Europe__Warsaw, PLN, (50.06, 19.94), 10, ("pl-PL", "+48")),
    city(("Berlin", "BER", "DE"), Tz::Europe__Berlin, EUR, (52.52, 13.41), 10, ("de-DE", "+49")),
    city(("Lisboa", "LIS", "PT"), Tz::Europe__Lisbon, EUR, (38.72, -9.14), 6, ("pt-PT", "+351")),
    city(("Gdańsk", "GDN", "PL"), Tz::Europe__Warsaw, PLN, (54.35, 18.65), 5, ("pl-PL", "+48")),
    city(("Brno", "BRQ", "CZ"), Tz::Europe__Prague, CZK, (49.20, 16.61), 3, ("cs-CZ", "+420")),
    city(("Madrid", "MAD", "ES"), Tz::Europe__Madrid, EUR, (40.42, -3.70), 5, ("es-ES", "+34")),
    city(("Budapest", "BUD", "HU"), Tz::Europe__Budapest, HUF, (47.50, 19.04), 3, ("hu-HU", "+36")).with_second_currency(EUR),
    city(("Stockholm", "STO", "SE"), Tz::Europe__Stockholm, SEK, (59.33, 18.07), 3, ("sv-SE", "+46")),
];

impl City {
    const fn with_tax_on_top(mut self) -> Self {
        self.tax_on_top = true;
        self
    }

    const fn with_second_currency(mut self, currency: Currency) -> Self {
        self.second_currency = Some(currency);
        self
    }
}

/// A place on earth in WGS 84 degrees, rounded to a millionth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
}

impl Place {
    /// The place so many metres north and east.
    pub(crate) fn moved(self, north_m: f64, east_m: f64) -> Self {
        let rounded = |degrees: f64| (degrees * 1e6).round() / 1e6;
        Self {
            latitude: rounded(self.latitude + north_m / DEGREE_M),
            longitude: rounded(self.longitude + east_m / (DEGREE_M * cosine(self.latitude))),
        }
    }

    /// The distance to another place of the same city in metres, as on a flat map.
    pub(crate) fn distance_m(self, other: Self) -> f64 {
        let north = (self.latitude - other.latitude) * DEGREE_M;
        let east = (self.longitude - other.longitude) * DEGREE_M * cosine(self.latitude);
        (north * north + east * east).sqrt()
    }
}

/// The cosine of an angle in degrees by its series: the same on every platform, and exact to nine digits below 70°.
fn cosine(degrees: f64) -> f64 {
    let square = {
        let radians = degrees * (std::f64::consts::PI / 180.0);
        radians * radians
    };
    let mut term = 1.0;
    let mut sum = 1.0;
    for step in 1..10 {
        let k = f64::from(2 * step);
        term *= -square / (k * (k - 1.0));
        sum += term;
    }
    sum
}

/// How many cities a chain of this many stores is in: at least two stores each.
pub(crate) fn used(stores: u32) -> usize {
    (stores.div_ceil(2) as usize).clamp(1, CITIES.len())
}

/// The centres of all neighbourhoods, by city.
pub(crate) type Neighbourhoods = [[Place; NEIGHBOURHOODS as usize]; CITIES.len()];

pub(crate) fn neighbourhoods(seed: u64) -> Neighbourhoods {
    std::array::from_fn(|city| std::array::from_fn(|number| neighbourhood(seed, city, number as u64)))
}

/// The centre of a neighbourhood: they crowd around the city's centre.
fn neighbourhood(seed: u64, city: usize, number: u64) -> Place {
    let mut random = Random::new(seed, Topic::Neighbourhood, city as u64 * NEIGHBOURHOODS + number);
    let centre = Place { latitude: CITIES[city].latitude, longitude: CITIES[city].longitude };
    let spread_m = 600.0 + 350.0 * number as f64;
    centre.moved(random.bell() * spread_m, random.bell() * spread_m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_right() {
        for degrees in [-60.0, -9.14, 0.0, 38.72, 52.23, 59.33, 70.0] {
            assert!((cosine(degrees) - f64::to_radians(degrees).cos()).abs() < 1e-9, "{degrees}");
        }
    }

    #[test]
    fn moving_and_measuring_agree() {
        let start = Place { latitude: 52.23, longitude: 21.01 };
        let end = start.moved(300.0, 400.0);
        assert!((start.distance_m(end) - 500.0).abs() < 1.0);
    }

    #[test]
    fn prices_keep_their_step() {
        assert_eq!(PLN.price(899), 3_400);
        assert_eq!(CZK.price(899), 18_900);
        assert_eq!(EUR.price(0), 0);
        assert_eq!(USD.price(1), 1);
    }
}

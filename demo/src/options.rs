//! How large the data set is, and which days it covers.

use chrono::{Days, NaiveDate};

use crate::error::{Error, Result};

/// Orders a customer places a day when no number of orders is given: a little over one a week.
const ORDERS_PER_CUSTOMER_AND_DAY_PERCENT: u64 = 15;

/// What is generated. Equal options give equal bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Registered customers; guests come on top.
    pub customers: u64,
    /// Restaurants.
    pub stores: u32,
    /// Business dates, ending with `until`.
    pub days: u32,
    /// Everything that is chosen at random follows from it.
    pub seed: u64,
    /// Orders over all days; `None`: 0.15 a customer and day.
    pub orders: Option<u64>,
    /// The last business date. The default, 3 November 2025, has both autumn changes of the clocks (Europe's on 26 October, North
    /// America's on 2 November) in its last nine days; 220 days or more reach the spring's as well.
    pub until: NaiveDate,
    /// Whether dump files are written through gzip.
    pub compress: bool,
    /// The share of orders (0.0 to 1.0) edited during the day after the as-of; 0.0 gives the base data set.
    pub change_share: f64,
    /// Whether what is in the way is replaced: files of an earlier run, or the demo's own tables and collection. Ignored when changes are
    /// applied to servers.
    pub replace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            customers: 1_000,
            stores: 20,
            days: 60,
            seed: 1,
            orders: None,
            until: NaiveDate::from_ymd_opt(2025, 11, 3).expect("the date exists"),
            compress: false,
            change_share: 0.0,
            replace: false,
        }
    }
}

impl Options {
    /// How many orders the base data set has.
    #[must_use]
    pub fn orders_total(&self) -> u64 {
        self.orders.unwrap_or_else(|| (self.customers * u64::from(self.days) * ORDERS_PER_CUSTOMER_AND_DAY_PERCENT).div_ceil(100))
    }

    /// The first business date.
    #[must_use]
    pub fn first_date(&self) -> NaiveDate {
        self.until.checked_sub_days(Days::new(u64::from(self.days.saturating_sub(1)))).unwrap_or(NaiveDate::MIN)
    }

    /// Refuses what cannot be generated.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |option, reason| Err(Error::Option { option, reason });
        if self.customers == 0 || self.customers > 1_000_000_000 {
            return refuse("customers", "1 to 1,000,000,000");
        }
        if self.stores == 0 || self.stores > 100_000 {
            return refuse("stores", "1 to 100,000");
        }
        if self.days == 0 || self.days > 3_660 {
            return refuse("days", "1 to 3,660");
        }
        if self.orders_total() == 0 || self.orders_total() > 10_000_000_000 {
            return refuse("orders", "1 to 10,000,000,000");
        }
        if !(0.0..=1.0).contains(&self.change_share) {
            return refuse("change-share", "0.0 to 1.0");
        }
        let early = NaiveDate::from_ymd_opt(2000, 1, 1).expect("the date exists");
        let late = NaiveDate::from_ymd_opt(2100, 1, 1).expect("the date exists");
        if self.first_date() < early || self.until > late {
            return refuse("until", "all business dates must lie between 2000 and 2100");
        }
        Ok(())
    }
}

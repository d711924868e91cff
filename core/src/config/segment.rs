//! Rules of segments: who gets which discount, `[segments.NAME]`.
//!
//! ```toml
//! [segments.win_back]
//! description = "Customers who have not ordered for a quarter"
//! where = "lifecycle_stage = 'lapsed' AND orders_365_days >= 2"
//! percent = 15                    # or amount = "10.00" with currency = "PLN"
//! valid_days = 21
//! priority = 40                   # the highest wins; of equals the first name
//! max_customers = 500
//! max_expected_cost = 2000        # in each currency; or { PLN = 2000, EUR = 500 }
//! hold_out = "10%"
//! again_after_days = 120
//! reason = "no order for {recency_days} days"
//! ```
//! The predicate is SQL over the columns of `customer_features`; whether they exist is found out where SQL is understood.

use super::kind::Options;
use crate::error::{Error, Result};
use crate::name::NAME_CHARACTERS_MAX;

/// Segments that have this name already, so that no rule may.
const TAKEN: &[&str] = &["birthdays", "discounts"];

/// Days after the beginning of a discount in which the same rule gives the customer none: a quarter.
const AGAIN_AFTER_DAYS_DEFAULT: u32 = 90;

/// Longest validity and longest wait, in days.
const DAYS_MAX: u64 = 3650;

/// Bytes of a reason in the contract of `segment_discounts`.
const REASON_BYTES_MAX: usize = 256;

/// An amount or a share with two decimals: `12.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hundredths(u64);

impl Hundredths {
    /// Whole digits that an amount may have: those of `decimal(18,2)`.
    const DIGITS_MAX: usize = 16;

    /// Reads `10`, `12.5` or `12.50`; None if it is negative, finer or too large.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let is_number = |text: &str| text.chars().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || whole.len() > Self::DIGITS_MAX || rest.len() > 2 || !is_number(whole) || !is_number(rest) {
            return None;
        }
        Some(Self(format!("{whole}{rest:0<2}").parse().ok()?))
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// What a rule takes off an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discount {
    /// A share of the basket in percent.
    Percent(Hundredths),
    /// An amount, for customers of that currency.
    Amount {
        /// How much, at most the basket.
        amount: Hundredths,
        /// ISO 4217 code.
        currency: String,
    },
}

/// The most that a rule's discounts may be expected to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostCap {
    /// Nothing is laid down.
    None,
    /// So much in each currency.
    Each(Hundredths),
    /// So much in these currencies, and nothing in others.
    Of(Vec<(String, Hundredths)>),
}

/// A rule: whom it is for, and what they get.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRule {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whom it is for: an SQL condition over `customer_features`.
    pub predicate: String,
    /// What they get.
    pub discount: Discount,
    /// The discount ends so many days after its first.
    pub valid_days: u32,
    /// The highest wins.
    pub priority: u32,
    /// Customers at most.
    pub max_customers: Option<u64>,
    /// Expected cost at most.
    pub max_expected_cost: CostCap,
    /// The share of customers who are left without, to compare with.
    pub hold_out: f64,
    /// Days after the beginning of a discount in which this rule gives the customer none.
    pub again_after_days: u32,
    /// Why, in words; `{column}` stands for the customer's value of it.
    pub reason: String,
    /// Where it is written: file, line and key.
    pub place: String,
}

impl SegmentRule {
    pub(super) fn read(name: &str, mut section: Options) -> Result<Self> {
        check_name(name, &section)?;
        let place = place(&section, "where");
        // `where = true` is everybody, also without quotes.
        let predicate = section.scalar("where")?.ok_or_else(|| missing(&section, "where", "\"recency_days > 60\""))?;
        let description = section.text("description")?.unwrap_or_default();
        let discount = discount(&mut section)?;
        let reason =
            section.text("reason")?.unwrap_or_else(|| if description.is_empty() { name.replace('_', " ") } else { description.clone() });
        if reason.len() > REASON_BYTES_MAX {
            return Err(section.error("reason", format!("the reason is longer than {REASON_BYTES_MAX} bytes")));
        }
        let days = |section: &mut Options, key: &str, least: u64, default: Option<u32>| match section.number(key)?.map(u32::try_from) {
            None => default.ok_or_else(|| missing(section, key, "14")),
            Some(Ok(days)) if (least..=DAYS_MAX).contains(&u64::from(days)) => Ok(days),
            Some(_) => Err(section.error(key, format!("key \"{key}\" should be {least} to {DAYS_MAX} days"))),
        };
        let valid_days = days(&mut section, "valid_days", 1, None)?;
        let again_after_days = days(&mut section, "again_after_days", 0, Some(AGAIN_AFTER_DAYS_DEFAULT))?;
        let priority = match section.number("priority")?.map(u32::try_from) {
            None => {
                return Err(missing(&section, "priority", "10")
                    .hint("Add `priority = 10` to it: the highest wins where a customer fits several rules."));
            }
            Some(Ok(priority)) => priority,
            Some(Err(_)) => return Err(section.error("priority", "the priority is too large")),
        };
        let max_customers = section.number("max_customers")?;
        if max_customers.is_some_and(|customers| i64::try_from(customers).is_err()) {
            return Err(section.error("max_customers", "max_customers is too large"));
        }
        let max_expected_cost = cost_cap(&mut section, &discount)?;
        let hold_out = section.share("hold_out")?.unwrap_or(0.0);
        let rule = Self {
            name: name.to_owned(),
            description,
            predicate,
            discount,
            valid_days,
            priority,
            max_customers,
            max_expected_cost,
            hold_out,
            again_after_days,
            reason,
            place,
        };
        section.end()?;
        Ok(rule)
    }
}

/// Where a key of the section is written.
fn place(section: &Options, key: &str) -> String {
    section.error(key, "").causes().join("")
}

fn missing(section: &Options, key: &str, example: &str) -> Error {
    section
        .error(key, format!("key \"{key}\" is missing in section [{}]", section.path("").trim_end_matches('.')))
        .hint(format!("Add `{key} = {example}` to it."))
}

fn check_name(name: &str, section: &Options) -> Result<()> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !starts_well || !is_plain || name.len() > NAME_CHARACTERS_MAX {
        return Err(section
            .error("where", format!("a segment cannot be called \"{name}\""))
            .hint(format!("Use lower-case letters, digits and underscores, at most {NAME_CHARACTERS_MAX}, with a letter first.")));
    }
    if TAKEN.contains(&name) {
        return Err(section.error("where", format!("there is a segment \"{name}\" already")).hint("Give the rule another name."));
    }
    Ok(())
}

/// An amount above zero.
fn above_zero(section: &Options, key: &str, text: &str) -> Result<Hundredths> {
    Hundredths::parse(text).filter(|number| !number.is_zero()).ok_or_else(|| {
        section
            .error(key, format!("key \"{key}\" is \"{text}\", not a number above 0 with at most two decimals"))
            .hint(format!("Write it as {key} = 10 or {key} = \"12.50\"."))
    })
}

fn currency(section: &Options, key: &str, text: String) -> Result<String> {
    if text.len() == 3 && text.chars().all(|letter| letter.is_ascii_uppercase()) {
        return Ok(text);
    }
    Err(section.error(key, format!("\"{text}\" is not a currency")).hint("Use its ISO 4217 code, such as \"PLN\"."))
}

fn discount(section: &mut Options) -> Result<Discount> {
    let percent = section.scalar("percent")?;
    let amount = section.scalar("amount")?;
    let of = section.text("currency")?;
    match (percent, amount, of) {
        (Some(_), Some(_), _) => Err(section.error("amount", "a rule has both percent and amount").hint("Keep one of the two.")),
        (None, None, _) => {
            Err(missing(section, "percent", "10").hint("Add `percent = 10`, or `amount = \"10.00\"` and `currency = \"PLN\"`."))
        }
        (Some(_), None, Some(_)) => Err(section
            .error("currency", "a discount in percent has no currency")
            .hint("Remove it; to reach customers of one currency only, write it into the predicate: currency = 'PLN'.")),
        (Some(percent), None, None) => {
            let percent = above_zero(section, "percent", &percent)?;
            if percent > Hundredths(10_000) {
                return Err(section.error("percent", "a discount cannot be more than 100 percent"));
            }
            Ok(Discount::Percent(percent))
        }
        (None, Some(_), None) => Err(missing(section, "currency", "\"PLN\"")),
        (None, Some(amount), Some(code)) => {
            Ok(Discount::Amount { amount: above_zero(section, "amount", &amount)?, currency: currency(section, "currency", code)? })
        }
    }
}

fn cost_cap(section: &mut Options, discount: &Discount) -> Result<CostCap> {
    const KEY: &str = "max_expected_cost";
    let Some(amounts) = section.amounts(KEY)? else { return Ok(CostCap::None) };
    let number = |section: &Options, text: &str| {
        Hundredths::parse(text).ok_or_else(|| section.error(KEY, format!("\"{text}\" is not an amount with at most two decimals")))
    };
    let mut caps = Vec::with_capacity(amounts.len());
    for (name, text) in amounts {
        let cap = number(section, &text)?;
        match name {
            None => return Ok(CostCap::Each(cap)),
            Some(name) => caps.push((currency(section, KEY, name)?, cap)),
        }
    }
    if let Discount::Amount { currency, .. } = discount
        && caps.iter().any(|(name, _)| name != currency)
    {
        return Err(section.error(KEY, format!("a discount in {currency} has a cap in another currency")));
    }
    Ok(CostCap::Of(caps))
}

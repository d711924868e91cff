//! Why a value does not fit, in words that hold no value.

use super::element::Malformed;

/// A document that does not fit its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The column, as a path in the contract's names: `items.quantity`. [`Misfit::DOCUMENT`] if the document itself is broken.
    pub column: String,
    /// Why, without the value: `a string stands where int is declared`.
    pub reason: String,
}

impl Misfit {
    /// Stands for the column where bytes are not BSON at all.
    pub const DOCUMENT: &'static str = "(document)";

    pub(crate) fn boxed(column: &str, reason: impl Into<String>) -> Box<Self> {
        Box::new(Self { column: column.to_owned(), reason: reason.into() })
    }
}

impl From<Malformed> for Box<Misfit> {
    fn from(malformed: Malformed) -> Self {
        Misfit::boxed(Misfit::DOCUMENT, format!("the document is malformed: {}", malformed.0))
    }
}

/// Why one value does not fit one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is of another kind.
    Kind,
    /// It has digits after the point where the type has fewer.
    Fraction,
    /// It is too large or too small.
    Range,
    /// It is infinite or not a number.
    NotFinite,
    /// It would lose digits.
    Inexact,
    /// It is text, and no UUID.
    NotUuid,
    /// It has a time of day where a date is declared.
    NotMidnight,
    /// It is text, and no instant.
    NotInstant,
    /// Its bytes are wrong.
    Malformed(&'static str),
    /// A batch cannot hold it.
    Full,
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

impl Unfit {
    /// The reason in words. `value` is the kind of value for people: `a string`.
    pub(crate) fn reason(self, value: &str, declared: &str) -> String {
        match self {
            Self::Kind => format!("{value} stands where {declared} is declared"),
            Self::Fraction => format!("{value} has more digits after the point than {declared}"),
            Self::Range => format!("{value} is out of the range of {declared}"),
            Self::NotFinite => format!("{value} that is infinite or not a number stands where {declared} is declared"),
            Self::Inexact => format!("{value} would lose digits as {declared}"),
            Self::NotUuid => format!("{value} that is no UUID stands where {declared} is declared"),
            Self::NotMidnight => format!("{value} with a time of day stands where {declared} is declared"),
            Self::NotInstant => format!("{value} that is no instant stands where {declared} is declared"),
            Self::Malformed(what) => what.to_owned(),
            Self::Full => format!("{value} is too long for a batch"),
        }
    }
}

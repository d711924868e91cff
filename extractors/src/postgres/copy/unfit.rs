//! Why a value does not fit, in words that hold no value.

/// Why one value does not fit one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is NULL where NULL does not fit.
    Null,
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
    /// It is no JSON.
    NotJson,
    /// It is an array of other dimensions.
    Dimensions,
    /// Its bytes are not what the type's send function writes.
    Malformed(&'static str),
    /// A batch cannot hold it.
    Full,
    /// A part of it does not fit: where, and why.
    Within(Box<(String, Self)>),
}

impl Unfit {
    /// Says that this came up in a part.
    pub(super) fn within(self, part: &str) -> Self {
        match self {
            Self::Within(inner) => {
                let (below, unfit) = *inner;
                Self::Within(Box::new((format!("{part}.{below}"), unfit)))
            }
            unfit => Self::Within(Box::new((part.to_owned(), unfit))),
        }
    }

    /// The part of the value that does not fit, as a path; and the reason.
    pub(super) fn explain(&self, source: &str, declared: &str) -> (Option<&str>, String) {
        let reason = match self {
            Self::Within(inner) => return (Some(&inner.0), inner.1.explain("a part of it", "its declared type").1),
            Self::Null => "a value is missing or NULL, and the column is not null".to_owned(),
            Self::Fraction => format!("{source} has more digits after the point than {declared}"),
            Self::Range => format!("{source} is out of the range of {declared}"),
            Self::NotFinite => format!("{source} that is infinite or not a number stands where {declared} is declared"),
            Self::Inexact => format!("{source} would lose digits as {declared}"),
            Self::NotUuid => format!("{source} that is no UUID stands where {declared} is declared"),
            Self::NotJson => format!("{source} that cannot be read as JSON stands where {declared} is declared"),
            Self::Dimensions => format!("{source} has other dimensions, or another lower bound, than {declared}"),
            Self::Malformed(what) => format!("{source} has bytes that are not its binary form: {what}"),
            Self::Full => format!("{source} is too long for a batch"),
        };
        (None, reason)
    }
}

//! The only place that looks at the clock.

use chrono::{DateTime, Utc};

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place of the double that looks at the clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Seconds since 1970 with a fraction, as AWS JSON writes times.
pub(crate) fn epoch_seconds(at: DateTime<Utc>) -> f64 {
    // Milliseconds fit a double's 53 bits for 285,000 years.
    let milliseconds = at.timestamp_millis() as f64;
    milliseconds / 1000.0
}

//! The only place that looks at the clock.

use std::fmt::Debug;

use crate::window::Timestamp;

/// Tells the time. Tests and `--as-of` bring their own.
pub trait Clock: Debug + Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may look at the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds(chrono::Utc::now().timestamp_micros())
    }
}

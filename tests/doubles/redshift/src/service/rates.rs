//! The service's limits on calls a second. Management guide, "Quotas for the Data API".

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

use super::error::ServiceError;

/// Calls a second, by operation.
fn per_second(operation: &str) -> usize {
    match operation {
        "ExecuteStatement" => 30,
        "BatchExecuteStatement" | "GetStatementResult" | "GetStatementResultV2" => 20,
        "DescribeStatement" => 100,
        _ => 3,
    }
}

/// The last second's calls.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    calls: HashMap<String, Vec<DateTime<Utc>>>,
}

impl Rates {
    /// Counts a call, or refuses it.
    pub(crate) fn admit(&mut self, operation: &str, now: DateTime<Utc>) -> Result<(), ServiceError> {
        let calls = self.calls.entry(operation.to_owned()).or_default();
        calls.retain(|at| now - *at < Duration::seconds(1));
        if calls.len() >= per_second(operation) {
            return Err(ServiceError::throttled());
        }
        calls.push(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_over_the_rate_are_throttled_until_the_second_has_passed() {
        let mut rates = Rates::default();
        let start = DateTime::from_timestamp(0, 0).unwrap();
        for _ in 0..3 {
            rates.admit("CancelStatement", start).unwrap();
        }
        assert_eq!(rates.admit("CancelStatement", start).unwrap_err().kind, "ThrottlingException");
        assert!(rates.admit("CancelStatement", start + Duration::seconds(1)).is_ok());
    }
}

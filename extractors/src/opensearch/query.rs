//! What is asked of the server. Pure.

use serde_json::{Value, json};

const MICROSECONDS_PER_MILLISECOND: i64 = 1_000;

/// Documents by the positions that they were rejected at: `INDEX/IDENTIFIER`.
pub(super) fn rejected(positions: &[String]) -> Value {
    let named: Vec<(&str, &str)> = positions.iter().filter_map(|position| position.split_once('/')).collect();
    let identifiers: Vec<&str> = named.iter().map(|(_, identifier)| *identifier).collect();
    let indexes: std::collections::BTreeSet<&str> = named.iter().map(|(index, _)| *index).collect();
    json!({"bool": {"filter": [{"ids": {"values": identifiers}}, {"terms": {"_index": indexes}}]}})
}

/// The field that a table is read by, and how its values are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByCursor {
    /// The field's path.
    pub(super) path: String,
    /// Whether it is an instant (positions are microseconds since 1970 UTC); else it is a whole number.
    pub(super) is_time: bool,
    /// Whether an index stores it in nanoseconds.
    pub(super) is_fine: bool,
}

impl ByCursor {
    /// Documents from `from` on and below `below`, as positions.
    ///
    /// The server compares milliseconds: a bound between two is the later one.
    pub(super) fn between(&self, from: Option<i64>, below: Option<i64>) -> Value {
        let unit = |position: i64| {
            if self.is_time {
                (position.saturating_add(MICROSECONDS_PER_MILLISECOND - 1)).div_euclid(MICROSECONDS_PER_MILLISECOND)
            } else {
                position
            }
        };
        let mut range = serde_json::Map::new();
        if let Some(from) = from {
            range.insert("gte".to_owned(), unit(from).into());
        }
        if let Some(below) = below {
            range.insert("lt".to_owned(), unit(below).into());
        }
        if self.is_time {
            range.insert("format".to_owned(), "epoch_millis".into());
        }
        json!({"range": {(&self.path): range}})
    }

    /// The least position behind `position` that the server can tell from it.
    pub(super) fn behind(&self, position: i64) -> i64 {
        if self.is_time {
            (position.div_euclid(MICROSECONDS_PER_MILLISECOND)).saturating_add(1).saturating_mul(MICROSECONDS_PER_MILLISECOND)
        } else {
            position.saturating_add(1)
        }
    }

    /// Everything up to `upper`, and what has no cursor.
    pub(super) fn up_to(&self, upper: i64) -> Value {
        json!({"bool": {"must_not": self.between(Some(self.behind(upper)), None)}})
    }

    fn sort(&self, order: &str) -> Value {
        let mut sort = json!({"order": order});
        if self.is_fine {
            // Indices of one pattern may store it in milliseconds, too: compared alike.
            sort["numeric_type"] = "date_nanos".into();
        }
        json!({(&self.path): sort})
    }

    /// A search for the greatest value.
    pub(super) fn greatest(&self) -> Value {
        json!({"size": 1, "_source": false, "track_total_hits": false, "query": {"exists": {"field": self.path}}, "sort": [self.sort("desc")]})
    }

    /// The position that a sort value of [`Self::greatest`] stands for; None if it is not a number or out of range.
    pub(super) fn position(&self, sort_value: &Value) -> Option<i64> {
        let number = sort_value.as_i64()?;
        match (self.is_time, self.is_fine) {
            (true, false) => number.checked_mul(MICROSECONDS_PER_MILLISECOND),
            (true, true) => Some(number.div_euclid(1_000)),
            (false, _) => Some(number),
        }
    }
}

/// The order of pages: by the cursor, if there is one, and by what tells equal cursors apart.
pub(super) fn order(cursor: Option<&ByCursor>, has_shard_doc: bool) -> Vec<Value> {
    let tiebreakers: &[&str] = if has_shard_doc { &["_shard_doc"] } else { &["_id", "_index"] };
    cursor.map(|cursor| cursor.sort("asc")).into_iter().chain(tiebreakers.iter().map(|name| json!({(*name): "asc"}))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(is_time: bool, is_fine: bool) -> ByCursor {
        ByCursor { path: "@timestamp".to_owned(), is_time, is_fine }
    }

    #[test]
    fn bounds_fall_between_milliseconds() {
        let time = by(true, false);
        assert_eq!(
            time.between(Some(1_000_001), Some(2_000_000)),
            json!({"range": {"@timestamp": {"gte": 1_001, "lt": 2_000, "format": "epoch_millis"}}})
        );
        // A checkpoint at .500 ms has seen all of its millisecond that there was; what is behind it begins with the next one.
        assert_eq!(time.behind(1_500), 2_000);
        assert_eq!(time.behind(-1), 0);
        assert_eq!(time.up_to(7_000), json!({"bool": {"must_not": {"range": {"@timestamp": {"gte": 8, "format": "epoch_millis"}}}}}));
        assert_eq!(
            by(false, false).between(Some(5), Some(by(false, false).behind(9))),
            json!({"range": {"@timestamp": {"gte": 5, "lt": 10}}})
        );
    }

    #[test]
    fn sort_values_become_positions() {
        assert_eq!(by(true, false).position(&json!(1_735_689_603_123_i64)), Some(1_735_689_603_123_000));
        assert_eq!(by(true, true).position(&json!(1_735_689_603_123_456_789_i64)), Some(1_735_689_603_123_456));
        assert_eq!(by(false, false).position(&json!(12)), Some(12));
        assert_eq!(by(true, false).position(&json!(i64::MAX)), None);
        assert_eq!(order(None, false), [json!({"_id": "asc"}), json!({"_index": "asc"})]);
    }
}

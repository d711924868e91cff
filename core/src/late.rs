//! How late rows arrive: what a table's lookback is for, measured by what it brought.
//!
//! A row is late if its cursor lies at or before the checkpoint of the reading before, and it is new or changed all the same. Without a lookback it would have been
//! lost; by how much it lies before is the least lookback that finds it.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use crate::name::ColumnName;
use crate::window::Timestamp;

/// Durations people choose, in seconds: rows are counted by the first one that is long enough.
const RUNGS_S: [u64; 26] = [
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 259_200, 604_800, 1_209_600,
    2_592_000, 5_184_000, 7_776_000, 31_536_000,
];

/// Late rows, counted by the least lookback that finds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct LateRows {
    /// How many rows a lookback of so many seconds finds that the next shorter one does not.
    pub within_s: BTreeMap<u64, u64>,
}

/// What a measured lookback should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LookbackProposal {
    /// Late rows that were counted.
    pub rows: u64,
    /// Runs that brought them.
    pub runs: u64,
    /// So many seconds find 99.9 % of the late rows that arrived.
    pub covers_s: u64,
    /// What to set, in seconds.
    pub lookback_s: u64,
    /// Rows arrive so close to the end of the present lookback that later ones may have been missed.
    pub is_too_short: bool,
}

impl From<Vec<(u64, u64)>> for LateRows {
    fn from(counted: Vec<(u64, u64)>) -> Self {
        Self { within_s: counted.into_iter().collect() }
    }
}

impl From<LateRows> for Vec<(u64, u64)> {
    fn from(late: LateRows) -> Self {
        late.within_s.into_iter().collect()
    }
}

impl LateRows {
    /// Counts one row that lies so far before the checkpoint.
    pub fn record(&mut self, late_us: i64) {
        let late_us = u64::try_from(late_us).unwrap_or(0);
        let longest = RUNGS_S[RUNGS_S.len() - 1];
        let rung = RUNGS_S.into_iter().find(|rung| rung.saturating_mul(1_000_000) >= late_us).unwrap_or(longest);
        *self.within_s.entry(rung).or_default() += 1;
    }

    /// Counts the rows of a batch whose cursor is an instant at or before `checkpoint`.
    pub fn record_batch(&mut self, batch: &RecordBatch, cursor: &ColumnName, checkpoint: Timestamp) {
        let Some(column) = batch.column_by_name(cursor.as_str()) else { return };
        if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return;
        }
        let checkpoint = checkpoint.microseconds();
        let times = column.as_primitive::<TimestampMicrosecondType>();
        for row in 0..times.len() {
            if times.is_valid(row) && times.value(row) <= checkpoint {
                self.record(checkpoint.saturating_sub(times.value(row)));
            }
        }
    }

    /// Adds another measure's counts.
    pub fn add(&mut self, other: &Self) {
        for (rung, rows) in &other.within_s {
            *self.within_s.entry(*rung).or_default() += rows;
        }
    }

    /// How many rows were late.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.within_s.values().sum()
    }

    /// The shortest lookback, in seconds, that finds this many of a thousand late rows; None if none were late.
    #[must_use]
    pub fn covers_s(&self, of_a_thousand: u64) -> Option<u64> {
        let wanted = (u128::from(self.rows()) * u128::from(of_a_thousand)).div_ceil(1000);
        let mut found = 0;
        self.within_s.iter().find_map(|(rung, rows)| {
            found += u128::from(*rows);
            (found >= wanted).then_some(*rung)
        })
    }

    /// What the lookback should be, given what it is; None if no row was late. Rows that would come later than it cannot be seen, so one
    /// that is nearly used up is doubled.
    #[must_use]
    pub fn propose(&self, lookback_us: i64, runs: u64) -> Option<LookbackProposal> {
        let covers_s = self.covers_s(999)?;
        let present_s = u64::try_from(lookback_us).unwrap_or(0).div_ceil(1_000_000);
        let is_too_short = self.latest_s().is_some_and(|latest| latest >= present_s);
        let lookback_s = if is_too_short { present_s.saturating_mul(2).max(covers_s) } else { covers_s };
        Some(LookbackProposal { rows: self.rows(), runs, covers_s, lookback_s, is_too_short })
    }

    fn latest_s(&self) -> Option<u64> {
        self.within_s.keys().next_back().copied()
    }
}

/// A number of seconds as the configuration spells it: `90s` is `1m 30s`.
#[must_use]
pub fn spell_s(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(late_s: impl IntoIterator<Item = i64>) -> LateRows {
        let mut late = LateRows::default();
        late_s.into_iter().for_each(|late_s| late.record(late_s * 1_000_000));
        late
    }

    #[test]
    fn the_proposal_covers_nearly_all_and_ignores_one_in_a_thousand() {
        let mut late = measured(std::iter::repeat_n(25, 1_999));
        late.add(&measured([5_000]));
        let proposal = late.propose(7_200_000_000 * 2, 30).unwrap();
        assert_eq!((proposal.rows, proposal.covers_s, proposal.lookback_s, proposal.is_too_short), (2_000, 30, 30, false));
        late.add(&measured([5_000, 5_000]));
        assert_eq!(late.propose(7_200_000_000 * 2, 30).unwrap().lookback_s, 7_200);
    }

    #[test]
    fn a_lookback_that_is_used_up_is_doubled() {
        let proposal = measured([10, 20, 590]).propose(600_000_000, 3).unwrap();
        assert!(proposal.is_too_short);
        assert_eq!(spell_s(proposal.lookback_s), "20m");
    }

    #[test]
    fn nothing_late_proposes_nothing_and_the_oldest_stay_countable() {
        assert_eq!(LateRows::default().propose(1, 1), None);
        let late = measured([0, i64::MAX / 1_000_000]);
        assert_eq!(late.within_s, BTreeMap::from([(1, 1), (31_536_000, 1)]));
    }
}

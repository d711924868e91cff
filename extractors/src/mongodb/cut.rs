//! What a deployment shows in one run: its state at one cluster time, for all tables of the run.
//!
//! Reads ask for it by `readConcern: {level: "snapshot", atClusterTime: …}`, so that a document which changes while the run lasts is seen as it
//! was. The server keeps that history for a while only (`minSnapshotHistoryWindowInSeconds`, 5 minutes unless it is set:
//! <https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/>); a reading that takes longer is refused by it, and what is left is
//! then read as of now, as it is at a server that keeps no history.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ::bson::{Document, Timestamp as ClusterTime, doc};
use pipeline_core::error::Result;
use pipeline_core::extract::SourceCut;
use pipeline_core::window::Timestamp;
use tokio::sync::Mutex;

use super::connection::Connection;
use super::error::Failure;

/// The first wire version whose servers read at a cluster time outside of transactions: that of MongoDB 5.0.
const WIRE_VERSION_WITH_HISTORY: i32 = 13;

/// What a deployment shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The time of the last operation that is shown; None at a server without a log.
    pub(super) time: Option<ClusterTime>,
    /// The server's clock, in microseconds.
    pub(super) at_us: i64,
    has_history: bool,
}

impl Cut {
    /// Reads two answers to `hello`: the clock of the earlier one, the place of the later one. So everything that was written until the clock's time
    /// is shown, whatever a server looks at first while it answers.
    fn of(earlier: &Document, hello: &Document) -> Option<Self> {
        // The clock of the server; an answer without it has the seconds of the last operation.
        let clock = earlier.get_datetime("localTime").ok().map(|time| time.timestamp_millis().saturating_mul(1_000));
        let is_replicated = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|text| text == "isdbgrid");
        let time = hello.get_timestamp("operationTime").ok().filter(|_| is_replicated);
        let version = hello.get_i32("maxWireVersion").unwrap_or_default();
        let at_us = clock.or(time.map(|time| i64::from(time.time) * 1_000_000))?;
        Some(Self { time, at_us, has_history: time.is_some() && version >= WIRE_VERSION_WITH_HISTORY })
    }

    /// As the engine records it.
    pub(super) fn described(&self) -> SourceCut {
        let place = self.time.map_or_else(|| "no cluster time".to_owned(), |time| format!("cluster time {}.{}", time.time, time.increment));
        SourceCut { place, at: Timestamp::from_microseconds(self.at_us) }
    }
}

/// Which state of the deployment a reading asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// What there is now.
    #[default]
    Now,
    /// What there is now, at a member that has come to this time at least.
    NotBefore(ClusterTime),
    /// What there was at this time.
    At(ClusterTime),
}

impl State {
    /// The reading's concern; None leaves it to the driver.
    pub(super) fn read_concern(self) -> Option<Document> {
        match self {
            Self::Now => None,
            Self::NotBefore(time) => Some(doc! {"level": "majority", "afterClusterTime": time}),
            Self::At(time) => Some(doc! {"level": "snapshot", "atClusterTime": time}),
        }
    }
}

/// The cuts of a deployment: one for each round of its tables.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// The next table's number.
    next: AtomicUsize,
    round: Mutex<Round>,
    /// Whether the server refused to show what it showed.
    is_history_refused: AtomicBool,
}

#[derive(Debug, Default)]
struct Round {
    /// Tables that have been read.
    finished: HashSet<usize>,
    cut: Option<Cut>,
}

impl Cuts {
    /// Adds a table and gives it a number.
    pub(super) fn join(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The round's cut. A table that has been read begins a new round.
    pub(super) async fn current(&self, connection: &Connection, table: usize) -> Result<Cut> {
        let mut round = self.round.lock().await;
        if round.finished.contains(&table) {
            *round = Round::default();
        }
        if let Some(cut) = round.cut {
            return Ok(cut);
        }
        let what = "the MongoDB server could not be asked for its time";
        let earlier = connection.command(doc! {"hello": 1}, what).await?;
        let later = connection.command(doc! {"hello": 1}, what).await?;
        let cut = Cut::of(&earlier, &later).ok_or_else(|| Failure::Reply.about("the MongoDB server did not tell its time"))?;
        round.cut = Some(cut);
        Ok(cut)
    }

    /// The round's cut, if it has one already.
    pub(super) async fn pinned(&self, table: usize) -> Option<Cut> {
        let round = self.round.lock().await;
        round.cut.filter(|_| !round.finished.contains(&table))
    }

    /// Says that a table has been read.
    pub(super) async fn finish(&self, table: usize) {
        self.round.lock().await.finished.insert(table);
    }

    /// The cluster time to read at, if the server shows what it showed then.
    pub(super) fn history_of(&self, cut: Option<Cut>) -> Option<ClusterTime> {
        cut.filter(|cut| cut.has_history && !self.is_history_refused.load(Ordering::Relaxed)).and_then(|cut| cut.time)
    }

    /// Says that the server does not show what it showed: from now on it is read as it is.
    pub(super) fn refuse_history(&self) {
        if !self.is_history_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!("the MongoDB server does not keep the state of the run's beginning; what is left is read as it is now");
        }
    }
}

/// Shared by the tables of a deployment.
pub(super) type SharedCuts = Arc<Cuts>;

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::DateTime;

    #[test]
    fn only_servers_with_a_log_have_a_history() {
        let time = ClusterTime { time: 1_700_000_000, increment: 7 };
        let alone = doc! {"localTime": DateTime::from_millis(5), "operationTime": time, "maxWireVersion": 21};
        let cut = Cut::of(&alone, &alone).unwrap();
        assert_eq!((cut.time, cut.at_us, cut.has_history), (None, 5_000, false));
        for more in [doc! {"setName": "rs"}, doc! {"msg": "isdbgrid"}] {
            let mut hello = alone.clone();
            hello.extend(more);
            let cut = Cut::of(&hello, &hello).unwrap();
            assert_eq!((cut.time, cut.has_history), (Some(time), true));
            assert_eq!(cut.described().place, "cluster time 1700000000.7");
            hello.insert("maxWireVersion", 12);
            assert!(!Cut::of(&hello, &hello).unwrap().has_history);
        }
        assert_eq!(Cut::of(&doc! {"ok": 1}, &doc! {"ok": 1}), None);
        // What was written between the two answers is shown, and waits all the same.
        let earlier = doc! {"localTime": DateTime::from_millis(5), "operationTime": ClusterTime { time: 4, increment: 0 }, "setName": "rs"};
        let later = doc! {"localTime": DateTime::from_millis(9), "operationTime": time, "setName": "rs"};
        let cut = Cut::of(&earlier, &later).unwrap();
        assert_eq!((cut.at_us, cut.time), (5_000, Some(time)));
    }

    #[test]
    fn a_refused_history_is_not_asked_for_again() {
        let cuts = Cuts::default();
        let time = ClusterTime { time: 9, increment: 1 };
        let cut = Cut { time: Some(time), at_us: 0, has_history: true };
        assert_eq!(cuts.history_of(Some(cut)), Some(time));
        assert_eq!((cuts.history_of(None), cuts.history_of(Some(Cut { has_history: false, ..cut }))), (None, None));
        cuts.refuse_history();
        assert_eq!(cuts.history_of(Some(cut)), None);
    }
}

//! What a stretch of the change stream says about one collection: the identifiers of documents that changed, or that all of it has to be
//! read. A pure fold over events. Its memory is bounded by the number of identifiers it may hold.

use ::bson::{Bson, Document, Timestamp as ClusterTime};

use super::keys::Identifiers;

/// Why the changed documents cannot be told from the stream, in words that follow "the whole collection, because".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Gone,
    TooMany,
    TooLarge,
}

impl Whole {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Gone => "it was dropped, renamed or made anew",
            Self::TooMany => "more of its documents changed than are worth reading one by one",
            Self::TooLarge => "one of its changes is too large for the server to tell",
        }
    }
}

/// The kinds of events that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document is new, other or gone.
    Document,
    /// The collection is not what it was.
    Collection,
    /// Something that changes no document.
    Other,
}

/// The fold.
#[derive(Debug)]
pub(super) struct Scan {
    /// What happened later is the next run's.
    until: ClusterTime,
    identifiers_max: usize,
    identifiers: Identifiers,
    whole: Option<Whole>,
}

impl Scan {
    pub(super) fn new(until: ClusterTime, identifiers_max: usize) -> Self {
        Self { until, identifiers_max, identifiers: Identifiers::default(), whole: None }
    }

    /// Takes the next event; false if no more are wanted.
    pub(super) fn take(&mut self, kind: Kind, at: Option<ClusterTime>, key: Option<&Document>) -> bool {
        // Events come in the order of their times.
        if at.is_some_and(|at| at > self.until) {
            return false;
        }
        match (kind, key.and_then(|key| key.get("_id"))) {
            (Kind::Document, Some(identifier)) => {
                self.identifiers.add(Bson::clone(identifier));
                if self.identifiers.len() > self.identifiers_max {
                    self.give_up(Whole::TooMany);
                }
            }
            // A change of a document that is not named.
            (Kind::Document, None) | (Kind::Collection, _) => self.give_up(Whole::Gone),
            (Kind::Other, _) => {}
        }
        self.whole.is_none()
    }

    pub(super) fn give_up(&mut self, why: Whole) {
        self.whole.get_or_insert(why);
        self.identifiers = Identifiers::default();
    }

    /// The identifiers, or why they are not all.
    pub(super) fn finish(self) -> Result<Identifiers, Whole> {
        self.whole.map_or(Ok(self.identifiers), Err)
    }
}

/// Whether a stream whose newest token is this has told everything up to a time.
///
/// A token begins with the cluster time of the last operation that the stream has passed, whether it was told or not: 0x82 and eight bytes in
/// hexadecimal (`ResumeToken`, `KeyString` in the server's source, `resume_token.h`). A server that spells its tokens otherwise is believed that
/// it has no more: it was asked to wait for the time before it began.
pub(super) fn has_passed(token: Option<&str>, until: ClusterTime) -> bool {
    let passed = || {
        let text = token?.strip_prefix("82")?.get(..16)?;
        let number = u64::from_str_radix(text, 16).ok()?;
        let time = u32::try_from(number >> 32).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        Some(ClusterTime { time, increment: number as u32 })
    };
    passed().is_none_or(|passed| passed >= until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::doc;

    fn time(time: u32, increment: u32) -> ClusterTime {
        ClusterTime { time, increment }
    }

    fn fold(identifiers_max: usize, events: &[(Kind, ClusterTime, Document)]) -> Result<usize, Whole> {
        let mut scan = Scan::new(time(100, 5), identifiers_max);
        for (kind, at, key) in events {
            if !scan.take(*kind, Some(*at), Some(key)) {
                break;
            }
        }
        scan.finish().map(|identifiers| identifiers.len())
    }

    #[test]
    fn each_document_is_there_once_and_later_ones_wait() {
        let events = [
            (Kind::Document, time(99, 1), doc! {"_id": 1}),
            (Kind::Document, time(100, 1), doc! {"shard": "a", "_id": 1}),
            (Kind::Other, time(100, 2), doc! {}),
            (Kind::Document, time(100, 5), doc! {"_id": 2}),
            (Kind::Document, time(100, 6), doc! {"_id": 3}),
            (Kind::Collection, time(101, 1), doc! {}),
        ];
        assert_eq!(fold(10, &events), Ok(2));
        assert_eq!(fold(1, &events), Err(Whole::TooMany));
        assert_eq!(fold(10, &[(Kind::Collection, time(1, 1), doc! {})]), Err(Whole::Gone));
        assert_eq!(fold(10, &[(Kind::Document, time(1, 1), doc! {})]), Err(Whole::Gone));
        assert_eq!(fold(10, &[]), Ok(0));
    }

    #[test]
    fn tokens_tell_how_far_a_stream_has_come() {
        let until = time(0x6654_3210, 0x1F);
        let token = |text: &str| has_passed(Some(text), until);
        assert!(!token("82665432100000001E2B0229296E04"));
        assert!(token("82665432100000001F2B0229296E04"));
        assert!(token("8266543211000000002B0229296E04"));
        // Other spellings, and none.
        assert!(token("3b000000107300070000") && token("82zz") && has_passed(None, until));
    }
}

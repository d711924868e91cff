//! The questions that a plan asks, as documents. Nothing here talks to a server.
//!
//! Comparisons in MongoDB only meet values of the same kind: `{at: {$lte: DATE}}` finds dates, never texts or missing fields
//! (<https://www.mongodb.com/docs/manual/reference/method/db.collection.find/#type-bracketing>). The filters below rely on it.

use ::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use pipeline_core::window::Window;

/// A value of the cursor as the server compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Milliseconds since 1970.
    Date(i64),
    Number(i64),
}

impl Bound {
    /// The greatest value the server can hold at or before `value` (microseconds, or a number).
    pub(super) fn floor(value: i64, is_time: bool) -> Self {
        if is_time { Self::Date(value.div_euclid(1_000)) } else { Self::Number(value) }
    }

    /// The least value the server can hold at or after `value`.
    fn ceiling(value: i64) -> Self {
        Self::Date(value.div_euclid(1_000) + i64::from(value.rem_euclid(1_000) != 0))
    }

    pub(super) fn bson(self) -> Bson {
        match self {
            Self::Date(milliseconds) => Bson::DateTime(DateTime::from_millis(milliseconds)),
            Self::Number(number) => Bson::Int64(number),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Date(_) => "date",
            Self::Number(_) => "number",
        }
    }
}

/// Documents up to `upper`, and those whose cursor is missing or of another kind: a reading of the whole sees them too.
pub(super) fn whole(cursor: &str, upper: Bound) -> Document {
    doc! {"$or": [{cursor: {"$lte": upper.bson()}}, {cursor: {"$not": {"$type": upper.kind()}}}]}
}

/// Documents beyond `lower` and up to `upper`.
pub(super) fn since(cursor: &str, lower: Bound, upper: Bound) -> Document {
    doc! {cursor: {"$gt": lower.bson(), "$lte": upper.bson()}}
}

/// Documents of a window.
pub(super) fn within(cursor: &str, window: Window) -> Document {
    doc! {cursor: {"$gte": Bound::ceiling(window.from.microseconds()).bson(), "$lt": Bound::ceiling(window.to.microseconds()).bson()}}
}

/// Both filters at once.
pub(super) fn both(first: Document, second: Document) -> Document {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => doc! {"$and": [first, second]},
    }
}

/// Cuts a collection by `_id` into `parts` at equal distances of the time that ObjectIds begin with. Identifiers of other
/// kinds fall into the first part. One filter without a condition if there is nothing to cut.
pub(super) fn cut(least: Option<ObjectId>, greatest: Option<ObjectId>, parts: u32) -> Vec<Document> {
    let seconds = |id: ObjectId| id.bytes().first_chunk().copied().map_or(0, u32::from_be_bytes);
    let (Some(from), Some(to)) = (least.map(seconds), greatest.map(seconds)) else { return vec![Document::new()] };
    let parts = parts.min(to.saturating_sub(from)).max(1);
    let boundary = |part: u32| {
        let offset = u64::from(to - from) * u64::from(part) / u64::from(parts);
        let mut bytes = [0_u8; 12];
        if let Some(head) = bytes.first_chunk_mut() {
            *head = u32::try_from(u64::from(from) + offset).unwrap_or(to).to_be_bytes();
        }
        ObjectId::from_bytes(bytes)
    };
    if parts == 1 {
        return vec![Document::new()];
    }
    (0..parts)
        .map(|part| match part {
            // Everything but the other parts: also what is no ObjectId.
            0 => doc! {"_id": {"$not": {"$gte": boundary(1)}}},
            last if last == parts - 1 => doc! {"_id": {"$gte": boundary(last)}},
            middle => doc! {"_id": {"$gte": boundary(middle), "$lt": boundary(middle + 1)}},
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline_core::window::Timestamp;

    #[test]
    fn bounds_are_the_milliseconds_that_mean_the_same() {
        assert_eq!(Bound::floor(1_999, true), Bound::Date(1));
        assert_eq!(Bound::floor(-1, true), Bound::Date(-1));
        assert_eq!(Bound::ceiling(1_001), Bound::Date(2));
        assert_eq!(Bound::ceiling(1_000), Bound::Date(1));
        let window = Window::new(Timestamp::from_microseconds(1_001), Timestamp::from_microseconds(3_000)).unwrap();
        let date = DateTime::from_millis;
        assert_eq!(within("at", window), doc! {"at": {"$gte": date(2), "$lt": date(3)}});
    }

    #[test]
    fn parts_meet_without_gap_or_overlap() {
        let id = |seconds: u32| {
            let mut bytes = [0xFF_u8; 12];
            bytes[..4].copy_from_slice(&seconds.to_be_bytes());
            ObjectId::from_bytes(bytes)
        };
        let parts = cut(Some(id(1_000)), Some(id(1_010)), 4);
        assert_eq!(parts.len(), 4);
        let edge = |part: usize, operator: &str| parts[part].get_document("_id").unwrap().get_object_id(operator).unwrap();
        assert_eq!(parts[0].get_document("_id").unwrap().get_document("$not").unwrap().get_object_id("$gte").unwrap(), edge(1, "$gte"));
        assert_eq!(edge(1, "$lt"), edge(2, "$gte"));
        assert_eq!(edge(2, "$lt"), edge(3, "$gte"));
        for nothing_to_cut in
            [cut(None, None, 4), cut(Some(id(5)), Some(id(5)), 4), cut(Some(id(5)), Some(id(6)), 4), cut(Some(id(1)), Some(id(9)), 1)]
        {
            assert_eq!(nothing_to_cut, [Document::new()]);
        }
    }

    #[test]
    fn filters_keep_their_meaning_in_a_written_plan() {
        let window = Window::new(Timestamp::from_microseconds(-5_000_000), Timestamp::from_microseconds(3_000)).unwrap();
        let id = ObjectId::from_bytes([9; 12]);
        for filter in [
            whole("a.b", Bound::Date(-5)),
            both(since("at", Bound::Date(1), Bound::Date(i64::MAX)), doc! {"_id": {"$gte": id}}),
            since("n", Bound::Number(i64::MIN), Bound::Number(1 << 40)),
            within("at", window),
            Document::new(),
        ] {
            let text = serde_json::to_string(&serde_json::to_value(&filter).unwrap()).unwrap();
            let back: Document = serde_json::from_value(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, filter, "{text}");
        }
    }
}

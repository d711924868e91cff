//! Cutting a reading into slices that neither overlap nor leave a gap.

use pipeline_core::extract::Cursor;
use pipeline_core::window::Timestamp;

use super::catalog::Relation;
use super::statement::wherever;

/// Smallest part of a table that is worth a worker of its own: 16 MiB in pages of 8 KiB.
const PAGES_MIN: u64 = 2_048;

/// A slice: the query that reads it, and what it covers in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) query: String,
    pub(super) summary: String,
}

/// The whole relation by one query.
pub(super) fn whole(relation: &Relation, list: &str, conditions: &[String], summary: &str) -> Cut {
    Cut { query: format!("SELECT {list} FROM {}{}", relation.name, wherever(conditions)), summary: summary.to_owned() }
}

/// Cuts a relation where its rows are: by ranges of pages, in about `wanted` slices.
///
/// The pages were counted after the snapshot was taken, so every row that it shows is in one of them; the last range is open all the same.
/// A partition is read by itself, unless the user may not, or policies of the whole decide which rows there are: then
/// every slice takes the same pages of all partitions.
pub(super) fn by_place(relation: &Relation, list: &str, conditions: &[String], wanted: usize) -> Vec<Cut> {
    let wanted = u64::try_from(wanted.max(1)).unwrap_or(1);
    let leaves_are_read = !relation.has_policies && relation.leaves.iter().all(|leaf| leaf.is_readable);
    let pages = |place: &Option<u64>| place.unwrap_or(0);
    if !leaves_are_read {
        let most = relation.leaves.iter().map(|leaf| pages(&leaf.pages)).max().unwrap_or(0);
        return ranges(most, most.div_ceil(wanted).max(PAGES_MIN))
            .map(|(from, to)| part(&relation.name, &relation.name, list, conditions, from, to))
            .collect();
    }
    let all: u64 = relation.leaves.iter().map(|leaf| pages(&leaf.pages)).sum();
    let each = all.div_ceil(wanted).max(PAGES_MIN);
    let mut cuts: Vec<Cut> = Vec::new();
    // Small partitions share a slice: a day's partition each would make hundreds.
    let mut open: Option<(Cut, u64)> = None;
    for leaf in &relation.leaves {
        let place = format!("ONLY {}", leaf.name);
        for (from, to) in ranges(pages(&leaf.pages), each) {
            let cut = part(&place, &leaf.name, list, conditions, from, to);
            let size = to.unwrap_or(pages(&leaf.pages)).saturating_sub(from);
            open = match open.take() {
                None => Some((cut, size)),
                Some((group, grown)) if grown + size <= each => {
                    let query = format!("{} UNION ALL {}", group.query, cut.query);
                    Some((Cut { query, summary: format!("{}, {}", group.summary, cut.summary) }, grown + size))
                }
                Some((group, _)) => {
                    cuts.push(group);
                    Some((cut, size))
                }
            };
        }
    }
    cuts.extend(open.map(|(group, _)| group));
    if cuts.is_empty() {
        // A partitioned table without partitions is empty, which somebody has to say.
        cuts.push(whole(relation, list, conditions, &format!("{}, which has no partitions", relation.name)));
    }
    cuts
}

/// Half-open ranges of at most `each` pages; the last one has no end. One range even if there are no pages.
fn ranges(pages: u64, each: u64) -> impl Iterator<Item = (u64, Option<u64>)> {
    let count = pages.div_ceil(each).max(1);
    (0..count).map(move |index| (index * each, (index + 1 < count).then_some((index + 1) * each)))
}

fn part(place: &str, name: &str, list: &str, conditions: &[String], from: u64, to: Option<u64>) -> Cut {
    let mut conditions = conditions.to_vec();
    if from > 0 {
        conditions.push(format!("ctid >= '({from},0)'::tid"));
    }
    if let Some(to) = to {
        conditions.push(format!("ctid < '({to},0)'::tid"));
    }
    let summary = match (from, to) {
        (0, None) => format!("{name}, all pages"),
        (from, None) => format!("{name}, pages from {from}"),
        (from, Some(to)) => format!("{name}, pages {from} to {to}"),
    };
    Cut { query: format!("SELECT {list} FROM {place}{}", wherever(&conditions)), summary }
}

/// Cuts the positions between two cursors into about equal parts: the inner ends.
pub(super) fn by_cursor(lower: &Cursor, upper: &Cursor, wanted: usize) -> Vec<Cursor> {
    let wanted = i64::try_from(wanted.max(1)).unwrap_or(1);
    let between = |low: i64, high: i64| -> Vec<i64> {
        let width = high.saturating_sub(low) / wanted;
        if width <= 0 { Vec::new() } else { (1..wanted).map(|index| low + width * index).collect() }
    };
    match (lower, upper) {
        (Cursor::Time(low), Cursor::Time(high)) => {
            between(low.microseconds(), high.microseconds()).into_iter().map(|us| Cursor::Time(Timestamp::from_microseconds(us))).collect()
        }
        (Cursor::Number(low), Cursor::Number(high)) => between(*low, *high).into_iter().map(Cursor::Number).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::catalog::Leaf;

    fn relation(pages: &[u64], is_readable: bool) -> Relation {
        let leaf =
            |(index, pages): (usize, &u64)| Leaf { name: format!("\"s\".\"p{index}\""), pages: Some(*pages), is_readable, rows: None };
        let leaves = pages.iter().enumerate().map(leaf).collect();
        Relation { oid: 1, name: "\"s\".\"t\"".to_owned(), columns: Vec::new(), leaves, is_readable: true, has_policies: false }
    }

    fn queries(cuts: &[Cut]) -> Vec<&str> {
        cuts.iter().map(|cut| cut.query.as_str()).collect()
    }

    #[test]
    fn pages_are_cut_without_gap_or_overlap() {
        let cuts = by_place(&relation(&[5_000], true), "a", &["b > 1".to_owned()], 2);
        assert_eq!(
            queries(&cuts),
            [
                "SELECT a FROM ONLY \"s\".\"p0\" WHERE b > 1 AND ctid < '(2500,0)'::tid",
                "SELECT a FROM ONLY \"s\".\"p0\" WHERE b > 1 AND ctid >= '(2500,0)'::tid",
            ]
        );
        assert_eq!(queries(&by_place(&relation(&[10], true), "a", &[], 8)), ["SELECT a FROM ONLY \"s\".\"p0\""]);
        assert_eq!(queries(&by_place(&relation(&[0], true), "a", &[], 8)), ["SELECT a FROM ONLY \"s\".\"p0\""]);
        assert_eq!(queries(&by_place(&relation(&[], true), "a", &[], 8)), ["SELECT a FROM \"s\".\"t\""]);
    }

    #[test]
    fn small_partitions_share_a_slice_and_closed_ones_are_read_through_the_whole() {
        let cuts = by_place(&relation(&[1, 1, 9_000, 1], true), "a", &[], 2);
        assert_eq!(
            queries(&cuts),
            [
                "SELECT a FROM ONLY \"s\".\"p0\" UNION ALL SELECT a FROM ONLY \"s\".\"p1\"",
                "SELECT a FROM ONLY \"s\".\"p2\" WHERE ctid < '(4502,0)'::tid",
                "SELECT a FROM ONLY \"s\".\"p2\" WHERE ctid >= '(4502,0)'::tid UNION ALL SELECT a FROM ONLY \"s\".\"p3\"",
            ]
        );
        let cuts = by_place(&relation(&[1, 6_000], false), "a", &[], 2);
        assert_eq!(
            queries(&cuts),
            ["SELECT a FROM \"s\".\"t\" WHERE ctid < '(3000,0)'::tid", "SELECT a FROM \"s\".\"t\" WHERE ctid >= '(3000,0)'::tid"]
        );
    }

    #[test]
    fn positions_are_cut_where_there_is_room() {
        assert_eq!(by_cursor(&Cursor::Number(0), &Cursor::Number(10), 3), [Cursor::Number(3), Cursor::Number(6)]);
        assert_eq!(by_cursor(&Cursor::Number(0), &Cursor::Number(1), 3), []);
        assert_eq!(by_cursor(&Cursor::Whole, &Cursor::Number(1), 3), []);
    }
}

//! What a stretch of the log says about one table: the keys of rows that changed, or that all of it has to be read.
//!
//! A fold over messages. Its memory is bounded, whatever a transaction wrote: see [`super::sorted`].

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::lsn::{Lsn, Visibility};
use super::message::{Malformed, Message, Relation, Tuple, Value};
use super::sorted::{Chunk, Keys};

/// The values of a row's key, as their types' output functions write them.
pub(in crate::postgres) type Key = Box<[Box<str>]>;

/// Why the changed rows cannot be told from the log, in words that follow "the whole table, because".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Truncated,
    TooMany,
    OtherKey,
}

impl Whole {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "it was truncated",
            Self::TooMany => "more of its rows changed than are worth reading one by one",
            Self::OtherKey => "the log has rows from before its key or its replica identity changed",
        }
    }
}

/// The fold.
#[derive(Debug)]
pub(super) struct Scan {
    /// The table's object identifier, and those of its partitions.
    oids: HashSet<u32>,
    /// The key's columns by their names in the source.
    key: Vec<String>,
    /// What was committed before has been read.
    from: Lsn,
    visibility: Visibility,
    keys_max: usize,
    /// Where each relation's tuples have the key, and whether old rows have it: None if there is no such column.
    layouts: HashMap<u32, Option<Layout>>,
    /// Whether the open transaction is to be read.
    is_read: bool,
    /// Where keys go that memory does not hold.
    work: PathBuf,
    keys: Keys,
    whole: Option<Whole>,
    held: Option<Lsn>,
}

#[derive(Debug)]
struct Layout {
    places: Vec<usize>,
    is_identity: bool,
}

/// Why the fold cannot go on.
#[derive(Debug)]
pub(super) enum Trouble {
    Malformed(Malformed),
    Disk(io::Error),
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What the fold found.
#[derive(Debug)]
pub(super) struct Found {
    /// The keys of rows that are new, other or gone.
    pub(super) chunks: Vec<Chunk>,
    /// Why they are not all.
    pub(super) whole: Option<Whole>,
    /// The commit of the first transaction that the snapshot does not show.
    pub(super) held: Option<Lsn>,
}

impl Scan {
    pub(super) fn new(oids: HashSet<u32>, key: Vec<String>, from: Lsn, visibility: Visibility, keys_max: usize, work: &Path) -> Self {
        Self {
            oids,
            key,
            from,
            visibility,
            keys_max,
            layouts: HashMap::new(),
            is_read: false,
            work: work.to_owned(),
            keys: Keys::new(work),
            whole: None,
            held: None,
        }
    }

    /// Takes the next message.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<(), Trouble> {
        match Message::parse(message)? {
            Message::Begin { commit, transaction } => {
                self.is_read = commit >= self.from && self.visibility.shows(transaction);
                // Transactions come in the order of their commits: the first is the earliest. What it changed is read when it is shown.
                if commit >= self.from && !self.is_read {
                    self.held.get_or_insert(commit);
                }
            }
            Message::Relation(relation) => {
                if self.oids.contains(&relation.oid) {
                    self.layouts.insert(relation.oid, layout(&self.key, &relation));
                }
            }
            Message::Insert { relation, new } => self.change(relation, None, Some(&new))?,
            Message::Update { relation, old, new } => self.change(relation, old.as_ref(), Some(&new))?,
            Message::Delete { relation, old } => self.change(relation, Some(&old), None)?,
            Message::Truncate { relations } => {
                if self.is_read && relations.iter().any(|relation| self.oids.contains(relation)) {
                    self.give_up(Whole::Truncated);
                }
            }
            Message::Commit | Message::Other => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<Found> {
        let Self { keys, keys_max, mut whole, held, .. } = self;
        let mut chunks = keys.finish()?;
        if chunks.iter().map(|chunk| chunk.keys).sum::<usize>() > keys_max {
            whole.get_or_insert(Whole::TooMany);
            chunks.clear();
        }
        Ok(Found { chunks, whole, held })
    }

    fn change(&mut self, relation: u32, old: Option<&Tuple<'_>>, new: Option<&Tuple<'_>>) -> Result<(), Trouble> {
        if !self.is_read || self.whole.is_some() || !self.oids.contains(&relation) {
            return Ok(());
        }
        let layout = match self.layouts.get(&relation) {
            None => return Err(Malformed("changes a table that was not described").into()),
            // Old rows without the key would hide what it was; the table has had another identity since, or the plan would have failed.
            Some(Some(layout)) if layout.is_identity => layout,
            Some(_) => {
                self.give_up(Whole::OtherKey);
                return Ok(());
            }
        };
        let before = old.map(|old| key_of(layout, old, None)).transpose()?.flatten();
        // A key's value that is stored apart and did not change is in the old row.
        let after = new.map(|new| key_of(layout, new, old)).transpose()?.flatten();
        let is_missing = (old.is_some() && before.is_none()) || (new.is_some() && after.is_none());
        for key in before.into_iter().chain(after) {
            self.keys.add(key)?;
        }
        if is_missing {
            self.give_up(Whole::OtherKey);
        } else if self.keys.at_least() > self.keys_max {
            self.give_up(Whole::TooMany);
        }
        Ok(())
    }

    fn give_up(&mut self, why: Whole) {
        self.whole.get_or_insert(why);
        self.keys = Keys::new(&self.work);
    }
}

fn layout(key: &[String], relation: &Relation<'_>) -> Option<Layout> {
    let places: Vec<usize> =
        key.iter().map(|name| relation.columns.iter().position(|column| column.name == name)).collect::<Option<_>>()?;
    let is_identity = places.iter().all(|place| relation.columns.get(*place).is_some_and(|column| column.is_identity));
    Some(Layout { places, is_identity })
}

/// A row's key; None if a part of it is NULL or not said.
fn key_of(layout: &Layout, row: &Tuple<'_>, other: Option<&Tuple<'_>>) -> Result<Option<Key>, Malformed> {
    let mut key = Vec::with_capacity(layout.places.len());
    for place in &layout.places {
        let value = row.get(*place).ok_or(Malformed("has a row of fewer columns than its table"))?;
        let value = if *value == Value::Unchanged { other.and_then(|other| other.get(*place)).unwrap_or(value) } else { value };
        match value {
            Value::Text(text) => key.push(Box::from(*text)),
            Value::Null | Value::Unchanged => return Ok(None),
        }
    }
    Ok(Some(key.into_boxed_slice()))
}

/// Folds messages until one is malformed: however many keys they name, no more are held than were asked for.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fold_messages(messages: &mut dyn Iterator<Item = &[u8]>, oids: HashSet<u32>) {
    const KEYS_MAX: usize = 4;
    let Some(visibility) = Visibility::parse("50:60:55") else { return };
    let mut scan = Scan::new(oids, vec!["id".to_owned()], Lsn(0), visibility, KEYS_MAX, &std::env::temp_dir());
    for message in messages {
        if scan.take(message).is_err() {
            break;
        }
    }
    let found = scan.finish().expect("so few keys need no disk");
    assert!(found.chunks.iter().map(|chunk| chunk.keys).sum::<usize>() <= KEYS_MAX, "keys are bounded");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` becomes a value, `-` NULL, `=` one that is not said.
    fn row(values: &[&str]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match *value {
                "-" => bytes.push(b'n'),
                "=" => bytes.push(b'u'),
                text => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    fn begin(commit: u64, transaction: u32) -> Vec<u8> {
        [b"B".as_slice(), &commit.to_be_bytes(), &[0; 8], &transaction.to_be_bytes()].concat()
    }

    fn described(oid: u32, columns: &[(&str, bool)]) -> Vec<u8> {
        let mut bytes = [b"R".as_slice(), &oid.to_be_bytes(), b"public\0t\0d"].concat();
        bytes.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, is_identity) in columns {
            bytes.push(u8::from(*is_identity));
            bytes.extend([name.as_bytes(), b"\0", &[0; 8]].concat());
        }
        bytes
    }

    fn insert(oid: u32, new: &[&str]) -> Vec<u8> {
        [b"I".as_slice(), &oid.to_be_bytes(), b"N", &row(new)].concat()
    }

    fn update(oid: u32, old: &[&str], new: &[&str]) -> Vec<u8> {
        [b"U".as_slice(), &oid.to_be_bytes(), b"K", &row(old), b"N", &row(new)].concat()
    }

    fn delete(oid: u32, old: &[&str]) -> Vec<u8> {
        [b"D".as_slice(), &oid.to_be_bytes(), b"K", &row(old)].concat()
    }

    fn truncate(oid: u32) -> Vec<u8> {
        [b"T".as_slice(), &1_u32.to_be_bytes(), &[0], &oid.to_be_bytes()].concat()
    }

    /// Folds messages about table 7, whose snapshot shows transactions below 50.
    fn fold(keys_max: usize, messages: &[Vec<u8>]) -> Found {
        let visibility = Visibility::parse("50:50:").unwrap();
        let mut scan = Scan::new(HashSet::from([7]), vec!["id".to_owned()], Lsn(1_000), visibility, keys_max, &std::env::temp_dir());
        for message in messages {
            scan.take(message).unwrap();
        }
        scan.finish().unwrap()
    }

    fn keys(found: &Found) -> Vec<String> {
        found.chunks.iter().flat_map(|chunk| chunk.read().unwrap().iter().map(|key| key[0].to_string()).collect::<Vec<_>>()).collect()
    }

    const COLUMNS: [(&str, bool); 2] = [("note", false), ("id", true)];

    #[test]
    fn each_key_is_there_once_and_a_changed_key_is_two() {
        let found = fold(
            10,
            &[
                begin(1_000, 40),
                described(7, &COLUMNS),
                insert(7, &["a", "1"]),
                update(7, &["-", "1"], &["=", "2"]),
                b"C".to_vec(),
                begin(1_100, 41),
                delete(7, &["-", "3"]),
                insert(7, &["b", "1"]),
                described(8, &COLUMNS),
                insert(8, &["other", "9"]),
            ],
        );
        assert_eq!(keys(&found), ["1", "2", "3"]);
        assert_eq!((found.whole, found.held), (None, None));
    }

    #[test]
    fn what_was_read_is_passed_over_and_what_is_not_shown_waits() {
        let found = fold(
            10,
            &[
                begin(999, 40),
                described(7, &COLUMNS),
                insert(7, &["a", "1"]),
                begin(1_001, 51),
                insert(7, &["a", "2"]),
                begin(1_002, 41),
                insert(7, &["a", "3"]),
                begin(1_003, 52),
                truncate(7),
            ],
        );
        assert_eq!(keys(&found), ["3"]);
        assert_eq!((found.whole, found.held), (None, Some(Lsn(1_001))));
    }

    #[test]
    fn the_whole_table_is_wanted_when_keys_do_not_say_enough() {
        let start = [begin(1_000, 40), described(7, &COLUMNS)];
        let whole = |more: &[Vec<u8>]| {
            let found = fold(2, &[&start, more].concat());
            assert!(found.chunks.is_empty());
            found.whole
        };
        let three: Vec<_> = ["1", "2", "3"].iter().map(|id| insert(7, &["a", id])).collect();
        assert_eq!(whole(&three), Some(Whole::TooMany));
        assert_eq!(whole(&[insert(7, &["a", "1"]), truncate(7)]), Some(Whole::Truncated));
        assert_eq!(whole(&[described(7, &[("note", false), ("number", true)]), insert(7, &["a", "1"])]), Some(Whole::OtherKey));
        assert_eq!(whole(&[described(7, &[("note", true), ("id", false)]), delete(7, &["a", "-"])]), Some(Whole::OtherKey));
        assert_eq!(whole(&[insert(7, &["a", "-"])]), Some(Whole::OtherKey));
        // Other tables, and transactions that are not shown yet, do not count.
        let found = fold(2, &[begin(1_000, 60), described(7, &COLUMNS), truncate(7), begin(1_001, 40), truncate(8)]);
        assert_eq!(found.whole, None);
    }

    #[test]
    fn a_long_key_that_did_not_change_is_taken_from_the_old_row() {
        let found = fold(10, &[begin(1_000, 40), described(7, &COLUMNS), update(7, &["-", "1"], &["b", "="])]);
        assert_eq!(keys(&found), ["1"]);
    }
}

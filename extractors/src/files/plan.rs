//! What is to be read from a dump, decided by looking at it once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use pipeline_core::clock::{Clock, SystemClock};
use pipeline_core::contract::ColumnType;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Request, Slice};
use pipeline_core::window::Timestamp;
use sha2::{Digest, Sha256};

use super::input::{Input, sha256};
use super::range::{Range, Seen, Wanted, changed};
use super::tuples::{self, Tuple};
use super::{Inner, Shape};

/// Smallest part of a file that is worth a worker of its own.
const SLICE_BYTES_MIN: u64 = 16 << 20;

/// What one look through a file tells.
#[derive(Debug)]
struct Scan {
    sha256: String,
    rows: u64,
    cursor_max: Option<i64>,
    /// Offsets at which slices begin, the first one 0.
    starts: Vec<u64>,
}

/// Plans the reading of a dump.
pub(super) fn plan(inner: &Inner, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
    let dump = &inner.dump;
    let seen = Seen::of(dump)?;
    let statement = format!("read {}", dump.path.display());
    let has_cursor = inner.has_cursor();
    if let Some(after) = after.filter(|_| request.window.is_none())
        && after.fingerprint.as_deref() == Some(&fingerprint(&seen, &sha256(&dump.path)?))
    {
        let summary = "the file is unchanged since the last run".to_owned();
        return Ok(ExtractPlan {
            slices: Vec::new(),
            checkpoint: Some(after.clone()),
            is_changes: false,
            resumable_as: None,
            rows_estimated: Some(0),
            summary,
            statement,
        });
    }
    let positions: Option<BTreeSet<String>> = request.rejected.as_ref().map(|positions| positions.iter().cloned().collect());
    let (wanted, summary) = match (request.window, after) {
        _ if positions.is_some() => (Wanted::All, "rows that were rejected before".to_owned()),
        (Some(window), _) if has_cursor => {
            let wanted = Wanted::Within { from: window.from.microseconds(), to: window.to.microseconds() };
            if !inner.cursor_is_time() {
                return Err(Error::new(
                    &super::WINDOW,
                    format!("table \"{}\" has a cursor that is a number, so it has no windows of time", inner.contract.table),
                ));
            }
            (wanted, format!("rows of the window {window}"))
        }
        (Some(_), _) => (Wanted::All, "the whole file, since the table has no cursor to cut a window on".to_owned()),
        (None, Some(Checkpoint { upper: upper @ (Cursor::Time(_) | Cursor::Number(_)), .. })) if has_cursor => {
            let lower = match upper {
                Cursor::Time(time) => time.plus(request.lookback_us.saturating_neg()).microseconds(),
                Cursor::Number(number) => *number,
                Cursor::Whole | Cursor::Log(_) => i64::MIN,
            };
            (Wanted::After(lower), format!("rows changed since {}", described(inner, lower)))
        }
        (None, _) => (Wanted::All, "the whole file".to_owned()),
    };

    let scan = scan(inner, request.slices_wanted)?;
    if Seen::of(dump)? != seen {
        return Err(changed(dump));
    }
    let upper = match scan.cursor_max.filter(|_| has_cursor).map(|value| inner.position(value)) {
        // An instant that is still to come would keep all rows before it from being read: nothing moves beyond now.
        Some(Cursor::Time(upper)) => Some(Cursor::Time(upper.min(SystemClock.now()))),
        other => other,
    };
    let upper = match upper {
        // A dump that is older than the last one does not turn the clock back.
        Some(upper) => {
            after.map(|after| after.upper.clone()).filter(|before| same_kind(before, &upper) && *before > upper).unwrap_or(upper)
        }
        // A table with a cursor and no rows yet has no position; the next reading is of the whole again.
        None => Cursor::Whole,
    };
    let checkpoint = Checkpoint { upper, fingerprint: Some(fingerprint(&seen, &scan.sha256)) };
    let ends = scan.starts.iter().skip(1).copied().chain([seen.length]);
    let slices = scan
        .starts
        .iter()
        .zip(ends)
        .enumerate()
        .map(|(index, (start, end))| {
            let range = Range { seen: seen.clone(), sha256: scan.sha256.clone(), start: *start, end, wanted, positions: positions.clone() };
            Ok(Slice {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                summary: format!("bytes {start} to {end}"),
                range: serde_json::to_value(&range).map_err(|_| Error::new(&BUG, "a slice's range could not be written"))?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(ExtractPlan {
        slices,
        checkpoint: (request.window.is_none() && positions.is_none()).then_some(checkpoint),
        is_changes: false,
        resumable_as: None,
        rows_estimated: match &positions {
            Some(positions) => Some(positions.len() as u64),
            None => (wanted == Wanted::All).then_some(scan.rows),
        },
        summary,
        statement,
    })
}

fn same_kind(a: &Cursor, b: &Cursor) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn described(inner: &Inner, value: i64) -> String {
    if inner.cursor_is_time() { Timestamp::from_microseconds(value).to_string() } else { value.to_string() }
}

fn fingerprint(seen: &Seen, sha256: &str) -> String {
    format!("{}:sha256:{sha256}", seen.length)
}

/// Goes through the file once: its checksum, its rows, the greatest cursor, and where it can be cut.
fn scan(inner: &Inner, slices_wanted: usize) -> Result<Scan> {
    let dump = &inner.dump;
    let hash = Arc::new(Mutex::new(Sha256::new()));
    let mut input = Input::open(dump, 0, Some(Arc::clone(&hash)))?;
    let mut scan = Scan { sha256: String::new(), rows: 0, cursor_max: None, starts: vec![0] };
    match &inner.shape {
        Shape::Bson { cursor } => {
            let length = Seen::of(dump)?.length;
            let parts = if dump.is_compressed { 1 } else { (length / SLICE_BYTES_MIN).clamp(1, slices_wanted.max(1) as u64) };
            while let Some((offset, document)) = input.document()? {
                scan.rows += 1;
                if let Some(cursor) = cursor {
                    scan.cursor_max = scan.cursor_max.max(cursor.read(document));
                }
                let next = scan.starts.len() as u64;
                if next < parts && offset >= length / parts * next {
                    scan.starts.push(offset);
                }
            }
        }
        Shape::Copy { cursor, .. } => {
            let none = (usize::MAX, ColumnType::Int64);
            let (place, data_type) = cursor.as_ref().unwrap_or(&none);
            tuples::head(&mut input)?;
            while let Tuple::Row(cursor) = tuples::next(&mut input, *place, data_type)? {
                scan.rows += 1;
                scan.cursor_max = scan.cursor_max.max(cursor);
            }
        }
    }
    drop(input);
    let hash = std::mem::take(&mut *hash.lock().expect("no holder of this lock panics"));
    scan.sha256 = hex::encode(hash.finalize());
    Ok(scan)
}

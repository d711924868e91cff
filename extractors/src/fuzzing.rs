//! What the fuzz targets call: every reader of foreign bytes, with the promises that it keeps whatever the bytes are. None may panic, loop, or hold
//! more than its limits; on top of that each says what else must be true.
//!
//! The seeds under `fuzz/seeds` go through the same functions in a test, so that neither can rot.
#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a broken promise is a panic, which is what fuzzing looks for")]

use std::collections::HashSet;
use std::path::Path;

use futures::StreamExt;
use pipeline_core::config::Config;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::extract::{Extractor, Request};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;

use crate::bson::{self, CursorField};
use crate::files::{self, FilesOptions};
use crate::json::{self, Kind, Value};
use crate::opensearch;
use crate::personal::Personal;
use crate::postgres;

/// A fuzz target: its name, which is its folder of seeds too, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("bson_document", bson_document),
    ("bson_dump", bson_dump),
    ("copy_binary", copy_binary),
    ("copy_dump", copy_dump),
    ("json_page", json_page),
    ("log_messages", log_messages),
    ("column", column),
    ("configuration", configuration),
];

/// A contract with every declared type, lists and structs of them, all privacy classes, and paths into fields.
pub(crate) const DOCUMENT_COLUMNS: &[(&str, &str)] = &[
    ("id", "text not null from _id"),
    ("flag", "boolean from b"),
    ("small", "smallint from n"),
    ("whole", "int from n"),
    ("long", "bigint from n"),
    ("single", "real from d"),
    ("double", "double from d"),
    ("money", "decimal(18,2) from m"),
    ("wide", "decimal(38,9) from m"),
    ("words", "text from t"),
    ("day", "date from at"),
    ("at", "timestamp from at"),
    ("uuid", "uuid from u"),
    ("raw", "bytes from u"),
    ("any", "json from any"),
    ("tags", "list<text>"),
    ("items", "list<struct<sku text not null, price decimal(18,2), parts list<int>>>"),
    ("nested", "struct<a int, b struct<c text only string, d list<double>>>"),
    ("longitude", "double from place.coordinates.0"),
    ("phone", "text from contact.phone pii hash"),
    ("name", "text from contact.name pii mask"),
    ("gone", "text from contact.secret pii drop"),
    ("_extra", "json"),
];

pub(crate) fn contract(columns: &[(&str, &str)]) -> Contract {
    let columns = columns
        .iter()
        .map(|(name, text)| {
            let name = ColumnName::new(name).expect("the names here are names");
            parse_column(&name, text, &str::to_owned).expect("the columns here are columns")
        })
        .collect();
    let table = TableName::new("shop", "orders").expect("a name");
    Contract { table, columns, key: Vec::new(), cursor: None, description: String::new() }
}

pub(crate) fn key() -> PrivacyKey {
    PrivacyKey::new(b"a key for fuzzing")
}

/// One document: it becomes one row or one misfit, and whatever is told about it is told without a panic.
pub fn bson_document(bytes: &[u8]) {
    let contract = contract(DOCUMENT_COLUMNS);
    let mut decoder = bson::Decoder::new(&contract, Some(&key())).expect("the contract can be read");
    let fitted = decoder.append(bytes).is_ok();
    assert_eq!(decoder.rows(), usize::from(fitted), "a document is one row or none");
    // A row after one that did not fit is as if that had never been.
    let again = decoder.append(bytes).is_ok();
    assert_eq!(fitted, again, "the same document fits or does not");
    let batch = decoder.finish().expect("what was appended makes a batch");
    assert_eq!(batch.num_rows(), usize::from(fitted) * 2);
    if fitted {
        assert_eq!(batch.slice(0, 1), batch.slice(1, 1), "the same document is the same row");
    }
    let open = bson::open_part(bytes, &Personal::of(&contract));
    assert!(open.len() <= bytes.len() + 5, "what may be shown is no more than what came");
    for document in [bytes, &open] {
        if let Some(text) = bson::to_json(document) {
            serde_json::from_str::<serde_json::Value>(&text).expect("a document is told as JSON");
        }
    }
    drop(bson::identity(bytes));
    let mut cursor = contract;
    cursor.cursor = Some(ColumnName::new("at").expect("a name"));
    let _at = CursorField::of(&cursor).and_then(|cursor| cursor.read(bytes));
}

/// A dump of documents, compressed if the first byte is odd.
pub fn bson_dump(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let name = if first % 2 == 0 { "orders.bson" } else { "orders.bson.gz" };
    read_folder(&[(name, rest)], &contract(DOCUMENT_COLUMNS));
}

/// A table whose columns have every type of PostgreSQL that is read, and the contract that reads them.
pub(crate) const TABLE_COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "bigint", "bigint not null"),
    ("flag", "boolean", "boolean"),
    ("small", "smallint", "int"),
    ("single", "real", "double"),
    ("amount", "numeric", "decimal(12,2)"),
    ("exact", "numeric", "text"),
    ("words", "text", "text"),
    ("padded", "character(4)", "text"),
    ("any", "jsonb", "json"),
    ("uuid", "uuid", "uuid"),
    ("day", "date", "date"),
    ("at", "timestamp with time zone", "timestamp"),
    ("local", "timestamp without time zone", "local_timestamp"),
    ("time", "time with time zone", "text"),
    ("span", "interval", "text"),
    ("raw", "bytea", "bytes"),
    ("bits", "bit varying", "text"),
    ("address", "inet", "text"),
    ("card", "macaddr", "text"),
    ("place", "point", "text"),
    ("tags", "text[]", "list<text>"),
    ("numbers", "integer[]", "json"),
    ("window", "tstzrange", "text"),
    ("phone", "text", "text pii hash"),
];

fn table() -> (Contract, Vec<postgres::copy::SourceColumn>) {
    let declared: Vec<(&str, &str)> = TABLE_COLUMNS.iter().map(|(name, _, text)| (*name, *text)).collect();
    let columns = TABLE_COLUMNS
        .iter()
        .map(|(name, text, _)| {
            let type_ = postgres::PostgresType::parse(text, &|_| None).expect("the types here are types");
            postgres::copy::SourceColumn::new(*name, type_)
        })
        .collect();
    (contract(&declared), columns)
}

/// Data in COPY's binary format: wherever it is cut on its way, the rows are the same.
pub fn copy_binary(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else { return };
    let (contract, columns) = table();
    let read = |size: usize| {
        let mut decoder = postgres::copy::Decoder::new(&contract, &columns, Some(key())).expect("the contract can be read");
        let ended = rest.chunks(size).try_for_each(|chunk| decoder.push(chunk)).and_then(|()| decoder.finish()).is_ok();
        let batches: Vec<_> = std::iter::from_fn(|| decoder.take_batch()).collect();
        let rejected = decoder.quarantine().drain().to_vec();
        let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert!(!ended || (rows + rejected.len()) as u64 == decoder.tuples(), "a row is here or in quarantine");
        (ended, batches, rejected)
    };
    let whole = read(rest.len().max(1));
    assert_eq!(whole, read(usize::from(*cut).max(1)), "where data is cut does not matter");
}

/// A COPY file with the schema beside it, parted by the first zero byte.
pub fn copy_dump(bytes: &[u8]) {
    let zero = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (schema, data) = bytes.split_at(zero);
    let columns = [("id", "bigint not null"), ("amount", "decimal(12,2)"), ("at", "timestamp"), ("_extra", "json")];
    read_folder(&[("schema.sql", schema), ("shop.orders.copy", data.get(1..).unwrap_or_default())], &contract(&columns));
}

/// Reads a table of a folder wholly, if it can be opened.
fn read_folder(dumps: &[(&str, &[u8])], contract: &Contract) {
    let folder = Scratch::new();
    for (name, bytes) in dumps {
        std::fs::write(folder.0.join(name), bytes).expect("a temporary folder can be written");
    }
    let options = FilesOptions { path: folder.0.clone() };
    let Ok(extractor) = files::open(&options, contract.clone(), &files::TableOptions::default(), Some(key())) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(read_all(&*extractor));
}

async fn read_all(extractor: &dyn Extractor) {
    let request = Request { window: None, rejected: None, cut: None, lookback_us: 0, slices_wanted: 2 };
    let Ok(plan) = extractor.plan(&request, None).await else { return };
    let quarantine = Quarantine::new();
    for slice in &plan.slices {
        let Ok(mut stream) = extractor.read(slice, &quarantine).await else { continue };
        while let Some(Ok(batch)) = stream.next().await {
            assert!(batch.num_rows() > 0, "a batch has rows");
        }
    }
}

/// A folder of its own that is gone when it is dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Memory, where there is such a folder: a disk would be the slowest part by far.
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = above.join(format!("pipeline-fuzzing-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// An answer of OpenSearch: its documents become rows or misfits, and what is shown of them is JSON.
pub fn json_page(bytes: &[u8]) {
    let contract = contract(DOCUMENT_COLUMNS);
    let personal = Personal::of(&contract);
    let mut decoder = bson::Decoder::new(&contract, Some(&key())).expect("the contract can be read");
    let mut fitted = 0;
    opensearch::each_document(bytes, &mut |source: Value<'_>, id: Option<Value<'_>>| {
        let outside: Vec<(&str, Value<'_>)> = id.map(|id| ("_id", id)).into_iter().collect();
        if source.kind == Kind::Object {
            fitted += usize::from(json::append(&mut decoder, source, &outside).is_ok());
            let open = json::open_part(source, &personal);
            assert!(open.is_empty() || serde_json::from_slice::<serde_json::Value>(&open).is_ok(), "what may be shown is JSON");
        }
    });
    assert_eq!(decoder.rows(), fitted, "a document is one row or none");
    assert_eq!(decoder.finish().expect("what was appended makes a batch").num_rows(), fitted);
}

/// Messages of PostgreSQL's log, each behind its length in two bytes.
pub fn log_messages(bytes: &[u8]) {
    let messages = std::iter::successors(Some((&[][..], bytes)), |(_, rest)| {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        Some(rest.split_at(length))
    });
    postgres::fold_messages(&mut messages.skip(1).map(|(message, _)| message), HashSet::from([7]));
}

/// The text of a column in a configuration: what is read can be written, and is the same when it is read again.
pub fn column(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = ColumnName::new("column").expect("a name");
    let Ok(column) = parse_column(&name, text, &str::to_owned) else { return };
    let again = parse_column(&name, &column.data_type.to_string(), &str::to_owned).expect("a type that was read can be read again");
    assert_eq!(column.data_type, again.data_type);
}

/// A configuration file: what is accepted makes contracts that hold, and the kinds of its sources read or refuse the rest.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let config = match Config::load(Path::new("pipelines.toml"), text, None, &[]) {
        Ok(config) => config,
        Err(error) => return assert!(!error.message().is_empty(), "a mistake has words"),
    };
    for source in config.sources.into_values() {
        let kind = crate::KINDS.iter().find(|kind| kind.name == source.kind);
        for table in source.tables.into_values() {
            table.contract.check().expect("a contract of an accepted configuration holds");
            assert_eq!(table.contract.schema().fields().len(), table.contract.columns.len());
            drop(kind.map(|kind| (kind.check_table)(table.options)));
        }
        drop(kind.map(|kind| (kind.read)(source.options)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_keeps_the_promises() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/seeds");
        let mut read = 0;
        for (name, target) in TARGETS {
            for seed in std::fs::read_dir(seeds.join(name)).unwrap() {
                target(&std::fs::read(seed.unwrap().path()).unwrap());
                read += 1;
            }
            // What is cut anywhere, or has one byte changed, keeps them too.
            let first = std::fs::read_dir(seeds.join(name)).unwrap().next().unwrap().unwrap().path();
            let bytes = std::fs::read(first).unwrap();
            for end in 0..bytes.len().min(64) {
                target(&bytes[..end]);
                let mut changed = bytes.clone();
                changed[end] ^= 0x80;
                target(&changed);
            }
        }
        crate::tests_tried(&format!("{read} seeds of {} fuzz targets, whole, cut and changed", TARGETS.len()));
        assert!(read >= TARGETS.len() * 3);
    }
}

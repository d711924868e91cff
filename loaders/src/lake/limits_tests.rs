//! Loads that are much larger than the memory they may use, and what a small load into a large table costs.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{ArrayRef, BooleanArray, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::landing::{Landing, Manifest, SnapshotWriter, WriterSettings};
use pipeline_core::load::{LoadId, Mode};
use pipeline_core::name::ColumnName;

use super::*;

/// Bytes of text in a row: rows are as large as orders are.
const TEXT_BYTES: usize = 1_000;

/// Rows in one batch of a snapshot.
const BATCH_ROWS: i64 = 4_096;

struct Place {
    _folder: tempfile::TempDir,
    lake: Lake,
    landing: Landing,
}

fn place(memory_limit_bytes: usize) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    std::fs::create_dir_all(root.join("lake")).unwrap();
    let url = Url::from_directory_path(root.join("lake")).unwrap();
    let lake = Lake::open(LakeOptions { url, store: Arc::clone(&store), work: root.join("work"), memory_limit_bytes, threads: 2 }).unwrap();
    let landing = Landing::new(store, StorePath::from_absolute_path(root.join("landing").as_path()).unwrap(), "file:///landing");
    Place { _folder: folder, lake, landing }
}

fn contract() -> Contract {
    let column = |name: &str, text: &str| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap();
    Contract {
        table: "shop.orders".parse().unwrap(),
        columns: vec![
            column("id", "text not null"),
            column("note", "text"),
            column("changed_at", "timestamp"),
            column("tags", "list<text>"),
        ],
        key: vec![ColumnName::new("id").unwrap()],
        cursor: Some(ColumnName::new("changed_at").unwrap()),
        description: String::new(),
    }
}

/// A text that does not compress to nothing.
fn noise(seed: i64, bytes: usize) -> String {
    let mut state = seed.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}

fn batch(contract: &Contract, ids: impl Iterator<Item = i64>, changed_at: i64) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for id in &ids {
        tags.append_value([Some(format!("tag-{}", id % 7)), None]);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.iter().map(|id| Some(format!("{id:024x}"))).collect::<StringArray>()),
        Arc::new(ids.iter().map(|id| Some(noise(id + changed_at, TEXT_BYTES))).collect::<StringArray>()),
        Arc::new(ids.iter().map(|_| Some(changed_at)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(tags.finish()),
    ];
    RecordBatch::try_new(contract.schema(), columns).unwrap()
}

fn every_tenth_deleted(contract: &Contract, rows: &RecordBatch, from: i64) -> RecordBatch {
    let deleted: BooleanArray = (from..).take(rows.num_rows()).map(|id| Some(id % 10 == 0)).collect();
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(deleted));
    RecordBatch::try_new(contract.changes_schema(), columns).unwrap()
}

impl Place {
    /// Loads the rows of a range of ids, the first `duplicates` of them twice.
    async fn load(&self, ids: std::ops::Range<i64>, duplicates: i64, changed_at: i64, mode: Mode, revision: i64) -> Receipt {
        let contract = contract();
        let is_changes = mode == Mode::Changes;
        let schema = if is_changes { contract.changes_schema() } else { contract.schema() };
        let writer = SnapshotWriter::new(&self.landing, &format!("p/run/step/{revision}"), schema, WriterSettings::default());
        let mut part = writer.part_writer(0);
        let mut from = ids.start;
        while from < ids.end {
            let to = (from + BATCH_ROWS).min(ids.end);
            let rows = batch(&contract, from..to, changed_at);
            part.write(&if is_changes { every_tenth_deleted(&contract, &rows, from) } else { rows }).await.unwrap();
            from = to;
        }
        if duplicates > 0 {
            part.write(&batch(&contract, ids.start..ids.start + duplicates, changed_at)).await.unwrap();
        }
        part.finish().await.unwrap();
        let snapshot = writer.finish(Manifest::new("run", "step", contract.clone(), is_changes), &[], None).await.unwrap();
        let id = LoadId { pipeline: "p".into(), table: contract.table.clone(), revision, digest: snapshot.manifest().digest() };
        let load = Load { id, run: "run".into(), mode, base: (revision > 1).then_some(revision - 1), contract, layout: Layout::default() };
        self.lake.prepare(&load.contract, &load.layout).await.unwrap();
        let staged = self.lake.stage(&load, &snapshot).await.unwrap();
        let receipt = self.lake.publish(&staged).await.unwrap();
        self.lake.discard(&staged).await.unwrap();
        receipt
    }

    /// Rows, distinct keys, and rows as new as `changed_at`.
    async fn counts(&self, changed_at: i64) -> (i64, i64, i64) {
        let session = self.lake.session();
        session.register_table("t", self.lake.provider(&contract().table).await.unwrap().unwrap()).unwrap();
        let sql = format!("SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE CAST(changed_at AS BIGINT) = {changed_at}) FROM t");
        let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
        let number = |column: usize| batches[0].column(column).as_primitive::<Int64Type>().value(0);
        (number(0), number(1), number(2))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_many_times_larger_than_memory_passes() {
    let rows = 60_000;
    let place = place(64 << 20);
    let first = place.load(0..rows, 10, 1, Mode::Merge, 1).await;
    assert_eq!((first.rows_written, first.rows_unchanged), (60_000, 10));
    assert_eq!(place.counts(1).await, (rows, rows, rows));
    let second = place.load(0..rows, 10, 2, Mode::Merge, 2).await;
    assert_eq!(second.rows_written, 60_000);
    assert_eq!(place.counts(2).await, (rows, rows, rows));
    let third = place.load(0..rows, 0, 3, Mode::Changes, 3).await;
    assert_eq!((third.rows_written, third.rows_deleted), (54_000, 6_000));
    assert_eq!(place.counts(3).await, (54_000, 54_000, 54_000));
}

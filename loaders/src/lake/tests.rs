use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringBuilder, StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::util::pretty::pretty_format_batches;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::ErrorKind;
use pipeline_core::landing::{Landing, Manifest, SnapshotWriter, WriterSettings};
use pipeline_core::load::{LoadId, Mode};
use pipeline_core::name::ColumnName;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    lake: Lake,
    landing: Landing,
    snapshots: std::cell::Cell<u32>,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    std::fs::create_dir_all(root.join("lake")).unwrap();
    let lake = Lake::open(LakeOptions {
        url: Url::from_directory_path(root.join("lake")).unwrap(),
        store: Arc::clone(&store),
        work: root.join("work"),
        memory_limit_bytes: 256 << 20,
        threads: 2,
    })
    .unwrap();
    let landing = Landing::new(store, StorePath::from_absolute_path(root.join("landing").as_path()).unwrap(), "file:///landing");
    Place { folder, lake, landing, snapshots: std::cell::Cell::new(0) }
}

fn contract() -> Contract {
    let column = |name: &str, text: &str| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap();
    Contract {
        table: "shop.orders".parse().unwrap(),
        columns: vec![
            column("id", "bigint not null"),
            column("total", "decimal(18,2)"),
            column("changed_at", "timestamp"),
            column("items", "list<struct<sku text>>"),
        ],
        key: vec![ColumnName::new("id").unwrap()],
        cursor: Some(ColumnName::new("changed_at").unwrap()),
        description: String::new(),
    }
}

/// Rows as (id, total in cents, changed at in µs); `None` for a deleted one.
type Row = (i64, Option<i64>, i64);

fn batch(contract: &Contract, rows: &[Row], is_changes: bool) -> RecordBatch {
    let mut items = ListBuilder::new(StructBuilder::from_fields(vec![Field::new("sku", DataType::Utf8, true)], rows.len()))
        .with_field(Field::new("element", DataType::Struct(vec![Field::new("sku", DataType::Utf8, true)].into()), true));
    for row in rows {
        items.values().field_builder::<StringBuilder>(0).unwrap().append_value(format!("sku-{}", row.0));
        items.values().append(true);
        items.append(row.1.is_some());
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.map(i128::from)).collect::<Decimal128Array>().with_precision_and_scale(18, 2).unwrap()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(items.finish()),
    ];
    if is_changes {
        columns.push(Arc::new(rows.iter().map(|row| Some(row.1.is_none())).collect::<BooleanArray>()));
        return RecordBatch::try_new(contract.changes_schema(), columns).unwrap();
    }
    RecordBatch::try_new(contract.schema(), columns).unwrap()
}

impl Place {
    async fn snapshot(&self, rows: &[Row], is_changes: bool) -> Snapshot {
        let contract = contract();
        let number = self.snapshots.replace(self.snapshots.get() + 1);
        let schema = if is_changes { contract.changes_schema() } else { contract.schema() };
        let writer = SnapshotWriter::new(&self.landing, &format!("p/run/step/{number}"), schema, WriterSettings::default());
        let mut part = writer.part_writer(0);
        part.write(&batch(&contract, rows, is_changes)).await.unwrap();
        part.finish().await.unwrap();
        writer.finish(Manifest::new("run", "step", contract, is_changes), &[], None).await.unwrap()
    }

    async fn staged(&self, rows: &[Row], mode: Mode, revision: i64, base: Option<i64>) -> Staged {
        self.staged_by("p", rows, mode, revision, base).await
    }

    async fn staged_by(&self, pipeline: &str, rows: &[Row], mode: Mode, revision: i64, base: Option<i64>) -> Staged {
        let snapshot = self.snapshot(rows, mode == Mode::Changes).await;
        let id = LoadId { pipeline: pipeline.into(), table: contract().table, revision, digest: snapshot.manifest().digest() };
        let load = Load { id, run: "run".into(), mode, base, contract: contract(), layout: Layout::default() };
        self.lake.prepare(&load.contract, &load.layout).await.unwrap();
        self.lake.stage(&load, &snapshot).await.unwrap()
    }

    async fn load(&self, rows: &[Row], mode: Mode, revision: i64, base: Option<i64>) -> Result<Receipt> {
        let staged = self.staged(rows, mode, revision, base).await;
        let receipt = self.lake.publish(&staged).await;
        self.lake.discard(&staged).await.unwrap();
        self.lake.discard(&staged).await.unwrap();
        receipt
    }

    async fn rows(&self) -> String {
        let session = self.lake.session();
        let provider = self.lake.provider(&contract().table).await.unwrap().unwrap();
        assert_eq!(
            provider.schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()[..3],
            contract().schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()[..3]
        );
        session.register_table("t", provider).unwrap();
        let batches = session.sql("SELECT id, total, items[1]['sku'] AS sku FROM t ORDER BY id").await.unwrap().collect().await.unwrap();
        let lines: Vec<String> = pretty_format_batches(&batches)
            .unwrap()
            .to_string()
            .lines()
            .skip(3)
            .filter(|line| !line.starts_with('+'))
            .map(|line| line.replace(' ', ""))
            .collect();
        lines.join(" ")
    }
}

#[tokio::test]
async fn a_merge_takes_the_newest_of_each_key_and_leaves_the_same_alone() {
    let place = place();
    let first = place
        .load(&[(1, Some(100), 10), (2, Some(200), 10), (2, Some(250), 20), (2, Some(260), 20), (3, Some(300), 10)], Mode::Merge, 1, None)
        .await
        .unwrap();
    assert_eq!((first.rows_written, first.was_there), (3, false));
    assert_eq!(place.rows().await, "|1|1.00|sku-1| |2|2.60|sku-2| |3|3.00|sku-3|");
    let version = place.lake.version(&contract().table).await.unwrap();
    let same = place.load(&[(1, Some(100), 10), (3, Some(300), 10)], Mode::Merge, 2, Some(1)).await.unwrap();
    assert_eq!((same.rows_written, same.rows_unchanged), (0, 2));
    assert_eq!(place.lake.version(&contract().table).await.unwrap(), version);
    // An older row does not come back over a newer one.
    let mixed = place.load(&[(2, Some(1), 5), (3, Some(333), 11), (4, Some(400), 1)], Mode::Merge, 2, Some(1)).await.unwrap();
    assert_eq!(mixed.rows_written, 2);
    assert_eq!(place.rows().await, "|1|1.00|sku-1| |2|2.60|sku-2| |3|3.33|sku-3| |4|4.00|sku-4|");
    assert!(
        std::fs::read_dir(place.folder.path().join("work")).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("stage-"))
    );
}

#[tokio::test]
async fn changes_update_insert_and_delete_on_their_base_only() {
    let place = place();
    place.load(&[(1, Some(100), 1), (2, Some(200), 1)], Mode::Changes, 1, None).await.unwrap();
    let receipt = place.load(&[(1, None, 0), (2, Some(222), 2), (3, Some(300), 1)], Mode::Changes, 2, Some(1)).await.unwrap();
    assert_eq!((receipt.rows_written, receipt.rows_deleted), (2, 1));
    assert_eq!(place.rows().await, "|2|2.22|sku-2| |3|3.00|sku-3|");
    let wrong = place.load(&[(9, Some(900), 1)], Mode::Changes, 3, Some(1)).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Conflict);
    // Even an empty set moves the marker.
    place.load(&[], Mode::Changes, 3, Some(2)).await.unwrap();
    assert_eq!(place.lake.marker("p", &contract().table).await.unwrap().unwrap().revision, 3);
    assert_eq!(place.rows().await, "|2|2.22|sku-2| |3|3.00|sku-3|");
}

#[tokio::test]
async fn publishing_twice_has_the_effect_of_once_and_older_loads_are_fenced_off() {
    let place = place();
    let staged = place.staged(&[(1, Some(100), 1)], Mode::Append, 1, None).await;
    assert!(place.rows().await.is_empty(), "what is staged is not visible");
    assert!(!place.lake.publish(&staged).await.unwrap().was_there);
    assert!(place.lake.publish(&staged).await.unwrap().was_there);
    assert_eq!(place.rows().await, "|1|1.00|sku-1|");
    place.load(&[(5, Some(500), 1)], Mode::Replace, 2, Some(1)).await.unwrap();
    assert_eq!(place.rows().await, "|5|5.00|sku-5|");
    assert_eq!(place.lake.publish(&staged).await.unwrap_err().kind(), ErrorKind::Conflict);
    let other = place.load(&[(6, Some(600), 1)], Mode::Append, 2, Some(1)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "another load may not pass under the same revision");
    let revision = async || place.lake.marker("p", &contract().table).await.unwrap().unwrap().revision;
    place.load(&[], Mode::Replace, 3, Some(2)).await.unwrap();
    assert!(place.rows().await.is_empty());
    assert_eq!(revision().await, 3);
    place.load(&[], Mode::Replace, 4, Some(3)).await.unwrap();
    assert_eq!(revision().await, 3, "nothing in the place of nothing is no commit");
    place.load(&[(7, Some(700), 1)], Mode::Replace, 4, Some(3)).await.unwrap();
    assert_eq!(place.rows().await, "|7|7.00|sku-7|");
}

#[tokio::test]
async fn a_narrower_contract_is_refused_and_a_wider_one_adds_its_columns() {
    let place = place();
    place.load(&[(1, Some(100), 1)], Mode::Append, 1, None).await.unwrap();
    let mut narrow = contract();
    narrow.columns.remove(1);
    let error = place.lake.compare(&narrow, &Layout::default()).await.unwrap_err();
    assert!(error.causes()[0].contains("column \"total\" is in the lake"), "{error:?}");
    let mut wide = contract();
    wide.columns.push(parse_column(&ColumnName::new("note").unwrap(), "text", &|name| name.to_owned()).unwrap());
    let changes = place.lake.prepare(&wide, &Layout::default()).await.unwrap();
    assert_eq!(changes[0].what, "column shop.orders.note Utf8");
    assert!(place.lake.compare(&wide, &Layout::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_pipelines_may_load_one_table_at_once() {
    let place = place();
    // Both saw an empty table when they staged, and what they staged has a row in common.
    let left = place.staged_by("left", &[(1, Some(100), 1), (2, Some(200), 9)], Mode::Merge, 1, None).await;
    let right = place.staged_by("right", &[(2, Some(222), 5), (3, Some(300), 5)], Mode::Merge, 1, None).await;
    let (first, second) = tokio::join!(place.lake.publish(&left), place.lake.publish(&right));
    assert!(!first.unwrap().was_there && !second.unwrap().was_there);
    assert_eq!(place.rows().await, "|1|1.00|sku-1| |2|2.00|sku-2| |3|3.00|sku-3|", "the newer row stays, whoever came first");
    assert!(place.lake.publish(&left).await.unwrap().was_there);
    assert!(place.lake.publish(&right).await.unwrap().was_there);
}

#[tokio::test]
async fn many_small_loads_leave_few_files_and_the_marker() {
    let place = place();
    let loads = i64::try_from(maintain::SMALL_FILES_MAX).unwrap() + 3;
    for revision in 1..=loads {
        place.load(&[(revision, Some(revision * 100), 1)], Mode::Append, revision, Some(revision - 1)).await.unwrap();
    }
    let table = place.lake.table(&contract().table).await.unwrap().unwrap();
    assert!(maintain::small_files(&table).unwrap() < 5);
    assert_eq!(place.lake.marker("p", &contract().table).await.unwrap().unwrap().revision, loads);
    assert_eq!(place.rows().await.split("| |").count(), usize::try_from(loads).unwrap());
    // The log was summed up on the way, and the marker is in the sum.
    let log = place.folder.path().join("lake/shop/orders/_delta_log");
    let names: Vec<String> =
        std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().filter(|name| name.contains(".checkpoint")).count() >= 3, "{names:?}");
}

/// What two states differ in, as `-id total` and `+id total`; a row on both sides stands for nothing.
async fn differing(place: &Place, since: &str, now: &str) -> Option<Vec<String>> {
    let (before, after) = place.lake.difference(&contract().table, since, now).await.unwrap()?;
    let mut signs: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for (side, sign) in [(before, -1), (after, 1)] {
        let Some(side) = side else { continue };
        let session = place.lake.session();
        session.register_table("side", side).unwrap();
        let rows = session.sql("SELECT id, CAST(total AS VARCHAR) AS total FROM side").await.unwrap().collect().await.unwrap();
        for batch in rows {
            let totals = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Utf8).unwrap();
            let (ids, totals) = (batch.column(0).as_primitive::<arrow::datatypes::Int64Type>(), totals.as_string::<i32>());
            for row in 0..batch.num_rows() {
                *signs.entry(format!("{} {}", ids.value(row), totals.value(row))).or_default() += sign;
            }
        }
    }
    let told = signs.iter().filter(|(_, sign)| **sign != 0).map(|(row, sign)| format!("{}{row}", if *sign < 0 { '-' } else { '+' }));
    let mut told: Vec<String> = told.collect();
    told.sort_unstable();
    Some(told)
}

#[tokio::test]
async fn two_states_of_a_table_are_told_apart_by_what_changed() {
    let place = place();
    let state = async || place.lake.state(&contract().table).await.unwrap();
    assert_eq!(state().await, None);
    let rows: Vec<Row> = (1..=9).map(|id| (id, Some(id * 100), 1)).collect();
    place.load(&rows, Mode::Changes, 1, None).await.unwrap();
    let first = state().await.unwrap();
    assert_eq!(state().await.unwrap(), first, "a state is the same as long as nothing is loaded");
    place.load(&[(2, Some(250), 2), (3, None, 2), (10, Some(1000), 2)], Mode::Changes, 2, Some(1)).await.unwrap();
    let second = state().await.unwrap();
    assert_eq!(differing(&place, &first, &second).await.unwrap(), ["+10 10.00", "+2 2.50", "-2 2.00", "-3 3.00"]);
    // A row that is as it was before stands for nothing, over any number of loads.
    place.load(&[(2, Some(200), 3), (10, None, 3), (1, Some(100), 3)], Mode::Changes, 3, Some(2)).await.unwrap();
    let third = state().await.unwrap();
    assert_eq!(differing(&place, &first, &third).await.unwrap(), ["-3 3.00"]);
    // A whole table in the place of the former one, too.
    place.load(&[(1, Some(100), 4), (2, Some(1), 4)], Mode::Replace, 4, Some(3)).await.unwrap();
    let fourth = state().await.unwrap();
    let told = differing(&place, &third, &fourth).await.unwrap();
    assert_eq!(told, ["+2 0.01", "-2 2.00", "-4 4.00", "-5 5.00", "-6 6.00", "-7 7.00", "-8 8.00", "-9 9.00"]);
    assert_eq!(differing(&place, &fourth, &fourth).await.unwrap(), Vec::<String>::new());
    // What no version is, or was another one before somebody made the table anew, is not known.
    let other = format!("{}:{}", second.split(':').next().unwrap(), first.split(':').nth(1).unwrap());
    for unknown in ["99:0", "", "x:y", &other] {
        assert_eq!(differing(&place, unknown, &fourth).await, None, "{unknown}");
    }
}

#[tokio::test]
async fn a_table_without_a_feed_is_told_apart_by_its_files() {
    let place = place();
    place.load(&[(1, Some(100), 1), (2, Some(200), 1)], Mode::Append, 1, None).await.unwrap();
    let table = place.lake.table(&contract().table).await.unwrap().unwrap();
    let off = HashMap::from([("delta.enableChangeDataFeed".to_owned(), "false".to_owned())]);
    table.set_tbl_properties().with_properties(off).await.unwrap();
    let first = place.lake.state(&contract().table).await.unwrap().unwrap();
    place.load(&[(2, Some(250), 2), (3, Some(300), 2)], Mode::Changes, 2, Some(1)).await.unwrap();
    let second = place.lake.state(&contract().table).await.unwrap().unwrap();
    assert!(!place.folder.path().join("lake/shop/orders/_change_data").exists());
    assert_eq!(differing(&place, &first, &second).await.unwrap(), ["+2 2.50", "+3 3.00", "-2 2.00"]);
}

#[tokio::test]
async fn rows_without_a_key_are_refused_and_nothing_changes() {
    let place = place();
    let mut contract = contract();
    contract.columns[0].nullable = true;
    let mut rows = batch(&contract, &[(1, Some(100), 1), (2, Some(200), 1)], false);
    let mut columns = rows.columns().to_vec();
    columns[0] = Arc::new(Int64Array::from(vec![Some(1), None]));
    rows = RecordBatch::try_new(contract.schema(), columns).unwrap();
    let writer = SnapshotWriter::new(&place.landing, "p/run/step/null", contract.schema(), WriterSettings::default());
    let mut part = writer.part_writer(0);
    part.write(&rows).await.unwrap();
    part.finish().await.unwrap();
    let snapshot = writer.finish(Manifest::new("run", "step", contract.clone(), false), &[], None).await.unwrap();
    let id = LoadId { pipeline: "p".into(), table: contract.table.clone(), revision: 1, digest: snapshot.manifest().digest() };
    let load = Load { id, run: "run".into(), mode: Mode::Merge, base: None, contract, layout: Layout::default() };
    place.lake.prepare(&load.contract, &load.layout).await.unwrap();
    let error = place.lake.stage(&load, &snapshot).await.unwrap_err();
    assert_eq!(error.code(), &LAKE_KEY);
    assert!(place.rows().await.is_empty());
}

#[tokio::test]
async fn a_column_becomes_wider_by_itself_and_never_narrower() {
    let place = place();
    place.load(&[(1, Some(100), 10), (2, Some(250), 20)], Mode::Merge, 1, None).await.unwrap();
    let marker = place.lake.marker("p", &contract().table).await.unwrap();
    let mut wider = contract();
    let column = |name: &str, text: &str| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap();
    wider.columns[1] = column("total", "decimal(22,4)");
    wider.columns.push(column("new", "text"));
    let changes = place.lake.compare(&wider, &Layout::default()).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.sign).collect::<Vec<_>>(), ['~', '+']);
    place.lake.prepare(&wider, &Layout::default()).await.unwrap();
    assert!(place.lake.compare(&wider, &Layout::default()).await.unwrap().is_empty());
    assert_eq!(place.lake.marker("p", &contract().table).await.unwrap(), marker, "the last load is still the last");
    let session = place.lake.session();
    let frame = session.read_table(place.lake.provider(&wider.table).await.unwrap().unwrap()).unwrap();
    session.register_table("t", frame.into_view()).unwrap();
    let shown = session.sql("SELECT id, total, new FROM t ORDER BY id").await.unwrap().collect().await.unwrap();
    let shown = pretty_format_batches(&shown).unwrap().to_string();
    assert!(shown.contains("| 1  | 1.0000 |     |") && shown.contains("| 2  | 2.5000 |     |"), "{shown}");
    let error = place.lake.prepare(&contract(), &Layout::default()).await.unwrap_err();
    assert_eq!(error.code().name, "E-SCHEMA");
    let mut renamed = wider.clone();
    renamed.columns[4] = column("newer", "text");
    let error = place.lake.prepare(&renamed, &Layout::default()).await.unwrap_err();
    assert!(format!("{error:?}").contains("`new = \"… from newer\"`"), "{error:?}");
}

#[tokio::test]
async fn a_table_is_read_as_a_run_left_it() {
    let place = place();
    let name = contract().table;
    for (run, rows, revision, base) in [("run-1", [(1, Some(100), 1)], 1, None), ("run-3", [(2, Some(200), 1)], 2, Some(1))] {
        let mut staged = place.staged(&rows, Mode::Changes, revision, base).await;
        staged.load.run = run.to_owned();
        place.lake.publish(&staged).await.unwrap();
        place.lake.discard(&staged).await.unwrap();
    }
    let rows = async |run: &str| {
        let provider = place.lake.provider_as_of_run(&name, run).await.unwrap()?;
        Some(place.lake.session().read_table(provider).unwrap().count().await.unwrap())
    };
    assert_eq!(rows("run-0").await, None, "the table was made later");
    assert_eq!(rows("run-1").await, Some(1));
    assert_eq!(rows("run-2").await, Some(1), "a run that changed nothing left what the one before it left");
    assert_eq!(rows("run-3").await, Some(2));
    assert_eq!(rows("run-9").await, Some(2));
    let unknown = TableName::new("shop", "unknown").unwrap();
    assert!(place.lake.provider_as_of_run(&unknown, "run-9").await.unwrap().is_none());
}

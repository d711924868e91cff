//! What every destination owes the engine, by the contract of `Loader`: one suite for the lake on disk, the lake in a bucket
//! and the warehouse.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::ErrorKind;
use pipeline_core::landing::{Landing, Manifest, Snapshot, SnapshotWriter, WriterSettings};
use pipeline_core::load::{FENCED, Layout, Load, LoadId, Loader, Mode, Receipt, SCHEMA_CHANGE, Staged};
use pipeline_core::name::ColumnName;
use pipeline_loaders::lake::{Lake, LakeOptions};
use pipeline_loaders::redshift::{Redshift, RedshiftOptions, Target};
use pipeline_loaders::s3::{AwsOptions, StaticCredentials};
use pipeline_loaders::storage::Storage;
use pipeline_tests::{Project, RedshiftDouble, S3};

const BUCKET: &str = "conformance";
const PIPELINE: &str = "p";

/// Rows as (id, total in cents, note, changed at in µs). In a set of changes, a row without a total is a deleted one.
type Row<'a> = (i64, Option<i64>, &'a str, i64);

/// A destination under test, and how its table is read by others.
struct Place {
    loader: Arc<dyn Loader>,
    landing: Landing,
    /// The table's rows as "id total note", by id.
    rows: Box<dyn Fn() -> Vec<String>>,
    snapshots: std::cell::Cell<u32>,
}

fn column(name: &str, text: &str) -> pipeline_core::contract::Column {
    parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap()
}

fn contract() -> Contract {
    Contract {
        table: "shop.orders".parse().unwrap(),
        columns: vec![
            column("id", "bigint not null"),
            column("total", "decimal(18,2)"),
            column("note", "text(32)"),
            column("changed_at", "timestamp"),
        ],
        key: vec![ColumnName::new("id").unwrap()],
        cursor: Some(ColumnName::new("changed_at").unwrap()),
        description: String::new(),
    }
}

fn batch(contract: &Contract, rows: &[Row], is_changes: bool) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.map(i128::from)).collect::<Decimal128Array>().with_precision_and_scale(18, 2).unwrap()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
    ];
    for added in contract.columns.iter().skip(4) {
        columns.push(arrow::array::new_null_array(&added.data_type.arrow(), rows.len()));
    }
    if is_changes {
        columns.push(Arc::new(rows.iter().map(|row| Some(row.1.is_none())).collect::<BooleanArray>()));
        return RecordBatch::try_new(contract.changes_schema(), columns).unwrap();
    }
    RecordBatch::try_new(contract.schema(), columns).unwrap()
}

impl Place {
    async fn snapshot(&self, contract: &Contract, rows: &[Row<'_>], is_changes: bool) -> Snapshot {
        let number = self.snapshots.replace(self.snapshots.get() + 1);
        let schema = if is_changes { contract.changes_schema() } else { contract.schema() };
        let writer = SnapshotWriter::new(&self.landing, &format!("p/run/step/{number}"), schema, WriterSettings::default());
        // Two parts: a snapshot is rarely one file.
        let (left, right) = rows.split_at(rows.len() / 2);
        for (slice, rows) in [(0, left), (1, right)] {
            let mut part = writer.part_writer(slice);
            part.write(&batch(contract, rows, is_changes)).await.unwrap();
            part.finish().await.unwrap();
        }
        writer.finish(Manifest::new("run", "step", contract.clone(), is_changes), &[], None).await.unwrap()
    }

    async fn staged(&self, contract: &Contract, rows: &[Row<'_>], mode: Mode, revision: i64, base: Option<i64>) -> Staged {
        let snapshot = self.snapshot(contract, rows, mode == Mode::Changes).await;
        let id = LoadId { pipeline: PIPELINE.into(), table: contract.table.clone(), revision, digest: snapshot.manifest().digest() };
        let load = Load { id, run: "run".into(), mode, base, contract: contract.clone(), layout: Layout::default() };
        self.loader.prepare(&load.contract, &load.layout).await.unwrap();
        self.loader.stage(&load, &snapshot).await.unwrap()
    }

    async fn load(&self, rows: &[Row<'_>], mode: Mode, revision: i64, base: Option<i64>) -> pipeline_core::error::Result<Receipt> {
        let staged = self.staged(&contract(), rows, mode, revision, base).await;
        let receipt = self.loader.publish(&staged).await;
        self.loader.discard(&staged).await.unwrap();
        self.loader.discard(&staged).await.unwrap();
        receipt
    }

    async fn revision(&self) -> Option<i64> {
        self.loader.marker(PIPELINE, &contract().table).await.unwrap().map(|marker| marker.revision)
    }

    fn assert_rows(&self, expected: &[&str]) {
        assert_eq!((self.rows)(), expected);
    }

    async fn conforms(&self) {
        let table = contract().table;
        let layout = Layout::default();

        // A table that is not there: to be made, and without a marker.
        assert_eq!(self.revision().await, None);
        let planned = self.loader.compare(&contract(), &layout).await.unwrap();
        assert!(planned.iter().any(|change| change.sign == '+' && change.what.contains("orders")), "{planned:?}");
        assert!(!self.loader.prepare(&contract(), &layout).await.unwrap().is_empty());
        assert_eq!(self.loader.prepare(&contract(), &layout).await.unwrap(), [], "preparing may be repeated");
        assert_eq!(self.loader.compare(&contract(), &layout).await.unwrap(), []);

        // What is staged is not visible; publishing may be repeated, with the effect of once.
        let first = self.staged(&contract(), &[(1, Some(100), "a", 1), (2, Some(-250), "zwölf", 1)], Mode::Replace, 1, None).await;
        self.assert_rows(&[]);
        assert_eq!(self.revision().await, None);
        let receipt = self.loader.publish(&first).await.unwrap();
        assert_eq!((receipt.rows_written, receipt.was_there), (2, false));
        for _ in 0..2 {
            assert!(self.loader.publish(&first).await.unwrap().was_there);
        }
        self.assert_rows(&["1 1.00 a", "2 -2.50 zwölf"]);
        assert_eq!(self.revision().await, Some(1));
        assert_eq!(self.loader.marker("another", &table).await.unwrap(), None, "a marker is a pipeline's");
        self.loader.discard(&first).await.unwrap();

        // Merging: the newest of each key, in the snapshot and in the table; what is stored and newer stays.
        let rows =
            [(2, Some(1), "old", 0), (3, Some(300), "c", 5), (3, Some(301), "newer", 6), (3, Some(302), "later", 6), (4, None, "", 1)];
        self.load(&rows, Mode::Merge, 2, Some(1)).await.unwrap();
        self.assert_rows(&["1 1.00 a", "2 -2.50 zwölf", "3 3.02 later", "4 null "]);

        // Changes: on their base only, also an empty set of them.
        let rows = [(1, None, "", 9), (3, Some(999), "d", 1), (5, Some(500), "e", 1)];
        let refused = self.load(&rows, Mode::Changes, 3, Some(1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(self.revision().await, Some(2), "a refused load leaves no trace");
        self.load(&rows, Mode::Changes, 3, Some(2)).await.unwrap();
        self.assert_rows(&["2 -2.50 zwölf", "3 9.99 d", "4 null ", "5 5.00 e"]);
        self.load(&[], Mode::Changes, 4, Some(3)).await.unwrap();
        assert_eq!(self.revision().await, Some(4));

        // Older loads, and other loads under the same revision, are refused.
        for (rows, revision) in [([(9, Some(1), "x", 1)], 3), ([(9, Some(1), "y", 1)], 4)] {
            let error = self.load(&rows, Mode::Replace, revision, Some(revision - 1)).await.unwrap_err();
            assert_eq!(error.code(), &FENCED, "revision {revision}: {error:?}");
        }
        self.assert_rows(&["2 -2.50 zwölf", "3 9.99 d", "4 null ", "5 5.00 e"]);

        // Appending, replacing, emptying.
        self.load(&[(6, Some(600), "f", 1)], Mode::Append, 5, Some(4)).await.unwrap();
        self.assert_rows(&["2 -2.50 zwölf", "3 9.99 d", "4 null ", "5 5.00 e", "6 6.00 f"]);
        self.load(&[(7, Some(700), "g", 1)], Mode::Replace, 6, Some(5)).await.unwrap();
        self.assert_rows(&["7 7.00 g"]);
        self.load(&[], Mode::Replace, 7, Some(6)).await.unwrap();
        self.assert_rows(&[]);

        // A staged load that is let go leaves nothing behind, and the next one passes.
        let dropped = self.staged(&contract(), &[(8, Some(800), "h", 1)], Mode::Merge, 8, Some(7)).await;
        self.loader.discard(&dropped).await.unwrap();
        self.assert_rows(&[]);
        self.load(&[(8, Some(801), "h", 1)], Mode::Merge, 8, Some(7)).await.unwrap();
        self.assert_rows(&["8 8.01 h"]);

        // A wider contract adds its columns; a narrower type is refused, and changes nothing.
        let mut wider = contract();
        wider.columns.push(column("courier", "bigint"));
        let changes = self.loader.compare(&wider, &layout).await.unwrap();
        assert!(changes.len() == 1 && changes[0].what.contains("courier"), "{changes:?}");
        let staged = self.staged(&wider, &[(9, Some(900), "i", 1)], Mode::Merge, 9, Some(8)).await;
        self.loader.publish(&staged).await.unwrap();
        self.loader.discard(&staged).await.unwrap();
        self.assert_rows(&["8 8.01 h", "9 9.00 i"]);
        let mut narrower = wider.clone();
        narrower.columns[1] = column("total", "int");
        assert_eq!(self.loader.compare(&narrower, &layout).await.unwrap_err().code(), &SCHEMA_CHANGE);
        assert_eq!(self.loader.prepare(&narrower, &layout).await.unwrap_err().code(), &SCHEMA_CHANGE);
        self.assert_rows(&["8 8.01 h", "9 9.00 i"]);
        assert_eq!(self.revision().await, Some(9));

        let id = LoadId { pipeline: PIPELINE.into(), table, revision: 10, digest: "0".repeat(64) };
        let load = Load { id, run: "run".into(), mode: Mode::Merge, base: Some(9), contract: wider, layout };
        assert!(!self.loader.describe(&load).is_empty(), "a plan can say what would be done");
    }
}

fn aws(s3: &S3) -> AwsOptions {
    let owner = s3.owner();
    AwsOptions {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(s3.endpoint()),
        credentials: Some(StaticCredentials {
            access_key_id: owner.access_key_id.clone(),
            secret_access_key: owner.secret_access_key.clone(),
            session_token: None,
        }),
        profile: None,
    }
}

/// The lake at a place, read by the program.
async fn lake(at: &str, work: &Path, aws: &AwsOptions, project: Project) -> Place {
    let storage = Storage::open(&format!("{at}/lake"), aws, None).await.unwrap();
    let landing = Storage::open(&format!("{at}/landing"), aws, None).await.unwrap().landing();
    let options =
        LakeOptions { url: storage.url, store: storage.store, work: work.to_path_buf(), memory_limit_bytes: 128 << 20, threads: 2 };
    let rows = move || {
        let sql = "SELECT CAST(id AS TEXT) || ' ' || coalesce(CAST(total AS TEXT), 'null') || ' ' || note AS row FROM shop.orders";
        let rows = project.query(sql);
        let mut rows: Vec<String> = rows.iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect();
        rows.sort_unstable();
        rows
    };
    Place { loader: Arc::new(Lake::open(options).unwrap()), landing, rows: Box::new(rows), snapshots: std::cell::Cell::new(0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_on_disk_conforms() {
    let mut project = Project::new();
    let at = project.folder().join("there").display().to_string();
    project.set("project.lake", format!("{at}/lake"));
    let work = project.folder().join("work");
    lake(&at, &work, &AwsOptions::default(), project).await.conforms().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_in_a_bucket_conforms() {
    let s3 = S3::start();
    s3.create_bucket(BUCKET);
    let at = format!("s3://{BUCKET}/there");
    let mut project = Project::new();
    project.set("project.lake", format!("{at}/lake")).set("aws.endpoint", s3.endpoint());
    for (name, value) in s3.owner().environment() {
        project.environment(name, value);
    }
    let work = project.folder().join("work");
    lake(&at, &work, &aws(&s3), project).await.conforms().await;
    assert_eq!(s3.unfinished_uploads(BUCKET), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warehouse_conforms() {
    let s3 = S3::start();
    s3.create_bucket(BUCKET);
    let double = RedshiftDouble::start(&s3);
    let mut options = RedshiftOptions::new("warehouse", Target::Serverless { workgroup: "analytics".to_owned() }, "dev");
    options.aws = aws(&s3);
    options.endpoint_url = Some(double.endpoint().to_owned());
    let landing = Storage::open(&format!("s3://{BUCKET}/landing"), &options.aws, None).await.unwrap().landing();
    let loader = Arc::new(Redshift::connect(options).await);
    let rows = move || {
        let sql = "SELECT CAST(id AS VARCHAR) || ' ' || coalesce(CAST(total AS VARCHAR), 'null') || ' ' || note AS row \
                   FROM shop.orders ORDER BY id";
        let rows = double.query("dev", sql);
        rows.iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect()
    };
    Place { loader, landing, rows: Box::new(rows), snapshots: std::cell::Cell::new(0) }.conforms().await;
}

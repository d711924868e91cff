//! What the tests of loading share: a double, a landing in S3, a loader between them, and rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::landing::{Landing, Manifest, Snapshot, SnapshotWriter, WriterSettings};
use pipeline_core::load::{Distribution, Layout, Load, LoadId, Loader, Mode, Receipt};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_loaders::redshift::{Limits, Redshift, RedshiftOptions, Target};

use crate::servers::{BUCKET, Double, S3};

/// id, store, name, cents, updated_at in seconds, deleted.
pub(crate) type Row = (i32, i32, Option<&'static str>, i64, Option<i64>, bool);

pub(crate) struct World {
    pub(crate) double: Double,
    pub(crate) loader: Redshift,
    pub(crate) landing: Landing,
    pub(crate) contract: Contract,
}

pub(crate) fn name(text: &str) -> ColumnName {
    ColumnName::new(text).unwrap()
}

pub(crate) fn contract(columns: &[(&str, &str)]) -> Contract {
    let columns = columns.iter().map(|(column, text)| {
        let mut column = parse_column(&name(column), text, &str::to_owned).unwrap();
        column.description = "What it's called.".to_owned();
        column
    });
    let contract = Contract {
        table: TableName::model("orders").unwrap(),
        columns: columns.collect(),
        key: vec![name("id")],
        cursor: Some(name("updated_at")),
        description: "One row per order.".to_owned(),
    };
    contract.check().unwrap();
    contract
}

pub(crate) const COLUMNS: [(&str, &str); 5] =
    [("id", "int not null"), ("store_id", "int not null"), ("name", "text(16)"), ("total", "decimal(18,2)"), ("updated_at", "timestamp")];

pub(crate) fn layout() -> Layout {
    Layout { distribution: Distribution::Key(name("id")), sort: vec![name("store_id")] }
}

pub(crate) fn options(double: &Double) -> RedshiftOptions {
    let mut options = RedshiftOptions::new("warehouse", Target::Serverless { workgroup: "analytics".to_owned() }, "dev");
    options.aws = S3::get().owner();
    options.endpoint_url = Some(double.endpoint.clone());
    options.limits =
        Limits { pause: Duration::from_millis(20), pause_max: Duration::from_millis(200), wait_seconds: 5, ..Limits::default() };
    options
}

impl World {
    pub(crate) async fn new(prefix: &str) -> Self {
        let double = tokio::task::spawn_blocking(Double::start).await.unwrap();
        let loader = Redshift::connect(options(&double)).await;
        let owner = S3::get().owner();
        let keys = owner.credentials.unwrap();
        let store = AmazonS3Builder::new()
            .with_endpoint(S3::get().endpoint.clone())
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region(owner.region.unwrap())
            .with_access_key_id(keys.access_key_id)
            .with_secret_access_key(keys.secret_access_key)
            .build()
            .unwrap();
        let landing = Landing::new(Arc::new(store), Path::from(prefix), format!("s3://{BUCKET}/{prefix}"));
        Self { double, loader, landing, contract: contract(&COLUMNS) }
    }

    pub(crate) async fn snapshot(&self, mode: Mode, rows: &[Row]) -> Snapshot {
        let schema = if mode == Mode::Changes { self.contract.changes_schema() } else { self.contract.schema() };
        let folder = format!("nightly/run/orders/{}", uuid::Uuid::now_v7().simple());
        let writer = SnapshotWriter::new(&self.landing, &folder, Arc::clone(&schema), WriterSettings::default());
        // Two parts, so that the manifest has more than one line.
        for (slice, rows) in (0..).zip(rows.chunks(rows.len().div_ceil(2).max(1))) {
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
                Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
                Arc::new(
                    Decimal128Array::from_iter_values(rows.iter().map(|row| i128::from(row.3))).with_precision_and_scale(18, 2).unwrap(),
                ),
                Arc::new(rows.iter().map(|row| row.4.map(|at| at * 1_000_000)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            ];
            if mode == Mode::Changes {
                columns.push(Arc::new(rows.iter().map(|row| Some(row.5)).collect::<BooleanArray>()));
            }
            let mut part = writer.part_writer(slice);
            part.write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()).await.unwrap();
            part.finish().await.unwrap();
        }
        let manifest = Manifest::new("run", "orders", self.contract.clone(), mode == Mode::Changes);
        writer.finish(manifest, &[], None).await.unwrap()
    }

    pub(crate) fn load(&self, mode: Mode, revision: i64, base: Option<i64>, snapshot: &Snapshot) -> Load {
        let digest = snapshot.manifest().digest();
        let id = LoadId { pipeline: "nightly".to_owned(), table: self.contract.table.clone(), revision, digest };
        Load { id, run: "run".to_owned(), mode, base, contract: self.contract.clone(), layout: layout() }
    }

    pub(crate) async fn try_run(
        &self,
        mode: Mode,
        revision: i64,
        base: Option<i64>,
        rows: &[Row],
    ) -> pipeline_core::error::Result<Receipt> {
        let snapshot = self.snapshot(mode, rows).await;
        let load = self.load(mode, revision, base, &snapshot);
        self.loader.prepare(&load.contract, &load.layout).await?;
        let staged = self.loader.stage(&load, &snapshot).await?;
        let receipt = self.loader.publish(&staged).await?;
        self.loader.discard(&staged).await?;
        self.loader.discard(&staged).await?;
        Ok(receipt)
    }

    pub(crate) async fn run(&self, mode: Mode, revision: i64, base: Option<i64>, rows: &[Row]) -> Receipt {
        self.try_run(mode, revision, base, rows).await.unwrap_or_else(|error| panic!("{error:?}\nhint: {}", error.remedy()))
    }

    /// Runs SQL beside the loader, as an analyst would.
    pub(crate) async fn sql(&self, text: &str) -> Vec<Vec<String>> {
        let owner = pipeline_loaders::s3::sdk_config(&S3::get().owner()).await;
        let config = aws_sdk_redshiftdata::config::Builder::from(&owner).endpoint_url(&self.double.endpoint).build();
        let client = aws_sdk_redshiftdata::Client::from_conf(config);
        let sent =
            client.execute_statement().workgroup_name("analytics").database("dev").sql(text).wait_time_seconds(20).send().await.unwrap();
        let id = sent.id().unwrap().to_owned();
        let ended = loop {
            let found = client.describe_statement().id(&id).wait_time_seconds(20).send().await.unwrap();
            match found.status().map(|status| status.as_str().to_owned()).as_deref() {
                Some("FINISHED") => break found,
                Some("FAILED" | "ABORTED") => panic!("{text}: {:?}", found.error()),
                _ => {}
            }
        };
        if ended.has_result_set() != Some(true) {
            return Vec::new();
        }
        let found = client.get_statement_result().id(&id).send().await.unwrap();
        let words = |field: &aws_sdk_redshiftdata::types::Field| match field {
            aws_sdk_redshiftdata::types::Field::StringValue(text) => text.clone(),
            aws_sdk_redshiftdata::types::Field::LongValue(number) => number.to_string(),
            aws_sdk_redshiftdata::types::Field::BooleanValue(value) => value.to_string(),
            aws_sdk_redshiftdata::types::Field::IsNull(_) => "NULL".to_owned(),
            other => format!("{other:?}"),
        };
        found.records().iter().map(|record| record.iter().map(words).collect()).collect()
    }

    /// The table's rows: id, then name and total.
    pub(crate) async fn table(&self) -> BTreeMap<i32, (String, String)> {
        let rows = self.sql("SELECT id, name, total FROM marts.orders ORDER BY id").await;
        let count = rows.len();
        let table: BTreeMap<_, _> = rows.into_iter().map(|row| (row[0].parse().unwrap(), (row[1].clone(), row[2].clone()))).collect();
        assert_eq!(table.len(), count, "a key stands twice");
        table
    }

    pub(crate) async fn marker(&self) -> Option<i64> {
        self.loader.marker("nightly", &self.contract.table).await.unwrap().map(|marker| marker.revision)
    }

    pub(crate) fn count(&self, operation: &str) -> u64 {
        let calls = self.double.calls();
        let count = calls.pointer(&format!("/operations/{operation}")).or_else(|| calls.get(operation)).and_then(serde_json::Value::as_u64);
        count.unwrap_or(0)
    }
}

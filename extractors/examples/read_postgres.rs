//! How fast a PostgreSQL table is read, decoded and written as Parquet.
//!
//! ```text
//! cargo run --release -p pipeline-extractors --example read_postgres -- URL payments.transactions [SLICES] [PARQUET_FOLDER]
//! ```
//! Every column that has a type is read with the type that fits it; without a folder nothing is written.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::Result;
use pipeline_core::extract::Request;
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::postgres::{PostgresOptions, PostgresSource, TableOptions};
use tokio::task::JoinSet;

/// The columns of `payments.transactions`, as the default pipelines read them.
const COLUMNS: &[(&str, &str)] = &[
    ("id", "bigint not null"),
    ("order_id", "text"),
    ("customer_id", "uuid"),
    ("kind", "text"),
    ("status", "text"),
    ("method", "text"),
    ("provider", "text"),
    ("amount", "decimal(12,2)"),
    ("fee", "decimal(12,4)"),
    ("currency", "text"),
    ("provider_payload", "json"),
    ("created_at", "timestamp"),
    ("updated_at", "timestamp"),
];

fn contract() -> Result<Contract> {
    let columns =
        COLUMNS.iter().map(|(name, text)| parse_column(&ColumnName::new(name)?, text, &|name| name.to_owned())).collect::<Result<_>>()?;
    let name = TableName::new("platform", "transactions")?;
    Ok(Contract { table: name, columns, key: vec![ColumnName::new("id")?], cursor: None, description: String::new() })
}

type Writer = ArrowWriter<File>;

fn writer(folder: &Path, index: u32, batch: &RecordBatch) -> Writer {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let file = File::create(folder.join(format!("part-{index}.parquet"))).expect("the folder can be written to");
    ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("every column has a Parquet type")
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(relation)) = (arguments.next(), arguments.next()) else {
        println!("give a URL and a table's name");
        return Ok(());
    };
    let slices_wanted = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let folder = arguments.next().map(PathBuf::from);
    let source = PostgresSource::connect(&PostgresOptions::new(url)).await?;
    let table: std::sync::Arc<dyn pipeline_core::extract::Extractor> =
        std::sync::Arc::from(source.table(contract()?, &TableOptions { relation: Some(relation), ..TableOptions::default() }, None));
    let began = Instant::now();
    let plan = table.plan(&Request { window: None, lookback_us: 0, slices_wanted }, None).await?;
    println!("planned {} slices in {:.3} s: {}", plan.slices.len(), began.elapsed().as_secs_f64(), plan.statement);
    let began = Instant::now();
    let mut working = JoinSet::new();
    for slice in plan.slices {
        let (table, folder) = (std::sync::Arc::clone(&table), folder.clone());
        working.spawn(async move {
            let mut stream = table.read(&slice, &Quarantine::new()).await?;
            let (mut rows, mut bytes, mut open) = (0_usize, 0_usize, None);
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                rows += batch.num_rows();
                bytes += batch.get_array_memory_size();
                if let Some(folder) = &folder {
                    let writer = open.get_or_insert_with(|| writer(folder, slice.index, &batch));
                    writer.write(&batch).expect("the disk has room");
                }
            }
            if let Some(writer) = open {
                writer.close().expect("the disk has room");
            }
            Ok::<_, pipeline_core::error::Error>((rows, bytes))
        });
    }
    let (mut rows, mut bytes) = (0, 0);
    while let Some(read) = working.join_next().await {
        let (more_rows, more_bytes) = read.expect("no worker panics")?;
        rows += more_rows;
        bytes += more_bytes;
    }
    table.finish().await?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{rows} rows, {} MiB in Arrow, {seconds:.2} s, {:.0} rows/s", bytes >> 20, rows as f64 / seconds);
    Ok(())
}

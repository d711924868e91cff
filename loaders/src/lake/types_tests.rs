//! Every type of a contract comes back from the lake as it went in.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::landing::{Landing, Manifest, SnapshotWriter, WriterSettings};
use pipeline_core::load::{LoadId, Mode};
use pipeline_core::name::ColumnName;

use super::*;

/// Type, and a value of it as SQL.
const COLUMNS: &[(&str, &str)] = &[
    ("boolean", "true"),
    ("smallint", "-32768"),
    ("int", "2147483647"),
    ("bigint", "-9223372036854775808"),
    ("real", "1.5"),
    ("double", "2.25"),
    ("decimal(38,9)", "CAST('12345678901234567890123456789.123456789' AS DECIMAL(38,9))"),
    ("decimal(18,2)", "CAST('-0.01' AS DECIMAL(18,2))"),
    ("text", "'zażółć'"),
    ("json", "'{\"a\":1}'"),
    ("uuid", "'6f1b1a0e-0000-4000-8000-000000000001'"),
    ("bytes", "arrow_cast('ab', 'Binary')"),
    ("date", "DATE '0001-01-01'"),
    ("timestamp", "arrow_cast('2024-02-29T23:59:59.999999', 'Timestamp(Microsecond, Some(\"UTC\"))')"),
    ("local_timestamp", "arrow_cast('1900-01-01T00:00:00.000001', 'Timestamp(Microsecond, None)')"),
    ("list<text>", "make_array('a', NULL)"),
    ("struct<a text, b bigint>", "named_struct('a', 'x', 'b', 7)"),
    ("list<struct<sku text, price decimal(18,2)>>", "make_array(named_struct('sku', 's', 'price', CAST('9.99' AS DECIMAL(18,2))))"),
];

fn contract() -> Contract {
    let column = |name: &str, text: &str| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap();
    let mut columns = vec![column("id", "bigint not null")];
    columns.extend(COLUMNS.iter().enumerate().map(|(index, (text, _))| column(&format!("c{index}"), text)));
    Contract {
        table: "shop.types".parse().unwrap(),
        columns,
        key: vec![ColumnName::new("id").unwrap()],
        cursor: None,
        description: String::new(),
    }
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    std::fs::create_dir_all(root.join("lake")).unwrap();
    let url = Url::from_directory_path(root.join("lake")).unwrap();
    let lake =
        Lake::open(LakeOptions { url, store: Arc::clone(&store), work: root.join("work"), memory_limit_bytes: 64 << 20, threads: 2 })
            .unwrap();
    let landing = Landing::new(store, StorePath::from_absolute_path(root.join("landing").as_path()).unwrap(), "file:///landing");
    let contract = contract();
    let schema = contract.schema();
    // One row of values and one of NULLs.
    let values: Vec<&str> = COLUMNS.iter().map(|(_, value)| *value).collect();
    let sql = format!("SELECT CAST(1 AS BIGINT), {}", values.join(", "));
    let made = lake.session().sql(&sql).await.unwrap().collect().await.unwrap();
    let typed = made[0].columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
    let some = RecordBatch::try_new(Arc::clone(&schema), typed).unwrap();
    let mut nothing = vec![cast(&arrow::array::Int64Array::from(vec![2]), &DataType::Int64).unwrap()];
    nothing.extend(schema.fields().iter().skip(1).map(|field| new_null_array(field.data_type(), 1)));
    let none = RecordBatch::try_new(Arc::clone(&schema), nothing).unwrap();
    for (revision, mode) in [(1, Mode::Merge), (2, Mode::Merge), (3, Mode::Replace)] {
        let writer = SnapshotWriter::new(&landing, &format!("p/run/step/{revision}"), Arc::clone(&schema), WriterSettings::default());
        let mut part = writer.part_writer(0);
        part.write(&some).await.unwrap();
        part.write(&none).await.unwrap();
        part.finish().await.unwrap();
        let snapshot = writer.finish(Manifest::new("run", "step", contract.clone(), false), &[], None).await.unwrap();
        let id = LoadId { pipeline: "p".into(), table: contract.table.clone(), revision, digest: snapshot.manifest().digest() };
        let load = Load { id, run: "run".into(), mode, base: None, contract: contract.clone(), layout: Layout::default() };
        lake.prepare(&load.contract, &load.layout).await.unwrap();
        let staged = lake.stage(&load, &snapshot).await.unwrap();
        let receipt = lake.publish(&staged).await.unwrap();
        // The same rows again are seen to be the same, whatever their types.
        assert_eq!((receipt.rows_written, receipt.rows_unchanged), if revision == 2 { (0, 2) } else { (2, 0) });

        let session = lake.session();
        let provider = lake.provider(&contract.table).await.unwrap().unwrap();
        for (found, wanted) in provider.schema().fields().iter().zip(schema.fields()) {
            assert_eq!((found.name(), found.data_type()), (wanted.name(), wanted.data_type()));
        }
        let frame = session.read_table(provider).unwrap().sort_by(vec![datafusion::logical_expr::col("id")]).unwrap();
        let stored = frame.collect().await.unwrap();
        let stored = arrow::compute::concat_batches(&stored[0].schema(), &stored).unwrap();
        let wanted = arrow::compute::concat_batches(&schema, [&some, &none]).unwrap();
        let loose =
            Arc::new(Schema::new(schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()));
        let options = RecordBatchOptions::default();
        let stored = RecordBatch::try_new_with_options(Arc::clone(&loose), stored.columns().to_vec(), &options).unwrap();
        let wanted = RecordBatch::try_new_with_options(loose, wanted.columns().to_vec(), &options).unwrap();
        assert_eq!(stored, wanted);
    }
}

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use object_store::memory::InMemory;
use object_store::path::Path;
use pipeline_core::landing::{Landing, Manifest, SnapshotWriter, WriterSettings};
use pipeline_core::load::Mode;

use super::super::testing::{contract, load};
use super::*;

fn shops() -> pipeline_core::contract::Contract {
    contract("shops", &[("id", "int not null"), ("name", "text(8)"), ("note", "json")], &["id"], None)
}

fn batch(schema: &Arc<Schema>, names: &[Option<&str>]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values((0..).take(names.len())));
    let name: ArrayRef = Arc::new(names.iter().copied().collect::<StringArray>());
    RecordBatch::try_new(Arc::clone(schema), vec![ids, Arc::clone(&name), name]).unwrap()
}

async fn snapshot(schema: &Arc<Schema>, batches: &[RecordBatch]) -> Snapshot {
    let landing = Landing::new(Arc::new(InMemory::new()), Path::from("landing"), "s3://lake/landing");
    let writer = SnapshotWriter::new(&landing, "p/r/s/a", Arc::clone(schema), WriterSettings::default());
    for (slice, batch) in (0..).zip(batches) {
        let mut part = writer.part_writer(slice);
        part.write(batch).await.unwrap();
        part.finish().await.unwrap();
    }
    writer.finish(Manifest::new("run", "step", shops(), false), &[], None).await.unwrap()
}

async fn checked(schema: &Arc<Schema>, batches: &[RecordBatch]) -> Result<()> {
    let snapshot = snapshot(schema, batches).await;
    check(&load(shops(), Mode::Merge, 1, None), &snapshot, &Limits::default()).await
}

#[tokio::test]
async fn texts_are_measured_in_bytes() {
    let schema = shops().schema();
    // Eight bytes each, and together more than the limit, so that the column is read.
    checked(&schema, &[batch(&schema, &[Some("żółwik"), None, Some("abcdefgh")].map(|name| name.filter(|name| name.len() <= 8)))])
        .await
        .unwrap();
    let names = [Some("short"), Some("żółwikó"), None, Some("abcd")];
    let error = checked(&schema, &[batch(&schema, &names), batch(&schema, &[Some("abcdefghi")])]).await.unwrap_err();
    assert_eq!(error.code().name, "E-TEXT-TOO-LONG");
    assert_eq!(error.causes(), ["column \"name\" holds 8 bytes, the longest value has 11"]);
    assert!(error.message().contains("shops") && error.remedy().contains("text(16)"), "{error:?} {}", error.remedy());
    assert!(!format!("{error:?}").contains("żółw"), "a value came through");
}

#[tokio::test]
async fn repeated_texts_are_measured_by_their_dictionary() {
    let schema = shops().schema();
    // Far more bytes than the limit in all, but few different values: the data pages are never asked for.
    let names: Vec<Option<&str>> = (0..5000).map(|n| [Some("centrum"), Some("port"), None][n % 3]).collect();
    let with_dictionary = snapshot(&schema, &[batch(&schema, &names)]).await;
    let part = &with_dictionary.manifest().parts[0];
    let landing = with_dictionary.landing();
    let mut reader = PartReader::new(landing.store(), landing.path(&part.key), part.bytes);
    let footer = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await.unwrap();
    assert_eq!(dictionary::longest(&mut reader, footer.metadata(), 1).await.unwrap(), Some(7));

    let long: Vec<Option<&str>> = names.iter().copied().chain([Some("śródmieście")]).collect();
    let error = checked(&schema, &[batch(&schema, &long)]).await.unwrap_err();
    assert_eq!(error.causes(), ["column \"name\" holds 8 bytes, the longest value has 14"]);
}

#[tokio::test]
async fn texts_that_overflow_their_dictionary_are_read() {
    let schema = shops().schema();
    let texts: Vec<String> = (0..200_000).map(|n| format!("{n:08}")).collect();
    let mut names: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let good = snapshot(&schema, &[batch(&schema, &names)]).await;
    let part = &good.manifest().parts[0];
    let mut reader = PartReader::new(good.landing().store(), good.landing().path(&part.key), part.bytes);
    let footer = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await.unwrap();
    assert_eq!(dictionary::longest(&mut reader, footer.metadata(), 1).await.unwrap(), None);
    checked(&schema, &[batch(&schema, &names)]).await.unwrap();
    names.push(Some("123456789"));
    let error = checked(&schema, &[batch(&schema, &names)]).await.unwrap_err();
    assert_eq!(error.causes(), ["column \"name\" holds 8 bytes, the longest value has 9"]);
}

#[tokio::test]
async fn other_columns_than_the_contracts_are_refused() {
    let field = |name: &str, data_type: DataType, nullable| Field::new(name, data_type, nullable);
    for (fields, word) in [
        (vec![field("id", DataType::Int32, false), field("note", DataType::Utf8, true), field("name", DataType::Utf8, true)], "position 2"),
        (vec![field("id", DataType::Int64, false), field("name", DataType::Utf8, true), field("note", DataType::Utf8, true)], "INT64"),
        (vec![field("id", DataType::Int32, false), field("name", DataType::Utf8, true)], "2 columns"),
    ] {
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| arrow::compute::cast(&(Arc::new(Int32Array::from(vec![1])) as ArrayRef), field.data_type()).unwrap())
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let error = checked(&schema, &[batch]).await.unwrap_err();
        assert_eq!(error.code().name, "E-SNAPSHOT");
        assert!(error.message().contains(word), "{word}: {error:?}");
    }
}

#[tokio::test]
async fn a_null_in_a_key_is_refused() {
    let mut fields: Vec<Field> = shops().schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[0] = fields[0].clone().with_nullable(true);
    let schema = Arc::new(Schema::new(fields));
    let none: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>, None]));
    let with = |ids: Vec<Option<i32>>| {
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(ids)), Arc::clone(&none), Arc::clone(&none)]).unwrap()
    };
    checked(&schema, &[with(vec![Some(1), Some(2)])]).await.unwrap();
    let error = checked(&schema, &[with(vec![Some(1), None])]).await.unwrap_err();
    assert!(error.code().name == "E-CONTRACT" && error.message().contains("\"id\""), "{error:?}");
}

#[tokio::test]
async fn a_part_that_was_cut_or_lost_is_refused() {
    let schema = shops().schema();
    let good = snapshot(&schema, &[batch(&schema, &[Some("a")])]).await;
    let part = &good.manifest().parts[0];
    let path = good.landing().path(&part.key);
    let store = good.landing().store();
    let bytes = object_store::ObjectStoreExt::get(&store, &path).await.unwrap().bytes().await.unwrap();
    object_store::ObjectStoreExt::put(&store, &path, bytes.slice(..bytes.len() - 3).into()).await.unwrap();
    let load = load(shops(), Mode::Append, 1, None);
    let error = check(&load, &good, &Limits::default()).await.unwrap_err();
    assert!(error.message().contains("part-00000.parquet"), "{error:?}");
    object_store::ObjectStoreExt::delete(&store, &path).await.unwrap();
    let error = check(&load, &good, &Limits::default()).await.unwrap_err();
    assert_eq!(error.code().name, "E-SNAPSHOT", "{error:?}");
}

#[tokio::test]
async fn the_manifest_for_copy_names_every_part_with_its_length() {
    let schema = shops().schema();
    let snapshot = snapshot(&schema, &[batch(&schema, &[Some("a")]), batch(&schema, &[Some("b"), None])]).await;
    let json: serde_json::Value =
        serde_json::from_slice(&super::super::copy::manifest(snapshot.landing(), &snapshot.manifest().parts).unwrap()).unwrap();
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, part) in entries.iter().zip(&snapshot.manifest().parts) {
        assert_eq!(entry["url"], format!("s3://lake/landing/{}", part.key));
        assert_eq!(entry["mandatory"], true);
        assert_eq!(entry["meta"]["content_length"], part.bytes);
    }
    assert_eq!(super::super::copy::manifest_key(super::super::copy::folder_of(&snapshot), "warehouse"), "p/r/s/a/copy-warehouse.manifest");
}

#[tokio::test]
async fn of_rows_with_one_key_the_greatest_cursor_then_the_later_stays() {
    use super::super::distinct::distinct;
    use arrow::array::Int64Array;

    let contract = contract("shops", &[("id", "text not null"), ("at", "bigint"), ("nth", "int not null")], &["id"], Some("at"));
    let schema = contract.schema();
    let landing = Landing::new(Arc::new(InMemory::new()), Path::from(""), "s3://lake");
    let writer = SnapshotWriter::new(&landing, "p/r/s/a", Arc::clone(&schema), WriterSettings::default());
    let parts: [Vec<(&str, Option<i64>)>; 3] = [
        vec![("a", Some(1)), ("b", Some(5)), ("c", None), ("b ", Some(1))],
        vec![("d", Some(1)), ("e", Some(1))],
        vec![("a", Some(1)), ("b", Some(4)), ("c", Some(0)), ("c", None)],
    ];
    let mut nth = 0..;
    for (slice, rows) in (0..).zip(&parts) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(Int32Array::from_iter_values(nth.by_ref().take(rows.len()))),
        ];
        let mut part = writer.part_writer(slice);
        part.write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()).await.unwrap();
        part.finish().await.unwrap();
    }
    let snapshot = writer.finish(Manifest::new("run", "step", contract.clone(), false), &[], None).await.unwrap();
    let found = distinct(&contract, &snapshot, "p/r/s/a/copy-x".to_owned()).await.unwrap().unwrap();
    let untouched = &snapshot.manifest().parts[1];
    assert!(found.parts.contains(untouched) && found.parts.len() == 3, "{found:?}");
    let mut kept = Vec::new();
    for part in &found.parts {
        let reader = PartReader::new(landing.store(), landing.path(&part.key), part.bytes);
        let mut rows = ParquetRecordBatchStreamBuilder::new(reader).await.unwrap().build().unwrap();
        while let Some(batch) = rows.next().await {
            let batch = batch.unwrap();
            assert_eq!(batch.schema(), schema);
            kept.extend(batch.column(2).as_primitive::<arrow::datatypes::Int32Type>().values().iter().copied());
        }
    }
    kept.sort_unstable();
    // "a" of part 3 (later), "b" of part 1 (greater), "c" with a cursor, and all keys that stand once.
    assert_eq!(kept, [1, 3, 4, 5, 6, 8]);
    let once = distinct(&contract, &landing.open("p/r/s/a/copy-x/manifest.json").await.unwrap(), "unused".to_owned()).await.unwrap();
    assert!(once.is_none(), "{once:?}");
}

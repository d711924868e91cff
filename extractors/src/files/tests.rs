//! Reading dumps, and refusing broken ones.

use std::io::Write;
use std::path::Path;

use ::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use pipeline_core::error::Result;
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request};
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::{Timestamp, Window};

use super::testing::contract;
use super::{FilesOptions, TableOptions, open};

const COLUMNS: &[(&str, &str)] = &[("id", "text not null from _id"), ("n", "bigint"), ("at", "timestamp")];

fn document(n: i64) -> Document {
    doc! {"_id": ObjectId::from_bytes(u128::try_from(n).unwrap().to_be_bytes()[4..].try_into().unwrap()), "n": n, "at": DateTime::from_millis(n * 1000)}
}

fn bytes(documents: impl IntoIterator<Item = Document>) -> Vec<u8> {
    documents.into_iter().flat_map(|document| document.to_vec().unwrap()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn everything() -> Request {
    Request { window: None, rejected: None, cut: None, lookback_us: 0, slices_wanted: 2 }
}

fn orders(folder: &Path) -> Box<dyn Extractor> {
    let options = FilesOptions { path: folder.to_owned() };
    open(&options, contract("orders", COLUMNS, Some("at")), &TableOptions::default(), None).unwrap()
}

async fn numbers(extractor: &dyn Extractor, plan: &ExtractPlan, quarantine: &Quarantine) -> Result<Vec<i64>> {
    let mut numbers = Vec::new();
    for slice in &plan.slices {
        let mut stream = extractor.read(slice, quarantine).await?;
        while let Some(batch) = stream.next().await {
            let batch: RecordBatch = batch?;
            numbers.extend(batch.column(1).as_primitive::<Int64Type>().values());
        }
    }
    Ok(numbers)
}

#[tokio::test]
async fn plain_and_compressed_dumps_have_the_same_rows() {
    let dump = bytes((0..20_000).map(document));
    let (first, second) = dump.split_at(dump.len() / 3);
    for (name, content) in
        [("orders.bson", dump.clone()), ("orders.bson.gz", gzip(&dump)), ("orders.bson.gz", [gzip(first), gzip(second)].concat())]
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        let extractor = orders(folder.path());
        let plan = extractor.plan(&everything(), None).await.unwrap();
        assert_eq!(plan.rows_estimated, Some(20_000));
        assert_eq!(plan.checkpoint.as_ref().unwrap().upper, Cursor::Time(Timestamp::from_microseconds(19_999_000_000)));
        let read = numbers(&*extractor, &plan, &Quarantine::new()).await.unwrap();
        assert_eq!(read, (0..20_000).collect::<Vec<_>>(), "{name}");
        let again = extractor.plan(&everything(), plan.checkpoint.as_ref()).await.unwrap();
        assert!(again.slices.is_empty());
        assert_eq!(again.summary, "the file is unchanged since the last run");
    }
}

#[tokio::test]
async fn a_large_plain_dump_is_cut_between_documents() {
    let folder = tempfile::tempdir().unwrap();
    let filler = "x".repeat(40_000);
    let dump = bytes((0..1_000).map(|n| {
        let mut document = document(n);
        document.insert("filler", &filler);
        document
    }));
    std::fs::write(folder.path().join("orders.bson"), dump).unwrap();
    let extractor = orders(folder.path());
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert_eq!(plan.slices.len(), 2);
    assert_eq!(numbers(&*extractor, &plan, &Quarantine::new()).await.unwrap(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_changed_rows_of_a_changed_dump_move() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.bson");
    let stray = doc! {"_id": "stray", "n": 7_i64, "at": "yesterday"};
    std::fs::write(&path, bytes((0..100).map(document).chain([stray.clone()]))).unwrap();
    let extractor = orders(folder.path());
    let quarantine = Quarantine::new();
    let first = extractor.plan(&everything(), None).await.unwrap();
    assert_eq!(numbers(&*extractor, &first, &quarantine).await.unwrap().len(), 100);
    let rejected = quarantine.drain();
    assert_eq!(
        (rejected.len(), rejected[0].column.as_str(), rejected[0].reason.as_str()),
        (1, "at", "a string stands where timestamp is declared")
    );
    assert_eq!(rejected[0].raw, stray.to_vec().unwrap());
    assert!(rejected[0].position.starts_with("offset "));

    std::fs::write(&path, bytes((50..110).map(document).chain([stray]))).unwrap();
    let later = Request { lookback_us: 2_000_000, ..everything() };
    let second = extractor.plan(&later, first.checkpoint.as_ref()).await.unwrap();
    let read = numbers(&*extractor, &second, &quarantine).await.unwrap();
    assert_eq!(read, (98..110).collect::<Vec<_>>(), "beyond the checkpoint less the lookback");
    assert_eq!(quarantine.rows(), 0);

    let window = Window::new(Timestamp::from_microseconds(60_000_000), Timestamp::from_microseconds(63_000_000)).unwrap();
    let windowed = extractor.plan(&Request { window: Some(window), ..everything() }, None).await.unwrap();
    assert_eq!(windowed.checkpoint, None);
    assert_eq!(numbers(&*extractor, &windowed, &quarantine).await.unwrap(), [60, 61, 62]);

    std::fs::write(&path, bytes((0..10).map(document))).unwrap();
    let older = extractor.plan(&everything(), second.checkpoint.as_ref()).await.unwrap();
    assert_eq!(older.checkpoint.unwrap().upper, second.checkpoint.unwrap().upper, "an older dump does not turn the clock back");
}

#[tokio::test]
async fn an_instant_to_come_does_not_move_the_checkpoint_beyond_now() {
    let folder = tempfile::tempdir().unwrap();
    let mut odd = document(1);
    odd.insert("at", DateTime::from_millis(7_000_000_000_000));
    std::fs::write(folder.path().join("orders.bson"), bytes([odd])).unwrap();
    let plan = orders(folder.path()).plan(&everything(), None).await.unwrap();
    let Some(Checkpoint { upper: Cursor::Time(upper), .. }) = plan.checkpoint else { panic!("a cursor") };
    assert!(upper.microseconds() < 7_000_000_000_000_000);
}

#[tokio::test]
async fn a_dump_without_rows_is_read_whole_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders.bson"), b"").unwrap();
    let extractor = orders(folder.path());
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert_eq!(plan.checkpoint.as_ref().unwrap().upper, Cursor::Whole);
    assert_eq!(numbers(&*extractor, &plan, &Quarantine::new()).await.unwrap(), [0_i64; 0]);
}

#[tokio::test]
async fn broken_dumps_fail_before_anything_is_read() {
    let dump = bytes((0..5_000).map(document));
    let zipped = gzip(&dump);
    let damaged = |mut bytes: Vec<u8>, place: usize| {
        bytes[place] ^= 0xFF;
        bytes
    };
    for (name, content) in [
        ("orders.bson", dump[..dump.len() - 1].to_vec()),
        ("orders.bson", dump[..dump.len() - 60].to_vec()),
        ("orders.bson", b"{\"_id\": 1}\n{\"_id\": 2}".to_vec()),
        ("orders.bson", [dump.as_slice(), b"\0\0\0\0\0\0"].concat()),
        ("orders.bson", zipped.clone()),
        ("orders.bson.gz", zipped[..zipped.len() / 2].to_vec()),
        ("orders.bson.gz", zipped[..zipped.len() - 3].to_vec()),
        ("orders.bson.gz", [zipped.as_slice(), b"garbage"].concat()),
        ("orders.bson.gz", damaged(zipped.clone(), zipped.len() / 2)),
        ("orders.bson.gz", damaged(zipped.clone(), zipped.len() - 6)),
        ("orders.bson.gz", dump.clone()),
        ("orders.bson.gz", Vec::new()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), &content).unwrap();
        let error = orders(folder.path()).plan(&everything(), None).await.unwrap_err();
        assert_eq!(error.code().name, "E-FILE-TRUNCATED", "{name} of {} bytes: {error:?}", content.len());
        assert!(error.message().contains(name) && error.message().contains("offset "), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_changes_after_the_plan_is_refused_and_a_rewritten_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.bson");
    std::fs::write(&path, bytes((0..10).map(document))).unwrap();
    let extractor = orders(folder.path());
    let plan = extractor.plan(&everything(), None).await.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&path, bytes((0..10).map(document))).unwrap();
    assert_eq!(numbers(&*extractor, &plan, &Quarantine::new()).await.unwrap().len(), 10);
    std::fs::write(&path, bytes((1..11).map(document))).unwrap();
    let error = numbers(&*extractor, &plan, &Quarantine::new()).await.unwrap_err();
    assert_eq!(error.code().name, "E-FILE-CHANGED");
}

#[tokio::test]
async fn malformed_documents_are_quarantined_with_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = doc! {"_id": "a", "n": 1_i64, "text": "zażółć"}.to_vec().unwrap();
    let place = broken.len() - 4;
    broken[place] = 0xFF;
    let odd = doc! {"_id": "b", "n": Bson::String("1".into())};
    std::fs::write(folder.path().join("orders.bson"), [broken.clone(), bytes([odd, document(5)])].concat()).unwrap();
    let options = FilesOptions { path: folder.path().to_owned() };
    let columns = [COLUMNS, &[("text", "text")]].concat();
    let extractor = open(&options, contract("orders", &columns, None), &TableOptions::default(), None).unwrap();
    let quarantine = Quarantine::new();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert_eq!(numbers(&*extractor, &plan, &quarantine).await.unwrap(), [5]);
    let rejected = quarantine.drain();
    assert_eq!(rejected.len(), 2);
    assert!(rejected.iter().any(|row| row.raw == broken && row.column == "text" && row.reason == "a text is not valid UTF-8"));
}

#[tokio::test]
async fn any_damage_is_an_error_or_a_rejected_row_and_never_a_panic() {
    let seed = 0x0DD_B175_u64;
    let mut state = seed;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    let dump = bytes((0..200).map(document));
    let (mut whole, mut refused) = (0, 0);
    for round in 0..300 {
        let zipped = round % 3 == 0;
        let mut content = if zipped { gzip(&dump) } else { dump.clone() };
        for _ in 0..=random(3) {
            let place = random(content.len());
            content[place] = u8::try_from(random(256)).unwrap();
        }
        if round % 5 == 0 {
            content.truncate(random(content.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(if zipped { "orders.bson.gz" } else { "orders.bson" }), content).unwrap();
        let extractor = orders(folder.path());
        let quarantine = Quarantine::new();
        match extractor.plan(&everything(), None).await {
            Err(error) => {
                assert_eq!(error.code().name, "E-FILE-TRUNCATED", "seed {seed:x} round {round}: {error:?}");
                refused += 1;
            }
            Ok(plan) => {
                let read = numbers(&*extractor, &plan, &quarantine).await.unwrap();
                assert_eq!(Some(read.len() as u64 + quarantine.rows()), plan.rows_estimated, "seed {seed:x} round {round}");
                whole += 1;
            }
        }
    }
    assert!(whole > 20 && refused > 20, "both ways are tried: {whole} read, {refused} refused");
}

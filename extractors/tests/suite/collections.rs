//! Collections of a server.

use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use pipeline_core::extract::{Checkpoint, Cursor, Extractor, Request};
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::{Timestamp, Window};
use pipeline_extractors::mongodb::{Connection, MongoOptions, TableOptions, connect};

use super::conformance::{everything, holds, keys, read_plan};
use super::orders::declared;
use super::server::Server;

/// 2025-01-01T00:00:00Z, in milliseconds.
const BEGIN_MS: i64 = 1_735_689_600_000;

fn id(n: u32) -> ObjectId {
    let seconds = u32::try_from(BEGIN_MS / 1_000).unwrap() + n * 60;
    let mut bytes = [0xFF_u8; 12];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn order(n: u32) -> Document {
    doc! {"_id": id(n), "n": i64::from(n), "updatedAt": DateTime::from_millis(BEGIN_MS + i64::from(n) * 1_000), "text": "ł".repeat(50)}
}

fn at(n: i64) -> Timestamp {
    Timestamp::from_microseconds((BEGIN_MS + n * 1_000) * 1_000)
}

async fn source(server: &Server, cursor: &str) -> Box<dyn Extractor> {
    let columns = [("order_id", "text not null from _id"), ("n", "bigint"), ("updated_at", "timestamp"), ("_extra", "json")];
    connect(&server.options(), declared("orders", &columns, "order_id", cursor), &TableOptions::default(), None).await.unwrap()
}

async fn read_keys(extractor: &dyn Extractor, request: &Request, after: Option<&Checkpoint>, quarantine: &Quarantine) -> Vec<String> {
    let plan = extractor.plan(request, after).await.unwrap();
    let mut keys = keys(&read_plan(extractor, &plan, quarantine).await.unwrap());
    keys.sort();
    keys
}

fn hex(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| id(n).to_hex()).collect()
}

#[tokio::test]
async fn a_collection_keeps_the_promises_of_a_source() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..3_000).map(order)).await.unwrap();
    // Identifiers of other kinds are in no range of ObjectIds, and in exactly one slice all the same.
    orders.insert_many([doc! {"_id": "text", "updatedAt": DateTime::from_millis(BEGIN_MS)}, doc! {"_id": "z", "n": 1_i64}]).await.unwrap();
    for cursor in ["updated_at", ""] {
        let extractor = source(&server, cursor).await;
        let checkpoint = holds(&*extractor, 3_002, 3).await.unwrap();
        if cursor.is_empty() {
            assert_eq!(checkpoint.upper, Cursor::Whole);
        } else {
            assert_eq!(checkpoint.upper, Cursor::Time(at(2_999)));
        }
    }
}

#[tokio::test]
async fn later_readings_move_what_changed_and_nothing_else() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..50).map(order)).await.unwrap();
    let stray = [doc! {"_id": "stray", "updatedAt": "2025-01-01"}, doc! {"_id": "without"}];
    orders.insert_many(stray.clone()).await.unwrap();
    let extractor = source(&server, "updated_at").await;
    let quarantine = Quarantine::new();
    let first = extractor.plan(&everything(), None).await.unwrap();
    assert!(first.statement.contains("no index begins with \"updatedAt\""), "{}", first.statement);
    assert_eq!(first.checkpoint.as_ref().unwrap().upper, Cursor::Time(at(49)));

    // What changes after the plan belongs to the next run.
    orders.update_one(doc! {"_id": id(3)}, doc! {"$set": {"updatedAt": DateTime::from_millis(BEGIN_MS + 60_000)}}).await.unwrap();
    orders.insert_one(order(55)).await.unwrap();
    let batch = read_plan(&*extractor, &first, &quarantine).await.unwrap();
    let mut read = keys(&batch);
    read.sort();
    let mut expected = hex((0..50).filter(|n| *n != 3));
    expected.push("without".to_owned());
    assert_eq!(read, expected);
    let rejected = quarantine.drain();
    assert_eq!(rejected.len(), 1);
    assert_eq!((rejected[0].position.as_str(), rejected[0].column.as_str(), rejected[0].format.as_ref()), ("stray", "updated_at", "bson"));
    assert_eq!(rejected[0].raw, stray[0].to_vec().unwrap());

    orders.create_index(mongodb::IndexModel::builder().keys(doc! {"updatedAt": 1}).build()).await.unwrap();
    let second = extractor.plan(&everything(), first.checkpoint.as_ref()).await.unwrap();
    assert!(!second.statement.contains("no index"), "{}", second.statement);
    let read = keys(&read_plan(&*extractor, &second, &quarantine).await.unwrap());
    assert_eq!(
        {
            let mut read = read;
            read.sort();
            read
        },
        hex([3, 55])
    );
    assert_eq!(second.checkpoint.as_ref().unwrap().upper, Cursor::Time(at(60)));
    assert_eq!(quarantine.rows(), 0, "stray cursors are for readings of the whole");

    let third = extractor.plan(&everything(), second.checkpoint.as_ref()).await.unwrap();
    assert!(third.slices.is_empty() && third.summary.starts_with("nothing has changed since 2025-01-01T00:01:00Z"), "{}", third.summary);
    let lookback = Request { lookback_us: 12_000_000, ..everything() };
    assert_eq!(read_keys(&*extractor, &lookback, second.checkpoint.as_ref(), &quarantine).await, hex([3, 49, 55]));

    let window = Window::new(at(10), at(13)).unwrap();
    let plan = extractor.plan(&Request { window: Some(window), ..everything() }, None).await.unwrap();
    assert_eq!(plan.checkpoint, None);
    assert_eq!(keys(&read_plan(&*extractor, &plan, &quarantine).await.unwrap()).len(), 3);

    // A checkpoint does not go back when the newest documents are deleted.
    orders.delete_many(doc! {"n": {"$gt": 20}}).await.unwrap();
    let after_delete = extractor.plan(&everything(), second.checkpoint.as_ref()).await.unwrap();
    assert_eq!(after_delete.checkpoint.unwrap().upper, Cursor::Time(at(60)));
}

#[tokio::test]
async fn nothing_beyond_the_servers_time_is_read_or_remembered() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..5).map(order)).await.unwrap();
    orders.insert_one(doc! {"_id": "future", "updatedAt": DateTime::from_millis(7_000_000_000_000)}).await.unwrap();
    let extractor = source(&server, "updated_at").await;
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let Some(Checkpoint { upper: Cursor::Time(upper), .. }) = plan.checkpoint else { panic!("a cursor of time") };
    assert!(upper > at(5) && upper.microseconds() < 7_000_000_000_000_000, "the server's time: {upper}");
    assert!(plan.statement.contains("in the future"), "{}", plan.statement);
    assert_eq!(read_keys(&*extractor, &everything(), None, &Quarantine::new()).await, hex(0..5));
}

#[tokio::test]
async fn an_empty_collection_is_empty_and_a_missing_one_is_an_error() {
    let server = Server::start().await;
    let database = server.database("shop").await;
    database.create_collection("orders").await.unwrap();
    database.create_collection("other").await.unwrap();
    let extractor = source(&server, "updated_at").await;
    assert_eq!(read_keys(&*extractor, &everything(), None, &Quarantine::new()).await, [""; 0]);
    database.collection::<Document>("orders").drop().await.unwrap();
    let error = extractor.plan(&everything(), None).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-COLLECTION");
    assert_eq!(error.message(), "collection \"orders\" of table \"shop.orders\" does not exist in database \"shop\"");
}

#[tokio::test]
async fn whom_the_server_does_not_know_is_refused_without_a_secret_in_the_words() {
    let server = Server::start_with_user().await;
    let columns = [("order_id", "text not null from _id")];
    let open = |user: &str, source: &str| {
        let url = format!("{}&authSource={source}", server.url(user));
        let options = MongoOptions { database: Some("shop".to_owned()), ..MongoOptions::new(url) };
        let contract = declared("orders", &columns, "order_id", "");
        async move { connect(&options, contract, &TableOptions::default(), None).await }
    };
    let error = open("reader:wrong-secret@", "shop").await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-AUTH", "{error:?}");
    assert!(!format!("{error:?}{}", error.remedy()).contains("wrong-secret"));
    // Without a user, the server answers and refuses to show anything.
    let refused = match open("", "admin").await {
        Ok(extractor) => extractor.plan(&everything(), None).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(["E-MONGO-DENIED", "E-MONGO-AUTH"].contains(&refused.code().name), "{refused:?}");
    let known = open("reader:right@", "shop").await.unwrap();
    assert_eq!(
        known.plan(&everything(), None).await.unwrap_err().code().name,
        "E-MONGO-COLLECTION",
        "reading is allowed, and there is nothing"
    );
}

#[tokio::test]
async fn who_does_not_answer_is_unreachable_and_a_bad_address_is_named_as_such() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("mongodb://someone:some-secret@127.0.0.1:{free}/shop");
    let options = MongoOptions { timeout: Some(Duration::from_millis(300)), ..MongoOptions::new(url) };
    assert!(!format!("{options:?}").contains("some-secret"));
    let error = Connection::open(&options).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-UNREACHABLE", "{error:?}");
    assert!(error.kind().is_worth_retrying());
    assert!(!format!("{error:?}{}", error.remedy()).contains("some-secret"));
    for bad in [
        "some-secret",
        "postgres://user:some-secret@host/",
        "mongodb://user:some-secret@/",
        "mongodb://127.0.0.1/?tlsCAFile=/nowhere/some-secret&tls=true",
    ] {
        let error =
            Connection::open(&MongoOptions { database: Some("shop".to_owned()), ..MongoOptions::new(bad.to_owned()) }).await.unwrap_err();
        assert_eq!(error.code().name, "E-MONGO-URL", "{bad}");
        assert!(!format!("{error:?}{}", error.remedy()).contains("some-secret"), "{error:?}");
    }
    let error = Connection::open(&MongoOptions::new(format!("mongodb://127.0.0.1:{free}/"))).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-URL", "no database is named");
}

#[tokio::test]
async fn a_server_that_dies_in_between_is_an_error_and_no_end() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    let filler = "x".repeat(60_000);
    orders
        .insert_many((0..400).map(|n| {
            let mut order = order(n);
            order.insert("text", &filler);
            order
        }))
        .await
        .unwrap();
    let extractor = source(&server, "updated_at").await;
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let mut stream = extractor.read(&plan.slices[0], &Quarantine::new()).await.unwrap();
    let first = futures::StreamExt::next(&mut stream).await.unwrap().unwrap();
    assert!(first.num_rows() < 400, "24 MB do not come at once");
    drop(server);
    let mut ended = None;
    while let Some(batch) = futures::StreamExt::next(&mut stream).await {
        ended = batch.err().or(ended);
    }
    let error = ended.expect("a reading that was cut off must not look complete");
    assert_eq!(error.kind(), pipeline_core::error::ErrorKind::Unavailable, "{error:?}");
}

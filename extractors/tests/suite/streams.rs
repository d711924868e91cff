//! Collections whose changes are captured from the server's change stream.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, doc};
use pipeline_core::contract::DELETED_COLUMN;
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor};
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::mongodb::{CaptureOptions, Connection, MongoOptions, TableOptions};

use super::conformance::{everything, tried};
use super::orders::declared;
use super::server::Server;

const COLUMNS: [(&str, &str); 3] = [("order_id", "text not null from _id"), ("n", "bigint"), ("_extra", "json")];

/// What the table holds: the key, and the row's other columns.
type Table = BTreeMap<String, String>;

async fn connection(server: &Server, capture: CaptureOptions) -> Connection {
    Connection::open(&MongoOptions { capture: Some(capture), ..server.options() }).await.unwrap()
}

fn opened(connection: &Connection) -> Box<dyn Extractor> {
    connection.table(declared("orders", &COLUMNS, "order_id", ""), &TableOptions::default(), None).unwrap()
}

/// Plans, reads and applies what comes, as a lake does.
async fn applied(extractor: &dyn Extractor, after: Option<&Checkpoint>, table: &mut Table) -> (ExtractPlan, Checkpoint) {
    let plan = extractor.plan(&everything(), after).await.unwrap();
    apply(extractor, &plan, table).await;
    extractor.finish().await.unwrap();
    let checkpoint = plan.checkpoint.clone().unwrap();
    assert!(after.is_none_or(|after| after.upper <= checkpoint.upper), "a checkpoint never goes back");
    (plan, checkpoint)
}

async fn apply(extractor: &dyn Extractor, plan: &ExtractPlan, table: &mut Table) {
    let contract = extractor.contract();
    let schema = if plan.is_changes { contract.changes_schema() } else { contract.schema() };
    if !plan.is_changes && !plan.slices.is_empty() {
        table.clear();
    }
    let quarantine = Quarantine::new();
    for slice in &plan.slices {
        let stream = extractor.read(slice, &quarantine).await.unwrap();
        assert_eq!(stream.schema(), schema);
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        let batch = concat_batches(&schema, &batches).unwrap();
        let text = |column: usize, row: usize| {
            let array = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8).unwrap();
            if array.is_null(row) { "-".to_owned() } else { array.as_string::<i32>().value(row).to_owned() }
        };
        let mut keys = std::collections::HashSet::new();
        for row in 0..batch.num_rows() {
            let is_deleted = batch.column_by_name(DELETED_COLUMN).is_some_and(|column| column.as_boolean().value(row));
            assert!(keys.insert(text(0, row)), "{} comes twice", text(0, row));
            if is_deleted {
                table.remove(&text(0, row));
            } else {
                table.insert(text(0, row), format!("{} {}", text(1, row), text(2, row)));
            }
        }
    }
}

async fn expected(orders: &Collection<Document>) -> Table {
    let documents: Vec<Document> = orders.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let row = |document: Document| {
        let n = document.get("n").map_or("-".to_owned(), |n| n.as_i64().map_or_else(|| n.to_string(), |n| n.to_string()));
        let extra = document.get_str("note").map_or("-".to_owned(), |note| format!("{{\"note\":\"{note}\"}}"));
        (document.get_str("_id").unwrap().to_owned(), format!("{n} {extra}"))
    };
    documents.into_iter().map(row).collect()
}

fn order(id: &str, n: i64) -> Document {
    doc! {"_id": id, "n": n}
}

#[tokio::test]
async fn every_kind_of_change_arrives_and_quiet_runs_move_nothing() {
    let server = Server::start().await;
    let database = server.database("shop").await;
    let orders = database.collection("orders");
    orders.insert_many((0..40).map(|n| order(&format!("o{n}"), n))).await.unwrap();
    let connection = connection(&server, CaptureOptions::default()).await;
    let extractor = opened(&connection);
    let mut table = Table::new();
    let (first, mut after) = applied(&*extractor, None, &mut table).await;
    assert!(!first.is_changes && matches!(after.upper, Cursor::Log(_)), "{first:?}");
    assert_eq!(table, expected(&orders).await);
    let (quiet, checkpoint) = applied(&*extractor, Some(&after), &mut table).await;
    assert!(quiet.slices.is_empty() && quiet.is_changes && quiet.summary.starts_with("no documents changed since"), "{quiet:?}");
    after = checkpoint;

    let mut state = 0x9E37_79B9_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut moved = 0;
    for round in 0..20_i64 {
        for step in 0..1 + random(12) {
            let id = format!("o{}", random(60));
            match random(5) {
                0 => drop(orders.delete_one(doc! {"_id": &id}).await.unwrap()),
                1 => drop(orders.update_one(doc! {"_id": &id}, doc! {"$set": {"n": round}}).upsert(true).await.unwrap()),
                2 => drop(orders.replace_one(doc! {"_id": &id}, doc! {"note": format!("{round} {step}")}).await.unwrap()),
                3 => drop(orders.update_many(doc! {"n": {"$lt": 5}}, doc! {"$inc": {"n": 1_i64}}).await.unwrap()),
                _ => drop(database.collection("others").insert_one(doc! {"at": DateTime::now()}).await.unwrap()),
            }
        }
        let (plan, checkpoint) = applied(&*extractor, Some(&after), &mut table).await;
        assert!(plan.is_changes, "{plan:?}");
        assert_eq!(table, expected(&orders).await, "round {round}");
        // Read again, as after a crash before the checkpoint was stored: the same.
        applied(&*extractor, Some(&after), &mut table).await;
        assert_eq!(table, expected(&orders).await, "round {round} again");
        moved += plan.rows_estimated.unwrap();
        after = checkpoint;
    }
    tried(&format!("20 rounds of random changes to a collection, each read twice, {moved} changed documents"));
    assert!(moved > 50, "{moved} documents changed");
}

#[tokio::test]
async fn what_changes_between_plan_and_read_is_not_lost() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..10).map(|n| order(&format!("o{n}"), n))).await.unwrap();
    let connection = connection(&server, CaptureOptions::default()).await;
    let extractor = opened(&connection);
    let mut table = Table::new();
    // The first reading and the stream join: nothing of what comes in between is left out.
    let first = extractor.plan(&everything(), None).await.unwrap();
    orders.delete_one(doc! {"_id": "o1"}).await.unwrap();
    orders.insert_one(order("new", 1)).await.unwrap();
    apply(&*extractor, &first, &mut table).await;
    extractor.finish().await.unwrap();
    orders.update_one(doc! {"_id": "o2"}, doc! {"$set": {"n": 200_i64}}).await.unwrap();
    let second = extractor.plan(&everything(), first.checkpoint.as_ref()).await.unwrap();
    assert!(second.is_changes);
    orders.delete_one(doc! {"_id": "o2"}).await.unwrap();
    apply(&*extractor, &second, &mut table).await;
    extractor.finish().await.unwrap();
    applied(&*extractor, second.checkpoint.as_ref(), &mut table).await;
    assert_eq!(table, expected(&orders).await);
}

#[tokio::test]
async fn a_collection_made_anew_and_too_many_changes_are_read_whole() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..10).map(|n| order(&format!("o{n}"), n))).await.unwrap();
    let connection = connection(&server, CaptureOptions { changes_max: 3, ..CaptureOptions::default() }).await;
    let extractor = opened(&connection);
    let mut table = Table::new();
    let (_, after) = applied(&*extractor, None, &mut table).await;
    orders.update_many(doc! {"n": {"$lt": 4}}, doc! {"$inc": {"n": 1_i64}}).await.unwrap();
    let (many, after) = applied(&*extractor, Some(&after), &mut table).await;
    assert!(!many.is_changes && many.summary.contains("more of its documents changed"), "{many:?}");
    assert_eq!(table, expected(&orders).await);
    orders.drop().await.unwrap();
    orders.insert_one(order("only", 1)).await.unwrap();
    let (anew, after) = applied(&*extractor, Some(&after), &mut table).await;
    assert!(!anew.is_changes && anew.summary.contains("made anew"), "{anew:?}");
    assert_eq!(table, expected(&orders).await);
    let (quiet, _) = applied(&*extractor, Some(&after), &mut table).await;
    assert!(quiet.is_changes && quiet.slices.is_empty(), "{quiet:?}");
}

#[tokio::test]
async fn identifiers_of_one_value_are_one_document() {
    let server = Server::start().await;
    let orders = server.database("shop").await.collection::<Document>("orders");
    orders.insert_many([doc! {"_id": 1, "n": 1}, doc! {"_id": 2, "n": 2}]).await.unwrap();
    let connection = connection(&server, CaptureOptions::default()).await;
    let contract = declared("orders", &[("order_id", "bigint not null from _id"), ("n", "bigint")], "order_id", "");
    let extractor = connection.table(contract, &TableOptions::default(), None).unwrap();
    let first = extractor.plan(&everything(), None).await.unwrap();
    extractor.finish().await.unwrap();
    // The same number in another type.
    orders.delete_one(doc! {"_id": 1}).await.unwrap();
    orders.insert_one(doc! {"_id": Bson::Double(1.0), "n": 10}).await.unwrap();
    orders.delete_one(doc! {"_id": 2}).await.unwrap();
    let second = extractor.plan(&everything(), first.checkpoint.as_ref()).await.unwrap();
    let batches: Vec<_> = extractor.read(&second.slices[0], &Quarantine::new()).await.unwrap().try_collect().await.unwrap();
    let rows: Vec<(i64, bool)> = batches
        .iter()
        .flat_map(|batch| {
            let keys = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
            let deleted: Vec<bool> = batch.column(2).as_boolean().iter().flatten().collect();
            keys.into_iter().zip(deleted)
        })
        .collect();
    assert_eq!(rows, [(1, false), (2, true)]);
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused_with_the_remedy() {
    let server = Server::start().await;
    let database = server.database("shop").await;
    let orders = database.collection("orders");
    orders.insert_one(order("o", 1)).await.unwrap();
    database.run_command(doc! {"create": "seen", "viewOn": "orders", "pipeline": []}).await.unwrap();
    let connection = connection(&server, CaptureOptions::default()).await;
    let columns = [("n", "bigint not null")];
    let other_key = connection.table(declared("orders", &columns, "n", ""), &TableOptions::default(), None).unwrap();
    let error = other_key.plan(&everything(), None).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-CAPTURE");
    assert!(error.message().contains("is not read from \"_id\""), "{error:?}");
    let view = connection.table(declared("seen", &COLUMNS, "order_id", ""), &TableOptions::default(), None).unwrap();
    let error = view.plan(&everything(), None).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-CAPTURE");
    let by_cursor = TableOptions { by_cursor: true, ..TableOptions::default() };
    let view = connection.table(declared("seen", &COLUMNS, "order_id", ""), &by_cursor, None).unwrap();
    assert_eq!(view.plan(&everything(), None).await.unwrap().checkpoint.unwrap().upper, Cursor::Whole);

    let alone = Server::start_with(&["--standalone"]).await;
    alone.database("shop").await.collection("orders").insert_one(order("o", 1)).await.unwrap();
    let connection = Connection::open(&MongoOptions { capture: Some(CaptureOptions::default()), ..alone.options() }).await.unwrap();
    let error = opened(&connection).plan(&everything(), None).await.unwrap_err();
    assert_eq!(error.code().name, "E-MONGO-CAPTURE");
    assert!(error.message().contains("replica set"), "{error:?}");
}

/// Lets the server answer a command once with an error.
async fn fail_once(server: &Server, command: &str, code: i32) {
    let fail = doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {"failCommands": [command], "errorCode": code}};
    server.database("admin").await.run_command(fail).await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_too_short_is_an_error_or_a_whole_reading() {
    const CHANGE_STREAM_HISTORY_LOST: i32 = 286;
    let server = Server::start_with(&["--enable-test-commands"]).await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..10).map(|n| order(&format!("o{n}"), n))).await.unwrap();
    for reread_when_lost in [false, true] {
        let connection = connection(&server, CaptureOptions { reread_when_lost, ..CaptureOptions::default() }).await;
        let extractor = opened(&connection);
        let mut table = Table::new();
        let (_, after) = applied(&*extractor, None, &mut table).await;
        orders.update_many(doc! {}, doc! {"$inc": {"n": 1_i64}}).await.unwrap();
        fail_once(&server, "aggregate", CHANGE_STREAM_HISTORY_LOST).await;
        if reread_when_lost {
            let (plan, _) = applied(&*extractor, Some(&after), &mut table).await;
            assert!(!plan.is_changes && plan.summary.contains("does not reach back"), "{plan:?}");
            assert_eq!(table, expected(&orders).await);
        } else {
            let error = extractor.plan(&everything(), Some(&after)).await.unwrap_err();
            assert_eq!(error.code().name, "E-MONGO-HISTORY");
            assert!(!error.kind().is_worth_retrying() && error.remedy().contains("--full-refresh"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_state_that_the_server_does_not_keep_is_read_as_it_is_now() {
    const SNAPSHOT_TOO_OLD: i32 = 239;
    let server = Server::start_with(&["--enable-test-commands"]).await;
    let orders = server.database("shop").await.collection("orders");
    orders.insert_many((0..10).map(|n| order(&format!("o{n}"), n))).await.unwrap();
    let connection = connection(&server, CaptureOptions::default()).await;
    let extractor = opened(&connection);
    assert!(extractor.cut().await.unwrap().unwrap().place.starts_with("cluster time "));
    let plan = extractor.plan(&everything(), None).await.unwrap();
    fail_once(&server, "find", SNAPSHOT_TOO_OLD).await;
    let error = extractor.read(&plan.slices[0], &Quarantine::new()).await.err().unwrap();
    assert!(error.code().name == "E-MONGO-LOST" && error.kind().is_worth_retrying(), "{error:?}");
    let mut table = Table::new();
    applied(&*extractor, None, &mut table).await;
    assert_eq!(table, expected(&orders).await);
}

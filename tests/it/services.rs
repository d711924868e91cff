//! The servers of the harness start, answer, and are gone afterwards.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use bson::doc;
use pipeline_tests::{FaultProxy, Mongo, OtlpReceiver, Postgres, RedshiftDouble, S3, SpanStatus, keeper, place};
use serde_json::json;

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn postgres_answers_and_is_gone() {
    let postgres = Postgres::start();
    postgres.create_database("platform");
    postgres.execute("platform", "CREATE TABLE t (id int PRIMARY KEY, amount numeric(12,2)); INSERT INTO t VALUES (1, 10.50), (2, NULL)");
    assert_eq!(postgres.execute("platform", "SELECT sum(amount) FROM t"), "10.50");
    assert_eq!(postgres.rows("platform", "SELECT * FROM t ORDER BY id")[0]["amount"].to_string(), "10.50");
    assert_eq!(postgres.execute("platform", "SHOW wal_level"), "logical");
    // A commit is visible to logical decoding at once.
    postgres.execute("platform", "SELECT pg_create_logical_replication_slot('changes', 'test_decoding'); INSERT INTO t VALUES (3, 1)");
    assert!(postgres.execute("platform", "SELECT data FROM pg_logical_slot_peek_changes('changes', NULL, NULL)").contains("INSERT"));
    let refused = postgres.try_execute("platform", "SELECT * FROM missing").unwrap_err();
    assert!(refused.contains("missing"), "{refused}");
    let port = postgres.port();
    drop(postgres);
    assert!(!is_open(port));
}

#[test]
fn postgres_refuses_a_wrong_password() {
    let postgres = Postgres::start();
    let login = |url: String| Command::new(place::postgres_program("psql")).args(["-X", "-c", "SELECT 1", &url]).output().unwrap();
    assert!(login(postgres.url("postgres")).status.success());
    let wrong = login(postgres.url_of("pipeline", "wrong", "postgres"));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("password authentication failed"));
}

#[test]
fn mongo_answers_and_is_gone() {
    let mongo = Mongo::start();
    mongo.insert("shop", "orders", &[doc! {"_id": 1, "status": "placed"}, doc! {"_id": 2, "status": "placed"}]);
    assert_eq!(mongo.update("shop", "orders", doc! {"_id": 2}, doc! {"$set": {"status": "delivered"}}), 1);
    assert_eq!(mongo.delete("shop", "orders", doc! {"_id": 1}), 1);
    assert_eq!(mongo.find("shop", "orders", doc! {}), [doc! {"_id": 2, "status": "delivered"}]);
    let port = mongo.port();
    drop(mongo);
    assert!(!is_open(port));
}

#[test]
fn mongo_asks_for_a_password() {
    let mongo = Mongo::start_with_authentication();
    mongo.create_user("loader", "secret", "shop", "read");
    mongo.insert("shop", "orders", &[doc! {"_id": 1}]);
    // With a client that is not ours: the answer of the server counts, not the driver's wording.
    let script =
        "import pymongo, sys\nprint(len(list(pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=5000).shop.orders.find())))";
    let find = |url: String| Command::new(place::service("python")).args(["-c", script, &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&find(mongo.url_of("loader", "secret")).stdout).trim(), "1");
    let wrong = find(mongo.url_of("loader", "wrong"));
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("'code': 18"), "{wrong:?}");
}

#[test]
fn s3_answers_and_is_gone() {
    let s3 = S3::start();
    s3.create_bucket("lake");
    for number in 0..3 {
        s3.put("lake", &format!("landing/a b/{number}&.parquet"), vec![b'x'; number]);
    }
    s3.put("lake", "other", b"y".to_vec());
    let listed: Vec<(String, u64)> = s3.list("lake", "landing/").into_iter().map(|object| (object.key, object.bytes)).collect();
    assert_eq!(
        listed,
        [("landing/a b/0&.parquet".to_owned(), 0), ("landing/a b/1&.parquet".to_owned(), 1), ("landing/a b/2&.parquet".to_owned(), 2)]
    );
    assert_eq!(s3.get("lake", "other"), b"y");
    s3.delete("lake", "other");
    assert_eq!(s3.list("lake", "").len(), 3);
    assert_eq!(s3.unfinished_uploads("lake"), Vec::<String>::new());

    // With a client that is not ours: who may what, and that a missing bucket is missing.
    let script = "import boto3, sys
from botocore.config import Config
s3 = boto3.client('s3', endpoint_url=sys.argv[1], config=Config(s3={'addressing_style': 'path'}))
def code(call):
    try:
        call()
        return 'done'
    except s3.exceptions.ClientError as error:
        return error.response['Error']['Code']
print(code(lambda: s3.get_object(Bucket='lake', Key='landing/a b/1&.parquet')))
print(code(lambda: s3.put_object(Bucket='lake', Key='new', Body=b'')))
print(code(lambda: s3.get_object(Bucket='missing', Key='new')))
print(code(lambda: s3.create_multipart_upload(Bucket='lake', Key='begun')))";
    let run = |credentials: &pipeline_tests::Credentials| {
        let mut command = Command::new(place::service("python"));
        command
            .args(["-c", script, &s3.endpoint()])
            .envs(credentials.environment())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", keeper::root());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(run(s3.owner()), ["done", "done", "NoSuchBucket", "done"]);
    let reader = run(s3.reader());
    assert_eq!((reader[0].as_str(), reader[1].as_str(), reader[3].as_str()), ("done", "AccessDenied", "AccessDenied"));
    assert_eq!(s3.unfinished_uploads("lake"), ["begun"]);

    let port: u16 = s3.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    assert!(is_open(port));
    drop(s3);
    assert!(!is_open(port));
}

#[test]
fn two_s3_servers_run_side_by_side() {
    let (first, second) = (S3::start(), S3::start());
    first.create_bucket("lake");
    first.put("lake", "key", b"x".to_vec());
    second.create_bucket("lake");
    assert_eq!(second.list("lake", ""), []);
}

#[test]
fn the_redshift_double_answers_and_is_gone() {
    let s3 = S3::start();
    let double = RedshiftDouble::start(&s3);
    let rows = double.query("dev", "SELECT 1 AS one, CAST(2.50 AS DECIMAL(10,2)) AS money, CAST(NULL AS INTEGER) AS nothing");
    assert_eq!(json!(rows), json!([{"one": 1, "money": "2.50", "nothing": null}]));
    assert!(double.try_query("dev", "SELECT * FROM missing").unwrap_err().contains("missing"));
    assert!(double.calls().to_string().contains("ExecuteStatement"));
    let port: u16 = double.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let behind = double.postgres().port();
    drop(double);
    assert!(!is_open(port) && !is_open(behind));
}

#[test]
fn spans_arrive() {
    let receiver = OtlpReceiver::start();
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "pipeline"}}]},
        "scopeSpans": [{"spans": [
            {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "statement", "kind": 1,
             "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
             "attributes": [{"key": "rows", "value": {"intValue": "3"}}], "status": {"code": 2, "message": "failed"}},
        ]}],
    }]});
    let agent = ureq::Agent::new_with_defaults();
    agent.post(format!("{}/v1/traces", receiver.endpoint())).content_type("application/json").send(body.to_string()).unwrap();
    let spans = receiver.spans_with("statement");
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].status, spans[0].status_message.as_str()), (SpanStatus::Error, "failed"));
    assert_eq!(spans[0].attributes["rows"], "3");
    assert_eq!(spans[0].resource["service.name"], "pipeline");
}

#[test]
fn a_proxy_stands_between() {
    let mongo = Mongo::start();
    let proxy = FaultProxy::start(mongo.port());
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    proxy.cut_after(0);
    // A ping as OP_MSG: header (length, id, answer to, code 2013), flags, section 0, the document.
    let document = bson::serialize_to_vec(&doc! {"ping": 1, "$db": "admin"}).unwrap();
    let length = i32::try_from(21 + document.len()).unwrap();
    let mut message = Vec::new();
    for number in [length, 1, 0, 2013, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    std::io::Write::write_all(&mut stream, &message).unwrap();
    let mut answer = Vec::new();
    drop(std::io::Read::read_to_end(&mut stream, &mut answer));
    assert_eq!(answer, b"", "the answer was to be lost");
    assert_eq!(mongo.command("admin", doc! {"ping": 1}).get_f64("ok").unwrap(), 1.0);
}

/// The second half of [`a_process_that_is_killed_leaves_nothing`]: a process that starts servers and is killed.
#[test]
#[ignore = "started by a_process_that_is_killed_leaves_nothing"]
fn starts_servers_and_waits_to_be_killed() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    let ready = PathBuf::from(place::environment("PIPELINE_TESTS_READY").unwrap());
    let text = format!("{}\n{}\n{}", postgres.port(), mongo.port(), keeper::root().display());
    std::fs::write(ready.with_extension("new"), text).unwrap();
    std::fs::rename(ready.with_extension("new"), &ready).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(120));
}

#[test]
fn a_process_that_is_killed_leaves_nothing() {
    let ready = keeper::folder("ready").join("ports");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "services::starts_servers_and_waits_to_be_killed", "--ignored"])
        .env("PIPELINE_TESTS_READY", &ready)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |condition: &mut dyn FnMut() -> bool| {
        (0..2_400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(25));
            condition()
        })
    };
    assert!(wait_for(&mut || ready.is_file()), "its servers did not start");
    let text = std::fs::read_to_string(&ready).unwrap();
    let mut lines = text.lines();
    let ports: Vec<u16> = lines.by_ref().take(2).map(|line| line.parse().unwrap()).collect();
    let root = PathBuf::from(lines.next().unwrap());
    assert!(ports.iter().all(|port| is_open(*port)) && root.is_dir());
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(wait_for(&mut || ports.iter().all(|port| !is_open(*port)) && !root.exists()), "servers or files are left");
}

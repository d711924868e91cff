//! The Redshift double.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Method;

use crate::project::Row;
use crate::server::{Server, StartError, start};
use crate::{Postgres, S3, http, keeper, place};

/// No statement of a test takes so long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// `redshift-double`: the Redshift Data API's protocol over a PostgreSQL server of its own and an S3 server of the harness.
/// What it refuses and what it cannot show is in `tests/doubles/redshift/README.md`.
#[derive(Debug)]
pub struct RedshiftDouble {
    endpoint: String,
    // Before its PostgreSQL, so that it ends first.
    _server: Server,
    postgres: Postgres,
}

impl RedshiftDouble {
    /// Starts the double; COPY reads from this S3 server.
    ///
    /// # Panics
    /// If it is not built or does not start.
    #[must_use]
    pub fn start(s3: &S3) -> Self {
        let postgres = Postgres::start();
        let (server, endpoint) = start(|| Self::attempt(s3, &postgres));
        Self { endpoint, _server: server, postgres }
    }

    fn attempt(s3: &S3, postgres: &Postgres) -> Result<(Server, String), StartError> {
        let folder = keeper::folder("redshift");
        let mut command = Command::new(place::program("redshift-double"));
        command
            .args(["--listen", "127.0.0.1:0", "--s3-endpoint", &s3.endpoint(), "--postgres", &postgres.url("postgres")])
            .envs(s3.owner().environment())
            .env("TMPDIR", &folder)
            .current_dir(&folder);
        let server = Server::spawn("redshift", "TERM", &folder, &mut command);
        let log = folder.join("redshift.log");
        let listening = || {
            let text = std::fs::read_to_string(&log).ok()?;
            // The line is there once its end is.
            let (_, rest) = text.split_once("listening on ")?;
            rest.split_once('\n').map(|(url, _)| url.trim().to_owned())
        };
        server.ready(listening)
    }

    /// The URL that the Data API's client is given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The PostgreSQL server behind.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Arms faults: a list of one-shot faults as the double's README describes.
    ///
    /// # Panics
    /// If the double refuses them.
    pub fn fail(&self, faults: &Value) {
        self.own(Method::POST, "/_double/faults", faults.to_string().into_bytes());
    }

    /// How often each operation was called, and the statements received.
    ///
    /// # Panics
    /// If the double does not answer.
    #[must_use]
    pub fn calls(&self) -> Value {
        serde_json::from_str(&self.own(Method::GET, "/_double/calls", Vec::new())).expect("the double answers in JSON")
    }

    /// Forgets faults and counts.
    ///
    /// # Panics
    /// If the double does not answer.
    pub fn reset(&self) {
        self.own(Method::POST, "/_double/reset", Vec::new());
    }

    fn own(&self, method: Method, path: &str, body: Vec<u8>) -> String {
        let url = format!("{}{path}", self.endpoint);
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        let answer = http::send(method, &url, &headers, body).unwrap_or_else(|error| panic!("the Redshift double did not answer: {error}"));
        assert!(
            (200..300).contains(&answer.status),
            "the Redshift double refused \"{path}\" with status {}: {}",
            answer.status,
            answer.text()
        );
        answer.text()
    }

    /// The rows of a statement, through the Data API, in its types: decimals, dates and times are text.
    ///
    /// # Panics
    /// With the statement's error.
    #[must_use]
    pub fn query(&self, database: &str, sql: &str) -> Vec<Row> {
        self.try_query(database, sql).unwrap_or_else(|error| panic!("statement failed on the Redshift double: {error}"))
    }

    /// Like [`Self::query`].
    ///
    /// # Errors
    /// The statement's error.
    ///
    /// # Panics
    /// If the double does not keep the protocol.
    pub fn try_query(&self, database: &str, sql: &str) -> Result<Vec<Row>, String> {
        let submitted = self.data_api("ExecuteStatement", &json!({"WorkgroupName": "harness", "Database": database, "Sql": sql}))?;
        let id = submitted["Id"].as_str().expect("ExecuteStatement answers with an id").to_owned();
        let deadline = Instant::now() + STATEMENT_TIMEOUT;
        let finished = loop {
            let state = self.data_api("DescribeStatement", &json!({"Id": id}))?;
            match state["Status"].as_str() {
                Some("FINISHED") => break state,
                Some("FAILED" | "ABORTED") => return Err(state["Error"].as_str().unwrap_or("aborted").to_owned()),
                _ if Instant::now() > deadline => return Err(format!("it did not end within {STATEMENT_TIMEOUT:?}")),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if finished["HasResultSet"] != json!(true) {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        let mut token = Value::Null;
        loop {
            let page = self
                .data_api("GetStatementResult", &if token.is_null() { json!({"Id": id}) } else { json!({"Id": id, "NextToken": token}) })?;
            let names: Vec<&str> = list(&page["ColumnMetadata"]).iter().filter_map(|column| column["name"].as_str()).collect();
            for record in list(&page["Records"]) {
                rows.push(names.iter().zip(list(record)).map(|(name, field)| ((*name).to_owned(), plain(field))).collect());
            }
            token = page["NextToken"].clone();
            if token.is_null() {
                return Ok(rows);
            }
        }
    }

    fn data_api(&self, operation: &str, request: &Value) -> Result<Value, String> {
        let headers = [
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("RedshiftData.{operation}")),
            // The double wants a signature to be there, and does not verify it.
            (
                "authorization".to_owned(),
                "AWS4-HMAC-SHA256 Credential=HARNESS/20250101/us-east-1/redshift-data/aws4_request, SignedHeaders=host, Signature=0"
                    .to_owned(),
            ),
        ];
        let answer = http::send(Method::POST, &self.endpoint, &headers, request.to_string().into_bytes())?;
        if answer.status == 200 { serde_json::from_slice(&answer.body).map_err(|error| error.to_string()) } else { Err(answer.text()) }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The value of a `Field` of the Data API, which is an object with one entry named by type.
fn plain(field: &Value) -> Value {
    match field.as_object().and_then(|object| object.iter().next()) {
        Some((kind, _)) if kind == "isNull" => Value::Null,
        Some((_, value)) => value.clone(),
        None => Value::Null,
    }
}

//! Starts the servers once for all tests, and speaks the protocol without a client library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{ClientOptions, ObjectStoreExt};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "lake";
pub(crate) const FOREIGN_BUCKET: &str = "elsewhere";
pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/load";
const ACCESS_KEY: &str = "ACCESSKEYOFTHETESTS0";
const SECRET_KEY: &str = "secret-key-of-the-tests";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The shell that runs a server until this process, however it ends, no longer holds the shell's standard input.
const WATCH: &str = r#"exec 3<&0; "$@" 0</dev/null 3<&- & child=$!; trap '' TERM; (cat <&3 >/dev/null; kill -TERM $child 2>/dev/null; sleep 10; kill -KILL $child 2>/dev/null) & wait $child"#;

struct Watched {
    _shell: Child,
    _input: ChildStdin,
}

fn watch(program: &Path, arguments: &[String], folder: &Path, environment: &[(&str, &str)]) -> Watched {
    let output = std::fs::File::create(folder.join("output")).unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", WATCH, "watch"])
        .arg(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let input = shell.stdin.take().unwrap();
    Watched { _shell: shell, _input: input }
}

/// A program of the tests' services.
pub(crate) fn service(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the services are is told from outside")]
    let folder = std::env::var("PIPELINE_SERVICES_BIN")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.services/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "the program \"{name}\" is not in \"{}\": run tests/services.sh, or set PIPELINE_SERVICES_BIN",
        folder.display()
    );
    path
}

/// A free port whose sum with 10000 is free as well: the S3 server takes both.
fn port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn wait_for<T>(what: &str, folder: &Path, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            started.elapsed() < START_TIMEOUT,
            "{what} did not start: {}",
            std::fs::read_to_string(folder.join("output")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The S3 server and one double for all tests that need no double of their own.
pub(crate) struct Servers {
    pub(crate) s3: String,
    store: AmazonS3,
    runtime: tokio::runtime::Runtime,
    _weed: Watched,
    _folder: TempDir,
}

pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(Servers::start)
}

impl Servers {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let identity = json!({ "name": "tests", "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }], "actions": ["Admin", "Read", "Write", "List", "Tagging"] });
        std::fs::write(folder.path().join("s3.json"), json!({ "identities": [identity] }).to_string()).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let [s3, master, volume, filer, admin] = std::array::from_fn(|_| port());
        let arguments = format!(
            "mini -dir=data -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port={s3} -s3.config=s3.json -master.port={master} -volume.port={volume} -filer.port={filer} -admin.port={admin} \
             -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false -master.telemetry=false -master.volumeSizeLimitMB=128"
        );
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let weed = watch(&service("weed"), &arguments, folder.path(), &[("GOMEMLIMIT", "400MiB")]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let endpoint = format!("http://127.0.0.1:{s3}");
        let store = store(&endpoint, BUCKET);
        // A bucket is a folder of the server's file system. Ready is when an object can be written.
        wait_for("the S3 server", folder.path(), || {
            for bucket in [BUCKET, FOREIGN_BUCKET] {
                http(&format!("127.0.0.1:{filer}"), "POST", &format!("/buckets/{bucket}/"), &[], "").ok()?;
            }
            runtime.block_on(store.put(&ObjectPath::from("ready"), vec![1_u8].into())).ok()
        });
        Self { s3: endpoint, store, runtime, _weed: weed, _folder: folder }
    }

    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) {
        self.runtime.block_on(self.store.put(&ObjectPath::parse(key).unwrap(), bytes.into())).unwrap();
    }
}

fn store(endpoint: &str, bucket: &str) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .build()
        .unwrap()
}

/// One HTTP exchange. An error: the connection ended without a response.
pub(crate) fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).map_err(|error| error.to_string())?;
    let response = String::from_utf8(response).map_err(|error| error.to_string())?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("no response")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

/// A running double.
pub(crate) struct Double {
    pub(crate) address: String,
    _process: Watched,
    _folder: TempDir,
}

/// The double of all tests that arm no faults.
pub(crate) fn double() -> &'static Double {
    static DOUBLE: OnceLock<Double> = OnceLock::new();
    DOUBLE.get_or_init(|| Double::start(&["--foreign-bucket", FOREIGN_BUCKET, "--iam-role", ROLE]))
}

/// A schema of one test's own.
pub(crate) fn schema(double: &Double) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let schema = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
    double.run(&format!("create schema {schema}")).unwrap();
    schema
}

/// A statement's rows as JSON values; NULL is null.
pub(crate) type Rows = Vec<Vec<Value>>;

impl Double {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let all: Vec<String> = ["--listen", "127.0.0.1:0", "--s3-endpoint", &servers().s3]
            .iter()
            .chain(arguments)
            .map(|argument| (*argument).to_owned())
            .collect();
        let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
        let process = watch(Path::new(env!("CARGO_BIN_EXE_redshift-double")), &all, folder.path(), &keys);
        let address = wait_for("the double", folder.path(), || {
            let output = std::fs::read_to_string(folder.path().join("output")).ok()?;
            let (_, rest) = output.split_once("listening on http://")?;
            rest.split_once('\n').map(|(address, _)| address.to_owned())
        });
        Self { address, _process: process, _folder: folder }
    }

    /// One call: its status and body, or an error when no response came.
    pub(crate) fn call(&self, operation: &str, input: &Value) -> Result<(u16, Value), String> {
        let target = format!("RedshiftData.{operation}");
        let headers = [
            ("X-Amz-Target", target.as_str()),
            ("Content-Type", "application/x-amz-json-1.1"),
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/redshift-data/aws4_request, SignedHeaders=host, Signature=00",
            ),
        ];
        let (status, body) = http(&self.address, "POST", "/", &headers, &input.to_string())?;
        Ok((status, serde_json::from_str(&body).map_err(|error| error.to_string())?))
    }

    /// A call that succeeds.
    pub(crate) fn ok(&self, operation: &str, input: &Value) -> Value {
        let (status, body) = self.call(operation, input).unwrap();
        assert_eq!(status, 200, "{operation}: {body}");
        body
    }

    /// A call that is refused: exception and message.
    pub(crate) fn refused(&self, operation: &str, input: &Value) -> (String, String) {
        let (status, body) = self.call(operation, input).unwrap();
        assert!(status >= 400, "{operation}: {body}");
        (body["__type"].as_str().unwrap().to_owned(), body["Message"].as_str().unwrap().to_owned())
    }

    /// Arms faults.
    pub(crate) fn arm(&self, faults: &Value) {
        assert_eq!(http(&self.address, "POST", "/_double/faults", &[], &faults.to_string()).unwrap().0, 200);
    }

    pub(crate) fn calls(&self) -> Value {
        serde_json::from_str(&http(&self.address, "GET", "/_double/calls", &[], "").unwrap().1).unwrap()
    }

    /// Waits for a statement's end and describes it.
    pub(crate) fn ended(&self, id: &Value) -> Value {
        loop {
            let described = self.ok("DescribeStatement", &json!({ "Id": id, "WaitTimeSeconds": 30 }));
            if ["FINISHED", "FAILED", "ABORTED"].contains(&described["Status"].as_str().unwrap()) {
                return described;
            }
        }
    }

    /// Runs a statement on a connection of its own: its description.
    pub(crate) fn execute(&self, sql: &str) -> Value {
        self.ended(&self.ok("ExecuteStatement", &target(json!({ "Sql": sql })))["Id"])
    }

    /// Runs a statement: the rows affected, or its error.
    pub(crate) fn run(&self, sql: &str) -> Result<i64, String> {
        // PostgreSQL's serializable transactions sometimes take statements of tests beside for a conflict, and so may Redshift's: clients try again.
        const TRIES_MAX: usize = 5;
        let mut tried = 1;
        loop {
            match outcome(&self.execute(sql)) {
                Err(error) if error.contains("ERROR: 1023") && tried < TRIES_MAX => tried += 1,
                other => return other,
            }
        }
    }

    /// A statement's error.
    pub(crate) fn error(&self, sql: &str) -> String {
        match self.run(sql) {
            Err(error) => error,
            Ok(_) => panic!("should have been refused: {sql}"),
        }
    }

    /// A query's rows.
    pub(crate) fn rows(&self, sql: &str) -> Rows {
        let described = self.execute(sql);
        assert_eq!(described["Status"], "FINISHED", "{sql}: {described}");
        self.result(described["Id"].as_str().unwrap())
    }

    /// A query's only value.
    pub(crate) fn value(&self, sql: &str) -> Value {
        self.rows(sql)[0][0].clone()
    }

    /// A statement's result, all pages of it.
    pub(crate) fn result(&self, id: &str) -> Rows {
        let mut rows = Rows::new();
        let mut token = Value::Null;
        loop {
            let mut input = json!({ "Id": id });
            if !token.is_null() {
                input["NextToken"] = token;
            }
            let page = self.ok("GetStatementResult", &input);
            for record in page["Records"].as_array().unwrap() {
                rows.push(record.as_array().unwrap().iter().map(plain).collect());
            }
            token = page["NextToken"].clone();
            if token.is_null() {
                return rows;
            }
        }
    }

    /// Runs a batch as one transaction: its description.
    pub(crate) fn batch(&self, statements: &[&str]) -> Value {
        self.ended(&self.ok("BatchExecuteStatement", &target(json!({ "Sqls": statements })))["Id"])
    }
}

fn plain(field: &Value) -> Value {
    if field["isNull"] == json!(true) { Value::Null } else { field.as_object().unwrap().values().next().unwrap().clone() }
}

/// Adds the target.
pub(crate) fn target(mut input: Value) -> Value {
    input["ClusterIdentifier"] = json!("cluster");
    input["Database"] = json!("dev");
    input
}

/// The rows affected, or the error.
pub(crate) fn outcome(described: &Value) -> Result<i64, String> {
    match described["Status"].as_str() {
        Some("FINISHED") => Ok(described["ResultRows"].as_i64().unwrap_or(-1)),
        _ => Err(described["Error"].as_str().unwrap_or("no error").to_owned()),
    }
}

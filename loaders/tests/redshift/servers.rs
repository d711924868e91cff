//! Real servers on free ports of 127.0.0.1: SeaweedFS for S3, and `redshift-double` with a PostgreSQL of its own.
//!
//! Each runs under a shell that waits for the end of its standard input, whose other end only this process holds: however the
//! process ends, the server is stopped. Programs are found in PIPELINE_SERVICES_BIN or `<repository>/.services/bin`, the double
//! beside this test's own binary.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use pipeline_loaders::s3::{AwsOptions, StaticCredentials, s3_client, sdk_config};
use tempfile::TempDir;

/// No double takes so long to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Neither does an S3 server, whose start can be tried again.
const S3_START_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the program until standard input ends, then stops it, waits, and removes its folder.
const KEEPER: &str = r#"
"$@" <&- & server=$!
read _
kill -TERM "$server"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$server" 2>/dev/null || break; sleep 0.5; done
kill -KILL "$server" 2>/dev/null
cd / && rm -rf "$FOLDER"
"#;

const KEYS: (&str, &str) = ("OWNER00000000000000A", "owner-secret");
const READER: (&str, &str) = ("READER0000000000000A", "reader-secret");

/// The bucket of all tests.
pub(crate) const BUCKET: &str = "lake";

/// The region everything claims to be in.
pub(crate) const REGION: &str = "us-east-1";

/// A port that is free now, as the one 10000 above is, where SeaweedFS listens too. Both lie below those that the system gives to
/// connections, so that only another server can take them meanwhile.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let seed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = 12_000 + seed % 10_000;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn service(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where test servers are installed is told from outside")]
    let folder = std::env::var("PIPELINE_SERVICES_BIN").map_or_else(|_| repository().join(".services/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "server \"{}\" is not installed; run `bash tests/services.sh`", path.display());
    path
}

/// A server with the shell that minds it. Dropping it ends both.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            assert!(std::thread::panicking(), "a server was left behind: {error}");
        }
    }
}

fn spawn(program: &Path, arguments: &[String], folder: &Path, environment: &[(&str, &str)]) -> Keeper {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .env("FOLDER", folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Keeper(child)
}

fn until<T>(what: &str, folder: &Path, mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(began.elapsed() < START_TIMEOUT, "{what} did not start: {}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An S3 server.
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    _folder: TempDir,
    _keeper: Keeper,
}

impl S3 {
    /// The server of all tests in this binary, with [`BUCKET`].
    pub(crate) fn get() -> &'static Self {
        // Kept too: why there is none, so that each test that wants it does not wait for it anew.
        static S3_SERVER: OnceLock<Result<S3, String>> = OnceLock::new();
        // On a thread of its own: a runtime may not be started within another.
        let server = S3_SERVER.get_or_init(|| std::thread::spawn(Self::start).join().unwrap());
        server.as_ref().unwrap_or_else(|log| panic!("the S3 server did not start: {log}"))
    }

    fn start() -> Result<Self, String> {
        // A port may be taken between the look and the start.
        Self::attempt().or_else(|_| Self::attempt())
    }

    /// The server, or what it printed.
    fn attempt() -> Result<Self, String> {
        let folder = TempDir::new().unwrap();
        let identity = |name: &str, keys: (&str, &str), actions: &[&str]| serde_json::json!({"name": name, "credentials": [{"accessKey": keys.0, "secretKey": keys.1}], "actions": actions});
        let identities = serde_json::json!({"identities": [
            identity("owner", KEYS, &["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", READER, &["Read", "List"]),
        ]});
        std::fs::write(folder.path().join("identities.json"), identities.to_string()).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let port = free_port();
        let mut arguments: Vec<String> = ["mini", "-dir=data", "-s3.config=identities.json", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
            .into_iter()
            .chain(["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"])
            .chain(["-master.telemetry=false", "-master.volumeSizeLimitMB=128"])
            .map(str::to_owned)
            .collect();
        arguments.push(format!("-s3.port={port}"));
        arguments.extend(["master", "volume", "filer", "admin"].map(|name| format!("-{name}.port={}", free_port())));
        let keeper = spawn(&service("weed"), &arguments, folder.path(), &[("GOMEMLIMIT", "400MiB"), ("WEED_S3_SSE_KEY", "any")]);
        let endpoint = format!("http://127.0.0.1:{port}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = s3_client(&runtime.block_on(sdk_config(&options(&endpoint, KEYS))));
        let began = Instant::now();
        loop {
            // Listening is not yet working: the first object needs a volume.
            let body = ByteStream::from_static(b"x");
            drop(runtime.block_on(client.create_bucket().bucket(BUCKET).send()));
            if runtime.block_on(client.put_object().bucket(BUCKET).key("ready").body(body).send()).is_ok() {
                return Ok(Self { endpoint, _folder: folder, _keeper: keeper });
            }
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            if began.elapsed() > S3_START_TIMEOUT || log.contains("not available") {
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How clients of the owner reach it.
    pub(crate) fn owner(&self) -> AwsOptions {
        options(&self.endpoint, KEYS)
    }

    /// How clients reach it that may only read.
    pub(crate) fn reader(&self) -> AwsOptions {
        options(&self.endpoint, READER)
    }
}

fn options(endpoint: &str, keys: (&str, &str)) -> AwsOptions {
    AwsOptions {
        region: Some(REGION.to_owned()),
        endpoint: Some(endpoint.to_owned()),
        credentials: Some(StaticCredentials {
            access_key_id: keys.0.to_owned(),
            secret_access_key: keys.1.to_owned(),
            session_token: None,
        }),
        profile: None,
    }
}

/// The Redshift double, with a PostgreSQL of its own.
pub(crate) struct Double {
    pub(crate) endpoint: String,
    _folder: TempDir,
    _keeper: Keeper,
}

impl Double {
    /// Starts a double that copies from the S3 server of all tests. Each test has its own, so that its counts and faults are its own.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().skip(1).take(2).map(|folder| folder.join("redshift-double")).find(|path| path.is_file());
        let program = program.expect("run `cargo build -p redshift-double` first: the loader is tried against it");
        let arguments = ["--listen", "127.0.0.1:0", "--s3-endpoint", &S3::get().endpoint].map(str::to_owned);
        let keys = [("AWS_ACCESS_KEY_ID", KEYS.0), ("AWS_SECRET_ACCESS_KEY", KEYS.1), ("AWS_REGION", REGION)];
        let keeper = spawn(&program, &arguments, folder.path(), &keys);
        let endpoint = until("the Redshift double", folder.path(), || {
            let log = std::fs::read_to_string(folder.path().join("log")).ok()?;
            let (_, rest) = log.split_once("listening on ")?;
            rest.split_once('\n').map(|(url, _)| url.trim().to_owned())
        });
        Self { endpoint, _folder: folder, _keeper: keeper }
    }

    /// Arms faults, as the double's README describes them.
    pub(crate) fn fail(&self, faults: &serde_json::Value) {
        self.own("POST", "/_double/faults", &faults.to_string());
    }

    /// What was called since the start or the last reset.
    pub(crate) fn calls(&self) -> serde_json::Value {
        serde_json::from_str(&self.own("GET", "/_double/calls", "")).unwrap()
    }

    /// Forgets faults and counts.
    pub(crate) fn reset(&self) {
        self.own("POST", "/_double/reset", "");
    }

    fn own(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "the double refuses {path}: {answer}");
        body.to_owned()
    }
}

//! A MongoDB server of a test's own: on a free port of 127.0.0.1, gone when it is dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::{Client, Database};
use pipeline_extractors::mongodb::MongoOptions;

/// How long a server may take until it answers, on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// Attempts at finding a port that nobody else takes between looking and starting.
const PORTS_TRIED_MAX: u32 = 3;

/// A running server.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    /// A server that keeps nothing.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server that keeps nothing, started with more arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        Self::try_start(":memory:", arguments, None).await
    }

    /// A server that knows the user `reader` with the password `right`, who may read the database `shop`.
    pub(crate) async fn start_with_user() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().to_str().unwrap().to_owned();
        let open = Self::try_start(&storage, &[], None).await;
        open.database("shop")
            .await
            .run_command(doc! {"createUser": "reader", "pwd": "right", "roles": [{"role": "read", "db": "shop"}]})
            .await
            .unwrap();
        drop(open);
        Self::try_start(&storage, &["--auth"], Some(folder)).await
    }

    async fn try_start(storage: &str, arguments: &[&str], folder: Option<tempfile::TempDir>) -> Self {
        for _ in 0..PORTS_TRIED_MAX {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new(services().join("secantusd-py"));
            command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--storage-path", storage, "--log-level", "ERROR"]);
            command.args(arguments);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let mut server = Self { child, port, _folder: None };
            if server.is_ready().await {
                server._folder = folder;
                return server;
            }
        }
        panic!("no MongoDB server came up");
    }

    async fn is_ready(&mut self) -> bool {
        let client = Client::with_uri_str(format!("mongodb://127.0.0.1:{}/?serverSelectionTimeoutMS=500&directConnection=true", self.port))
            .await
            .unwrap();
        let begin = Instant::now();
        while begin.elapsed() < READY_MAX {
            if client.database("admin").run_command(doc! {"ping": 1}).await.is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// How the source under test finds it.
    pub(crate) fn options(&self) -> MongoOptions {
        MongoOptions { database: Some("shop".to_owned()), ..MongoOptions::new(self.url("")) }
    }

    /// Its connection string; `user` is empty or ends with `@`.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("mongodb://{user}127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// A database, as the test fills it.
    pub(crate) async fn database(&self, name: &str) -> Database {
        Client::with_uri_str(self.url("")).await.unwrap().database(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that what it has stored is complete; then not asked any more.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().is_ok();
        let begin = Instant::now();
        while asked && begin.elapsed() < Duration::from_secs(5) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The folder with the servers' programs.
fn services() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the test services are is told by the environment")]
    let folder = std::env::var("PIPELINE_SERVICES_BIN").ok().map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".services/bin"));
    assert!(folder.join("secantusd-py").exists(), "no secantusd-py in {}: run tests/services.sh", folder.display());
    folder
}

//! A PostgreSQL server of a test's own: on a free port of 127.0.0.1, gone when it is dropped.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use futures::TryStreamExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

/// Attempts at finding a port that nobody else takes between looking and starting.
const PORTS_TRIED_MAX: u32 = 3;

/// The superuser's password.
pub(crate) const PASSWORD: &str = "right";

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

/// A program of PostgreSQL: of the newest version that Debian's packages installed, or of the `PATH`.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name)).filter(|path| path.is_file()))
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

/// PostgreSQL refuses to run as root: then it runs as the user that its packages make.
fn command(program: &Path, folder: &Path) -> Command {
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"));
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    pub(crate) fn start() -> Self {
        (0..PORTS_TRIED_MAX).find_map(|_| Self::try_start()).expect("one of several free ports is still free")
    }

    /// None if the port that was free has been taken meanwhile.
    fn try_start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        // Only root needs to give the folder away, and only root can.
        Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).stderr(Stdio::null()).status().unwrap();
        let data = folder.path().join("data");
        let mut initialize = command(&program("initdb"), folder.path());
        initialize
            .arg("-D")
            .arg(&data)
            .args(["-U", "owner", "--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile"])
            .arg(&password);
        assert!(initialize.status().unwrap().success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder, port };
        server.control("start").then_some(server)
    }

    /// A standby of this server, which replays what happens here.
    pub(crate) fn standby(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).stderr(Stdio::null()).status().unwrap();
        let mut copy = command(&program("pg_basebackup"), folder.path());
        copy.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", "owner", "-p", &self.port.to_string(), "-R", "-c", "fast", "-D"]);
        assert!(copy.arg(folder.path().join("data")).status().unwrap().success(), "pg_basebackup failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let standby = Self { folder, port };
        assert!(standby.control("start"), "the standby did not start");
        standby
    }

    /// Starts or stops the server.
    pub(crate) fn control(&self, action: &str) -> bool {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off", self.port);
        let mut control = command(&program("pg_ctl"), self.folder.path());
        control
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-w", "-m", "immediate", "-o", &options, "-l"])
            .arg(self.folder.path().join("log"));
        control.arg(action).status().unwrap().success()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("owner", PASSWORD)
    }

    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        self.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control("stop");
    }
}

/// Executes statements.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The first column of the first row, as text.
pub(crate) async fn text_of(connection: &mut PgConnection, sql: &str) -> String {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get_unchecked(0)
}

/// All of a query's rows in COPY's binary format.
pub(crate) async fn copied(connection: &mut PgConnection, query: &str) -> Vec<u8> {
    let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let stream = connection.copy_out_raw(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    let chunks: Vec<_> = stream.try_collect().await.unwrap();
    chunks.concat()
}

//! A PostgreSQL server of the double's own: made, started, and stopped with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The superuser the double connects as; Redshift's default administrator name.
const USER: &str = "awsuser";
/// Where Debian keeps servers, one folder a version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// How long a start may take.
const START_TRIES_MAX: u32 = 150;
const START_PAUSE: Duration = Duration::from_millis(100);
/// How long a stop may take before the process is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Why no server runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("PostgreSQL's programs are in neither PATH nor {DEBIAN_FOLDER}: install postgresql-15 or give --postgres")]
    Missing,
    #[error("the data folder \"{path}\" cannot be used: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the program \"{program}\" cannot be run: {source}")]
    Run { program: String, source: std::io::Error },
    #[error("initdb failed:\n{output}")]
    Initdb { output: String },
    #[error("PostgreSQL did not start; the end of its log:\n{log}")]
    Start { log: String },
    #[error("PostgreSQL refuses root, and there is no user \"postgres\" to run it as")]
    Root,
}

/// A running server.
pub(crate) struct Server {
    process: Child,
    programs: PathBuf,
    data: PathBuf,
    account: Option<Account>,
    /// Removed with the server, unless the user named a folder.
    _folder: Option<TempDir>,
    options: PgConnectOptions,
}

/// The system's user that runs the server when the double is root's.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1, with its data in `data_dir` or a folder of its own.
    pub(crate) async fn start(data_dir: Option<PathBuf>) -> Result<Self, ServerError> {
        let programs = programs().ok_or(ServerError::Missing)?;
        let account = account().await?;
        let (folder, home) = match data_dir {
            Some(path) => {
                std::fs::create_dir_all(&path).map_err(|source| ServerError::Folder { path: path.clone(), source })?;
                (None, path)
            }
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("redshift-double-")
                    .tempdir()
                    .map_err(|source| ServerError::Folder { path: std::env::temp_dir(), source })?;
                let path = folder.path().to_owned();
                (Some(folder), path)
            }
        };
        own(&home, account)?;
        let data = home.join("data");
        let password_file = home.join("password");
        if !data.join("PG_VERSION").exists() {
            let password = uuid::Uuid::now_v7().simple().to_string();
            write_private(&password_file, &password, account)?;
            initdb(&programs, &data, &password_file, account).await?;
        }
        let password =
            std::fs::read_to_string(&password_file).map_err(|source| ServerError::Folder { path: password_file.clone(), source })?;
        let port = free_port().map_err(|source| ServerError::Run { program: "postgres".to_owned(), source })?;
        let log = home.join("log");
        let process = spawn(&programs, &data, &log, port, account)?;
        let options =
            PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).username(USER).password(&password).database("postgres");
        let mut server = Self { process, programs, data, account, _folder: folder, options };
        server.wait_until_ready(&log).await?;
        Ok(server)
    }

    /// How the double connects.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<(), ServerError> {
        for _ in 0..START_TRIES_MAX {
            if self.options.connect().await.is_ok() {
                return Ok(());
            }
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            tokio::time::sleep(START_PAUSE).await;
        }
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(10).collect();
        Err(ServerError::Start { log: last.into_iter().rev().collect::<Vec<_>>().join("\n") })
    }

    /// Stops the server: clients are disconnected, what is committed is kept.
    pub(crate) async fn stop(mut self) {
        let mut stop = command(&self.programs.join("pg_ctl"), self.account);
        stop.arg("stop").arg("-D").arg(&self.data).args(["-m", "fast", "-W", "-s"]);
        if let Err(error) = stop.status().await {
            tracing::warn!(%error, "pg_ctl could not be run");
        }
        if tokio::time::timeout(STOP_PATIENCE, self.process.wait()).await.is_err()
            && let Err(error) = self.process.kill().await
        {
            tracing::warn!(%error, "postgres could not be killed");
        }
    }
}

/// The folder of PostgreSQL's programs: PATH first, then Debian's newest version.
fn programs() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "PATH is where programs are")]
    let path = std::env::var("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|folder| folder.join("pg_ctl").is_file() && folder.join("postgres").is_file());
    in_path.or_else(|| {
        let versions = std::fs::read_dir(DEBIAN_FOLDER).ok()?;
        let mut folders: Vec<(u32, PathBuf)> = versions
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .filter(|(_, folder): &(u32, PathBuf)| folder.join("pg_ctl").is_file())
            .collect();
        folders.sort();
        folders.pop().map(|(_, folder)| folder)
    })
}

/// Whom the server runs as: the double's own user, or `postgres` when that is root.
async fn account() -> Result<Option<Account>, ServerError> {
    if id("-u", None).await? != Some(0) {
        return Ok(None);
    }
    match (id("-u", Some("postgres")).await?, id("-g", Some("postgres")).await?) {
        (Some(user), Some(group)) => Ok(Some(Account { user, group })),
        _ => Err(ServerError::Root),
    }
}

async fn id(what: &str, user: Option<&str>) -> Result<Option<u32>, ServerError> {
    let output = Command::new("id")
        .arg(what)
        .args(user)
        .stderr(Stdio::null())
        .output()
        .await
        .map_err(|source| ServerError::Run { program: "id".to_owned(), source })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

fn own(path: &Path, account: Option<Account>) -> Result<(), ServerError> {
    let Some(account) = account else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(account.user), Some(account.group))
        .map_err(|source| ServerError::Folder { path: path.to_owned(), source })
}

fn write_private(path: &Path, text: &str, account: Option<Account>) -> Result<(), ServerError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failure = |source| ServerError::Folder { path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failure)?;
    file.write_all(text.as_bytes()).map_err(failure)?;
    own(path, account)
}

fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

async fn initdb(programs: &Path, data: &Path, password_file: &Path, account: Option<Account>) -> Result<(), ServerError> {
    let mut initdb = command(&programs.join("initdb"), account);
    initdb.arg("-D").arg(data).args(["-U", USER, "--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]);
    initdb.arg(format!("--pwfile={}", password_file.display()));
    let output = initdb.output().await.map_err(|source| ServerError::Run { program: "initdb".to_owned(), source })?;
    if output.status.success() { Ok(()) } else { Err(ServerError::Initdb { output: String::from_utf8_lossy(&output.stderr).into_owned() }) }
}

/// Starts the server so that it stops when the double dies, where the system has `setpriv` for that. To be called on
/// the main thread: the signal comes with the end of the thread that started the process.
fn spawn(programs: &Path, data: &Path, log: &Path, port: u16, account: Option<Account>) -> Result<Child, ServerError> {
    let failure = |source| ServerError::Run { program: "postgres".to_owned(), source };
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(failure)?;
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut postgres = if setpriv.is_file() {
        let mut wrapped = Command::new(setpriv);
        wrapped.current_dir("/").stdin(Stdio::null()).args(["--pdeathsig", "INT"]);
        if let Some(account) = account {
            wrapped.args(["--reuid", &account.user.to_string(), "--regid", &account.group.to_string(), "--clear-groups"]);
        }
        wrapped.arg(programs.join("postgres"));
        wrapped
    } else {
        command(&programs.join("postgres"), account)
    };
    postgres.arg("-D").arg(data).args(["-p", &port.to_string()]);
    // Speed over safety: the data is a test's.
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "max_connections=600",
        "max_locks_per_transaction=256",
        "shared_buffers=64MB",
        "wal_level=minimal",
        "max_wal_senders=0",
    ];
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    postgres.stdout(log.try_clone().map_err(failure)?).stderr(log).kill_on_drop(true).spawn().map_err(failure)
}

fn free_port() -> std::io::Result<u16> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|address| address.port())
}

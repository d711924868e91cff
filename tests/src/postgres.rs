//! PostgreSQL.

use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::server::{Server, StartError, start};
use crate::{keeper, place, port};

/// The superuser of every server.
const USER: &str = "pipeline";

/// A PostgreSQL server with logical replication on, password authentication (SCRAM) over TCP, and nothing in it.
///
/// Data is not flushed to disk (`fsync = off`), but commits are synchronous: with `synchronous_commit = off`, logical decoding
/// would show a commit only some time later.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    // Ends last: it removes the folder.
    _server: Server,
}

impl Postgres {
    /// Starts a server.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        start(Self::attempt)
    }

    /// Starts a standby of this server, which replays what happens here. `settings` are its own, such as `max_standby_streaming_delay=1s`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn standby(&self, settings: &[&str]) -> Self {
        start(|| {
            let folder = keeper::folder("postgres");
            give_to_owner(&folder);
            let mut copy = as_owner(&place::postgres_program("pg_basebackup"));
            copy.args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string(), "-R", "-c", "fast", "-D"]).arg(folder.join("data"));
            let output = copy.env("PGPASSWORD", &TEMPLATE.password).current_dir("/").output().expect("PostgreSQL is installed");
            assert!(output.status.success(), "pg_basebackup failed:\n{}", String::from_utf8_lossy(&output.stderr));
            Self::attempt_in(&folder, settings)
        })
    }

    fn attempt() -> Result<Self, StartError> {
        let folder = keeper::folder("postgres");
        // A finished data folder is copied: making one takes a second of processor time.
        let copied = Command::new("cp").arg("-a").arg(&TEMPLATE.data).arg(folder.join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the template of PostgreSQL's data could not be copied");
        Self::attempt_in(&folder, &[])
    }

    fn attempt_in(folder: &Path, settings: &[&str]) -> Result<Self, StartError> {
        let port = port::free();
        let mut command = as_owner(&place::postgres_program("postgres"));
        command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string()).current_dir("/");
        let usual = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=64MB",
            "max_connections=60",
        ];
        for setting in usual.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        // INT is a "fast shutdown", which gives back shared memory; KILL would leave it.
        let server = Server::spawn("postgres", "INT", folder, &mut command);
        let answers = || run_script(port, "postgres", "SELECT 1").ok().map(|_| ());
        let (server, ()) = server.ready(answers)?;
        Ok(Self { port, _server: server })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's URL of a database, with the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_of(USER, &TEMPLATE.password, database)
    }

    /// A user's URL of a database.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Makes a database.
    ///
    /// # Panics
    /// If it is there already.
    pub fn create_database(&self, name: &str) {
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Executes statements as the superuser and gives what they print, a line a row, values separated by `|`.
    ///
    /// # Panics
    /// With the server's message, at the first statement that fails.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        self.try_execute(database, sql).unwrap_or_else(|message| panic!("statement failed on database \"{database}\": {message}"))
    }

    /// Like [`Self::execute`].
    ///
    /// # Errors
    /// The server's message.
    pub fn try_execute(&self, database: &str, sql: &str) -> Result<String, String> {
        run_script(self.port, database, sql)
    }

    /// The rows of one query, as PostgreSQL writes them in JSON; numbers keep every digit.
    ///
    /// # Panics
    /// With the server's message.
    #[must_use]
    pub fn rows(&self, database: &str, sql: &str) -> Vec<Map<String, Value>> {
        let text = self.execute(database, &format!("SELECT coalesce(json_agg(selected), '[]') FROM ({sql}) AS selected"));
        serde_json::from_str(&text).expect("PostgreSQL writes JSON")
    }
}

struct Template {
    data: PathBuf,
    password: String,
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let folder = keeper::folder("postgres-template");
    give_to_owner(&folder);
    let password = place::random_hex(16);
    let password_file = folder.join("password");
    std::fs::write(&password_file, &password).expect("the folder was made a moment ago");
    give_to_owner(&password_file);
    let data = folder.join("data");
    let output = as_owner(&place::postgres_program("initdb"))
        .arg("-D")
        .arg(&data)
        .args(["-U", USER, "--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile"])
        .arg(&password_file)
        .current_dir("/")
        .output()
        .unwrap_or_else(|error| panic!("initdb could not be started: {error}"));
    assert!(output.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Template { data, password }
});

/// PostgreSQL refuses to run as root: then it runs as this user, which its packages make.
const OWNER: &str = "postgres";

fn identity(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn is_root() -> bool {
    identity(&["-u"]) == Some(0)
}

pub(crate) fn as_owner(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={OWNER}")).arg(format!("--regid={OWNER}")).arg("--init-groups").arg("--").arg(program);
    command
}

pub(crate) fn give_to_owner(path: &Path) {
    if is_root() {
        let user = identity(&["-u", OWNER])
            .unwrap_or_else(|| panic!("there is no user \"{OWNER}\", which PostgreSQL runs as when root starts it"));
        chown(path, Some(user), identity(&["-g", OWNER])).expect("root may give files away");
    }
}

fn run_script(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let mut client = Command::new(place::postgres_program("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", database, "-p"])
        .arg(port.to_string())
        .env("PGPASSWORD", &TEMPLATE.password)
        .env("PGSSLMODE", "disable")
        .env("PGOPTIONS", "-c client_min_messages=warning")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = client.stdin.take().expect("it is piped");
    // A thread, because psql may print much before it has read all.
    let script = sql.to_owned();
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = client.wait_with_output().map_err(|error| error.to_string())?;
    // A client that stopped at an error has not read the rest: its message counts.
    drop(writer.join());
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

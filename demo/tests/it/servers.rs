//! Real servers: PostgreSQL takes the dump and the live rows; a server of MongoDB's protocol takes the orders.
//!
//! PostgreSQL's programs are looked for where Debian puts them and then on the path; the other server in `PIPELINE_SERVICES_BIN` and then in
//! `.services/bin`, where `tests/services.sh` installs it.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use pipeline_demo::{Error, Options, generate_to_servers};
use tempfile::TempDir;

use crate::copy_file;
use crate::support::{generate, runtime, small};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16, what: &str) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < START, "{what} did not start");
        thread::sleep(Duration::from_millis(50));
    }
}

fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

/// A PostgreSQL of its own, which ends with the test.
struct Postgres {
    directory: TempDir,
    port: u16,
}

/// PostgreSQL refuses to run as root.
fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

fn run(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn as_server_user(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Postgres {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            run({
                let mut command = Command::new("chown");
                command.arg("postgres").arg(directory.path());
                command
            });
        }
        let data = directory.path().join("data");
        let mut initialize = as_server_user(&program("initdb"));
        initialize.current_dir(directory.path()).arg("-D").arg(&data);
        initialize.args(["-U", "pipeline", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]);
        run(initialize);
        let port = free_port();
        let options =
            format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off", directory.path().display());
        let mut start = as_server_user(&program("pg_ctl"));
        start.current_dir(directory.path()).arg("-D").arg(&data).args(["-w", "-o", &options, "-l"]);
        start.arg(directory.path().join("log")).arg("start").stdout(Stdio::null()).stderr(Stdio::null());
        assert!(start.status().unwrap().success(), "PostgreSQL did not start");
        Self { directory, port }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://pipeline@127.0.0.1:{}/{database}", self.port)
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &self.url(database)]).args(arguments);
        String::from_utf8(run(command).stdout).unwrap()
    }

    /// Restores a dump's tables into a new database.
    fn restore(&self, database: &str, dump: &Path) {
        self.psql("postgres", &["-c", &format!("CREATE DATABASE {database}")]);
        let folder = dump.join("postgres");
        self.psql(database, &["-f", folder.join("schema.sql").to_str().unwrap()]);
        for table in TABLES {
            let file = folder.join(format!("{table}.copy"));
            self.psql(database, &["-c", &format!("\\copy {table} from '{}' (format binary)", file.display())]);
        }
    }

    /// A digest of everything in a table, whatever its order.
    fn digest(&self, database: &str, table: &str) -> String {
        let sql = format!("SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} t");
        self.psql(database, &["-c", &sql]).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = as_server_user(&program("pg_ctl"));
        stop.current_dir("/").arg("-D").arg(self.directory.path().join("data")).args(["-m", "immediate", "-w", "stop"]);
        stop.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}

/// A server of MongoDB's protocol that keeps everything in memory.
struct Mongo {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Mongo {
    fn start() -> Self {
        let folder = env::var_os("PIPELINE_SERVICES_BIN")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.services/bin"), PathBuf::from);
        let program = folder.join("secantusd-py");
        assert!(program.exists(), "{} is missing: run tests/services.sh first", program.display());
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        // The server ends with the thread that started it, even if that is killed.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--storage-path", ":memory:"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port, _directory: directory };
        wait_for(port, "the server of MongoDB's protocol");
        server
    }

    fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/", self.port)
    }

    /// All orders, by id.
    async fn orders(&self) -> Vec<RawDocumentBuf> {
        let client = mongodb::Client::with_uri_str(self.url()).await.unwrap();
        let orders = client.database("shop").collection::<RawDocumentBuf>("orders");
        let mut found: Vec<RawDocumentBuf> = orders.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        found.sort_by_key(|order| order.get_object_id("_id").unwrap());
        found
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

const TABLES: [&str; 9] = [
    "admin.customers",
    "admin.products",
    "admin.promotions",
    "admin.stores",
    "delivery.couriers",
    "delivery.deliveries",
    "loyalty.accounts",
    "loyalty.ledger",
    "payments.transactions",
];

/// The documents a reader of a dump ends with: the greatest `updatedAt`, then the later one.
fn latest(dump: &Path) -> Vec<RawDocumentBuf> {
    let bytes = fs::read(dump.join("mongodb/shop/orders.bson")).unwrap();
    let mut rest = bytes.as_slice();
    let mut latest = std::collections::BTreeMap::new();
    while !rest.is_empty() {
        let before = rest;
        let document = Document::from_reader(&mut rest).unwrap();
        let raw = RawDocumentBuf::from_bytes(before[..before.len() - rest.len()].to_vec()).unwrap();
        let updated = document.get_datetime("updatedAt").unwrap().timestamp_millis();
        let entry = latest.entry(document.get_object_id("_id").unwrap()).or_insert((updated, raw.clone()));
        if entry.0 <= updated {
            *entry = (updated, raw);
        }
    }
    latest.into_values().map(|(_, raw)| raw).collect()
}

#[test]
fn postgresql_restores_the_dump_and_gives_it_back() {
    let dump = tempfile::tempdir().unwrap();
    let answers = generate(&small(), dump.path());
    let server = Postgres::start();
    server.restore("restored", dump.path());
    let sums = server.psql("restored", &["-F", " ", "-c", "SELECT count(*), sum(amount), sum(fee) FROM payments.transactions"]);
    let figures = &answers.tables["platform.transactions"];
    assert_eq!(sums.trim(), format!("{} {} {}", figures.rows, figures.sums["amount"], figures.sums["fee"]));
    // What PostgreSQL writes of the rows it read is what was read, to the byte. (It keeps jsonb's keys in an order of its own, so
    // the tables with jsonb are compared without that column.)
    for table in TABLES {
        let file = dump.path().join(format!("postgres/{table}.copy"));
        let copied = dump.path().join("copied");
        server.psql("restored", &["-c", &format!("\\copy {table} to '{}' (format binary)", copied.display())]);
        let json = match table {
            "payments.transactions" => Some(10),
            "admin.stores" => Some(11),
            _ => None,
        };
        let without_json = |path: &Path| {
            let mut rows = copy_file::read(path);
            if let Some(position) = json {
                rows.iter_mut().for_each(|row| row[position] = None);
            }
            // PostgreSQL puts a short row where it finds room.
            rows.sort();
            rows
        };
        let (written, copied) = (without_json(&file), without_json(&copied));
        assert_eq!(written.len(), copied.len(), "{table}");
        for (written, copied) in written.iter().zip(&copied) {
            assert_eq!(written, copied, "{table}");
        }
    }
    let leap = "SELECT count(*) FROM admin.customers WHERE extract(month FROM birth_date) = 2 AND extract(day FROM birth_date) = 29";
    assert_ne!(server.psql("restored", &["-c", leap]).trim(), "0");
}

#[test]
fn live_servers_hold_what_the_dump_holds_and_take_the_changes() {
    let base = Options { customers: 150, days: 20, ..small() };
    let changed = Options { change_share: 0.05, customers: 150, days: 20, ..small() };
    let (dump, changed_dump) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let answers = generate(&base, dump.path());
    let changed_answers = generate(&changed, changed_dump.path());
    let postgres = Postgres::start();
    let mongo = Mongo::start();
    postgres.restore("before", dump.path());
    postgres.restore("after", changed_dump.path());
    postgres.psql("postgres", &["-c", "CREATE DATABASE live"]);
    let url = postgres.url("live");
    let runtime = runtime();
    let write = |options: &Options| runtime.block_on(generate_to_servers(options, &mongo.url(), &url, &|_| {}));

    let nothing = write(&changed).unwrap_err();
    assert!(matches!(nothing, Error::NothingToChange { kind: "collection", .. }), "{nothing}");

    let mut live = write(&base).unwrap();
    for table in TABLES {
        assert_eq!(postgres.digest("live", table), postgres.digest("before", table), "{table}");
    }
    assert_eq!(runtime.block_on(mongo.orders()), latest(dump.path()));
    // Servers hold each order once.
    let orders = live.tables.get_mut("shop.orders").unwrap();
    assert_eq!(std::mem::replace(&mut orders.duplicates, answers.tables["shop.orders"].duplicates), 0);
    assert_eq!(live, answers);

    let refused = write(&base).unwrap_err();
    assert!(matches!(refused, Error::NotEmpty { kind: "collection", .. }), "{refused}");

    // Twice: the second time changes nothing.
    for _ in 0..2 {
        write(&changed).unwrap();
        for table in TABLES {
            assert_eq!(postgres.digest("live", table), postgres.digest("after", table), "{table}");
        }
        assert_eq!(runtime.block_on(mongo.orders()), latest(changed_dump.path()));
    }
    assert!(changed_answers.tables["shop.orders"].rows > answers.tables["shop.orders"].rows);

    let replaced = Options { replace: true, ..base };
    write(&replaced).unwrap();
    for table in TABLES {
        assert_eq!(postgres.digest("live", table), postgres.digest("before", table), "{table}");
    }
    assert_eq!(runtime.block_on(mongo.orders()), latest(dump.path()));
}

#[test]
fn an_unreachable_server_is_named_without_its_address() {
    let port = free_port();
    let mongodb = format!("mongodb://someone:hidden@127.0.0.1:{port}/?serverSelectionTimeoutMS=200");
    let postgres = format!("postgres://someone:hidden@127.0.0.1:{port}/live");
    let refused = runtime().block_on(generate_to_servers(&small(), &mongodb, &postgres, &|_| {})).unwrap_err();
    assert!(matches!(refused, Error::Postgres { .. } | Error::Mongodb { .. }), "{refused}");
    let wrong = runtime().block_on(generate_to_servers(&small(), "hidden", &postgres, &|_| {})).unwrap_err();
    assert!(matches!(wrong, Error::Address { server: "MongoDB" }), "{wrong}");
    for error in [refused, wrong] {
        assert!(!format!("{error} {}", error.hint()).contains("hidden"));
    }
}

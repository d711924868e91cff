//! A server of MongoDB's protocol.

use std::path::Path;
use std::process::Command;

use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::Client;
use mongodb::options::ClientOptions;
use tokio::runtime::Runtime;

use crate::certificates::Certificates;
use crate::server::{Server, StartError, start};
use crate::{keeper, place, port};

/// SecantusDB: MongoDB's wire protocol and query language over WiredTiger, in memory, presenting itself as a replica set of one.
///
/// It is not `mongod`, so tests must not claim for MongoDB what it does differently: sessions with snapshots do not isolate,
/// a cursor sees the collection as it was when it was opened, and wire compression is never agreed on.
#[derive(Debug)]
pub struct Mongo {
    port: u16,
    url: String,
    client: Client,
    // The driver's tasks live as long as this.
    runtime: Runtime,
    _server: Server,
}

#[derive(Debug, Clone)]
struct Login {
    user: String,
    password: String,
}

impl Mongo {
    /// Starts a server that asks for no password.
    ///
    /// # Panics
    /// If the server is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        start(|| Self::attempt(&keeper::folder("mongo"), None))
    }

    /// Starts a server with SCRAM authentication, and an administrator that [`Self::url`] names. Others:
    /// [`Self::create_user`].
    ///
    /// # Panics
    /// If the server is not installed or does not start.
    #[must_use]
    pub fn start_with_authentication() -> Self {
        start(|| {
            // Users can only be made before authentication is on: a first start, on disk, for that.
            let folder = keeper::folder("mongo");
            let login = Login { user: "administrator".to_owned(), password: place::random_hex(16) };
            let kept = folder.join("first");
            std::fs::create_dir(&kept).expect("the folder was made a moment ago");
            let first = Self::attempt_at(&kept, &folder.join("data"), None, None)?;
            first.create_user(&login.user, &login.password, "admin", "root");
            drop(first);
            Self::attempt(&folder, Some(login))
        })
    }

    /// Starts a server that speaks TLS only, as `localhost`, with clients that have a certificate of the same authority.
    ///
    /// # Panics
    /// If the server is not installed or does not start.
    #[must_use]
    pub fn start_with_certificates(certificates: &Certificates) -> Self {
        start(|| Self::attempt_at(&keeper::folder("mongo"), Path::new(":memory:"), None, Some(certificates)))
    }

    fn attempt(folder: &Path, login: Option<Login>) -> Result<Self, StartError> {
        let storage = if login.is_some() { folder.join("data") } else { Path::new(":memory:").to_path_buf() };
        Self::attempt_at(folder, &storage, login, None)
    }

    fn attempt_at(folder: &Path, storage: &Path, login: Option<Login>, certificates: Option<&Certificates>) -> Result<Self, StartError> {
        let port = port::free();
        let mut command = Command::new(place::service("secantusd-py"));
        command
            .args(["--host", "127.0.0.1", "--enable-test-commands", "--cache-size", "256M", "--log-level", "WARNING", "--port"])
            .arg(port.to_string())
            .arg("--storage-path")
            .arg(storage)
            .current_dir(folder)
            // "In memory" is a temporary folder; configuration files are looked for in HOME.
            .env("TMPDIR", folder)
            .env("HOME", folder);
        if login.is_some() {
            command.arg("--auth");
        }
        if let Some(certificates) = certificates {
            command.arg("--tls-require-client-cert");
            for (option, file) in [("cert", "server.crt"), ("key", "server.key"), ("ca", "ca.crt")] {
                command.args([format!("--tls-{option}-file"), certificates.file(file)]);
            }
        }
        // TERM: what is on disk is to be read again by the second start.
        let signal = if storage == Path::new(":memory:") { "KILL" } else { "TERM" };
        let server = Server::spawn("mongo", signal, folder, &mut command);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread can be started");
        let url = match certificates {
            Some(certificates) => tls_url(port, certificates),
            None => url(port, login.as_ref()),
        };
        let client = runtime.block_on(async {
            let mut options = ClientOptions::parse(&url).await.expect("the URL is well formed");
            options.server_selection_timeout = Some(std::time::Duration::from_millis(500));
            options.connect_timeout = Some(std::time::Duration::from_millis(500));
            Client::with_options(options).expect("the options are well formed")
        });
        let (server, ()) = server.ready(|| {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            runtime.block_on(async { client.database("admin").run_command(doc! {"ping": 1}).await }).ok().map(|_| ())
        })?;
        Ok(Self { port, url, client, runtime, _server: server })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL, with what the server asks for: the administrator's password, or the client's certificate.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// A user's URL.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        url(self.port, Some(&Login { user: user.to_owned(), password: password.to_owned() }))
    }

    /// Makes a user with a role (`read`, `readWrite`, `root`) in a database; all users log in at `admin`.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_user(&self, user: &str, password: &str, database: &str, role: &str) {
        self.command("admin", doc! {"createUser": user, "pwd": password, "roles": [{"role": role, "db": database}]});
    }

    /// Runs a command.
    ///
    /// # Panics
    /// With the server's message.
    pub fn command(&self, database: &str, command: Document) -> Document {
        self.runtime.block_on(async { self.client.database(database).run_command(command).await }).unwrap_or_else(failed("command"))
    }

    /// Adds documents to a collection.
    ///
    /// # Panics
    /// With the server's message.
    pub fn insert(&self, database: &str, collection: &str, documents: &[Document]) {
        let collection = self.client.database(database).collection::<Document>(collection);
        for part in documents.chunks(1_000) {
            self.runtime.block_on(async { collection.insert_many(part).await }).unwrap_or_else(failed("insert"));
        }
    }

    /// Changes the documents that match, and says how many.
    ///
    /// # Panics
    /// With the server's message.
    pub fn update(&self, database: &str, collection: &str, filter: Document, update: Document) -> u64 {
        let collection = self.client.database(database).collection::<Document>(collection);
        self.runtime.block_on(async { collection.update_many(filter, update).await }).unwrap_or_else(failed("update")).modified_count
    }

    /// Removes the documents that match, and says how many.
    ///
    /// # Panics
    /// With the server's message.
    pub fn delete(&self, database: &str, collection: &str, filter: Document) -> u64 {
        let collection = self.client.database(database).collection::<Document>(collection);
        self.runtime.block_on(async { collection.delete_many(filter).await }).unwrap_or_else(failed("delete")).deleted_count
    }

    /// The documents that match, in the order of their `_id`.
    ///
    /// # Panics
    /// With the server's message.
    #[must_use]
    pub fn find(&self, database: &str, collection: &str, filter: Document) -> Vec<Document> {
        let collection = self.client.database(database).collection::<Document>(collection);
        self.runtime
            .block_on(async { collection.find(filter).sort(doc! {"_id": 1}).await?.try_collect().await })
            .unwrap_or_else(failed("find"))
    }
}

fn url(port: u16, login: Option<&Login>) -> String {
    match login {
        Some(Login { user, password }) => format!("mongodb://{user}:{password}@127.0.0.1:{port}/?authSource=admin&directConnection=true"),
        None => format!("mongodb://127.0.0.1:{port}/?directConnection=true"),
    }
}

fn tls_url(port: u16, certificates: &Certificates) -> String {
    let [authority, client] = ["ca.crt", "client.pem"].map(|name| certificates.file(name).replace('/', "%2F"));
    format!("mongodb://localhost:{port}/?directConnection=true&tls=true&tlsCAFile={authority}&tlsCertificateKeyFile={client}")
}

fn failed<T>(what: &str) -> impl FnOnce(mongodb::error::Error) -> T {
    move |error| panic!("{what} failed on the MongoDB server: {error}")
}

//! A connection to a deployment, shared by its tables.

use std::fmt;
use std::time::Duration;

use ::bson::{Document, doc};
use mongodb::{Client, Database};
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Extractor;
use pipeline_core::pace::Pace;
use pipeline_core::privacy::PrivacyKey;

use super::cut::SharedCuts;
use super::error::{CURSOR, Failure, URL};
use super::log::CaptureOptions;
use super::options::{MongoOptions, TableOptions};
use super::plan::MongoExtractor;
use crate::bson::{CursorField, Decoder};
use crate::calm::calm;

/// A connection to one database of a deployment. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    database: Database,
    hosts: String,
    cuts: SharedCuts,
    capture: Option<CaptureOptions>,
    consistent_snapshot: bool,
    statement_timeout: Duration,
    pause_above: Option<Duration>,
    pace: Pace,
}

impl Connection {
    /// Reads the connection string and asks the deployment for a sign of life.
    ///
    /// # Errors
    /// [`URL`] if the string cannot be used or names no database; [`UNREACHABLE`](super::UNREACHABLE) or [`AUTH`](super::AUTH) from the
    /// deployment.
    pub async fn open(options: &MongoOptions) -> Result<Self> {
        let client_options =
            options.client_options().await.map_err(|error| Failure::of(&error).about("the MongoDB connection string cannot be used"))?;
        let Some(name) = options.database.clone().or_else(|| client_options.default_database.clone()) else {
            return Err(Error::new(&URL, "neither the MongoDB connection string nor the source's section names a database")
                .hint("Set `database` in the source's section."));
        };
        let mut hosts: Vec<String> = client_options.hosts.iter().map(ToString::to_string).collect();
        hosts.sort_unstable();
        let client = Client::with_options(client_options)
            .map_err(|error| Failure::of(&error).about("the MongoDB connection string cannot be used"))?;
        let connection = Self {
            database: client.database(&name),
            hosts: hosts.join(","),
            cuts: SharedCuts::default(),
            capture: options.capture.clone(),
            consistent_snapshot: options.consistent_snapshot,
            statement_timeout: options.statement_timeout,
            pause_above: options.pause_above,
            pace: options.pace.clone(),
        };
        connection.command(doc! {"ping": 1}, "the MongoDB server could not be asked for a sign of life").await?;
        Ok(connection)
    }

    /// The deployment's members as the connection string names them.
    pub(super) fn hosts(&self) -> &str {
        &self.hosts
    }

    /// The server's version, such as `8.0.4`.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn server_version(&self) -> Result<String> {
        let reply = self.command(doc! {"buildInfo": 1}, "the MongoDB server could not be asked for its version").await?;
        Ok(reply.get_str("version").unwrap_or("unknown").to_owned())
    }

    /// Opens a table: one collection of the database.
    ///
    /// # Errors
    /// [`CURSOR`] if the contract's cursor has a type that documents do not have; the errors of [`Decoder::new`]. Whether the
    /// collection exists is asked when it is planned.
    pub fn table(&self, contract: Contract, table: &TableOptions, key: Option<PrivacyKey>) -> Result<Box<dyn Extractor>> {
        Decoder::new(&contract, key.as_ref())?;
        let cursor = CursorField::of(&contract);
        if cursor.is_none() && contract.cursor.is_some() {
            return Err(Error::new(&CURSOR, format!("table \"{}\" has a cursor of a type that documents do not have", contract.table)));
        }
        let collection = table.collection.clone().unwrap_or_else(|| contract.table.table().to_owned());
        let capture = self.capture.clone().filter(|_| !table.by_cursor);
        Ok(Box::new(MongoExtractor::new(self.clone(), collection, contract, cursor, key, capture)))
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn cuts(&self) -> &SharedCuts {
        &self.cuts
    }

    /// Whether all tables of a run are to be seen as they were at its beginning.
    pub(super) fn is_consistent(&self) -> bool {
        self.consistent_snapshot
    }

    /// How fast the deployment may be read.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// How long the server may work on reading one slice.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Waits while the server takes long to answer.
    pub(super) async fn calm(&self) -> Result<()> {
        let what = "the MongoDB server could not be asked for a sign of life";
        let ask = || async { self.ask(doc! {"ping": 1}).await.map(drop).map_err(|error| Failure::of(&error).about(what)) };
        calm(self.pause_above, ask).await
    }

    /// Runs a command on a member that is read from. The driver sends commands to the primary unless told otherwise.
    pub(super) async fn ask(&self, command: Document) -> mongodb::error::Result<Document> {
        let mut asking = self.database.run_command(command);
        if let Some(criteria) = self.database.selection_criteria() {
            asking = asking.selection_criteria(criteria.clone());
        }
        asking.await
    }

    /// Runs a command on the primary, which knows best what the deployment holds.
    pub(super) async fn command(&self, command: Document, failed: &str) -> Result<Document> {
        self.database.run_command(command).await.map_err(|error| Failure::of(&error).about(failed))
    }
}

impl fmt::Debug for Connection {
    // The driver's own text form holds hosts and options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("database", &self.database.name()).finish_non_exhaustive()
    }
}

//! Kinds of sources: how a section of the configuration becomes connected tables.

use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;
use pipeline_core::config::{Options, SecretSource};
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Extractor;
use pipeline_core::pace::Pace;
use pipeline_core::privacy::PrivacyKey;

use crate::discover::{DISCOVER, Found};

/// A kind of source. The registry's rows are data: a new kind is a new folder and one more row in [`KINDS`](crate::KINDS).
#[derive(Debug)]
pub struct Kind {
    /// What `kind = "…"` names.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// How it is configured.
    pub example: &'static str,
    /// Reads the source's section. Pure: no file, no network.
    pub read: fn(Options) -> Result<Box<dyn Spec>>,
    /// Reads what a table's section says beside its contract. Pure.
    pub check_table: fn(Options) -> Result<()>,
}

/// A source as configured, not connected yet.
#[async_trait]
pub trait Spec: Debug + Send + Sync {
    /// Connects: the first input or output.
    async fn connect(&self, context: &Connect) -> Result<Box<dyn Source>>;
}

/// What connecting needs.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The configuration's folder, where relative paths start.
    pub folder: PathBuf,
    /// Fetches secrets.
    pub secrets: std::sync::Arc<dyn SecretSource>,
    /// The project's key for hashed columns.
    pub key: Option<PrivacyKey>,
    /// How fast the source may be read.
    pub pace: Pace,
    /// A folder for what memory does not hold.
    pub work: PathBuf,
}

/// A connected source.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Opens one table.
    ///
    /// # Errors
    /// What the source says about the table's place, or about columns that it cannot deliver.
    fn table(&self, contract: Contract, options: Options) -> Result<Box<dyn Extractor>>;

    /// Looks at what the source holds, and how it could be declared. Reads metadata, and a bounded number of rows where there is none.
    ///
    /// # Errors
    /// [`DISCOVER`] if sources of this kind cannot be looked at; what the source says.
    async fn discover(&self) -> Result<Vec<Found>> {
        Err(Error::new(&DISCOVER, "a source of this kind does not tell what it holds"))
    }
}

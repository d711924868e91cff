//! How to reach a warehouse, and how patient to be with it.

use std::time::Duration;

use pipeline_core::name::TableName;

use crate::s3::AwsOptions;

/// Which warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A provisioned cluster.
    Cluster {
        /// Its identifier.
        identifier: String,
        /// The database user to get temporary credentials for; None: the user of the IAM identity, or the secret's.
        db_user: Option<String>,
    },
    /// A serverless workgroup.
    Serverless {
        /// Its name or ARN.
        workgroup: String,
    },
}

/// The role with which COPY reads S3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Role {
    /// The warehouse's default role.
    #[default]
    Default,
    /// A role attached to the warehouse, by its ARN; chained roles with commas between them.
    Arn(String),
}

/// How to reach a warehouse.
#[derive(Debug, Clone, PartialEq)]
pub struct RedshiftOptions {
    /// The destination's name.
    pub name: String,
    /// Which warehouse.
    pub target: Target,
    /// Which database.
    pub database: String,
    /// A secret with user name and password; None: temporary credentials of the IAM identity.
    pub secret_arn: Option<String>,
    /// The schema of models. Tables of sources stand in a schema named as their source.
    pub schema: String,
    /// The role with which COPY reads S3.
    pub role: Role,
    /// Region, credentials, profile; its endpoint is S3's.
    pub aws: AwsOptions,
    /// Another server of the Data API than Amazon's.
    pub endpoint_url: Option<String>,
    /// How patient to be.
    pub limits: Limits,
}

impl RedshiftOptions {
    /// The usual options for a warehouse.
    #[must_use]
    pub fn new(name: impl Into<String>, target: Target, database: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            target,
            database: database.into(),
            secret_arn: None,
            schema: TableName::MARTS.to_owned(),
            role: Role::Default,
            aws: AwsOptions::default(),
            endpoint_url: None,
            limits: Limits::default(),
        }
    }

    /// The schema in which a table stands.
    pub(super) fn schema_of<'a>(&'a self, table: &'a TableName) -> &'a str {
        if table.is_model() { &self.schema } else { table.schema() }
    }
}

/// How patient to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest time of one statement or batch; it is cancelled then. The Data API's own limit is 24 hours.
    pub statement_timeout: Duration,
    /// Time after which a statement is marked as slow in its span.
    pub slow_after: Duration,
    /// How long the Data API holds one request open while a statement runs: 1 to 30 seconds.
    pub wait_seconds: i32,
    /// Tries of a request that the Data API refuses for being busy, or of a transaction that another one was in the way of.
    pub attempts_max: u32,
    /// The pause after the first try; it doubles with each.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Parts whose footers are read at once.
    pub parts_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_timeout: Duration::from_secs(2 * 3600),
            slow_after: Duration::from_secs(60),
            wait_seconds: 30,
            // With the pauses below: about a minute and a half, which outlives a burst of other users' statements.
            attempts_max: 8,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
            parts_at_once: 4,
        }
    }
}

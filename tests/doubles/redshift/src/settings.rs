//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::copy::storage::StorageSettings;

/// The Redshift Data API's protocol over PostgreSQL, for tests and for trying the Redshift path without AWS.
#[derive(Debug, Parser)]
#[command(name = "redshift-double", version)]
pub(crate) struct Settings {
    /// Address and port to listen on; port 0 takes a free one. Signatures are not verified: keep it on the loopback.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// The S3 server that COPY reads from, as `http://host:port`.
    #[arg(long)]
    pub(crate) s3_endpoint: String,

    /// Access key for the S3 server; without one, requests are not signed.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub(crate) s3_access_key_id: Option<String>,

    /// Secret key for the S3 server.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub(crate) s3_secret_access_key: Option<String>,

    /// The cluster's Region.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub(crate) region: String,

    /// A PostgreSQL 15 server to use, with a superuser's name and password; without it the double starts its own.
    #[arg(long, env = "REDSHIFT_DOUBLE_POSTGRES", hide_env_values = true)]
    pub(crate) postgres: Option<String>,

    /// Where the double's own server keeps its data; without it a temporary folder, removed at the end.
    #[arg(long, conflicts_with = "postgres")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Databases the cluster has; made when missing. May be given several times.
    #[arg(long = "database", default_value = "dev")]
    pub(crate) databases: Vec<String>,

    /// Roles attached to the cluster. May be given several times; without any, every well-formed role is taken.
    #[arg(long = "iam-role")]
    pub(crate) iam_roles: Vec<String>,

    /// Buckets that stand for ones of another Region: COPY from them fails. May be given several times.
    #[arg(long = "foreign-bucket")]
    pub(crate) foreign_buckets: Vec<String>,

    /// The databases' isolation level.
    #[arg(long, value_enum, default_value_t = Isolation::Snapshot)]
    pub(crate) isolation: Isolation,

    /// Statements that may be active at once.
    #[arg(long, default_value_t = 500)]
    pub(crate) active_statements_max: usize,

    /// Throttle calls above the service's rates.
    #[arg(long)]
    pub(crate) enforce_rates: bool,
}

/// Redshift's isolation levels.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Isolation {
    /// The default of new clusters and workgroups.
    Snapshot,
    Serializable,
}

impl Isolation {
    /// PostgreSQL's name for what comes nearest.
    pub(crate) fn postgres(self) -> &'static str {
        match self {
            Self::Snapshot => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

impl Settings {
    pub(crate) fn storage(&self) -> StorageSettings {
        StorageSettings {
            endpoint: self.s3_endpoint.clone(),
            region: self.region.clone(),
            access_key_id: self.s3_access_key_id.clone(),
            secret_access_key: self.s3_secret_access_key.clone(),
            foreign_buckets: self.foreign_buckets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }
}

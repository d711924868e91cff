//! Destinations beside the lake: configuration to connected loaders.

use std::sync::Arc;

use pipeline_core::config::{CONFIG, DestinationConfig};
use pipeline_core::error::{Error, Result};
use pipeline_core::load::Loader;
use pipeline_core::probe::Probe;
use pipeline_loaders::redshift::{Limits, Redshift, RedshiftOptions, Role, Target};
use pipeline_loaders::s3::AwsOptions;

/// Reads the section without connecting.
pub(crate) fn check(destination: &DestinationConfig) -> Result<()> {
    redshift(destination, &AwsOptions::default()).map(drop)
}

/// Connects.
pub(crate) async fn connect(destination: &DestinationConfig, aws: &AwsOptions) -> Result<Arc<dyn Loader>> {
    Ok(Arc::new(Redshift::connect(redshift(destination, aws)?).await))
}

/// Tries what a run needs of it.
pub(crate) async fn probe(destination: &DestinationConfig, aws: &AwsOptions, landing: &str) -> Vec<Probe> {
    match redshift(destination, aws) {
        Ok(options) => Redshift::connect(options).await.probe(landing, &uuid::Uuid::now_v7().simple().to_string()).await,
        Err(error) => vec![Probe {
            what: format!("destination {}", destination.name),
            ok: false,
            detail: error.message().to_owned(),
            fix: Some(error.remedy().to_owned()),
        }],
    }
}

fn redshift(destination: &DestinationConfig, aws: &AwsOptions) -> Result<RedshiftOptions> {
    let mut options = destination.options.clone();
    if destination.kind != "redshift" {
        return Err(options
            .error("kind", format!("destination \"{}\" is of the unknown kind \"{}\"", destination.name, destination.kind))
            .hint("Use \"redshift\"."));
    }
    let (workgroup, cluster, db_user) = (options.text("workgroup")?, options.text("cluster")?, options.text("db_user")?);
    let target = match (workgroup, cluster) {
        (Some(workgroup), None) => Target::Serverless { workgroup },
        (None, Some(identifier)) => Target::Cluster { identifier, db_user },
        _ => {
            return Err(Error::new(
                &CONFIG,
                format!("destination \"{}\" names neither a workgroup nor a cluster, or both", destination.name),
            )
            .hint("Give `workgroup` for a serverless warehouse, or `cluster` for a provisioned one."));
        }
    };
    let database = options.required("database")?;
    let mut read = RedshiftOptions::new(destination.name.clone(), target, database);
    read.aws = aws.clone();
    if let Some(schema) = options.text("schema")? {
        read.schema = schema;
    }
    if let Some(role) = options.text("role")? {
        read.role = if role == "default" { Role::Default } else { Role::Arn(role) };
    }
    read.secret_arn = options.text("secret_arn")?;
    read.endpoint_url = options.text("endpoint")?;
    let mut limits = Limits::default();
    if let Some(timeout) = options.duration_us("statement_timeout")? {
        limits.statement_timeout = std::time::Duration::from_micros(timeout.unsigned_abs());
    }
    if let Some(slow) = options.duration_us("slow_after")? {
        limits.slow_after = std::time::Duration::from_micros(slow.unsigned_abs());
    }
    read.limits = limits;
    options.end()?;
    Ok(read)
}

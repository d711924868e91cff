//! The Redshift double: the protocol of the Redshift Data API over a real PostgreSQL 15, with COPY from real Parquet
//! on a real S3 server. It refuses what Redshift refuses; what it cannot do, it says.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

mod api;
mod clock;
mod copy;
mod engine;
mod postgres;
mod service;
mod settings;
mod sql;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::copy::storage::Storage;
use crate::engine::connection::Surroundings;
use crate::postgres::catalog;
use crate::postgres::server::Server;
use crate::service::double::{Double, Limits};
use crate::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    match Box::pin(run(settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn run(settings: Settings) -> Result<(), AnyError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| format!("the address \"{}\" cannot be listened on: {error}", settings.listen))?;
    let (server, options) = match &settings.postgres {
        Some(url) => (None, url.parse().map_err(|_| "the value of --postgres is no PostgreSQL URL")?),
        None => {
            let server = Server::start(settings.data_dir.clone()).await?;
            let options = server.options();
            (Some(server), options)
        }
    };
    let served = Box::pin(serve(&settings, listener, options, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
    .await;
    if let Some(server) = server {
        server.stop().await;
    }
    served
}

async fn serve(
    settings: &Settings,
    listener: TcpListener,
    options: sqlx::postgres::PgConnectOptions,
    end: impl Future<Output = ()>,
) -> Result<(), AnyError> {
    catalog::prepare(&options, &settings.databases).await.map_err(|error| format!("the database cannot be prepared: {error}"))?;
    if settings.postgres.is_some() || settings.data_dir.is_some() {
        engine::execute::catalog_may_matter();
    }
    let surroundings = Surroundings {
        storage: Arc::new(Storage::new(settings.storage())),
        roles: Arc::new(settings.iam_roles.clone()),
        isolation: settings.isolation.postgres(),
    };
    let limits = Limits { active_statements_max: settings.active_statements_max, enforce_rates: settings.enforce_rates };
    let double = Arc::new(Double::new(options, surroundings, limits));
    announce(&listener)?;
    tokio::select! {
        () = api::server::serve(listener, double) => {}
        () = end => {}
    }
    Ok(())
}

/// The one line on standard output: whoever started the double waits for it.
fn announce(listener: &TcpListener) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()
}

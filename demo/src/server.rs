//! Writes a data set into a live MongoDB (database `shop`) and a live PostgreSQL.

mod collection;
mod relations;

use futures::future;
use tokio::sync::mpsc;

use crate::answers::Answers;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::produce::{Chunk, Phase, Progress, Purpose, produce};
use crate::schema::Table;
use crate::server::collection::Collection;
use crate::server::relations::Relations;
use crate::world::World;

/// Chunks that wait for a server: a few megabytes.
const CHUNKS_WAITING: usize = 4;

/// Progress reports that wait to be shown; further ones are dropped.
const REPORTS_WAITING: usize = 16;

/// Writes the data set into servers and returns its answers.
///
/// With a [`Options::change_share`] of zero this makes PostgreSQL's schemas, types, tables and indexes and the collection `orders` in MongoDB's
/// database `shop`; with more than zero it applies the changes of the following day to servers that hold the base data set of the same
/// options, and writes nothing else. Applying the same changes twice has the effect of once.
///
/// A duplicated order is written state after state, so the servers end with one document of it, and `duplicates` is 0 in the answers.
///
/// # Errors
/// [`Error::Option`] when an option is out of range, [`Error::NotEmpty`] when a table or the collection holds rows and [`Options::replace`] is
/// not set, [`Error::NothingToChange`], [`Error::Address`], [`Error::Mongodb`], [`Error::Postgres`] and [`Error::Refused`].
pub async fn generate_to_servers(
    options: &Options,
    mongodb_url: &str,
    postgres_url: &str,
    progress: &(dyn Fn(&Progress) + Send + Sync),
) -> Result<Answers> {
    options.check()?;
    let purpose = if options.change_share > 0.0 { Purpose::Changes } else { Purpose::Load };
    let collection = Collection::connect(mongodb_url).await?;
    let mut relations = Relations::connect(postgres_url).await?;
    if purpose == Purpose::Changes {
        collection.require_documents().await?;
        relations.require_tables().await?;
    } else {
        // Both are looked at before either is touched.
        if !options.replace {
            collection.require_empty().await?;
            relations.require_empty().await?;
        }
        collection.clear().await?;
        relations.create().await?;
    }

    let (documents, mut documents_waiting) = mpsc::channel::<Chunk>(CHUNKS_WAITING);
    let (tuples, mut tuples_waiting) = mpsc::channel::<Chunk>(CHUNKS_WAITING);
    let (reports, mut reports_waiting) = mpsc::channel::<Progress>(REPORTS_WAITING);
    let owned = options.clone();
    let work = tokio::task::spawn_blocking(move || {
        let world = World::new(&owned);
        let mut emit = |chunk: Chunk| {
            let writer = if chunk.table == Table::Orders { &documents } else { &tuples };
            writer.blocking_send(chunk).map_err(|_| Error::Stopped)
        };
        let mut last = None;
        let mut report = |report: Progress| {
            last = Some(report);
            // A report that finds no room is not missed: another follows.
            reports.try_send(report).ok();
        };
        let answers = produce(&world, purpose, &mut emit, &mut report);
        if let Some(progress) = last {
            reports.try_send(Progress { phase: Phase::Finishing, ..progress }).ok();
        }
        answers
    });
    // A writer that fails drops its end of the channel, which stops the maker, which ends the other writer.
    let write_documents = async move {
        while let Some(chunk) = documents_waiting.recv().await {
            collection.write(chunk).await?;
        }
        if purpose == Purpose::Load { collection.create_indexes().await } else { Ok(()) }
    };
    let write_tuples = async move {
        while let Some(chunk) = tuples_waiting.recv().await {
            relations.write(chunk).await?;
        }
        if purpose == Purpose::Load { relations.create_indexes().await } else { Ok(()) }
    };
    let show = async move {
        while let Some(report) = reports_waiting.recv().await {
            progress(&report);
        }
    };
    let (written_documents, written_tuples, ()) = future::join3(Box::pin(write_documents), Box::pin(write_tuples), Box::pin(show)).await;
    let made = work.await.map_err(|_| Error::Stopped)?;
    written_documents?;
    written_tuples?;
    made
}

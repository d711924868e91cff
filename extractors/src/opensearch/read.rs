//! Reading a slice: one task fetches pages from the server, one thread decodes them, so that both are busy at once.

use std::sync::Arc;

use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};
use reqwest::Method;
use serde_json::{Value as Owned, json};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::error::Failure;
use super::page::Page;
use crate::bson::Decoder;
use crate::bson::element::Malformed;
use crate::json::{self, Value};
use crate::personal::Personal;
use crate::produce::{Outlet, on_a_thread};

/// How many bytes a page should have: large enough to make round trips rare, small enough to hold three of them.
const PAGE_BYTES: usize = 4 << 20;

/// Pages that wait between the network and the decoder.
const PAGES_WAITING_MAX: usize = 1;

/// What a slice needs to be read.
pub(super) struct Reading {
    pub(super) connection: Connection,
    /// The point in time.
    pub(super) point: Arc<str>,
    /// The index in words.
    pub(super) place: String,
    pub(super) contract: Contract,
    pub(super) key: Option<PrivacyKey>,
    pub(super) quarantine: Quarantine,
    /// Query, order and slice.
    pub(super) search: Owned,
}

/// Streams what a search finds. Dropping the stream ends both sides.
pub(super) fn read(reading: Reading) -> BatchStream {
    let (sender, mut receiver) = mpsc::channel::<Result<Page>>(PAGES_WAITING_MAX);
    let mut pages = Pages::of(&reading);
    let place = reading.place.clone();
    tokio::spawn(async move {
        loop {
            let page = tokio::select! {
                page = pages.next() => page,
                () = sender.closed() => return,
            };
            let page = match page {
                Ok(None) => return,
                Ok(Some(page)) => Ok(page),
                Err(failure) => Err(failure.about(format!("{place} could not be read"))),
            };
            let is_last = page.is_err();
            if sender.send(page).await.is_err() || is_last {
                return;
            }
        }
    });
    let schema = reading.contract.schema();
    on_a_thread(schema, move |outlet| decode(&reading, &mut receiver, outlet))
}

/// The pages of a search, one after the other.
struct Pages {
    connection: Connection,
    search: Owned,
    rows_max: u64,
    is_finished: bool,
}

impl Pages {
    fn of(reading: &Reading) -> Self {
        let mut search = reading.search.clone();
        // Every page renews the point in time.
        search["pit"] = json!({"id": &*reading.point, "keep_alive": reading.connection.keep_alive()});
        search["track_total_hits"] = false.into();
        search["size"] = reading.connection.page_rows().into();
        Self { connection: reading.connection.clone(), search, rows_max: reading.connection.page_rows(), is_finished: false }
    }

    /// The next page; None after the last one, which is the first without a document: a short page may have others behind it.
    async fn next(&mut self) -> Result<Option<Page>, Failure> {
        if self.is_finished {
            return Ok(None);
        }
        let parameters = [("allow_partial_search_results", "false")];
        let answer = self.connection.call(Method::POST, &["_search"], &parameters, Some(&self.search)).await?;
        self.connection.pace().spend(answer.body.len()).await;
        let mut page = Page::of(answer.body)?;
        let Some(last) = page.last.take() else {
            self.is_finished = true;
            return Ok(None);
        };
        self.search["search_after"] = last;
        self.search["size"] = rows_of_next(page.rows, page.bytes(), self.rows_max).into();
        Ok(Some(page))
    }
}

/// How many documents to ask for, so that a page of them has about [`PAGE_BYTES`].
fn rows_of_next(rows: u64, bytes: usize, rows_max: u64) -> u64 {
    let wanted = (PAGE_BYTES as u64).saturating_mul(rows) / (bytes as u64).max(1);
    wanted.clamp(1, rows_max)
}

fn decode(reading: &Reading, pages: &mut mpsc::Receiver<Result<Page>>, outlet: &Outlet) -> Result<()> {
    let mut decoder = Decoder::new(&reading.contract, reading.key.as_ref())?;
    while let Some(page) = pages.blocking_recv() {
        let page = page?;
        let mut hits = page.hits();
        while let Some(hit) = hits.next().map_err(|malformed| broken(reading, malformed))? {
            append(reading, &mut decoder, hit)?;
            if decoder.is_full() && !outlet.put(decoder.finish()?) {
                return Ok(());
            }
        }
        if outlet.is_closed() {
            return Ok(());
        }
    }
    if decoder.rows() > 0 {
        outlet.put(decoder.finish()?);
    }
    if decoder.undeclared() > 0 {
        tracing::info!(table = %reading.contract.table, undeclared_fields = decoder.undeclared(), "index read");
    }
    Ok(())
}

fn broken(reading: &Reading, _: Malformed) -> pipeline_core::error::Error {
    Failure::Reply.about(format!("{} could not be read", reading.place))
}

/// One document, as the server wraps it.
fn append(reading: &Reading, decoder: &mut Decoder, hit: Value<'_>) -> Result<()> {
    let member = |name| hit.member(name).map_err(|malformed| broken(reading, malformed));
    let (index, identifier) = (member("_index")?, member("_id")?);
    let (Some(index), Some(identifier), Some(source)) = (index, identifier, member("_source")?) else {
        return Err(Failure::Reply.about(format!("{} could not be read", reading.place)));
    };
    if let Err(misfit) = json::append(decoder, source, &[("_id", identifier), ("_index", index)]) {
        let text = |value: Value<'_>| value.string().map(std::borrow::Cow::into_owned).map_err(|malformed| broken(reading, malformed));
        let rejected = Rejected {
            column: misfit.column,
            reason: misfit.reason,
            position: format!("{}/{}", text(index)?, text(identifier)?),
            raw: json::open_part(hit, &Personal::of(&reading.contract).at("_source")),
            format: json::FORMAT.into(),
            fields: None,
        };
        reading.quarantine.reject(&reading.contract.table, rejected)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_documents_make_smaller_pages() {
        assert_eq!(rows_of_next(1_000, 300_000, 1_000), 1_000);
        assert_eq!(rows_of_next(1_000, 100 << 20, 1_000), 40);
        assert_eq!(rows_of_next(1, 100 << 20, 1_000), 1);
        assert_eq!(rows_of_next(40, 40, 1_000), 1_000);
    }
}

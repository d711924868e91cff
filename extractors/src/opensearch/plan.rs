//! What is to be read from an index.

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request, Slice};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connection::Connection;
use super::error::{CURSOR, Failure, INDEX};
use super::mapping::Mapping;
use super::point::Points;
use super::query::{self, ByCursor};
use super::read;
use crate::bson::CursorField;

/// Fewest documents that are worth a slice of their own.
const SLICE_ROWS_MIN: u64 = 10_000;

/// Most slices of a point in time (the server's `index.max_slices_per_pit`).
const SLICES_MAX: u64 = 1_024;

/// The server's clock is told in whole seconds, so it may be up to this much later.
const CLOCK_STEP_US: i64 = 1_000_000;

/// Reads one index, alias or pattern.
#[derive(Debug)]
pub(super) struct SearchExtractor {
    connection: Connection,
    index: String,
    contract: Contract,
    cursor: Option<CursorField>,
    key: Option<PrivacyKey>,
    points: Points,
}

/// The range of a slice: the plan whose point in time it reads, and the search.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Range {
    plan: u64,
    search: Value,
}

/// What a plan decides before it cuts.
struct Decided {
    /// None if there is nothing to read.
    query: Option<Value>,
    checkpoint: Option<Checkpoint>,
    summary: String,
}

impl SearchExtractor {
    pub(super) fn new(
        connection: Connection,
        index: String,
        contract: Contract,
        cursor: Option<CursorField>,
        key: Option<PrivacyKey>,
    ) -> Self {
        Self { connection, index, contract, cursor, key, points: Points::default() }
    }

    fn place(&self) -> String {
        format!("index \"{}\"", self.index)
    }

    fn failed(&self, failure: Failure, what: &str) -> Error {
        match failure {
            Failure::Missing => self.missing(),
            other => other.about(format!("{} {what}", self.place())),
        }
    }

    fn missing(&self) -> Error {
        Error::new(&INDEX, format!("no index is named \"{}\", which table \"{}\" is read from", self.index, self.contract.table))
    }

    async fn mapping(&self) -> Result<Mapping> {
        let what = "could not be asked for its mapping";
        let answer = self.connection.call(Method::GET, &[&self.index, "_mapping"], &[], None).await;
        let mapping = answer.and_then(|answer| answer.value()).map_err(|failure| self.failed(failure, what))?;
        let mapping = Mapping::of(&mapping);
        if mapping.is_empty() { Err(self.missing()) } else { Ok(mapping) }
    }

    /// The cursor's field, if it can order documents.
    fn by_cursor(&self, mapping: &Mapping) -> Result<Option<ByCursor>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let path = cursor.path();
        let kinds = mapping.kinds(&path);
        let fits = |kind: &&str| match cursor.is_time() {
            true => matches!(*kind, "date" | "date_nanos"),
            false => matches!(*kind, "long" | "integer" | "short" | "byte"),
        };
        if kinds.is_empty() || !kinds.iter().all(fits) {
            let found = if kinds.is_empty() { "not mapped".to_owned() } else { format!("mapped as {}", kinds.join(" and ")) };
            return Err(Error::new(
                &CURSOR,
                format!("cursor field \"{path}\" of {} is {found}, which does not order table \"{}\"", self.place(), self.contract.table),
            ));
        }
        let is_fine = kinds.contains(&"date_nanos");
        Ok(Some(ByCursor { path, is_time: cursor.is_time(), is_fine }))
    }

    /// The greatest cursor there is, and the server's time.
    async fn greatest(&self, cursor: &ByCursor) -> Result<(Option<i64>, Option<i64>)> {
        let what = "could not be asked for its greatest cursor";
        let parameters = [("allow_partial_search_results", "false")];
        let answer = self
            .connection
            .call(Method::POST, &[&self.index, "_search"], &parameters, Some(&cursor.greatest()))
            .await
            .map_err(|failure| self.failed(failure, what))?;
        let server_time_us = answer.server_time_us;
        let page = super::page::Page::of(answer.body).map_err(|failure| self.failed(failure, what))?;
        let Some(last) = page.last else { return Ok((None, server_time_us)) };
        match last.get(0).and_then(|value| cursor.position(value)) {
            Some(position) => Ok((Some(position), server_time_us)),
            None => Err(Error::new(
                &CURSOR,
                format!("cursor field \"{}\" of {} has a greatest value that is out of range", cursor.path, self.place()),
            )),
        }
    }

    async fn count(&self, query: &Value) -> Result<u64> {
        let what = "could not be counted";
        let answer = self.connection.call(Method::POST, &[&self.index, "_count"], &[], Some(&json!({"query": query}))).await;
        let answer = answer.and_then(|answer| answer.value()).map_err(|failure| self.failed(failure, what))?;
        answer.get("count").and_then(Value::as_u64).ok_or_else(|| self.failed(Failure::Reply, what))
    }

    async fn decide(&self, cursor: Option<&ByCursor>, request: &Request, after: Option<&Checkpoint>) -> Result<Decided> {
        let whole = |summary: &str, is_window: bool| Decided {
            query: Some(json!({"match_all": {}})),
            checkpoint: (!is_window).then_some(Checkpoint { upper: Cursor::Whole, fingerprint: None }),
            summary: summary.to_owned(),
        };
        let Some(cursor) = cursor else {
            return Ok(match request.window {
                None => whole("the whole index", false),
                Some(_) => whole("the whole index, since it has no cursor to cut a window on", true),
            });
        };
        if let Some(window) = request.window {
            if !cursor.is_time {
                return Err(Error::new(
                    &CURSOR,
                    format!("table \"{}\" has a cursor that is a number, so it has no windows of time", self.contract.table),
                ));
            }
            let query = cursor.between(Some(window.from.microseconds()), Some(window.to.microseconds()));
            return Ok(Decided { query: Some(query), checkpoint: None, summary: format!("documents of the window {window}") });
        }
        self.changes(cursor, request, after).await
    }

    /// What changed since a checkpoint, or everything.
    async fn changes(&self, cursor: &ByCursor, request: &Request, after: Option<&Checkpoint>) -> Result<Decided> {
        let before = after.and_then(|after| match &after.upper {
            Cursor::Time(time) => Some(time.microseconds()),
            Cursor::Number(number) => Some(*number),
            Cursor::Whole | Cursor::Log(_) => None,
        });
        let (greatest, server_time_us) = self.greatest(cursor).await?;
        let now = server_time_us.filter(|_| cursor.is_time).map(|now| now.saturating_add(CLOCK_STEP_US));
        // What lies in the future waits until then; a checkpoint never goes back, also if the newest documents were deleted.
        let upper = greatest.map(|greatest| now.map_or(greatest, |now| greatest.min(now))).max(before);
        let Some(upper) = upper else {
            // Nothing has a cursor yet: what there is fits no order, and is read whole until something does.
            return Ok(Decided {
                query: Some(json!({"match_all": {}})),
                checkpoint: Some(Checkpoint { upper: Cursor::Whole, fingerprint: None }),
                summary: "the whole index, in which no document has a cursor yet".to_owned(),
            });
        };
        let position = if cursor.is_time { Cursor::Time(Timestamp::from_microseconds(upper)) } else { Cursor::Number(upper) };
        let checkpoint = Some(Checkpoint { upper: position, fingerprint: None });
        let Some(before) = before else {
            let summary = format!("the whole index up to {}", describe(cursor, upper));
            return Ok(Decided { query: Some(cursor.up_to(upper)), checkpoint, summary });
        };
        // Without a key a document that is read twice is there twice: exactly what lies between the checkpoints, then.
        let has_key = !self.contract.key.is_empty();
        let lookback = if cursor.is_time && has_key { request.lookback_us } else { 0 };
        let lower = before.saturating_sub(lookback);
        if lower >= upper {
            let summary = format!("nothing has changed since {}", describe(cursor, before));
            return Ok(Decided { query: None, checkpoint, summary });
        }
        let from = if has_key { lower } else { cursor.behind(lower) };
        let query = cursor.between(Some(from), Some(cursor.behind(upper)));
        Ok(Decided { query: Some(query), checkpoint, summary: format!("documents changed since {}", describe(cursor, lower)) })
    }
}

#[async_trait]
impl Extractor for SearchExtractor {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    async fn check(&self) -> Result<()> {
        let mapping = self.mapping().await?;
        mapping.check(&self.contract, &self.place())
    }

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        let mapping = self.mapping().await?;
        mapping.check(&self.contract, &self.place())?;
        let cursor = self.by_cursor(&mapping)?;
        let Decided { query, checkpoint, summary } = match &request.rejected {
            Some(positions) => Decided {
                query: Some(query::rejected(positions)),
                checkpoint: None,
                summary: "documents that were rejected before".to_owned(),
            },
            None => self.decide(cursor.as_ref(), request, after).await?,
        };
        let by = cursor.as_ref().map(|cursor| format!(" by {}", cursor.path)).unwrap_or_default();
        let statement = format!("search in {}{by}, through a point in time", self.place());
        let Some(query) = query else {
            return Ok(ExtractPlan {
                slices: Vec::new(),
                checkpoint,
                is_changes: false,
                resumable_as: None,
                rows_estimated: Some(0),
                summary,
                statement,
            });
        };
        let rows = self.count(&query).await?;
        let parts = (rows / SLICE_ROWS_MIN).clamp(1, u64::try_from(request.slices_wanted).unwrap_or(1).clamp(1, SLICES_MAX));
        let mut search = json!({"query": query, "sort": query::order(cursor.as_ref(), self.connection.has_shard_doc())});
        let plan = self.points.next_plan();
        let slices = (0..parts)
            .map(|part| {
                if parts > 1 {
                    search["slice"] = json!({"id": part, "max": parts});
                }
                let range = serde_json::to_value(Range { plan, search: search.clone() });
                Ok(Slice {
                    index: u32::try_from(part).unwrap_or(u32::MAX),
                    summary: format!("part {} of {parts}", part + 1),
                    range: range.map_err(|_| Error::new(&BUG, "a slice's range could not be written"))?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(ExtractPlan { slices, checkpoint, is_changes: false, resumable_as: None, rows_estimated: Some(rows), summary, statement })
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let range: Range = serde_json::from_value(slice.range.clone())
            .map_err(|_| Error::new(&BUG, "a slice of an index holds a range that no plan made"))?;
        let point = self.points.of(range.plan, &self.connection, &self.index).await;
        let point = point.map_err(|failure| self.failed(failure, "could not be opened at a point in time"))?;
        Ok(read::read(read::Reading {
            connection: self.connection.clone(),
            point,
            place: self.place(),
            contract: self.contract.clone(),
            key: self.key.clone(),
            quarantine: quarantine.clone(),
            search: range.search,
        }))
    }

    async fn finish(&self) -> Result<()> {
        self.points.delete_all(&self.connection, &self.index).await;
        Ok(())
    }
}

fn describe(cursor: &ByCursor, position: i64) -> String {
    if cursor.is_time { Timestamp::from_microseconds(position).to_string() } else { position.to_string() }
}

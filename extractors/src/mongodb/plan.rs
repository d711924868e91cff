//! What is to be read from a collection.

use std::sync::{Arc, Mutex};

use ::bson::{Bson, Document, doc, oid::ObjectId};
use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::Collection;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request, Slice, SourceCut};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::probe::Probe;
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::Timestamp;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::cut::{Cut, State};
use super::error::{CAPTURE, COLLECTION, CURSOR, Failure, HISTORY};
use super::filter::{self, Bound};
use super::log::{self, CaptureOptions, Change, Chunk};
use super::read;
use crate::bson::{self, CursorField, CursorValue};
use crate::origin;

/// Fewest documents that are worth a slice of their own.
const SLICE_ROWS_MIN: u64 = 1_000;

/// Slices for each worker: identifiers cut at equal times are not equally many, and small slices even that out.
const SLICES_PER_WORKER: usize = 2;

/// Most documents of a slice, about: what a death of the program makes be read again, some twenty seconds' worth.
const SLICE_ROWS_MAX: u64 = 1_000_000;

/// Reads one collection.
#[derive(Debug)]
pub(super) struct MongoExtractor {
    connection: Connection,
    collection: String,
    contract: Contract,
    cursor: Option<CursorField>,
    key: Option<PrivacyKey>,
    /// How its changes are captured, if they are.
    capture: Option<CaptureOptions>,
    /// The table's number among those of its deployment.
    number: usize,
    planned: Mutex<Planned>,
}

/// What the last plan found out, which its slices need.
#[derive(Debug, Clone, Default)]
struct Planned {
    state: State,
    /// What each slice reads, if they are changes.
    chunks: Arc<Vec<Chunk>>,
}

/// What the range of a slice of changes calls the place of its chunk.
const CHUNK: &str = "chunk";

/// The range of a slice: the filter as Extended JSON, and how many documents to ask for at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) filter: Document,
    pub(super) documents_per_batch: u32,
}

impl MongoExtractor {
    pub(super) fn new(
        connection: Connection,
        collection: String,
        contract: Contract,
        cursor: Option<CursorField>,
        key: Option<PrivacyKey>,
        capture: Option<CaptureOptions>,
    ) -> Self {
        let number = connection.cuts().join();
        Self { connection, collection, contract, cursor, key, capture, number, planned: Mutex::default() }
    }

    fn documents(&self) -> Collection<Document> {
        self.connection.database().collection(&self.collection)
    }

    fn failed(&self, error: &mongodb::error::Error, what: &str) -> Error {
        Failure::of(error).about(format!("collection \"{}\" of database \"{}\" {what}", self.collection, self.connection.database().name()))
    }

    /// Looks whether the collection is there, and what it is.
    async fn look(&self) -> Result<Found> {
        let mut command = doc! {"listCollections": 1, "filter": {"name": &self.collection}, "authorizedCollections": true};
        // More than the names is for users who may list collections.
        command.insert("nameOnly", self.capture.is_none());
        let found =
            self.connection.database().run_cursor_command(command).await.map_err(|error| self.failed(&error, "could not be looked for"))?;
        let found: Vec<Document> = found.try_collect().await.map_err(|error| self.failed(&error, "could not be looked for"))?;
        match found.iter().find(|entry| entry.get_str("name").is_ok_and(|name| name == self.collection)) {
            Some(entry) => Ok(Found {
                is_view: entry.get_str("type").is_ok_and(|kind| kind == "view"),
                uuid: entry.get_document("info").ok().and_then(|info| info.get("uuid")).cloned(),
            }),
            None => Err(Error::new(
                &COLLECTION,
                format!(
                    "collection \"{}\" of table \"{}\" does not exist in database \"{}\"",
                    self.collection,
                    self.contract.table,
                    self.connection.database().name()
                ),
            )),
        }
    }

    /// The collection as its change stream is asked about it.
    fn captured<'a>(&'a self, options: &'a CaptureOptions, cut: Cut, found: &Found) -> log::Collection<'a> {
        log::Collection {
            connection: &self.connection,
            name: &self.collection,
            contract: &self.contract,
            options,
            cut,
            uuid: found.uuid.clone(),
        }
    }

    /// What slices of the collection depend on beside its contract: the deployment, the collection itself (made anew, it has another UUID), the key.
    async fn origin(&self, uuid: Option<Bson>) -> String {
        let uuid = match uuid {
            Some(uuid) => Some(uuid),
            // Users who may not list collections see names only; then the names have to do.
            None => {
                let command = doc! {"listCollections": 1, "filter": {"name": &self.collection}, "nameOnly": false};
                let reply = self.connection.ask(command).await.ok();
                let batch = reply.as_ref().and_then(|reply| reply.get_document("cursor").ok()?.get_array("firstBatch").ok());
                let entry = batch.and_then(|batch| batch.first()?.as_document());
                entry.and_then(|entry| entry.get_document("info").ok()?.get("uuid").cloned())
            }
        };
        let uuid = uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        origin::digest(&[self.connection.hosts(), self.connection.database().name(), &self.collection, &uuid], self.key.as_ref())
    }

    /// The server's time in microseconds: that of its last operation, which all members agree on, or else its clock's.
    async fn server_time(&self) -> Result<i64> {
        let reply = self.connection.command(doc! {"hello": 1}, "the MongoDB server could not be asked for its time").await?;
        let operation = reply.get_timestamp("operationTime").ok().map(|time| i64::from(time.time) * 1_000_000);
        let clock = reply.get_datetime("localTime").ok().map(|time| time.timestamp_millis().saturating_mul(1_000));
        // Without a write for a while, the last operation is old and the clock tells better what can already be there.
        operation.max(clock).ok_or_else(|| Failure::Reply.about("the MongoDB server did not tell its time"))
    }

    /// The greatest cursor in the collection.
    async fn cursor_greatest(&self, cursor: &CursorField) -> Result<Option<CursorValue>> {
        let path = cursor.path();
        let kind = if cursor.is_time() { "date" } else { "number" };
        let found = self
            .documents()
            .clone_with_type::<::bson::RawDocumentBuf>()
            .find_one(doc! {&path: {"$type": kind}})
            .sort(doc! {&path: -1})
            .projection(doc! {&path: 1})
            .await
            .map_err(|error| self.failed(&error, "could not be asked for its greatest cursor"))?;
        match found {
            None => Ok(None),
            Some(document) => cursor.read(document.as_bytes()).map(Some).ok_or_else(|| {
                Error::new(
                    &CURSOR,
                    format!("cursor field \"{path}\" of collection \"{}\" has a greatest value that is out of range", self.collection),
                )
            }),
        }
    }

    /// Whether an index begins with the cursor's field. Unknown where indexes may not be listed.
    async fn cursor_is_indexed(&self, path: &str) -> Option<bool> {
        let indexes: Vec<mongodb::IndexModel> = self.documents().list_indexes().await.ok()?.try_collect().await.ok()?;
        Some(indexes.iter().any(|index| {
            let is_partial = index.options.as_ref().is_some_and(|options| options.partial_filter_expression.is_some());
            !is_partial && index.keys.keys().next().map(String::as_str) == Some(path)
        }))
    }

    /// The least or greatest ObjectId among the identifiers.
    async fn identifier(&self, direction: i32) -> Result<Option<ObjectId>> {
        let found = self
            .documents()
            .find_one(doc! {"_id": {"$type": "objectId"}})
            .sort(doc! {"_id": direction})
            .projection(doc! {"_id": 1})
            .await
            .map_err(|error| self.failed(&error, "could not be asked for its identifiers"))?;
        Ok(found.and_then(|document| document.get_object_id("_id").ok()))
    }

    /// How many documents fill about one batch, by their average size.
    async fn documents_per_batch(&self) -> u32 {
        let statistics = self.connection.ask(doc! {"collStats": &self.collection, "scale": 1}).await.ok();
        let average = statistics.and_then(|reply| match reply.get("avgObjSize") {
            Some(::bson::Bson::Int32(size)) => u64::try_from(*size).ok(),
            Some(::bson::Bson::Int64(size)) => u64::try_from(*size).ok(),
            Some(::bson::Bson::Double(size)) => Some(size.max(0.0) as u64),
            _ => None,
        });
        read::documents_per_batch(average)
    }

    async fn plan_whole(&self, condition: Document, request: &Request, is_view: bool) -> Result<(Vec<Document>, Option<u64>)> {
        if is_view {
            return Ok((vec![condition], None));
        }
        let rows = self.documents().estimated_document_count().await.map_err(|error| self.failed(&error, "could not be counted"))?;
        let parts = (rows / SLICE_ROWS_MIN).min(((request.slices_wanted * SLICES_PER_WORKER) as u64).max(rows / SLICE_ROWS_MAX));
        let parts = u32::try_from(parts).unwrap_or(1);
        if parts <= 1 {
            return Ok((vec![condition], Some(rows)));
        }
        let cuts = filter::cut(self.identifier(1).await?, self.identifier(-1).await?, parts);
        Ok((cuts.into_iter().map(|cut| filter::both(cut, condition.clone())).collect(), Some(rows)))
    }
}

#[async_trait]
impl Extractor for MongoExtractor {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    async fn check(&self) -> Result<()> {
        self.look().await.map(drop)
    }

    async fn cut(&self) -> Result<Option<SourceCut>> {
        let cut = self.connection.cuts().current(&self.connection, self.number).await?;
        Ok(Some(cut.described()))
    }

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        let found = self.look().await?;
        let place = format!("{}.{}", self.connection.database().name(), self.collection);
        if let Some(positions) = &request.rejected {
            self.remember(Planned::default());
            let identifiers = positions.iter().flat_map(|position| bson::identifiers(position));
            let mut wanted = log::Identifiers::default();
            identifiers.for_each(|identifier| wanted.add(identifier));
            let filters = wanted.chunks().into_iter().map(|chunk| doc! {"_id": {"$in": chunk}}).collect();
            let summary = "documents that were rejected before".to_owned();
            return self.planned(filters, None, Some(positions.len() as u64), summary, format!("find in {place} by _id")).await;
        }
        if let Some(capture) = self.capture.as_ref().filter(|_| request.window.is_none()) {
            return self.plan_captured(capture, &found, place, request, after).await;
        }
        let is_view = found.is_view;
        let cut = self.connection.cuts().pinned(self.number).await.filter(|_| self.connection.is_consistent() && !is_view);
        let state = self.connection.cuts().history_of(cut).map_or(State::Now, State::At);
        self.remember(Planned { state, ..Planned::default() });
        let Some(cursor) = &self.cursor else {
            let (filters, rows_estimated) = self.plan_whole(Document::new(), request, is_view).await?;
            let checkpoint = request.window.is_none().then_some(Checkpoint { upper: Cursor::Whole, fingerprint: None });
            return self.planned(filters, checkpoint, rows_estimated, "the whole collection, which has no cursor".to_owned(), place).await;
        };
        let path = cursor.path();
        if let Some(window) = request.window {
            if !cursor.is_time() {
                return Err(Error::new(
                    &CURSOR,
                    format!("table \"{}\" has a cursor that is a number, so it has no windows of time", self.contract.table),
                )
                .hint("Leave the table out of the backfill with --skip, or read it whole with --full-refresh."));
            }
            return self
                .planned(
                    vec![filter::within(&path, window)],
                    None,
                    None,
                    format!("documents of the window {window}"),
                    self.statement(place, &path).await,
                )
                .await;
        }

        let before = after.and_then(|after| match &after.upper {
            Cursor::Time(time) => Some(time.microseconds()),
            Cursor::Number(number) => Some(*number),
            Cursor::Whole | Cursor::Log(_) => None,
        });
        let greatest = self.cursor_greatest(cursor).await?;
        let mut beyond_now = false;
        let upper = match greatest {
            Some(greatest) if cursor.is_time() => {
                let now = self.server_time().await?;
                beyond_now = greatest > now;
                Some(greatest.min(now).min(request.cut.map_or(i64::MAX, Timestamp::microseconds)))
            }
            other => other,
        };
        // A checkpoint never goes back, also if the newest documents were deleted.
        let upper = upper.max(before);
        let mut statement = self.statement(place, &path).await;
        if beyond_now {
            statement.push_str("; documents whose cursor lies in the future are left until then");
        }
        let Some(upper) = upper else {
            // Nothing has a cursor yet: what there is fits no order, and is read whole until something does.
            let (filters, rows_estimated) = self.plan_whole(Document::new(), request, is_view).await?;
            let checkpoint = Checkpoint { upper: Cursor::Whole, fingerprint: None };
            return self
                .planned(
                    filters,
                    Some(checkpoint),
                    rows_estimated,
                    "the whole collection, in which no document has a cursor yet".to_owned(),
                    statement,
                )
                .await;
        };
        let bound = Bound::floor(upper, cursor.is_time());
        let checkpoint = Some(Checkpoint { upper: cursor.position(upper), fingerprint: None });
        match before {
            None => {
                let (filters, rows_estimated) = self.plan_whole(filter::whole(&path, bound), request, is_view).await?;
                let summary = format!("the whole collection up to {}", describe(cursor, upper));
                let plan = self.planned(filters, checkpoint, rows_estimated, summary, statement).await?;
                // An identifier never changes, so a document stays in its slice; one that changes meanwhile has a cursor beyond the checkpoint.
                let is_resumable = !self.contract.key.is_empty() && !is_view;
                let resumable_as = if is_resumable { Some(self.origin(None).await) } else { None };
                Ok(ExtractPlan { resumable_as, ..plan })
            }
            Some(before) => {
                let lookback = if cursor.is_time() { request.lookback_us } else { 0 };
                let lower = before.saturating_sub(lookback);
                if lower >= upper {
                    return self
                        .planned(
                            Vec::new(),
                            checkpoint,
                            Some(0),
                            format!("nothing has changed since {}", describe(cursor, before)),
                            statement,
                        )
                        .await;
                }
                let filters = vec![filter::since(&path, Bound::floor(lower, cursor.is_time()), bound)];
                self.planned(filters, checkpoint, None, format!("documents changed since {}", describe(cursor, lower)), statement).await
            }
        }
    }

    async fn resume(&self, plan: &ExtractPlan) -> Result<bool> {
        let found = self.look().await?;
        let Some(checkpoint) = plan.checkpoint.as_ref().filter(|_| !found.is_view) else { return Ok(false) };
        if plan.resumable_as != Some(self.origin(found.uuid.clone()).await) {
            return Ok(false);
        }
        let cut = self.connection.cuts().current(&self.connection, self.number).await?;
        let is_by_log = matches!(checkpoint.upper, Cursor::Log(_));
        match &self.capture {
            Some(capture) if is_by_log => {
                let collection = self.captured(capture, cut, &found);
                // Only if the stream still tells what became of the documents that were read.
                match log::decide(collection, Some(checkpoint)).await {
                    Ok(Change::Documents { .. }) => {}
                    Ok(Change::Whole { .. }) => return Ok(false),
                    Err(error) if error.code() == &HISTORY => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            None if !is_by_log && self.cursor.is_some() => {}
            _ => return Ok(false),
        }
        let state = match self.state_at(cut) {
            // The filter knows nothing of the log.
            State::NotBefore(_) if !is_by_log => State::Now,
            state => state,
        };
        self.remember(Planned { state, ..Planned::default() });
        Ok(true)
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let foreign = || Error::new(&BUG, "a slice of a collection holds a range that no plan made");
        let planned = self.planned.lock().expect("no holder of this lock panics").clone();
        let reading = read::Reading {
            documents: self.documents(),
            place: format!("collection \"{}\" of database \"{}\"", self.collection, self.connection.database().name()),
            contract: self.contract.clone(),
            key: self.key.clone(),
            quarantine: quarantine.clone(),
            state: planned.state,
            connection: self.connection.clone(),
        };
        if let Some(index) = slice.range.get(CHUNK).and_then(serde_json::Value::as_u64) {
            let chunk = usize::try_from(index).ok().and_then(|index| planned.chunks.get(index)).cloned().ok_or_else(foreign)?;
            return log::read(reading, chunk).await;
        }
        let range: Range = serde_json::from_value(slice.range.clone()).map_err(|_| foreign())?;
        read::read(reading, range.filter, range.documents_per_batch).await
    }

    async fn finish(&self) -> Result<()> {
        self.remember(Planned::default());
        self.connection.cuts().finish(self.number).await;
        Ok(())
    }

    async fn health(&self, after: Option<&Checkpoint>) -> Result<Vec<Probe>> {
        let Some(capture) = &self.capture else { return Ok(Vec::new()) };
        Ok(vec![log::reach(log::oldest(&self.connection).await, &self.contract.table, after, capture)])
    }
}

/// What a collection is.
struct Found {
    is_view: bool,
    uuid: Option<Bson>,
}

impl MongoExtractor {
    fn remember(&self, planned: Planned) {
        *self.planned.lock().expect("no holder of this lock panics") = planned;
    }

    /// What a reading whose checkpoint is a place in the log, or which goes on after one, asks for.
    fn state_at(&self, cut: Cut) -> State {
        let history = self.connection.cuts().history_of(Some(cut).filter(|_| self.connection.is_consistent()));
        // A member that lags behind would lack what the checkpoint says was read.
        history.map(State::At).or(cut.time.map(State::NotBefore)).unwrap_or_default()
    }

    /// Plans by the change stream.
    async fn plan_captured(
        &self,
        capture: &CaptureOptions,
        found: &Found,
        place: String,
        request: &Request,
        after: Option<&Checkpoint>,
    ) -> Result<ExtractPlan> {
        if found.is_view {
            return Err(Error::new(&CAPTURE, format!("\"{}\" is a view, which has no change stream", self.collection))
                .hint("Set `capture = \"cursor\"` in the table's section."));
        }
        let cut = self.connection.cuts().current(&self.connection, self.number).await?;
        let collection = self.captured(capture, cut, found);
        let change = log::decide(collection, after).await?;
        let state = self.state_at(cut);
        match change {
            Change::Whole { checkpoint, summary } => {
                self.remember(Planned { state, ..Planned::default() });
                let (filters, rows_estimated) = self.plan_whole(Document::new(), request, false).await?;
                let plan = self.planned(filters, Some(checkpoint), rows_estimated, summary, format!("find in {place}")).await?;
                // An identifier never changes, so a document stays in its slice; what becomes of it is in the stream behind the checkpoint.
                Ok(ExtractPlan { resumable_as: Some(self.origin(found.uuid.clone()).await), ..plan })
            }
            Change::Documents { checkpoint, summary, chunks, count } => {
                let slice =
                    |(index, chunk): (u32, &Chunk)| Slice { index, summary: chunk.summary(), range: serde_json::json!({ CHUNK: index }) };
                let slices = (0..).zip(&chunks).map(slice).collect();
                self.remember(Planned { state, chunks: Arc::new(chunks) });
                let statement = format!("watch {place}, then find in it by _id");
                Ok(ExtractPlan {
                    slices,
                    checkpoint: Some(checkpoint),
                    is_changes: true,
                    resumable_as: None,
                    rows_estimated: Some(count),
                    summary,
                    statement,
                })
            }
        }
    }

    /// What will be asked, with a word about an index that is missing.
    async fn statement(&self, place: String, path: &str) -> String {
        match self.cursor_is_indexed(path).await {
            Some(false) => {
                format!("find in {place} by {path} (no index begins with \"{path}\": every run looks at every document; create one)")
            }
            _ => format!("find in {place} by {path}"),
        }
    }

    async fn planned(
        &self,
        filters: Vec<Document>,
        checkpoint: Option<Checkpoint>,
        rows_estimated: Option<u64>,
        summary: String,
        statement: String,
    ) -> Result<ExtractPlan> {
        let documents_per_batch = if filters.is_empty() { 0 } else { self.documents_per_batch().await };
        let parts = filters.len();
        let slices = filters
            .into_iter()
            .enumerate()
            .map(|(index, filter)| {
                let range = Range { filter, documents_per_batch };
                Ok(Slice {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    summary: format!("part {} of {parts}", index + 1),
                    range: serde_json::to_value(range).map_err(|_| Error::new(&BUG, "a slice's range could not be written"))?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(ExtractPlan { slices, checkpoint, is_changes: false, resumable_as: None, rows_estimated, summary, statement })
    }
}

fn describe(cursor: &CursorField, value: CursorValue) -> String {
    if cursor.is_time() { Timestamp::from_microseconds(value).to_string() } else { value.to_string() }
}

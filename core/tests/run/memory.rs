//! Small but complete implementations of the engine's traits, in memory, with faults on demand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline_core::batch::BatchStream;
use pipeline_core::clock::Clock;
use pipeline_core::contract::{Column, ColumnType, Contract, Privacy};
use pipeline_core::error::{BUG, Code, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request, Slice};
use pipeline_core::landing::{LANDING, Snapshot};
use pipeline_core::late::LateRows;
use pipeline_core::ledger::{Basis, Entry, LEASE, Lease, Ledger, Measured, Recorded, RunOverview};
use pipeline_core::load::{Change, FENCED, Layout, Load, Loader, Marker, Mode, Receipt, Staged};
use pipeline_core::model::{Computed, ModelNode, Models, Standard, Whole};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::quarantine::{Quarantine, Rejected};
use pipeline_core::run::{SourceTable, Sources};
use pipeline_core::window::{Timestamp, Window};

/// `id → (value, changed_at)`: every table of these tests looks like this.
pub(crate) type Rows = BTreeMap<i64, (i64, i64)>;

pub(crate) fn contract(table: &str) -> Contract {
    let column = |name: &str| Column {
        name: ColumnName::new(name).unwrap(),
        from: name.to_owned(),
        data_type: ColumnType::Int64,
        nullable: name != "id",
        privacy: Privacy::None,
        only: None,
        description: String::new(),
    };
    Contract {
        table: table.parse().unwrap(),
        columns: vec![column("id"), column("value"), column("changed_at")],
        key: vec![ColumnName::new("id").unwrap()],
        cursor: Some(ColumnName::new("changed_at").unwrap()),
        description: String::new(),
    }
}

fn batch(contract: &Contract, rows: &Rows) -> RecordBatch {
    let of = |pick: fn((&i64, &(i64, i64))) -> i64| -> Arc<dyn Array> { Arc::new(Int64Array::from_iter_values(rows.iter().map(pick))) };
    RecordBatch::try_new(contract.schema(), vec![of(|row| *row.0), of(|row| row.1.0), of(|row| row.1.1)]).unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microseconds(self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

/// A half that cannot be read, with what error, and how many times.
pub(crate) type Break = (i64, &'static Code, u32);

/// A source of one table, with rows that the test changes.
#[derive(Debug, Clone)]
pub(crate) struct TestSource {
    pub(crate) tables: Vec<TableName>,
    pub(crate) rows: Arc<Mutex<Rows>>,
    pub(crate) rejected: Arc<Mutex<u64>>,
    /// Whether a reading can be continued.
    pub(crate) resumable: Arc<AtomicBool>,
    /// The halves of the whole that were read, each time to its end.
    pub(crate) reads: Arc<Mutex<Vec<i64>>>,
    pub(crate) breaks: Arc<Mutex<Option<Break>>>,
    /// With what error the readings behind a checkpoint fail.
    pub(crate) breaks_behind: Arc<Mutex<Option<&'static Code>>>,
    /// What it was told that is safe: it does not go back behind that.
    forgotten: Arc<AtomicI64>,
}

impl TestSource {
    pub(crate) fn new(table: TableName, rows: Rows) -> Self {
        Self {
            tables: vec![table],
            rows: Arc::new(rows.into()),
            rejected: Arc::default(),
            resumable: Arc::default(),
            reads: Arc::default(),
            breaks: Arc::default(),
            breaks_behind: Arc::default(),
            forgotten: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }
}

#[async_trait]
impl Sources for TestSource {
    fn tables(&self) -> &[TableName] {
        &self.tables
    }

    async fn open(&self, tables: &BTreeSet<TableName>) -> Result<Vec<SourceTable>> {
        Ok(tables
            .iter()
            .map(|table| SourceTable {
                extractor: Arc::new(TestExtractor { contract: contract(&table.to_string()), source: self.clone() }),
                lookback_us: 2,
                rejected_share_max: 0.5,
            })
            .collect())
    }
}

#[derive(Debug)]
struct TestExtractor {
    contract: Contract,
    source: TestSource,
}

#[async_trait]
impl Extractor for TestExtractor {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        if let Some(Checkpoint { upper: Cursor::Number(upper), .. }) = after
            && *upper < self.source.forgotten.load(Ordering::Relaxed)
        {
            return Err(Error::new(&BUG, "the source has forgotten what it is asked for"));
        }
        let rows = self.source.rows.lock().unwrap();
        let newest = rows.values().map(|row| row.1).max().unwrap_or(0);
        let (from, to) = match (request.window, after) {
            (Some(window), _) => (window.from.microseconds(), window.to.microseconds()),
            (None, None) => (i64::MIN, newest + 1),
            (None, Some(checkpoint)) => match checkpoint.upper {
                Cursor::Number(upper) if upper == newest => (0, 0),
                Cursor::Number(upper) => (upper - request.lookback_us, newest + 1),
                _ => unreachable!("these tables have numbers"),
            },
        };
        let slices = (0..u32::from(from < to) * 2)
            .map(|index| Slice {
                index,
                summary: format!("half {index}"),
                range: serde_json::json!({ "from": from, "to": to, "half": index }),
            })
            .collect();
        Ok(ExtractPlan {
            slices,
            checkpoint: request.window.is_none().then_some(Checkpoint { upper: Cursor::Number(newest), fingerprint: None }),
            is_changes: false,
            resumable_as: (after.is_none() && request.window.is_none() && self.source.resumable.load(Ordering::Relaxed)).then(String::new),
            rows_estimated: None,
            summary: "numbers".to_owned(),
            statement: String::new(),
        })
    }

    async fn resume(&self, _plan: &ExtractPlan) -> Result<bool> {
        Ok(self.source.resumable.load(Ordering::Relaxed))
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let number = |name: &str| slice.range[name].as_i64().unwrap();
        if let Some((half, code, times)) = &mut *self.source.breaks.lock().unwrap()
            && *half == number("half")
            && *times > 0
        {
            *times -= 1;
            return Err(Error::new(code, "the source broke"));
        }
        if number("from") != i64::MIN
            && let Some(code) = *self.source.breaks_behind.lock().unwrap()
        {
            return Err(Error::new(code, "the source broke"));
        }
        if number("from") == i64::MIN {
            self.source.reads.lock().unwrap().push(number("half"));
        }
        let rows: Rows = self
            .source
            .rows
            .lock()
            .unwrap()
            .iter()
            .filter(|(id, row)| row.1 >= number("from") && row.1 < number("to") && id.rem_euclid(2) == number("half"))
            .map(|(id, row)| (*id, *row))
            .collect();
        if number("half") == 0 {
            for position in 0..*self.source.rejected.lock().unwrap() {
                let rejected = Rejected {
                    column: "value".to_owned(),
                    reason: "odd".to_owned(),
                    position: position.to_string(),
                    raw: vec![1],
                    format: "bson".into(),
                    fields: None,
                };
                quarantine.reject(&self.contract.table, rejected)?;
            }
        }
        Ok(BatchStream::of(self.contract.schema(), vec![batch(&self.contract, &rows)]))
    }

    async fn committed(&self, checkpoint: &Checkpoint) -> Result<()> {
        if let Cursor::Number(upper) = checkpoint.upper {
            self.source.forgotten.fetch_max(upper, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Computations, each with what it was to go on from.
pub(crate) type Asked = Arc<Mutex<Vec<(TableName, Option<Basis>)>>>;

/// Two models: `doubled` reads `shop.numbers`, `listed` reads `doubled`.
#[derive(Debug)]
pub(crate) struct TestModels {
    pub(crate) nodes: Vec<ModelNode>,
    pub(crate) lake: Arc<MemoryLoader>,
    /// Each computation with what it was to go on from.
    pub(crate) asked: Asked,
}

impl TestModels {
    pub(crate) fn new(lake: Arc<MemoryLoader>, asked: Asked) -> Self {
        let node = |table: &str, input: &str| ModelNode {
            contract: Contract { cursor: None, ..contract(table) },
            inputs: vec![input.parse().unwrap()],
            stored: vec![input.parse().unwrap()],
            is_view: false,
            keeps_former: false,
            digest: table.to_owned(),
            uses_as_of: false,
            incremental_by: None,
            layout: Layout::default(),
            published_form_of: None,
        };
        Self { nodes: vec![node("doubled", "shop.numbers"), node("listed", "doubled")], lake, asked }
    }
}

#[async_trait]
impl Models for TestModels {
    fn nodes(&self) -> &[ModelNode] {
        &self.nodes
    }

    async fn check(&self, made: &BTreeSet<TableName>) -> Result<()> {
        assert!(made.iter().all(TableName::is_model));
        Ok(())
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        Ok(self.lake.tables.lock().unwrap().get(table).map(|(marker, _)| marker.revision.to_string()))
    }

    async fn whole_because(&self, _table: &TableName, _since: Option<&Basis>) -> Result<Option<Whole>> {
        Ok(None)
    }

    async fn still_holds(&self, table: &TableName, _as_of: Timestamp) -> Result<Vec<String>> {
        Ok(vec![format!("{table} is older than before")])
    }

    async fn compute(&self, table: &TableName, _as_of: Timestamp, since: Option<&Basis>, standard: &Standard) -> Result<Computed> {
        let node = self.nodes.iter().find(|node| node.contract.table == *table).unwrap();
        let factor = if table.table() == "doubled" { 2 } else { 1 };
        let new: Rows = self.lake.rows(&node.inputs[0]).into_iter().map(|(id, row)| (id, (row.0 * factor, row.1))).collect();
        let old = self.lake.rows(table);
        let changed: Rows = new.iter().filter(|(id, row)| old.get(id) != Some(row)).map(|(id, row)| (*id, *row)).collect();
        let gone: Rows = old.iter().filter(|(id, _)| !new.contains_key(id)).map(|(id, row)| (*id, *row)).collect();
        let schema = node.contract.changes_schema();
        let batches = [(changed, false), (gone, true)].into_iter().map(|(rows, deleted)| {
            let mut columns = batch(&node.contract, &rows).columns().to_vec();
            columns.push(Arc::new(BooleanArray::from(vec![deleted; rows.len()])));
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        });
        let batches = batches.collect();
        self.asked.lock().unwrap().push((table.clone(), since.cloned()));
        let read = self.lake.tables.lock().unwrap().get(&node.inputs[0]).map_or(0, |(marker, _)| marker.revision).to_string();
        let changes = BatchStream::of(schema, batches);
        // What it was held against is told as a warning.
        let former: Vec<String> = standard.former.iter().map(|measured| measured.rows.to_string()).collect();
        let warnings = vec![format!("{table} after {}", former.join(" "))];
        let rows = new.len() as u64;
        let measured = Measured { rows, ..Measured::default() };
        Ok(Computed { changes, rows, warnings, measured, read, note: String::new() })
    }

    async fn export(&self, table: &TableName) -> Result<BatchStream> {
        let node = self.nodes.iter().find(|node| node.contract.table == *table).unwrap();
        Ok(BatchStream::of(node.contract.schema(), vec![batch(&node.contract, &self.lake.rows(table))]))
    }
}

/// A destination in memory that obeys the loader's contract, and loses answers on demand.
#[derive(Debug, Default)]
pub(crate) struct MemoryLoader {
    pub(crate) name: String,
    tables: Mutex<HashMap<TableName, (Marker, Rows)>>,
    /// So many publications commit and then fail, as if the answer were lost.
    pub(crate) lost_answers: AtomicI64,
    /// So many publications fail before they commit.
    pub(crate) refusals: AtomicI64,
    pub(crate) commits: AtomicI64,
    snapshots: Mutex<HashMap<String, Snapshot>>,
}

impl MemoryLoader {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ..Self::default() })
    }

    /// Somebody else writes the table: it is in another state.
    pub(crate) fn disturb(&self, table: &TableName) {
        self.tables.lock().unwrap().get_mut(table).unwrap().0.revision += 100;
    }

    /// A load of one row, by another run.
    pub(crate) fn put(&self, table: &TableName, id: i64, row: (i64, i64)) {
        let mut tables = self.tables.lock().unwrap();
        let (marker, rows) = tables.get_mut(table).unwrap();
        marker.revision += 1;
        rows.insert(id, row);
    }

    pub(crate) fn rows(&self, table: &TableName) -> Rows {
        self.tables.lock().unwrap().get(table).map(|table| table.1.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl Loader for MemoryLoader {
    fn name(&self) -> &str {
        &self.name
    }

    async fn marker(&self, _pipeline: &str, table: &TableName) -> Result<Option<Marker>> {
        // A destination may keep a part of the digest.
        let marker = self.tables.lock().unwrap().get(table).map(|table| table.0.clone());
        Ok(marker.map(|marker| Marker { digest: marker.digest.chars().take(15).collect(), ..marker }))
    }

    async fn compare(&self, _contract: &Contract, _layout: &Layout) -> Result<Vec<Change>> {
        Ok(Vec::new())
    }

    async fn prepare(&self, _contract: &Contract, _layout: &Layout) -> Result<Vec<Change>> {
        Ok(Vec::new())
    }

    async fn stage(&self, load: &Load, snapshot: &Snapshot) -> Result<Staged> {
        self.snapshots.lock().unwrap().insert(snapshot.manifest_key().to_owned(), snapshot.clone());
        Ok(Staged { load: load.clone(), snapshot: snapshot.manifest_key().to_owned(), detail: serde_json::Value::Null })
    }

    async fn publish(&self, staged: &Staged) -> Result<Receipt> {
        let load = &staged.load;
        let snapshot = self.snapshots.lock().unwrap()[&staged.snapshot].clone();
        let batches = read(&snapshot).await;
        if self.refusals.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(Error::new(&LANDING, "refused before the commit"));
        }
        let mut tables = self.tables.lock().unwrap();
        let stored = tables.get(&load.id.table).cloned();
        let mut receipt = Receipt {
            id: load.id.clone(),
            rows_written: 0,
            rows_deleted: 0,
            rows_unchanged: 0,
            late: LateRows::default(),
            was_there: false,
            detail: serde_json::Value::Null,
        };
        if let Some((marker, _)) = &stored {
            if marker.revision == load.id.revision && marker.digest == load.id.digest {
                receipt.was_there = true;
                return Ok(receipt);
            }
            if marker.revision >= load.id.revision {
                return Err(Error::new(&FENCED, "a newer load stands here"));
            }
        }
        let base = stored.as_ref().map(|stored| stored.0.revision);
        let mut rows = stored.map(|stored| stored.1).unwrap_or_default();
        let before = rows.clone();
        match load.mode {
            Mode::Changes => assert_eq!(base, load.base, "changes must stand on the revision they were computed from"),
            Mode::Replace => rows.clear(),
            Mode::Append | Mode::Merge => {}
        }
        for batch in batches {
            let numbers = |index: usize| batch.column(index).as_primitive::<Int64Type>().clone();
            let (id, value, changed_at) = (numbers(0), numbers(1), numbers(2));
            for row in 0..batch.num_rows() {
                let deleted = load.mode == Mode::Changes && batch.column(3).as_boolean().value(row);
                let new = (value.value(row), changed_at.value(row));
                if deleted {
                    rows.remove(&id.value(row));
                    receipt.rows_deleted += 1;
                } else if rows.get(&id.value(row)) == Some(&new) {
                    receipt.rows_unchanged += 1;
                } else {
                    rows.insert(id.value(row), new);
                    receipt.rows_written += 1;
                }
            }
        }
        let moved = receipt.rows_written + receipt.rows_deleted > 0 || rows != before;
        if moved || load.mode == Mode::Changes || base.is_none() {
            let marker = Marker { revision: load.id.revision, digest: load.id.digest.clone() };
            tables.insert(load.id.table.clone(), (marker, rows));
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        if self.lost_answers.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(Error::new(&LANDING, "the answer was lost"));
        }
        Ok(receipt)
    }

    async fn discard(&self, _staged: &Staged) -> Result<()> {
        Ok(())
    }

    fn describe(&self, _load: &Load) -> Vec<String> {
        Vec::new()
    }
}

pub(crate) async fn read(snapshot: &Snapshot) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for part in &snapshot.manifest().parts {
        let bytes = snapshot.landing().get(&part.key).await.unwrap();
        batches.extend(ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap));
    }
    batches
}

/// The ledger's contract in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryLedger {
    entries: Mutex<Vec<(String, String, Entry)>>,
    held: Mutex<BTreeSet<String>>,
    /// The process "dies" when so many entries have been appended: every later append fails.
    pub(crate) dies_after: Mutex<Option<usize>>,
}

impl MemoryLedger {
    pub(crate) fn revive(&self) {
        *self.dies_after.lock().unwrap() = None;
        self.held.lock().unwrap().clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// Whether a step has brought rows into the lake in two runs.
    pub(crate) fn has_loaded_twice(&self, wanted: &str) -> bool {
        let entries = self.entries.lock().unwrap();
        let is_it = |entry: &Entry| matches!(entry, Entry::Loaded { step, destination, .. } if step == wanted && destination == "lake");
        entries.iter().filter(|(_, _, entry)| is_it(entry)).count() == 2
    }

    /// The slices that were written down, since the latest reading began.
    pub(crate) fn slices_landed(&self) -> Vec<i64> {
        self.entries.lock().unwrap().iter().fold(Vec::new(), |mut slices, (_, _, entry)| {
            match entry {
                Entry::ReadingBegun { .. } => slices.clear(),
                Entry::SliceLanded { slice, .. } => slices.push(slice.index.into()),
                _ => {}
            }
            slices
        })
    }

    fn latest<T>(&self, pipeline: &str, pick: impl Fn(&Entry) -> Option<T>) -> Option<T> {
        self.entries.lock().unwrap().iter().rev().filter(|entry| entry.1 == pipeline).find_map(|entry| pick(&entry.2))
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn acquire(&self, pipeline: &str) -> Result<Lease> {
        if self.held.lock().unwrap().insert(pipeline.to_owned()) {
            Ok(Lease { pipeline: pipeline.to_owned(), epoch: 1 })
        } else {
            Err(Error::new(&LEASE, "held"))
        }
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        self.held.lock().unwrap().remove(&lease.pipeline);
        Ok(())
    }

    async fn append(&self, lease: &Lease, run: &str, entries: &[Entry]) -> Result<()> {
        let mut all = self.entries.lock().unwrap();
        if self.dies_after.lock().unwrap().is_some_and(|limit| all.len() >= limit) {
            return Err(Error::new(&pipeline_core::error::BUG, "the process is dead"));
        }
        all.extend(entries.iter().map(|entry| (run.to_owned(), lease.pipeline.clone(), entry.clone())));
        Ok(())
    }

    async fn entries(&self, run: &str) -> Result<Vec<Recorded>> {
        let at = Timestamp::from_microseconds(0);
        Ok(self
            .entries
            .lock()
            .unwrap()
            .iter()
            .filter(|entry| entry.0 == run)
            .map(|entry| Recorded { at, entry: entry.2.clone() })
            .collect())
    }

    async fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<RunOverview>> {
        let at = Timestamp::from_microseconds(0);
        let mut runs: Vec<RunOverview> = Vec::new();
        for (run, name, entry) in self.entries.lock().unwrap().iter() {
            match entry {
                Entry::RunStarted { request } if !runs.iter().any(|known| known.run == *run) => {
                    runs.push(RunOverview {
                        run: run.clone(),
                        pipeline: name.clone(),
                        request: request.clone(),
                        started_at: at,
                        last_at: at,
                        status: None,
                    });
                }
                Entry::RunStarted { .. } => runs.iter_mut().filter(|known| known.run == *run).for_each(|known| known.status = None),
                Entry::RunFinished { status, .. } => {
                    runs.iter_mut().filter(|known| known.run == *run).for_each(|known| known.status = Some(*status))
                }
                _ => {}
            }
        }
        Ok(runs.into_iter().rev().filter(|run| pipeline.is_none_or(|name| run.pipeline == name)).take(limit).collect())
    }

    async fn checkpoint(&self, pipeline: &str, wanted: &TableName) -> Result<Option<Checkpoint>> {
        Ok(self.latest(pipeline, |entry| match entry {
            Entry::CheckpointAdvanced { table, checkpoint } if table == wanted => Some(checkpoint.clone()),
            _ => None,
        }))
    }

    async fn model_state(&self, pipeline: &str, wanted: &TableName) -> Result<Option<String>> {
        Ok(self.latest(pipeline, |entry| match entry {
            Entry::ModelDone { table, state } if table == wanted => Some(state.clone()),
            _ => None,
        }))
    }

    async fn model_basis(&self, pipeline: &str, wanted: &TableName) -> Result<Option<Basis>> {
        Ok(self.latest(pipeline, |entry| match entry {
            Entry::ModelStored { table, basis } if table == wanted => Some(basis.clone()),
            _ => None,
        }))
    }

    async fn measured(&self, pipeline: &str, wanted: &TableName, runs_max: usize) -> Result<Vec<Measured>> {
        let entries = self.entries.lock().unwrap();
        let mut of_runs: Vec<(&str, Measured)> = Vec::new();
        for (run, _, entry) in entries.iter().rev().filter(|entry| entry.1 == pipeline) {
            match entry {
                Entry::ModelMeasured { table, measured } if table == wanted && of_runs.iter().all(|(known, _)| known != run) => {
                    of_runs.push((run, measured.clone()));
                }
                _ => {}
            }
        }
        let end = of_runs.iter().position(|(_, measured)| measured.begins_anew).map_or(of_runs.len(), |at| at + 1);
        Ok(of_runs.into_iter().take(end.min(runs_max)).map(|(_, measured)| measured).collect())
    }

    async fn late_rows(&self, pipeline: &str, wanted: &TableName, runs_max: usize) -> Result<Vec<LateRows>> {
        let entries = self.entries.lock().unwrap();
        let late = entries.iter().rev().filter(|entry| entry.1 == pipeline).filter_map(|entry| match &entry.2 {
            Entry::RowsLate { table, late } if table == wanted => Some(late.clone()),
            _ => None,
        });
        Ok(late.take(runs_max).collect())
    }

    async fn windows_done(&self, pipeline: &str) -> Result<Vec<Window>> {
        let entries = self.entries.lock().unwrap();
        let done = entries.iter().filter(|entry| entry.1 == pipeline).filter_map(|entry| match &entry.2 {
            Entry::WindowDone { window } => Some(*window),
            _ => None,
        });
        Ok(done.collect())
    }
}

/// Whether any snapshot is in the landing: used to show that nothing was written.
pub(crate) async fn objects(store: &Arc<dyn object_store::ObjectStore>) -> usize {
    store.list(None).try_collect::<Vec<_>>().await.unwrap().len()
}

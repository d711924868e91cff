//! What is to be read from a table, decided within the snapshot that it will be read in.
//!
//! # What the checkpoint promises
//! Everything that the snapshot shows up to the checkpoint has been read, and the checkpoint is not beyond the beginning of any transaction
//! that the snapshot does not show: a row that such a transaction writes with the time of its beginning still comes. What
//! writes older times than its transaction's beginning is the lookback's business. Numbers as cursors have neither: a sequence's number that is
//! committed late is lost, and tables where that can happen are captured from the log or read by a time.
//!
//! A checkpoint's fingerprint is a digest of the places and versions (`ctid`, `xmin`) of the rows within the lookback: if it is the same next
//! time, and nothing is newer, nothing is read.

use std::sync::Arc;

use pipeline_core::contract::{EXTRA_COLUMN, Privacy};
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Request, Slice};
use pipeline_core::quarantine::REPLAY;
use pipeline_core::window::{Timestamp, Window};
use sqlx::PgConnection;

use super::catalog::{Catalog, Column, Relation};
use super::connection::{Connections, Lent};
use super::copy::{Decoder, SourceColumn, split_path};
use super::error::{COLUMN, CURSOR, During, GRANT, LOST, SLOT, failed};
use super::log::{self, Change, Chunk};
use super::read::{Range, Storage};
use super::slices::{self, Cut};
use super::snapshot::{Snapshot, begin};
use super::statement::{Selection, identifier, literal, position, selection, shown, wherever};
use super::table::{CHUNK, Capture, Planned, PostgresTable};
use super::types::PostgresType;
use crate::nearest::nearest;
use crate::origin;

/// Why a checkpoint cannot move on, and what to do.
const HIDDEN: &str = "a transaction is open whose beginning this role cannot see (GRANT pg_read_all_stats lets it)";

const DAY_US: i64 = 86_400_000_000;

/// Plans the reading of a table.
pub(super) async fn plan(table: &PostgresTable, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
    let what = format!("table \"{}\" could not be planned", table.relation);
    let (mut lent, snapshot) = begun(table, &what).await?;
    let mut planner =
        Planner { table, connections: &table.source.connections, connection: &mut lent.connection, snapshot: &snapshot, what: &what };
    let planned = planner.plan(request, after).await;
    let Made { plan, columns, chunks } = ended(table, lent, &snapshot, planned, &what).await?;
    *table.planned.lock().expect("no holder of this lock panics") = Some(Planned { snapshot, columns, chunks: Arc::new(chunks) });
    Ok(plan)
}

/// Looks whether a reading of a captured table that was planned before can go on, and makes its slices readable if so.
///
/// A row that an update moved to another page can be in two slices of different snapshots, or in none. It is in the log then, and is read behind
/// them; of two rows with one key the lake takes one. What moves rows without a word in the log makes new files.
pub(super) async fn resume(table: &PostgresTable, plan: &ExtractPlan) -> Result<bool> {
    let what = format!("table \"{}\" could not be planned", table.relation);
    let (mut lent, snapshot) = begun(table, &what).await?;
    let mut planner =
        Planner { table, connections: &table.source.connections, connection: &mut lent.connection, snapshot: &snapshot, what: &what };
    let columns = planner.resume(plan).await;
    let Some(columns) = ended(table, lent, &snapshot, columns, &what).await? else { return Ok(false) };
    *table.planned.lock().expect("no holder of this lock panics") = Some(Planned { snapshot, columns, chunks: Arc::default() });
    Ok(true)
}

/// A connection in the snapshot of the tables that are being read.
async fn begun(table: &PostgresTable, what: &str) -> Result<(Lent, Arc<Snapshot>)> {
    let connections = &table.source.connections;
    let mut lent = connections.lend().await?;
    let snapshot = table.source.snapshots.current(connections, table.number).await?;
    match begin(&mut lent.connection, &snapshot.name, what).await {
        Ok(()) => Ok((lent, snapshot)),
        // The server lost the snapshot with the connection that held it, or this connection broke while it was idle: both begin anew.
        Err(error) if error.code() == &LOST => {
            table.source.snapshots.forget(&snapshot).await;
            drop(lent);
            lent = connections.lend().await?;
            let snapshot = table.source.snapshots.current(connections, table.number).await?;
            begin(&mut lent.connection, &snapshot.name, what).await?;
            Ok((lent, snapshot))
        }
        Err(error) => Err(error),
    }
}

/// Gives the connection back after what was decided in it.
async fn ended<T>(table: &PostgresTable, mut lent: Lent, snapshot: &Arc<Snapshot>, decided: Result<T>, what: &str) -> Result<T> {
    match decided {
        // A replication slot that was made after the snapshot needs a newer one; the next attempt takes it.
        Err(error) if error.code() == &LOST && table.slot.is_some() => {
            table.source.snapshots.forget(snapshot).await;
            Err(error)
        }
        Err(error) => Err(error),
        Ok(decided) => {
            sqlx::raw_sql("COMMIT").execute(&mut lent.connection).await.map_err(|error| failed(what, &error, During::Executing))?;
            lent.give_back();
            Ok(decided)
        }
    }
}

/// Looks whether a table can be read as its contract declares, in a connection of its own.
pub(super) async fn check(table: &PostgresTable) -> Result<()> {
    let connections = &table.source.connections;
    let mut lent = connections.lend().await?;
    let relation = Catalog { connections, connection: &mut lent.connection, relation: &table.relation }.find().await?;
    lent.give_back();
    table.selection(&relation).map(drop)
}

impl PostgresTable {
    /// What is to be selected from the relation.
    fn selection(&self, relation: &Relation) -> Result<Selection> {
        self.check_columns(relation)?;
        let selection = selection(&self.contract, &relation.columns);
        // Compiled once here, so that a contract that cannot be read fails before anything is read.
        Decoder::new(&self.contract, &selection.columns, self.key.clone())?;
        self.check_grants(relation, &selection.columns)?;
        Ok(selection)
    }

    /// That every declared column exists. The names to suggest are all of the table's, also those that are not selected.
    fn check_columns(&self, relation: &Relation) -> Result<()> {
        let names = || relation.columns.iter().map(|column| column.name.as_str());
        for declared in &self.contract.columns {
            if declared.name.as_str() == EXTRA_COLUMN
                || declared.privacy == Privacy::Drop
                || split_path(&declared.from, &mut names()).is_some()
            {
                continue;
            }
            let error = Error::new(&COLUMN, format!("column \"{}\" does not exist in table \"{}\"", declared.from, self.relation));
            return Err(match nearest(&declared.from, names()) {
                Some(name) => {
                    error.hint(format!("Did you mean \"{name}\"? Write `{} = \"{} from {name}\"`.", declared.name, declared.data_type))
                }
                None => error,
            });
        }
        Ok(())
    }

    fn check_grants(&self, relation: &Relation, columns: &[SourceColumn]) -> Result<()> {
        let closed = |column: &&Column| !column.is_readable && columns.iter().any(|selected| selected.name == column.name);
        let Some(column) = relation.columns.iter().find(closed) else { return Ok(()) };
        let error = Error::new(
            &GRANT,
            format!("user \"{}\" may not read column \"{}\" of table \"{}\"", self.source.connections.user(), column.name, self.relation),
        );
        Err(error.hint(format!(
            "Let the table's owner execute: GRANT SELECT ON {} TO {};",
            relation.name,
            identifier(self.source.connections.user())
        )))
    }
}

/// A plan with what its slices need.
struct Made {
    plan: ExtractPlan,
    columns: Vec<SourceColumn>,
    chunks: Vec<Chunk>,
}

struct Planner<'a> {
    table: &'a PostgresTable,
    connections: &'a Connections,
    connection: &'a mut PgConnection,
    snapshot: &'a Arc<Snapshot>,
    /// What an error says could not be done.
    what: &'a str,
}

/// The column that the table is read by.
struct ByCursor {
    /// Its name in SQL.
    name: String,
    type_: PostgresType,
    has_index: bool,
}

/// The rows to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    /// Those behind a position, and those at it if `inclusive`; up to one if there is one.
    Behind {
        lower: Cursor,
        inclusive: bool,
        upper: Option<Cursor>,
    },
    /// Those up to a position, and those without any.
    UpTo(Cursor),
    Within(Window),
}

/// What a plan decides before it cuts.
struct Decided {
    wanted: Wanted,
    checkpoint: Option<Checkpoint>,
    summary: String,
    /// Whether there is anything to read.
    is_empty: bool,
}

impl Planner<'_> {
    async fn plan(&mut self, request: &Request, after: Option<&Checkpoint>) -> Result<Made> {
        let table = self.table;
        let relation = self.catalog().find().await?;
        let selection = table.selection(&relation)?;
        if let Some(positions) = &request.rejected {
            return self.rejected(&relation, selection, positions);
        }
        let captured = match (&table.source.capture, &table.slot) {
            (Some(capture), Some(slot)) if request.window.is_none() => {
                Some(self.captured(capture, slot, &relation, &selection, after).await?)
            }
            _ => None,
        };
        if let Some(Change::Rows { checkpoint, summary, statement, chunks, keys }) = captured {
            let slices = self.changed(&chunks);
            let plan = ExtractPlan {
                slices,
                checkpoint: Some(checkpoint),
                is_changes: true,
                resumable_as: None,
                rows_estimated: Some(keys),
                summary,
                statement,
            };
            return Ok(Made { plan, columns: selection.columns, chunks });
        }
        let Selection { list, columns } = selection;
        let whole = captured.and_then(Change::whole);
        let is_captured = whole.is_some();
        let cursor = if whole.is_some() { None } else { self.cursor(&relation).await? };
        let mut decided = match (&cursor, request.window) {
            (None, _) => Decided {
                wanted: Wanted::All,
                checkpoint: Some(Checkpoint { upper: Cursor::Whole, fingerprint: None }),
                summary: if request.window.is_some() {
                    "the whole table, since it has no cursor to cut a window on"
                } else {
                    "the whole table"
                }
                .to_owned(),
                is_empty: false,
            },
            (Some(cursor), Some(window)) => {
                if !is_time(&cursor.type_) {
                    return Err(Error::new(
                        &CURSOR,
                        format!("table \"{}\" has a cursor that is a number, so it has no windows of time", table.contract.table),
                    ));
                }
                Decided {
                    wanted: Wanted::Within(window),
                    checkpoint: None,
                    summary: format!("rows of the window {window}"),
                    is_empty: false,
                }
            }
            (Some(cursor), None) => self.changes(&relation, cursor, request, after).await?,
        };
        if let Some((checkpoint, summary)) = whole {
            (decided.checkpoint, decided.summary) = (checkpoint, summary);
        }
        if request.window.is_some() {
            decided.checkpoint = None;
        }
        if let Some(cursor) = cursor.as_ref().filter(|cursor| !cursor.has_index && decided.wanted != Wanted::All) {
            decided.summary.push_str(&format!("; no index begins with {}, so all of it is scanned", cursor.name));
        }
        let mut conditions = conditions(cursor.as_ref(), &decided.wanted);
        if let Some(cursor) = cursor.as_ref().filter(|_| decided.checkpoint.is_some()) {
            conditions.extend(self.not_waiting(cursor, request));
        }
        let statement = slices::whole(&relation, &list, &conditions, "").query;
        let rows_estimated = match (decided.is_empty, &decided.wanted) {
            (true, _) => Some(0),
            (false, Wanted::All) => relation.rows(),
            (false, _) => self.estimate(&statement).await?,
        };
        let slices_wanted = if is_captured { self.slices_to_go_on_by(&relation, request).await? } else { request.slices_wanted };
        let (cuts, is_by_place) = if decided.is_empty {
            (Vec::new(), false)
        } else {
            self.cut(&relation, &list, cursor.as_ref(), (&decided.wanted, &conditions), slices_wanted, rows_estimated)
        };
        let is_by_place = is_by_place && cuts.len() > 1;
        let storage = if is_by_place { Some(self.storage(&relation).await?) } else { None };
        let slices = cuts
            .into_iter()
            .enumerate()
            .map(|(index, cut)| {
                let range = Range { query: cut.query, storage: storage.clone() };
                Ok(Slice {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    summary: cut.summary,
                    range: serde_json::to_value(range).map_err(|_| Error::new(&BUG, "a slice's range could not be written"))?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let Decided { checkpoint, summary, .. } = decided;
        let resumable_as = (is_captured && is_by_place && checkpoint.is_some()).then(|| self.origin(&list));
        let plan = ExtractPlan { slices, checkpoint, is_changes: false, resumable_as, rows_estimated, summary, statement };
        Ok(Made { plan, columns, chunks: Vec::new() })
    }

    /// The columns of a reading that can go on; None if it cannot.
    async fn resume(&mut self, plan: &ExtractPlan) -> Result<Option<Vec<SourceColumn>>> {
        let (Some(capture), Some(slot)) = (&self.table.source.capture, &self.table.slot) else { return Ok(None) };
        let relation = self.catalog().find().await?;
        let selection = self.table.selection(&relation)?;
        let range: Option<Range> = plan.slices.first().and_then(|slice| serde_json::from_value(slice.range.clone()).ok());
        let Some(storage) = range.and_then(|range| range.storage) else { return Ok(None) };
        if plan.resumable_as != Some(self.origin(&selection.list)) {
            return Ok(None);
        }
        if storage != self.storage(&relation).await? {
            return Ok(None);
        }
        match self.captured(capture, slot, &relation, &selection, plan.checkpoint.as_ref()).await {
            Ok(Change::Rows { .. }) => Ok(Some(selection.columns)),
            Ok(Change::Whole { .. }) => Ok(None),
            Err(error) if error.code() == &SLOT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What slices of the table depend on beside its contract and where its rows lie. What is selected tells the form in which values are sent.
    fn origin(&self, list: &str) -> String {
        origin::digest(&[list], self.table.key.as_ref())
    }

    async fn storage(&mut self, relation: &Relation) -> Result<Storage> {
        Storage::of(self.connections, self.connection, relation.oid, self.what).await
    }

    /// How many slices a reading that can go on has: more than are read at once, or a death would cost all of it.
    async fn slices_to_go_on_by(&mut self, relation: &Relation, request: &Request) -> Result<usize> {
        /// Slices for each worker at the least.
        const PER_WORKER: usize = 2;
        /// Most pages of a slice: 256 MiB.
        const PAGES_MAX: u64 = 32_768;
        /// The first server that goes straight to a range of pages, instead of through all of them.
        const VERSION_MIN: u32 = 140_000;
        let version = self.text("SHOW server_version_num").await?.and_then(|text| text.parse::<u32>().ok());
        if version.is_none_or(|version| version < VERSION_MIN) {
            return Ok(request.slices_wanted);
        }
        let pages: u64 = relation.leaves.iter().filter_map(|leaf| leaf.pages).sum();
        Ok((request.slices_wanted * PER_WORKER).max(usize::try_from(pages / PAGES_MAX).unwrap_or(usize::MAX)))
    }

    /// What the log says is to be read.
    async fn captured(
        &mut self,
        capture: &Capture,
        slot: &str,
        relation: &Relation,
        Selection { list, columns }: &Selection,
        after: Option<&Checkpoint>,
    ) -> Result<Change> {
        let table = log::Table {
            connections: self.connections,
            connection: self.connection,
            snapshot: self.snapshot,
            options: &capture.options,
            work: &capture.work,
            slot,
            contract: &self.table.contract,
            relation,
            list,
            columns,
        };
        log::decide(table, after).await
    }

    /// Reads rows by the positions that they were rejected at, which are their keys.
    fn rejected(&self, relation: &Relation, Selection { list, columns }: Selection, positions: &[String]) -> Result<Made> {
        /// Rows that one statement asks for.
        const ROWS_PER_SLICE: usize = 10_000;
        let contract = &self.table.contract;
        let key: Vec<&str> = contract.key.iter().filter_map(|name| contract.column(name)).map(|column| column.from.as_str()).collect();
        let row = |position: &String| {
            let values: serde_json::Map<String, serde_json::Value> = serde_json::from_str(position).ok()?;
            let values: Option<Vec<String>> = key.iter().map(|name| Some(literal(values.get(*name)?.as_str()?))).collect();
            values.filter(|values| !values.is_empty()).map(|values| format!("({})", values.join(", ")))
        };
        let rows: Option<Vec<String>> = positions.iter().map(row).collect();
        let rows = rows.ok_or_else(|| {
            Error::new(&REPLAY, format!("rejected rows of table \"{}\" do not tell the key that finds them again", contract.table))
                .caused_by("the table had no key when they were rejected, or its key is personal")
        })?;
        let names: Vec<String> = key.iter().map(|name| identifier(name)).collect();
        let by_key = |rows: &str| {
            let condition = format!("({}) IN ({rows})", names.join(", "));
            slices::whole(relation, &list, &[condition], &format!("{}, rejected rows", relation.name))
        };
        let slice = |(index, rows): (u32, &[String])| {
            let cut = by_key(&rows.join(", "));
            let range = Range { query: cut.query, storage: None };
            let range = serde_json::to_value(range).map_err(|_| Error::new(&BUG, "a slice's range could not be written"))?;
            Ok(Slice { index, summary: cut.summary, range })
        };
        let slices = (0..).zip(rows.chunks(ROWS_PER_SLICE)).map(slice).collect::<Result<Vec<_>>>()?;
        let plan = ExtractPlan {
            slices,
            checkpoint: None,
            is_changes: false,
            resumable_as: None,
            rows_estimated: Some(positions.len() as u64),
            summary: "rows that were rejected before".to_owned(),
            statement: by_key("…").query,
        };
        Ok(Made { plan, columns, chunks: Vec::new() })
    }

    /// A slice for each chunk of changed rows.
    fn changed(&self, chunks: &[Chunk]) -> Vec<Slice> {
        let slice = |(index, chunk): (u32, &Chunk)| {
            let summary = chunk.summary(&self.table.relation);
            Slice { index, summary, range: serde_json::json!({ CHUNK: index }) }
        };
        (0..).zip(chunks).map(slice).collect()
    }

    fn catalog(&mut self) -> Catalog<'_> {
        Catalog { connections: self.connections, connection: self.connection, relation: &self.table.relation }
    }

    async fn text(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.connections.rows(self.connection, sql, self.what).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    async fn cursor(&mut self, relation: &Relation) -> Result<Option<ByCursor>> {
        let contract = &self.table.contract;
        let Some(declared) = contract.cursor.as_ref().and_then(|cursor| contract.column(cursor)) else { return Ok(None) };
        let wrong = |what: String| Error::new(&CURSOR, format!("cursor \"{}\" of table \"{}\" {what}", declared.name, contract.table));
        let Some(column) = relation.columns.iter().find(|column| column.name == declared.from) else {
            return Err(wrong("is a part of a column, which cannot be read by".to_owned()));
        };
        if !is_time(&column.type_) && !is_number(&column.type_) {
            return Err(wrong(format!("is read from a column of type {}, which does not grow", column.type_)));
        }
        let has_index = self.catalog().has_index(relation, column).await?;
        Ok(Some(ByCursor { name: identifier(&column.name), type_: column.type_.clone(), has_index }))
    }

    /// What changed since a checkpoint, or everything.
    async fn changes(&mut self, relation: &Relation, cursor: &ByCursor, request: &Request, after: Option<&Checkpoint>) -> Result<Decided> {
        let has_key = !self.table.contract.key.is_empty();
        let highest = self.highest(relation, cursor).await?;
        let before = after.map(|after| &after.upper).filter(|upper| matches!(upper, Cursor::Number(_) | Cursor::Time(_)));
        // Without rows there is no position; the next reading is of the whole again.
        let Some(highest) = highest else {
            return Ok(match (after, before) {
                (Some(after), Some(_)) => Decided {
                    wanted: Wanted::All,
                    checkpoint: Some(after.clone()),
                    summary: "the table is empty".to_owned(),
                    is_empty: true,
                },
                _ => {
                    let checkpoint = Some(Checkpoint { upper: Cursor::Whole, fingerprint: None });
                    Decided { wanted: Wanted::All, checkpoint, summary: "the whole table".to_owned(), is_empty: false }
                }
            });
        };
        let Some(bound) = self.bound(cursor, &highest, has_key, request).or_else(|| before.cloned()) else {
            // Nothing can be relied on yet: the next reading is of the whole again. Without a key, rows must not come twice.
            let checkpoint = Some(Checkpoint { upper: Cursor::Whole, fingerprint: None });
            let summary = format!("the whole table, and again the next time, since {HIDDEN}");
            return Ok(Decided { wanted: Wanted::All, checkpoint, summary, is_empty: !has_key });
        };
        // The same place again at the most: a checkpoint never goes back.
        let upper = before.filter(|before| same_kind(before, &bound) && **before > bound).unwrap_or(&bound).clone();
        if !has_key {
            // Without a key a row that is read twice is there twice: exactly what lies between the checkpoints, then.
            let checkpoint = Some(Checkpoint { upper: upper.clone(), fingerprint: None });
            return Ok(match before {
                None => Decided { wanted: Wanted::UpTo(upper), checkpoint, summary: "the whole table".to_owned(), is_empty: false },
                Some(before) => Decided {
                    is_empty: upper <= *before,
                    wanted: Wanted::Behind { lower: before.clone(), inclusive: false, upper: Some(upper) },
                    checkpoint,
                    summary: format!("rows added since {}", shown(before)),
                },
            });
        }
        let fingerprint = self.fingerprint(relation, cursor, &upper, request).await?;
        let checkpoint = Some(Checkpoint { upper, fingerprint });
        let (Some(before), Some(after)) = (before, after) else {
            return Ok(Decided { wanted: Wanted::All, checkpoint, summary: "the whole table".to_owned(), is_empty: false });
        };
        if after.fingerprint.is_some() && after.fingerprint == self.fingerprint(relation, cursor, before, request).await? {
            let summary = format!("no rows changed since {}", shown(before));
            return Ok(Decided { wanted: Wanted::All, checkpoint: Some(after.clone()), summary, is_empty: true });
        }
        let lower = looked_back(before, request.lookback_us);
        let mut summary = format!("rows changed since {}", shown(&lower));
        if is_time(&cursor.type_) && self.snapshot.oldest_us.is_none() {
            summary.push_str(&format!("; the checkpoint stays there, since {HIDDEN}"));
        }
        let inclusive = cursor.type_ == PostgresType::Date;
        Ok(Decided { wanted: Wanted::Behind { lower, inclusive, upper: Some(highest) }, checkpoint, summary, is_empty: false })
    }

    /// The greatest position that the snapshot shows, apart from infinities and what 64 bits of microseconds do not hold.
    async fn highest(&mut self, relation: &Relation, cursor: &ByCursor) -> Result<Option<Cursor>> {
        let (name, place) = (&cursor.name, &relation.name);
        let text = match &cursor.type_ {
            PostgresType::Int2 | PostgresType::Int4 | PostgresType::Int8 => self.text(&format!("SELECT max({name}) FROM {place}")).await?,
            PostgresType::Numeric => {
                self.text(&format!("SELECT floor(max({name}))::bigint FROM {place} WHERE {name} < 9223372036854775807")).await?
            }
            type_ => {
                let limit = if *type_ == PostgresType::TimestampTz { "timestamptz '294000-01-01 00:00:00+00'" } else { "'294000-01-01'" };
                self.text(&format!("SELECT (extract(epoch FROM max({name})) * 1000000)::bigint FROM {place} WHERE {name} < {limit}"))
                    .await?
            }
        };
        let Some(number) = text.and_then(|text| text.parse::<i64>().ok()) else { return Ok(None) };
        Ok(Some(if is_time(&cursor.type_) { Cursor::Time(Timestamp::from_microseconds(number)) } else { Cursor::Number(number) }))
    }

    /// How far the next reading can rely on this one; None if that cannot be told.
    fn bound(&self, cursor: &ByCursor, highest: &Cursor, has_key: bool, request: &Request) -> Option<Cursor> {
        let Cursor::Time(time) = highest else { return Some(highest.clone()) };
        let oldest = self.snapshot.oldest_us?.saturating_sub(1);
        let limit = if cursor.type_ == PostgresType::Date && !has_key {
            // A day can get more rows until it is over.
            oldest.div_euclid(DAY_US).saturating_sub(1).saturating_mul(DAY_US)
        } else {
            oldest
        };
        let bound = (*time).min(Timestamp::from_microseconds(limit));
        Some(Cursor::Time(request.cut.map_or(bound, |cut| bound.min(cut))))
    }

    /// The condition that leaves out what waits for the next run: rows between the run's cut and the snapshot. What lies beyond the snapshot
    /// has a time that is not that of its writing, and waits for nothing. None if there is nothing between. A day is too coarse to wait by.
    fn not_waiting(&self, cursor: &ByCursor, request: &Request) -> Option<String> {
        let cut = request.cut.filter(|cut| *cut < self.snapshot.taken && cursor.type_ != PostgresType::Date && is_time(&cursor.type_))?;
        let position = |time: Timestamp| position(&Cursor::Time(time), &cursor.type_);
        let (name, cut, now) = (&cursor.name, position(cut), position(self.snapshot.taken));
        Some(format!("({name} <= {cut} OR {name} > {now} OR {name} IS NULL)"))
    }

    /// A digest of the rows behind a position less the lookback. None where rows have no places.
    async fn fingerprint(&mut self, relation: &Relation, cursor: &ByCursor, upper: &Cursor, request: &Request) -> Result<Option<String>> {
        if !relation.has_places() {
            return Ok(None);
        }
        let lookback_us = request.lookback_us;
        let wanted = Wanted::Behind { lower: looked_back(upper, lookback_us), inclusive: cursor.type_ == PostgresType::Date, upper: None };
        let mut conditions = conditions(Some(cursor), &wanted);
        conditions.extend(self.not_waiting(cursor, request));
        let digest = self
            .text(&format!(
                "SELECT count(*)::text || ':' || coalesce(sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0)), 0)::text FROM {}{}",
                relation.name,
                wherever(&conditions)
            ))
            .await?;
        Ok(digest.map(|digest| format!("{lookback_us}:{digest}")))
    }

    /// How many rows the server expects a query to give.
    async fn estimate(&mut self, query: &str) -> Result<Option<u64>> {
        let text = self.text(&format!("EXPLAIN (FORMAT JSON) {query}")).await?;
        let plan: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(&text).ok());
        Ok(plan.and_then(|plan| plan.pointer("/0/Plan/Plan Rows")?.as_u64()))
    }

    /// The slices, and whether they are ranges of pages.
    fn cut(
        &self,
        relation: &Relation,
        list: &str,
        cursor: Option<&ByCursor>,
        (wanted, conditions): (&Wanted, &[String]),
        slices_wanted: usize,
        rows: Option<u64>,
    ) -> (Vec<Cut>, bool) {
        /// Fewer rows than these are read sooner by one worker than they are cut.
        const ROWS_PER_SLICE_MIN: u64 = 100_000;
        let by_index = cursor.filter(|cursor| cursor.has_index);
        let ends = match (wanted, by_index) {
            (Wanted::All | Wanted::UpTo(_), _) | (_, None) => None,
            (Wanted::Behind { lower, upper: Some(upper), .. }, Some(cursor)) => Some((lower.clone(), upper.clone(), cursor)),
            (Wanted::Behind { upper: None, .. }, Some(_)) => None,
            (Wanted::Within(window), Some(cursor)) => Some((Cursor::Time(window.from), Cursor::Time(window.to), cursor)),
        };
        let Some((lower, upper, cursor)) = ends else {
            // A row that moves between two slices of different snapshots would be in neither. One that has a cursor comes again then.
            let is_safe = self.connections.is_consistent() || (cursor.is_some() && !self.table.contract.key.is_empty());
            return if relation.has_places() && is_safe {
                (slices::by_place(relation, list, conditions, slices_wanted), true)
            } else {
                (vec![slices::whole(relation, list, conditions, &format!("{}, all rows", relation.name))], false)
            };
        };
        let parts = usize::try_from(rows.unwrap_or(u64::MAX) / ROWS_PER_SLICE_MIN).unwrap_or(usize::MAX).clamp(1, slices_wanted.max(1));
        let mut inner = slices::by_cursor(&lower, &upper, parts);
        // Dates are cut between days: instants within one become that day.
        inner.dedup_by_key(|end| position(end, &cursor.type_));
        let first = position(&lower, &cursor.type_);
        inner.retain(|end| position(end, &cursor.type_) != first);
        let count = inner.len() + 1;
        let cuts = (0..count)
            .map(|index| {
                let mut conditions = conditions.to_vec();
                if let Some(from) = index.checked_sub(1).and_then(|index| inner.get(index)) {
                    conditions.push(format!("{} >= {}", cursor.name, position(from, &cursor.type_)));
                }
                if let Some(to) = inner.get(index) {
                    conditions.push(format!("{} < {}", cursor.name, position(to, &cursor.type_)));
                }
                let (from, to) =
                    (index.checked_sub(1).and_then(|index| inner.get(index)).unwrap_or(&lower), inner.get(index).unwrap_or(&upper));
                slices::whole(relation, list, &conditions, &format!("{}, {} {} to {}", relation.name, cursor.name, shown(from), shown(to)))
            })
            .collect();
        (cuts, false)
    }
}

fn is_time(type_: &PostgresType) -> bool {
    matches!(type_, PostgresType::TimestampTz | PostgresType::Timestamp | PostgresType::Date)
}

fn is_number(type_: &PostgresType) -> bool {
    matches!(type_, PostgresType::Int2 | PostgresType::Int4 | PostgresType::Int8 | PostgresType::Numeric)
}

fn same_kind(a: &Cursor, b: &Cursor) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn looked_back(position: &Cursor, lookback_us: i64) -> Cursor {
    match position {
        Cursor::Time(time) => Cursor::Time(time.plus(lookback_us.saturating_neg())),
        other => other.clone(),
    }
}

/// The conditions for the rows that are wanted.
fn conditions(cursor: Option<&ByCursor>, wanted: &Wanted) -> Vec<String> {
    let Some(ByCursor { name, type_, .. }) = cursor else { return Vec::new() };
    match wanted {
        Wanted::All => Vec::new(),
        Wanted::Behind { lower, inclusive, upper } => {
            let mut conditions = vec![format!("{name} {} {}", if *inclusive { ">=" } else { ">" }, position(lower, type_))];
            conditions.extend(upper.as_ref().map(|upper| format!("{name} <= {}", position(upper, type_))));
            conditions
        }
        Wanted::UpTo(upper) => vec![format!("({name} <= {} OR {name} IS NULL)", position(upper, type_))],
        Wanted::Within(window) => {
            // A date is its first instant: the window holds the days that begin in it.
            let end = |time: Timestamp| {
                let past = DAY_US - 1;
                let time = if *type_ == PostgresType::Date { time.plus(past) } else { time };
                position(&Cursor::Time(time), type_)
            };
            vec![format!("{name} >= {}", end(window.from)), format!("{name} < {}", end(window.to))]
        }
    }
}

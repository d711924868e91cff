//! One model: lake to landing to lake and to every destination.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::extract::{Meter, elapsed_ms};
use super::report::{Event, StepKind, StepReport, StepStatus};
use super::{Destination, Engine, RunContext};
use crate::batch::BatchStream;
use crate::error::{BUG, Error, ErrorKind, Result};
use crate::failpoint;
use crate::landing::{Manifest, Snapshot, SnapshotWriter};
use crate::ledger::{Basis, Entry, Measured};
use crate::load::{FORMER_LOST, Loader, Marker, Mode};
use crate::model::{FORMER_RUNS_MAX, ModelNode, Standard};
use crate::name::TableName;
use crate::window::Timestamp;

impl Engine {
    pub(super) async fn model(&self, context: &Arc<RunContext>, table: &TableName) -> Result<()> {
        let node = self.parts.models.nodes().iter().find(|node| node.contract.table == *table);
        let node = node.ok_or_else(|| Error::new(&BUG, format!("model \"{table}\" is in the graph but not among the models")))?;
        let step = format!("model {table}");
        let span = tracing::info_span!("step", otel.name = %step, step = %step, kind = "model");
        let made = async { if node.is_view { self.test_view(context, node, &step).await } else { self.make(context, node, &step).await } };
        made.instrument(span).await.map_err(|error| error.context(format!("model \"{table}\" could not be made")))
    }

    async fn make(&self, context: &Arc<RunContext>, node: &ModelNode, step: &str) -> Result<()> {
        let table = &node.contract.table;
        let began = Instant::now();
        let destinations: Vec<&Destination> =
            self.parts.destinations.iter().filter(|destination| destination.tables.contains(table)).collect();
        let lock = self.table_lock(table);
        let _one_at_a_time = lock.lock().await;
        let marker = self.parts.lake.marker(&self.parts.pipeline, table).await?;
        let state = inputs_state(self.parts.lake.as_ref(), &self.parts.pipeline, node, context.request.as_of).await?;
        let resumed = self.with_retries(step, || self.resumed(context, step, &state, marker.as_ref())).await;
        let (task, landed) = match resumed {
            Ok(resumed) => resumed,
            Err(error) => return Err(self.failed(context, step, StepKind::Model, began, error).await),
        };
        let stored = marker.map(|marker| marker.revision);
        // What each destination stands at: asked once, because a question to a warehouse costs, and nobody else may load now.
        let mut standing: Vec<Option<i64>> = Vec::with_capacity(destinations.len());
        for destination in &destinations {
            standing.push(self.standing(context, destination, node.published_table()).await?);
        }
        let newest = standing.iter().copied().fold(stored, Option::max);
        if node.keeps_former && stored.is_none() && newest.is_some() && landed.is_none() && !context.request.full_refresh {
            let error =
                Error::new(&FORMER_LOST, format!("table \"{table}\" is not in the lake any more, and a destination has what it kept"));
            return Err(self.failed(context, step, StepKind::Model, began, error).await);
        }
        // A destination ahead of the lake means that the lake was made anew: its revisions go on above.
        let is_current = stored.is_some()
            && newest == stored
            && !context.request.full_refresh
            && landed.is_none()
            && self.parts.ledger.model_state(&self.parts.pipeline, table).await?.as_ref() == Some(&state);
        let mut made_from = state;
        let mut measured = None;
        if is_current {
            if let Err(error) = self.with_retries(step, || self.still_holds(context, table)).await {
                // What the last good run left is what destinations should have, however old it is.
                self.catch_up(context, node, &task, &destinations, &standing).await?;
                return Err(self.failed(context, step, StepKind::Model, began, error).await);
            }
            let mut report = StepReport::new(step, StepKind::Model, StepStatus::Unchanged);
            report.note = "what it reads has not changed".to_owned();
            report.duration_ms = elapsed_ms(began);
            self.finish_step(context, report).await?;
        } else {
            // A whole refresh trusts nothing that is stored; a lake made anew has nothing to go on from.
            let since = if context.request.full_refresh || stored.is_none() {
                None
            } else {
                self.parts.ledger.model_basis(&self.parts.pipeline, table).await?
            };
            let computed = match landed {
                Some(snapshot) => self.with_retries(step, || self.made_before(context, step, &snapshot, began)).await,
                None => {
                    let manifest = Manifest {
                        inputs: Some(made_from.clone()),
                        compared_with: Some(stored.unwrap_or(0)),
                        ..Manifest::new(&context.run, &task, node.contract.clone(), true)
                    };
                    self.with_retries(step, || self.compute(context, node, step, since.as_ref(), &manifest, began)).await
                }
            };
            let (snapshot, read) = match computed {
                Ok(computed) => computed,
                Err(error) => return Err(self.failed(context, step, StepKind::Model, began, error).await),
            };
            // What was landed before an interruption may be made from older tables than there are now: then the next run makes it again.
            made_from = snapshot.manifest().inputs.clone().unwrap_or_default();
            measured = snapshot.manifest().measured.clone();
            let empty = snapshot.manifest().rows == 0;
            if !(empty && stored.is_some() && newest == stored) || context.state.planned(&task).is_some() {
                let planned = match context.state.planned(&task) {
                    Some(planned) => planned,
                    None => self.plan_load(context, &task, newest, stored).await?,
                };
                self.load_planned(context, &self.parts.lake, &task, &snapshot, &node.contract, &node.layout, Mode::Changes, planned)
                    .await?;
                self.model_stored(context, table, read).await?;
                for (destination, at) in destinations.iter().zip(&mut standing) {
                    // One that stands at the planned revision has it already, by these changes or by the whole table.
                    let follows = *at == planned.base;
                    if follows && !context.request.full_refresh {
                        let contract = node.published_contract();
                        self.load_planned(context, &destination.loader, &task, &snapshot, &contract, &node.layout, Mode::Changes, planned)
                            .await?;
                        *at = Some(planned.revision);
                    }
                }
            } else {
                self.model_stored(context, table, read).await?;
            }
        }
        self.catch_up(context, node, &task, &destinations, &standing).await?;
        let mut entries = vec![Entry::ModelDone { table: table.clone(), state: made_from }];
        entries.extend(measured.map(|measured| Entry::ModelMeasured { table: table.clone(), measured }));
        self.append(context, &entries).await
    }

    /// A table that nothing new came into is as it was, but older.
    async fn still_holds(&self, context: &RunContext, table: &TableName) -> Result<()> {
        if context.request.is_of_the_past() {
            return Ok(());
        }
        self.warn(context, self.parts.models.still_holds(table, context.request.as_of).await?);
        Ok(())
    }

    /// What a result is held against. A run that changes the table on purpose is compared with nothing.
    async fn standard(&self, context: &RunContext, table: &TableName) -> Result<Standard> {
        let is_of_the_past = context.request.is_of_the_past();
        let former = match is_of_the_past || context.request.full_refresh {
            true => Vec::new(),
            false => self.parts.ledger.measured(&self.parts.pipeline, table, FORMER_RUNS_MAX).await?,
        };
        Ok(Standard { former, is_of_the_past })
    }

    fn warn(&self, context: &RunContext, warnings: Vec<String>) {
        for warning in &warnings {
            self.parts.observer.event(&Event::Warning { message: warning.clone() });
        }
        context.warnings.lock().expect("no holder of this lock panics").extend(warnings);
    }

    /// Tests what a view shows, if that has changed. Nothing is stored, and so nothing of it can be kept as it was before.
    async fn test_view(&self, context: &Arc<RunContext>, node: &ModelNode, step: &str) -> Result<()> {
        let table = &node.contract.table;
        let began = Instant::now();
        let state = inputs_state(self.parts.lake.as_ref(), &self.parts.pipeline, node, context.request.as_of).await?;
        let stored = self.parts.ledger.model_state(&self.parts.pipeline, table).await?;
        if stored.as_ref() == Some(&state) && !context.request.full_refresh {
            if let Err(error) = self.with_retries(step, || self.still_holds(context, table)).await {
                return Err(self.failed(context, step, StepKind::Model, began, error).await);
            }
            let mut report = StepReport::new(step, StepKind::Model, StepStatus::Unchanged);
            report.note = "a view, and what it reads has not changed".to_owned();
            report.duration_ms = elapsed_ms(began);
            return self.finish_step(context, report).await;
        }
        self.parts.stop.check()?;
        let started = Event::StepStarted { step: step.to_owned(), kind: StepKind::Model, rows_estimated: None };
        self.parts.observer.event_of(&context.run, &started);
        let standard = self.standard(context, table).await?;
        let computed = self.with_retries(step, || self.parts.models.compute(table, context.request.as_of, None, &standard)).await;
        let computed = match computed {
            Ok(computed) => computed,
            Err(error) => return Err(self.failed(context, step, StepKind::Model, began, error).await),
        };
        self.warn(context, computed.warnings);
        let mut report = StepReport::new(step, StepKind::Model, StepStatus::Done);
        report.rows_in = computed.rows;
        report.duration_ms = elapsed_ms(began);
        report.note = "a view: tested, and nothing stored".to_owned();
        self.finish_step(context, report).await?;
        let measured = Measured { begins_anew: standard.is_of_the_past || context.request.full_refresh, ..computed.measured };
        let (done, table) = (Entry::ModelDone { table: table.clone(), state }, table.clone());
        self.append(context, &[done, Entry::ModelMeasured { table, measured }]).await
    }

    /// Records what the lake's table was made from, as soon as it is there: a destination that fails costs no whole computation.
    async fn model_stored(&self, context: &RunContext, table: &TableName, read: Option<String>) -> Result<()> {
        let Some(read) = read else { return Ok(()) };
        let Some(own) = self.parts.models.state(table).await? else { return Ok(()) };
        failpoint::reached("model.before_stored");
        self.append(context, &[Entry::ModelStored { table: table.clone(), basis: Basis { read, own } }]).await
    }

    /// The revision that a destination holds of a table. One that gave no answer is not asked again at once: with many models, each question would
    /// wait as long as the first.
    async fn standing(&self, context: &RunContext, destination: &Destination, table: &TableName) -> Result<Option<i64>> {
        const NOT_ASKED_FOR: Duration = Duration::from_secs(60);
        let name = destination.loader.name();
        let away = context.away.lock().expect("no holder of this lock panics").get(name).copied();
        if let Some((code, since)) = away
            && since.elapsed() < NOT_ASKED_FOR
        {
            return Err(Error::new(code, format!("destination \"{name}\" gave no answer a moment ago, and was not asked again")));
        }
        let marker = destination.loader.marker(&self.parts.pipeline, table).await;
        if let Err(error) = &marker
            && error.kind() == ErrorKind::Unavailable
        {
            context.away.lock().expect("no holder of this lock panics").insert(name.to_owned(), (error.code(), Instant::now()));
        }
        Ok(marker?.map(|marker| marker.revision))
    }

    /// Brings destinations that stand elsewhere than the lake to its revision, by the whole table.
    async fn catch_up(
        &self,
        context: &Arc<RunContext>,
        node: &ModelNode,
        step: &str,
        destinations: &[&Destination],
        standing: &[Option<i64>],
    ) -> Result<()> {
        let table = &node.contract.table;
        let Some(revision) = self.parts.lake.marker(&self.parts.pipeline, table).await?.map(|marker| marker.revision) else {
            return Ok(());
        };
        let mut exported: Option<Snapshot> = None;
        for (destination, at) in destinations.iter().zip(standing) {
            if *at == Some(revision) {
                continue;
            }
            let step = format!("{step} whole");
            let snapshot = match &exported {
                Some(snapshot) => snapshot.clone(),
                None => {
                    let stream = self.parts.models.export(table).await?;
                    let manifest = Manifest::new(&context.run, &step, node.contract.clone(), false);
                    exported.insert(self.land_stream(context, &step, stream, manifest, &Meter::default()).await?).clone()
                }
            };
            let planned = super::Planned { revision, base: None };
            let contract = node.published_contract();
            self.load_planned(context, &destination.loader, &step, &snapshot, &contract, &node.layout, Mode::Replace, planned).await?;
        }
        Ok(())
    }

    /// The name under which the run keeps what it does for a model, and what an earlier attempt landed under it.
    ///
    /// Changes lead from the table as it stood when they were computed to what its inputs were then. Where one of them has moved since, by a backfill
    /// say, they would take that back: they are computed again, under another name.
    async fn resumed(&self, context: &RunContext, step: &str, state: &str, stored: Option<&Marker>) -> Result<(String, Option<Snapshot>)> {
        let mut task = step.to_owned();
        while let Some(landed) = context.state.landed(&task) {
            let snapshot = self.parts.landing.open(&landed.manifest).await?;
            let revision = stored.map_or(0, |marker| marker.revision);
            let is_where_they_lead_to = stored.is_some_and(|marker| {
                let planned = context.state.planned(&task).is_some_and(|planned| planned.revision == marker.revision);
                planned && snapshot.manifest().digest().starts_with(&marker.digest)
            });
            let manifest = snapshot.manifest();
            let leads_from_here = manifest
                .compared_with
                .is_none_or(|compared_with| compared_with == revision && manifest.inputs.as_deref().is_none_or(|inputs| inputs == state));
            if is_where_they_lead_to || leads_from_here {
                return Ok((task, Some(snapshot)));
            }
            task.push_str(" again");
        }
        Ok((task, None))
    }

    /// Changes that were landed before an interruption. What they were made from is known, but not what became of the table since: a record of both could
    /// be a false one.
    async fn made_before(
        &self,
        context: &RunContext,
        step: &str,
        snapshot: &Snapshot,
        began: Instant,
    ) -> Result<(Snapshot, Option<String>)> {
        self.parts.landing.verify(snapshot.manifest()).await?;
        let mut report = StepReport::new(step, StepKind::Model, StepStatus::Resumed);
        report.rows_out = snapshot.manifest().rows;
        report.note = "made before the interruption".to_owned();
        report.duration_ms = elapsed_ms(began);
        self.finish_step(context, report).await?;
        Ok((snapshot.clone(), None))
    }

    /// The changes, landed, and what was read for them.
    async fn compute(
        &self,
        context: &Arc<RunContext>,
        node: &ModelNode,
        step: &str,
        since: Option<&Basis>,
        manifest: &Manifest,
        began: Instant,
    ) -> Result<(Snapshot, Option<String>)> {
        self.parts.stop.check()?;
        let started = Event::StepStarted { step: step.to_owned(), kind: StepKind::Model, rows_estimated: None };
        self.parts.observer.event_of(&context.run, &started);
        let standard = self.standard(context, &node.contract.table).await?;
        let computed = self.parts.models.compute(&node.contract.table, context.request.as_of, since, &standard).await?;
        failpoint::reached("model.after_compute");
        self.warn(context, computed.warnings);
        let meter = Meter::default();
        let measured = Measured { begins_anew: standard.is_of_the_past || context.request.full_refresh, ..computed.measured };
        let manifest = Manifest { measured: Some(measured), ..manifest.clone() };
        let task = manifest.step.clone();
        let snapshot = self.land_stream(context, &task, computed.changes, manifest, &meter).await?;
        let key = snapshot.manifest_key().to_owned();
        self.append(context, &[Entry::Landed { step: task, manifest: key, rejected: 0 }]).await?;
        failpoint::reached("ledger.after_landed");
        let changed = snapshot.manifest().rows;
        let mut report = StepReport::new(step, StepKind::Model, if changed == 0 { StepStatus::Unchanged } else { StepStatus::Done });
        report.rows_in = computed.rows;
        report.rows_out = changed;
        report.bytes = snapshot.manifest().bytes;
        report.duration_ms = elapsed_ms(began);
        meter.fill(&mut report);
        report.note = computed.note;
        if changed == 0 {
            let separator = if report.note.is_empty() { "" } else { ": " };
            report.note.push_str(&format!("{separator}{} rows, all as before", computed.rows));
        }
        self.finish_step(context, report).await?;
        Ok((snapshot, Some(computed.read)))
    }

    async fn land_stream(
        &self,
        context: &RunContext,
        step: &str,
        stream: BatchStream,
        manifest: Manifest,
        meter: &Meter,
    ) -> Result<Snapshot> {
        let folder = self.attempt_folder(context, step);
        let writer = SnapshotWriter::new(&self.parts.landing, &folder, stream.schema(), self.settings.writer);
        self.copy(step, stream.buffered(&self.budget), writer.part_writer(0), meter).await?;
        writer.finish(manifest, &[], None).await
    }
}

/// Names a model and the revisions of all it reads: the same state again means the same result again, and is what the ledger's `model_state` keeps.
///
/// # Errors
/// What the lake says.
pub async fn inputs_state(lake: &dyn Loader, pipeline: &str, node: &ModelNode, as_of: Timestamp) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(node.digest.as_bytes());
    if node.uses_as_of {
        hash.update(as_of.to_string().as_bytes());
    }
    for input in &node.stored {
        let marker = lake.marker(pipeline, input).await?;
        hash.update(format!("\n{input}={}", marker.map_or(0, |marker| marker.revision)).as_bytes());
    }
    Ok(hex::encode(hash.finalize()))
}

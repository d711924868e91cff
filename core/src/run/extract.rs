//! One table: source to landing to lake.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::report::{Event, StepKind, StepReport, StepStatus, WaitsFor};
use super::state::{LandedSlice, extract_step, follow_step};
use super::{Engine, RunContext, SourceTable};
use crate::batch::BatchStream;
use crate::error::{BUG, Error, Result};
use crate::extract::{Checkpoint, Cursor, ExtractPlan, Request};
use crate::failpoint;
use crate::landing::{Manifest, Part, PartWriter, Snapshot, SnapshotWriter};
use crate::ledger::Entry;
use crate::load::{Layout, Mode};
use crate::quarantine::{Quarantine, REJECTED, Rejected, causes};

/// How long both sides of a copy waited for the other, and what passed. Shared by the slices of a step.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    source_us: AtomicU64,
    destination_us: AtomicU64,
}

impl Meter {
    fn waits_for(&self) -> WaitsFor {
        if self.source_us.load(Ordering::Relaxed) >= self.destination_us.load(Ordering::Relaxed) {
            WaitsFor::Source
        } else {
            WaitsFor::Destination
        }
    }

    pub(super) fn fill(&self, report: &mut StepReport) {
        report.waited_source_ms = self.source_us.load(Ordering::Relaxed) / 1000;
        report.waited_destination_ms = self.destination_us.load(Ordering::Relaxed) / 1000;
    }
}

/// Readings of one slice before its whole table is planned anew: a broken connection costs a slice, a lost snapshot costs the table.
const SLICE_ATTEMPTS_MAX: u32 = 2;

impl Engine {
    pub(super) async fn table(&self, context: &Arc<RunContext>, source: &SourceTable) -> Result<()> {
        let table = &source.extractor.contract().table;
        self.bring(context, source).await.map_err(|error| error.context(format!("table \"{table}\" could not be brought into the lake")))
    }

    /// Reads a table and loads what was read. Slices of several moments are followed by what changed since the first of them: read before
    /// the source lets go of what the run shall see, loaded behind them.
    async fn bring(&self, context: &Arc<RunContext>, source: &SourceTable) -> Result<()> {
        let table = &source.extractor.contract().table;
        let (step, behind_step) = (extract_step(table), follow_step(table));
        let span = |step: &str| tracing::info_span!("step", otel.name = %step, step = %step, kind = "extract");
        let began = Instant::now();
        let landed = self.with_retries(&step, || self.extract(context, source, &step, None)).instrument(span(&step)).await;
        let behind_began = Instant::now();
        let behind = match landed.as_ref().ok().and_then(Extracted::followed) {
            Some(followed) => {
                let reading = self.with_retries(&behind_step, || self.extract(context, source, &behind_step, Some(&followed)));
                Some(reading.instrument(span(&behind_step)).await)
            }
            None => None,
        };
        // Connections and snapshots are let go before the load: it may take long.
        let finished = source.extractor.finish().await;
        let landed = match landed {
            Ok(landed) => landed,
            Err(error) => return Err(self.failed(context, &step, StepKind::Extract, began, error).await),
        };
        // Rows of several moments are no table until what follows them is there too: without it nothing is loaded, and the next run has the slices.
        let behind = match behind.transpose() {
            Ok(behind) => behind,
            Err(error) => return Err(self.failed(context, &behind_step, StepKind::Extract, behind_began, error).await),
        };
        finished?;
        self.load_table(context, source, &step, landed, began, false).instrument(span(&step)).await?;
        match behind {
            None => Ok(()),
            Some(behind) => self.load_table(context, source, &behind_step, behind, behind_began, true).instrument(span(&behind_step)).await,
        }
    }

    /// Reports a failed step and hands its error on.
    pub(super) async fn failed(&self, context: &RunContext, step: &str, kind: StepKind, began: Instant, error: Error) -> Error {
        let mut report = StepReport::new(step, kind, StepStatus::Failed);
        report.note = error.message().to_owned();
        report.code = Some(error.code().name.to_owned());
        report.duration_ms = elapsed_ms(began);
        tracing::error!(step, code = error.code().name, error = %error, "step failed");
        if let Err(ledger) = self.finish_step(context, report).await {
            tracing::warn!(error = %ledger, "a failed step could not be recorded");
        }
        error
    }

    /// Brings what a step reads into the landing: since the last checkpoint as the request says, or what changed behind another reading.
    async fn extract(&self, context: &Arc<RunContext>, source: &SourceTable, step: &str, behind: Option<&Followed>) -> Result<Extracted> {
        if let Some(landed) = context.state.landed(step) {
            // What a killed process landed is used only if its bytes are what the manifest says.
            let snapshot = self.parts.landing.open(&landed.manifest).await?;
            self.parts.landing.verify(snapshot.manifest()).await?;
            let is_of_moments = snapshot.manifest().is_of_moments;
            return Ok(Extracted {
                snapshot: Some(snapshot),
                checkpoint: None,
                rejected: landed.rejected,
                resumed: true,
                is_of_moments,
                note: "landed before the interruption".to_owned(),
                meter: Arc::default(),
            });
        }
        let contract = source.extractor.contract();
        let after = match (behind, context.request.full_refresh, context.request.window) {
            (Some(behind), _, _) => Some(behind.checkpoint.clone()),
            (None, true, _) | (None, _, Some(_)) => None,
            (None, false, None) => self.parts.ledger.checkpoint(&self.parts.pipeline, &contract.table).await?,
        };
        let started = |rows_estimated| {
            let started = Event::StepStarted { step: step.to_owned(), kind: StepKind::Extract, rows_estimated };
            self.parts.observer.event_of(&context.run, &started);
        };
        if let Some(reading) = self.continued(context, source, step, after.as_ref()).await? {
            started(reading.plan.rows_estimated);
            return self
                .landed_or_given_up(context, step, self.land(context, source, step, reading.plan, after, Some(reading.slices), None).await)
                .await;
        }
        let cut = if behind.is_some() { &context.cut_now } else { &context.cut };
        let request = Request {
            window: context.request.window,
            rejected: None,
            cut: cut.get().copied().flatten(),
            lookback_us: source.lookback_us,
            slices_wanted: self.settings.slices_in_flight_max,
        };
        let mut plan = source.extractor.plan(&request, after.as_ref()).await?;
        failpoint::reached("extract.after_plan");
        if plan.slices.is_empty() && behind.is_some() {
            // Nothing is landed too: a later attempt must not ask again for what the source may have forgotten since.
            plan.is_changes = true;
        } else if plan.slices.is_empty() {
            return Ok(Extracted {
                snapshot: None,
                checkpoint: plan.checkpoint,
                rejected: 0,
                resumed: false,
                is_of_moments: false,
                note: plan.summary,
                meter: Arc::default(),
            });
        }
        started(plan.rows_estimated);
        // One slice is finished with its reading.
        if plan.resumable_as.is_some() && behind.is_none() && plan.slices.len() > 1 {
            self.begin_reading(context, step, &plan, after.as_ref(), contract).await?;
        }
        self.landed_or_given_up(context, step, self.land(context, source, step, plan, after, None, behind).await).await
    }

    /// Reads a plan's slices, apart from those that an earlier attempt landed, if it continues one.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and a struct would only rename them")]
    pub(super) async fn land(
        &self,
        context: &Arc<RunContext>,
        source: &SourceTable,
        step: &str,
        plan: ExtractPlan,
        after: Option<Checkpoint>,
        continued: Option<Vec<LandedSlice>>,
        behind: Option<&Followed>,
    ) -> Result<Extracted> {
        // Also where nothing of the earlier attempt can be used: the plan is as old as that.
        let is_of_moments = continued.is_some();
        let landed = continued.unwrap_or_default();
        let contract = source.extractor.contract().clone();
        let folder = self.attempt_folder(context, step);
        let ExtractPlan { slices, checkpoint, is_changes, mut summary, .. } = plan;
        let schema = if is_changes { contract.changes_schema() } else { contract.schema() };
        let writer = SnapshotWriter::new(&self.parts.landing, &folder, schema, self.settings.writer);
        let quarantine = Quarantine::new();
        let meter = Arc::new(Meter::default());
        if !landed.is_empty() {
            summary.push_str(&format!("; {} of its {} slices had been landed before", landed.len(), slices.len()));
        }
        for slice in &landed {
            writer.adopt(slice.index, &slice.parts);
            if let Some(part) = &slice.quarantine {
                let rejected = Quarantine::read(self.parts.landing.get(&part.key).await?)?;
                rejected.into_iter().try_for_each(|row| quarantine.reject(&contract.table, row))?;
            }
        }
        let done: BTreeSet<u32> = landed.iter().map(|slice| slice.index).collect();
        let mut waiting = slices.into_iter().filter(|slice| !done.contains(&slice.index));
        let is_recorded = context.reading(step).is_some();
        let mut working: JoinSet<Result<()>> = JoinSet::new();
        loop {
            while working.len() < self.settings.slices_in_flight_max.max(1) {
                let Some(slice) = waiting.next() else { break };
                let (engine, context, extractor) = (self.clone(), Arc::clone(context), Arc::clone(&source.extractor));
                let (writer, quarantine, meter, step) = (writer.clone(), quarantine.clone(), Arc::clone(&meter), step.to_owned());
                let span = tracing::info_span!(
                    "slice",
                    otel.name = format!("slice {}", slice.summary),
                    slice = slice.index,
                    rows = tracing::field::Empty
                );
                working.spawn(
                    async move {
                        let attempts_max = engine.settings.attempts_max.min(SLICE_ATTEMPTS_MAX);
                        let name = format!("{step}, slice {}", slice.index);
                        let read = engine.with_attempts(&name, attempts_max, || async {
                            // What a broken reading rejected is rejected again by the next.
                            let rejected = quarantine.part();
                            let stream = extractor.read(&slice, &rejected).await?.buffered(&engine.budget);
                            let parts = engine.copy(&step, stream, writer.part_writer(slice.index), &meter).await?;
                            Ok((parts, rejected.drain()))
                        });
                        let (parts, rejected) = read.await?;
                        tracing::Span::current().record("rows", parts.iter().map(|part| part.rows).sum::<u64>());
                        if is_recorded {
                            let quarantine = writer.write_slice_rejected(slice.index, &rejected).await?;
                            failpoint::reached("extract.before_slice_recorded");
                            engine.slice_landed(&context, &step, LandedSlice { index: slice.index, parts, quarantine }).await?;
                            failpoint::reached("ledger.after_slice");
                        }
                        quarantine.put(rejected);
                        Ok(())
                    }
                    .instrument(span),
                );
            }
            match working.join_next().await {
                None => break,
                Some(Ok(result)) => result?,
                Some(Err(_)) => return Err(Error::new(&BUG, "a slice of the table stopped without a word")),
            }
        }
        let rejected = quarantine.drain();
        let rows_before: u64 = landed.iter().flat_map(|slice| &slice.parts).map(|part| part.rows).sum();
        let rows = rows_before + meter.rows.load(Ordering::Relaxed);
        check_rejected(&contract.table.to_string(), rows, &rejected, behind, source.rejected_share_max)?;
        if !rejected.is_empty() {
            let message = format!(
                "{} of {} rows of \"{}\" did not fit and went to quarantine\n    {}",
                rejected.len(),
                rows + rejected.len() as u64,
                contract.table,
                causes(&rejected).join("\n    ")
            );
            self.parts.observer.event(&Event::Warning { message: message.clone() });
            context.warnings.lock().expect("no holder of this lock panics").push(message);
        }
        let manifest = Manifest { after, is_of_moments, ..Manifest::new(&context.run, step, contract, is_changes) };
        let snapshot = writer.finish(manifest, &rejected, checkpoint).await?;
        let rejected = rejected.len() as u64;
        self.append(context, &[Entry::Landed { step: step.to_owned(), manifest: snapshot.manifest_key().to_owned(), rejected }]).await?;
        failpoint::reached("ledger.after_landed");
        Ok(Extracted { snapshot: Some(snapshot), checkpoint: None, rejected, resumed: false, is_of_moments, note: summary, meter })
    }

    /// A folder of the landing that no attempt used before.
    pub(super) fn attempt_folder(&self, context: &RunContext, step: &str) -> String {
        let step: String = step.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
        format!("{}/{}/{step}/{}", self.parts.pipeline, context.run, uuid::Uuid::now_v7().simple())
    }

    /// Copies a stream into parts, watching who waits for whom. If it fails, it aborts the open upload and takes back what it counted.
    pub(super) async fn copy(&self, step: &str, stream: BatchStream, part: PartWriter, meter: &Meter) -> Result<Vec<Part>> {
        let (mut rows, mut bytes) = (0, 0);
        let copied = self.copy_counted(step, stream, part, meter, (&mut rows, &mut bytes)).await;
        if copied.is_err() {
            meter.rows.fetch_sub(rows, Ordering::Relaxed);
            meter.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        copied
    }

    async fn copy_counted(
        &self,
        step: &str,
        mut stream: BatchStream,
        mut part: PartWriter,
        meter: &Meter,
        (rows, bytes): (&mut u64, &mut u64),
    ) -> Result<Vec<Part>> {
        // Often enough to look alive, seldom enough to cost nothing.
        const PROGRESS_EVERY: Duration = Duration::from_millis(100);
        let mut last = Instant::now();
        loop {
            if let Err(stopped) = self.parts.stop.check() {
                part.abort().await;
                return Err(stopped);
            }
            let asked = Instant::now();
            let next = stream.next().await;
            meter.source_us.fetch_add(elapsed_us(asked), Ordering::Relaxed);
            let batch = match next {
                None => break,
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    part.abort().await;
                    return Err(error);
                }
            };
            let writing = Instant::now();
            if let Err(error) = part.write(&batch).await {
                part.abort().await;
                return Err(error);
            }
            meter.destination_us.fetch_add(elapsed_us(writing), Ordering::Relaxed);
            let (batch_rows, batch_bytes) = (batch.num_rows() as u64, batch.get_array_memory_size() as u64);
            *rows += batch_rows;
            *bytes += batch_bytes;
            let seen = meter.rows.fetch_add(batch_rows, Ordering::Relaxed) + batch_rows;
            let seen_bytes = meter.bytes.fetch_add(batch_bytes, Ordering::Relaxed) + batch_bytes;
            if last.elapsed() >= PROGRESS_EVERY {
                last = Instant::now();
                let waits_for = meter.waits_for();
                self.parts.observer.event(&Event::Progress { step: step.to_owned(), rows: seen, bytes: seen_bytes, waits_for });
            }
        }
        let writing = Instant::now();
        let parts = part.finish().await?;
        meter.destination_us.fetch_add(elapsed_us(writing), Ordering::Relaxed);
        Ok(parts)
    }

    async fn load_table(
        &self,
        context: &Arc<RunContext>,
        source: &SourceTable,
        step: &str,
        extracted: Extracted,
        began: Instant,
        is_following: bool,
    ) -> Result<()> {
        let contract = source.extractor.contract();
        let mut report = StepReport::new(step, StepKind::Extract, StepStatus::Unchanged);
        report.rows_rejected = extracted.rejected;
        report.note.clone_from(&extracted.note);
        report.duration_ms = elapsed_ms(began);
        extracted.meter.fill(&mut report);
        let checkpoint = match &extracted.snapshot {
            Some(snapshot) => snapshot.manifest().checkpoint.clone(),
            None => extracted.checkpoint.clone(),
        };
        if let Some(snapshot) = &extracted.snapshot {
            let manifest = snapshot.manifest();
            report.rows_in = manifest.rows + extracted.rejected;
            report.rows_out = manifest.rows;
            report.bytes = manifest.bytes;
            report.status = if extracted.resumed { StepStatus::Resumed } else { StepStatus::Done };
        }
        let to_load = match extracted.snapshot {
            None => None,
            Some(snapshot) => {
                let replaces = context.request.full_refresh && !is_following;
                let mode = table_mode(context, contract, checkpoint.as_ref(), snapshot.manifest().is_changes, replaces)?;
                // No rows are something to load in the place of others. And a table that was found empty must exist, or models could not read it.
                let is_needed = snapshot.manifest().rows > 0
                    || mode == Mode::Replace
                    || self.parts.lake.marker(&self.parts.pipeline, &contract.table).await?.is_none();
                is_needed.then_some((snapshot, mode))
            }
        };
        if to_load.is_none() {
            report.status = StepStatus::Unchanged;
        }
        self.finish_step(context, report).await?;
        if let Some((snapshot, mode)) = to_load {
            self.load(context, &self.parts.lake, step, &snapshot, contract, &Layout::default(), mode).await?;
        }
        if let Some(checkpoint) = checkpoint.filter(|_| context.request.window.is_none()) {
            let stored = self.parts.ledger.checkpoint(&self.parts.pipeline, &contract.table).await?;
            // A checkpoint never goes back, unless everything was read anew, as it is when the table is read in another way than before. Where an
            // attempt of this run has stored one already, the source may have forgotten what lies before it.
            let is_anew = context.request.full_refresh && !is_following && !context.state.is_advanced(&contract.table);
            let forward = stored.as_ref().is_none_or(|stored| {
                let same_kind = std::mem::discriminant(&checkpoint.upper) == std::mem::discriminant(&stored.upper);
                checkpoint.upper >= stored.upper || !same_kind || is_anew
            });
            if forward {
                if stored.as_ref() != Some(&checkpoint) {
                    let table = contract.table.clone();
                    self.append(context, &[Entry::CheckpointAdvanced { table, checkpoint: checkpoint.clone() }]).await?;
                    failpoint::reached("ledger.after_checkpoint");
                }
                self.tell_committed(context, source, &checkpoint).await;
            }
        }
        Ok(())
    }

    /// Lets the source forget what is loaded. The rows are safe already, so a refusal is a warning: the next run tells it again.
    async fn tell_committed(&self, context: &RunContext, source: &SourceTable, checkpoint: &Checkpoint) {
        match source.extractor.committed(checkpoint).await {
            Ok(()) => failpoint::reached("extract.after_committed"),
            Err(error) => {
                let table = &source.extractor.contract().table;
                let message = format!(
                    "the source of \"{table}\" still keeps what is loaded already, because it could not be told: {} ({})",
                    error.message(),
                    error.code().name
                );
                self.parts.observer.event(&Event::Warning { message: message.clone() });
                context.warnings.lock().expect("no holder of this lock panics").push(message);
            }
        }
    }
}

fn table_mode(
    context: &RunContext,
    contract: &crate::contract::Contract,
    checkpoint: Option<&Checkpoint>,
    is_changes: bool,
    replaces: bool,
) -> Result<Mode> {
    if is_changes {
        return Ok(Mode::Changes);
    }
    let whole = checkpoint.is_some_and(|checkpoint| matches!(checkpoint.upper, Cursor::Whole | Cursor::Log(_)));
    if replaces || (whole && context.request.window.is_none()) {
        return Ok(Mode::Replace);
    }
    if !contract.key.is_empty() {
        return Ok(Mode::Merge);
    }
    if context.request.window.is_some() {
        return Err(Error::new(
            &crate::contract::CONTRACT,
            format!("table \"{}\" has no key, so a window of it could be loaded twice", contract.table),
        )
        .hint("Declare its key in pipelines.toml, or leave it out of the backfill with --skip."));
    }
    Ok(Mode::Append)
}

/// A table's snapshot, or why there is none.
#[derive(Debug)]
pub(super) struct Extracted {
    pub(super) snapshot: Option<Snapshot>,
    checkpoint: Option<Checkpoint>,
    pub(super) rejected: u64,
    resumed: bool,
    /// Whether its slices were read at different times.
    is_of_moments: bool,
    note: String,
    meter: Arc<Meter>,
}

/// The reading that another one follows.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    /// What changed after this is read.
    checkpoint: Checkpoint,
    accepted: u64,
    rejected: u64,
}

impl Extracted {
    /// What has to be followed by what changed since, if it does.
    fn followed(&self) -> Option<Followed> {
        let manifest = self.snapshot.as_ref().filter(|_| self.is_of_moments)?.manifest();
        Some(Followed { checkpoint: manifest.checkpoint.clone()?, accepted: manifest.rows, rejected: self.rejected })
    }
}

/// Refuses a table of which too much was rejected: what follows a reading counts with it.
fn check_rejected(table: &str, accepted: u64, rejected: &[Rejected], behind: Option<&Followed>, share_max: f64) -> Result<()> {
    let (accepted_before, rejected_before) = behind.map_or((0, 0), |followed| (followed.accepted, followed.rejected));
    let rejected_all = rejected_before + rejected.len() as u64;
    let all = accepted_before + accepted + rejected_all;
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    let share = if all == 0 { 0.0 } else { rejected_all as f64 / all as f64 };
    if share <= share_max {
        return Ok(());
    }
    let mut error = Error::new(
        &REJECTED,
        format!("{rejected_all} of {all} rows of table \"{table}\" did not fit, more than the allowed {}%", share_max * 100.0),
    );
    for cause in causes(rejected) {
        error = error.caused_by(cause);
    }
    Err(error)
}

pub(super) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn elapsed_us(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

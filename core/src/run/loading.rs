//! One snapshot into one destination, once.

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument;

use super::extract::elapsed_ms;
use super::report::{Event, StepKind, StepReport, StepStatus};
use super::state::Planned;
use super::{Engine, RunContext};
use crate::contract::Contract;
use crate::error::Result;
use crate::failpoint;
use crate::landing::Snapshot;
use crate::late;
use crate::ledger::Entry;
use crate::load::{Change, Layout, Load, LoadId, Loader, Mode, Receipt};

impl Engine {
    /// Loads a step's snapshot into the destination under the next revision.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and a struct would only rename them")]
    pub(super) async fn load(
        &self,
        context: &RunContext,
        loader: &Arc<dyn Loader>,
        step: &str,
        snapshot: &Snapshot,
        contract: &Contract,
        layout: &Layout,
        mode: Mode,
    ) -> Result<Receipt> {
        let lock = self.table_lock(&contract.table);
        let _one_at_a_time = lock.lock().await;
        let planned = match context.state.planned(step) {
            Some(planned) => planned,
            None => {
                let stored = loader.marker(&self.parts.pipeline, &contract.table).await?.map(|marker| marker.revision);
                self.plan_load(context, step, stored, stored).await?
            }
        };
        self.load_planned(context, loader, step, snapshot, contract, layout, mode, planned).await
    }

    /// Takes the revision above `newest` for a step, and records it before anything is published.
    pub(super) async fn plan_load(&self, context: &RunContext, step: &str, newest: Option<i64>, base: Option<i64>) -> Result<Planned> {
        let planned = Planned { revision: newest.unwrap_or(0) + 1, base };
        self.append(context, &[Entry::LoadPlanned { step: step.to_owned(), revision: planned.revision, base }]).await?;
        Ok(planned)
    }

    /// Loads under a revision that is taken already. The caller holds the table's lock.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and a struct would only rename them")]
    pub(super) async fn load_planned(
        &self,
        context: &RunContext,
        loader: &Arc<dyn Loader>,
        step: &str,
        snapshot: &Snapshot,
        contract: &Contract,
        layout: &Layout,
        mode: Mode,
        planned: Planned,
    ) -> Result<Receipt> {
        let name = format!("load {} {}", loader.name(), contract.table);
        let began = Instant::now();
        if let Some(receipt) = context.state.loaded(step, loader.name()) {
            self.finish_load(context, &name, snapshot, receipt, StepStatus::Resumed, began).await?;
            return Ok(receipt.clone());
        }
        let load = Load {
            id: LoadId {
                pipeline: self.parts.pipeline.clone(),
                table: contract.table.clone(),
                revision: planned.revision,
                digest: snapshot.manifest().digest(),
            },
            run: context.run.clone(),
            mode,
            base: planned.base,
            contract: contract.clone(),
            layout: layout.clone(),
        };
        let span = tracing::info_span!("step", otel.name = %name, step = %name, kind = "load", destination = loader.name(), table = %contract.table, revision = planned.revision, rows = snapshot.manifest().rows);
        let result = async {
            self.parts.stop.check()?;
            let rows_estimated = Some(snapshot.manifest().rows);
            let started = Event::StepStarted { step: name.clone(), kind: StepKind::Load, rows_estimated };
            self.parts.observer.event_of(&context.run, &started);
            self.with_retries(&name, || attempt(loader, &load, snapshot)).await
        }
        .instrument(span)
        .await;
        match result {
            Ok((receipt, changes)) => {
                failpoint::reached("load.after_publish");
                let mut entries =
                    vec![Entry::Loaded { step: step.to_owned(), destination: loader.name().to_owned(), receipt: receipt.clone() }];
                if receipt.late.rows() > 0 {
                    entries.push(Entry::RowsLate { table: contract.table.clone(), late: receipt.late.clone() });
                }
                if !changes.is_empty() {
                    let changes = changes.into_iter().map(|change| format!("{} {}", change.sign, change.what)).collect();
                    entries.push(Entry::SchemaChanged { table: contract.table.clone(), place: loader.name().to_owned(), changes });
                }
                self.append(context, &entries).await?;
                failpoint::reached("ledger.after_loaded");
                let moved = receipt.rows_written + receipt.rows_deleted > 0;
                let status = if receipt.was_there {
                    StepStatus::Resumed
                } else if moved {
                    StepStatus::Done
                } else {
                    StepStatus::Unchanged
                };
                self.finish_load(context, &name, snapshot, &receipt, status, began).await?;
                Ok(receipt)
            }
            Err(error) => Err(self.failed(context, &name, StepKind::Load, began, error).await),
        }
    }

    async fn finish_load(
        &self,
        context: &RunContext,
        name: &str,
        snapshot: &Snapshot,
        receipt: &Receipt,
        status: StepStatus,
        began: Instant,
    ) -> Result<()> {
        let mut report = StepReport::new(name, StepKind::Load, status);
        report.rows_in = snapshot.manifest().rows;
        report.rows_out = receipt.rows_written + receipt.rows_deleted;
        report.bytes = snapshot.manifest().bytes;
        report.duration_ms = elapsed_ms(began);
        let mut notes = Vec::new();
        if receipt.rows_deleted > 0 {
            notes.push(format!("{} rows removed", receipt.rows_deleted));
        }
        if receipt.rows_unchanged > 0 {
            notes.push(format!("{} rows were the same already", receipt.rows_unchanged));
        }
        if let Some(all_s) = receipt.late.covers_s(1000) {
            notes.push(format!("{} came late, within {}", receipt.late.rows(), late::spell_s(all_s)));
        }
        report.note = notes.join(", ");
        self.finish_step(context, report).await
    }
}

/// The receipt, and how the destination's table was changed for it.
async fn attempt(loader: &Arc<dyn Loader>, load: &Load, snapshot: &Snapshot) -> Result<(Receipt, Vec<Change>)> {
    failpoint::reached("load.before_prepare");
    let changes = loader.prepare(&load.contract, &load.layout).await?;
    failpoint::reached("load.before_stage");
    let staged = loader.stage(load, snapshot).await?;
    failpoint::reached("load.after_stage");
    match loader.publish(&staged).await {
        Ok(receipt) => {
            loader.discard(&staged).await?;
            Ok((receipt, changes))
        }
        Err(error) => {
            if let Err(left) = loader.discard(&staged).await {
                tracing::warn!(error = %left, "what was staged could not be removed");
            }
            Err(error)
        }
    }
}

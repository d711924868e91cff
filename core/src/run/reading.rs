//! Readings that outlive the attempt which began them: what of them is landed, and whether it can be used.
//!
//! ```text
//! plan → ledger: reading begun → each slice: parts → ledger: slice landed → … → manifest → ledger: landed
//! ```
//! A death anywhere costs the slices that are not in the ledger. The plan is kept with its checkpoint, so that an attempt hours later reads the
//! same ranges, and what changed since the first one comes from behind that checkpoint.

use sha2::{Digest, Sha256};

use super::report::Event;
use super::state::{LandedSlice, Reading};
use super::{Engine, RunContext, SourceTable};
use crate::contract::Contract;
use crate::error::Result;
use crate::extract::{Checkpoint, ExtractPlan};
use crate::landing::{Part, SNAPSHOT};
use crate::ledger::Entry;
use crate::quarantine::REJECTED;

impl RunContext {
    /// The reading that a step is in.
    pub(super) fn reading(&self, step: &str) -> Option<Reading> {
        self.readings.lock().expect("no holder of this lock panics").get(step).cloned()
    }

    fn keep_reading(&self, step: &str, reading: Option<Reading>) {
        let mut readings = self.readings.lock().expect("no holder of this lock panics");
        match reading {
            Some(reading) => drop(readings.insert(step.to_owned(), reading)),
            None => drop(readings.remove(step)),
        }
    }
}

impl Engine {
    /// Writes down what a step is about to read.
    pub(super) async fn begin_reading(
        &self,
        context: &RunContext,
        step: &str,
        plan: &ExtractPlan,
        after: Option<&Checkpoint>,
        contract: &Contract,
    ) -> Result<()> {
        let reading = Reading { plan: plan.clone(), after: after.cloned(), contract: digest(contract), slices: Vec::new() };
        self.append(context, &[Entry::ReadingBegun { step: step.to_owned(), reading: reading.clone() }]).await?;
        context.keep_reading(step, Some(reading));
        Ok(())
    }

    /// Writes down that a slice need not be read again.
    pub(super) async fn slice_landed(&self, context: &RunContext, step: &str, slice: LandedSlice) -> Result<()> {
        self.append(context, &[Entry::SliceLanded { step: step.to_owned(), slice: slice.clone() }]).await?;
        if let Some(reading) = context.readings.lock().expect("no holder of this lock panics").get_mut(step) {
            reading.add(slice);
        }
        Ok(())
    }

    /// The reading that an earlier attempt began, with the slices that can be used; None if it has to begin anew.
    pub(super) async fn continued(
        &self,
        context: &RunContext,
        source: &SourceTable,
        step: &str,
        after: Option<&Checkpoint>,
    ) -> Result<Option<Reading>> {
        let Some(mut reading) = context.reading(step) else { return Ok(None) };
        let is_same = reading.after.as_ref() == after && reading.contract == digest(source.extractor.contract());
        if reading.slices.is_empty() || !is_same || !source.extractor.resume(&reading.plan).await? {
            self.give_up(context, step).await?;
            return Ok(None);
        }
        let mut usable = Vec::with_capacity(reading.slices.len());
        for slice in std::mem::take(&mut reading.slices) {
            let parts: Vec<Part> = slice.parts.iter().chain(&slice.quarantine).cloned().collect();
            match self.parts.landing.verify_parts(&parts).await {
                Ok(()) => usable.push(slice),
                // Somebody cleared the landing: the source still has the rows.
                Err(error) if error.code() == &SNAPSHOT => {
                    let message = format!("{step}: slice {} is read again, because {}", slice.index, error.message());
                    self.parts.observer.event(&Event::Warning { message: message.clone() });
                    context.warnings.lock().expect("no holder of this lock panics").push(message);
                }
                Err(error) => return Err(error),
            }
        }
        reading.slices = usable;
        context.keep_reading(step, Some(reading.clone()));
        Ok(Some(reading))
    }

    /// Ends a step's reading. One that rejected too much is given up: its rows are read again once somebody has mended them.
    pub(super) async fn landed_or_given_up<T>(&self, context: &RunContext, step: &str, landed: Result<T>) -> Result<T> {
        match &landed {
            Ok(_) => context.keep_reading(step, None),
            Err(error) if error.code() == &REJECTED => self.give_up(context, step).await?,
            Err(_) => {}
        }
        landed
    }

    /// Makes no later attempt use what a step has read so far.
    async fn give_up(&self, context: &RunContext, step: &str) -> Result<()> {
        let Some(mut reading) = context.reading(step) else { return Ok(()) };
        if !reading.slices.is_empty() {
            reading.slices.clear();
            self.append(context, &[Entry::ReadingBegun { step: step.to_owned(), reading }]).await?;
        }
        context.keep_reading(step, None);
        Ok(())
    }
}

fn digest(contract: &Contract) -> String {
    hex::encode(Sha256::digest(serde_json::to_vec(contract).expect("a contract is always JSON")))
}

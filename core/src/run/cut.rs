//! One cut through all sources of a run.

use std::collections::{BTreeMap, HashMap};

use futures::future::try_join_all;

use super::state::extract_step;
use super::{Engine, RunContext, SourceTable};
use crate::error::Result;
use crate::extract::SourceCut;
use crate::failpoint;
use crate::ledger::Entry;
use crate::name::TableName;

impl Engine {
    /// Makes the sources keep what the run shall see, and writes down what that is.
    ///
    /// A run that is continued keeps its first cut: what it landed before is as old. Tables whose reading goes on show what is there now, as every
    /// row that changed meanwhile does, and are read up to the cut of this attempt. A window of a backfill has none: its end lies behind all of them.
    pub(super) async fn take_cut(&self, context: &RunContext, sources: &HashMap<TableName, SourceTable>) -> Result<()> {
        if context.request.window.is_some() {
            return Ok(());
        }
        let step = extract_step;
        let to_read: Vec<&SourceTable> =
            sources.iter().filter(|(table, _)| !context.state.is_read(table)).map(|(_, source)| source).collect();
        let failed = |source: &SourceTable, error: crate::error::Error| {
            error.context(format!("table \"{}\" cannot be read, so nothing was begun", source.extractor.contract().table))
        };
        // All are prepared before the first is pinned: what a source shows must not be older than what it keeps.
        for source in &to_read {
            let name = step(&source.extractor.contract().table);
            self.with_retries(&name, || source.extractor.prepare()).await.map_err(|error| failed(source, error))?;
        }
        let cuts = to_read.iter().map(|source| async move {
            let table = &source.extractor.contract().table;
            let cut = self.with_retries(&step(table), || source.extractor.cut()).await.map_err(|error| failed(source, error))?;
            Ok::<_, crate::error::Error>(cut.map(|cut| (table.schema().to_owned(), cut)))
        });
        let taken: BTreeMap<String, SourceCut> = try_join_all(cuts).await?.into_iter().flatten().collect();
        let earliest = taken.values().map(|cut| cut.at).min().filter(|_| taken.len() > 1);
        let cut = context.state.cut.into_iter().chain(earliest).min();
        if !taken.is_empty() {
            self.append(context, &[Entry::CutTaken { cut, sources: taken }]).await?;
        }
        context.cut.get_or_init(|| cut);
        context.cut_now.get_or_init(|| earliest);
        failpoint::reached("run.after_cut");
        Ok(())
    }
}

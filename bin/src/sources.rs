//! The sources of a pipeline: configuration to connected tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::config::{CONFIG, Config, SourceConfig};
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;
use pipeline_core::pace::Pace;
use pipeline_core::run::{SourceTable, Sources};
use pipeline_extractors::kind::{Connect, Kind};
use pipeline_extractors::{KINDS, kind::Spec};

/// The kind that a source names.
pub(crate) fn kind(source: &SourceConfig) -> Result<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == source.kind).ok_or_else(|| {
        let known: Vec<String> = KINDS.iter().map(|kind| format!("{} ({})", kind.name, kind.summary)).collect();
        source
            .options
            .error("kind", format!("source \"{}\" is of the unknown kind \"{}\"", source.name, source.kind))
            .hint(format!("Use one of: {}.", known.join("; ")))
    })
}

/// The tables of one pipeline.
#[derive(Debug)]
pub(crate) struct ConfiguredSources {
    config: Arc<Config>,
    tables: Vec<TableName>,
    connect: Connect,
}

impl ConfiguredSources {
    pub(crate) fn new(config: Arc<Config>, tables: &BTreeSet<TableName>, connect: Connect) -> Self {
        Self { config, tables: tables.iter().cloned().collect(), connect }
    }
}

#[async_trait]
impl Sources for ConfiguredSources {
    fn tables(&self) -> &[TableName] {
        &self.tables
    }

    async fn open(&self, tables: &BTreeSet<TableName>) -> Result<Vec<SourceTable>> {
        let mut opened = Vec::new();
        for source in self.config.sources.values() {
            let wanted: Vec<_> = source.tables.iter().filter(|(table, _)| tables.contains(*table)).collect();
            if wanted.is_empty() {
                continue;
            }
            let failed = |error: Error| error.context(format!("source \"{}\" could not be opened", source.name));
            let spec: Box<dyn Spec> = (kind(source)?.read)(source.options.clone())?;
            let connect = Connect { pace: Pace::new(source.rate_bytes_per_second_max), ..self.connect.clone() };
            let connected = spec.connect(&connect).await.map_err(failed)?;
            for (table, config) in wanted {
                let extractor = connected
                    .table(config.contract.clone(), config.options.clone())
                    .map_err(|error| error.context(format!("table \"{table}\" could not be opened")))?;
                opened.push(SourceTable {
                    extractor: Arc::from(extractor),
                    lookback_us: config.lookback_us,
                    rejected_share_max: config.rejected_share_max,
                });
            }
        }
        if opened.len() == tables.len() {
            return Ok(opened);
        }
        Err(Error::new(&CONFIG, "a table of the pipeline belongs to no source"))
    }
}

//! A table as a scheduler knows it: the files that a run named.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::stored::{DataFile, Files};

/// Parquet files of the lake as a table.
#[derive(Debug)]
pub(super) struct FilesTable {
    schema: SchemaRef,
    files: Files,
}

impl FilesTable {
    pub(super) fn new(schema: SchemaRef, files: Files) -> Self {
        Self { schema, files }
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    fn statistics(&self, files: &[DataFile]) -> Statistics {
        let rows = files.iter().map(|file| file.rows).sum::<Option<u64>>().and_then(|rows| usize::try_from(rows).ok());
        let bytes = files.iter().map(|file| file.bytes).sum::<u64>();
        Statistics {
            num_rows: rows.map_or(Precision::Absent, Precision::Exact),
            total_byte_size: usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact),
            ..Statistics::new_unknown(&self.schema)
        }
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Row groups and pages are left out by their statistics; the rows are filtered above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut source = ParquetSource::new(Arc::clone(&self.schema)).with_table_parquet_options(state.default_table_options().parquet);
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let files = self.files.files.iter().map(|file| {
            let statistics = Arc::new(self.statistics(std::slice::from_ref(file)));
            PartitionedFile::new(file.path.clone(), file.bytes).with_statistics(statistics)
        });
        let groups = FileGroup::new(files.collect()).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(&self.files.store)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics(&self.files.files))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

//! Tables with the files their rows lie in, so that another machine can read the same rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraints, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use serde::{Deserialize, Serialize};

/// The Parquet files of a table in one of its states. Every row of every file is a row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The store that holds them, as [`Engine::register_store`](crate::session::Engine::register_store) knows it.
    pub store: String,
    /// The files.
    pub files: Vec<DataFile>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its path in the store.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, if known.
    pub rows: Option<u64>,
}

/// A table that is read here by `rows`, and by others from `files`: both give the same.
#[derive(Debug)]
pub struct Stored {
    rows: Arc<dyn TableProvider>,
    files: Files,
}

impl Stored {
    /// A table with its files.
    #[must_use]
    pub fn new(rows: Arc<dyn TableProvider>, files: Files) -> Self {
        Self { rows, files }
    }

    /// Where the rows lie.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }
}

#[async_trait]
impl TableProvider for Stored {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.rows.constraints()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.rows.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }
}

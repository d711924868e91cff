//! Views, as the walk down sees them: each is a step of its own, with rows to show, and not a part of the statements that read it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as Planning, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::model::ModelSet;
use crate::session::Session;

/// A view whose plan nobody looks into.
#[derive(Debug)]
struct Closed(Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for Closed {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Planning,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
}

impl Session {
    /// Lets statements read views as if they were stored. One that reads what is not made yet is none.
    pub(crate) async fn close_views(&self, models: &ModelSet) {
        for view in models.models().iter().filter(|model| model.is_view) {
            if let Ok(Some(rows)) = self.provider(view.table()).await {
                self.register_table(view.table().schema(), view.table().table(), Arc::new(Closed(rows)));
            }
        }
    }
}

//! Column-level lineage: what each column of a model is made of, taken from the plan of its statement.
//!
//! Kinds are those of `OpenLineage`'s column lineage facet (<https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json>): a
//! *direct* input's values go into the column ([`Direct`]); an *indirect* one decides about them ([`Indirect`]). What decides which
//! rows there are (`WHERE`, `JOIN`, `GROUP BY`, `ORDER BY`) concerns the model as a whole and is told once, in [`ModelLineage::rows`].
//!
//! ```text
//! plan of one statement ── walked from the tables up ──> one step: a model's columns ──> columns of what it reads
//! steps of all models ── put together ──> whole way: a model's columns ──> columns of extracted tables
//! ```
//! Statements are planned over empty tables, so nothing is read. What a field is called in its source, the contract knows
//! ([`Contract::source_path`]).

mod expression;
mod origin;
mod page;
mod picture;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use pipeline_core::contract::{ColumnType, Contract};
use pipeline_core::error::Result;
use pipeline_core::name::TableName;

use crate::errors::failure;
use crate::model::{Model, ModelSet, PREVIOUS};
use crate::session::Session;

pub use origin::{ColumnLineage, Direct, Indirect, Influences, InputField, Setting};
pub use page::{SourceTable, page};
pub use picture::picture;

pub(crate) use plan::table_name;

use plan::Walk;

/// Rounds in which the lineage of a model that reads its own former result is put into itself: each brings in at least one
/// field, or is the last.
const ROUNDS_MAX: usize = 100;

/// What the columns of one model are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelLineage {
    /// Each column by its name, in the order of the contract.
    pub columns: Vec<(String, ColumnLineage)>,
    /// What decides which rows there are.
    pub rows: Influences,
    /// Whose rows its rows are made from; with a path, the elements of a list.
    pub rows_of: BTreeSet<InputField>,
}

impl ModelLineage {
    /// The lineage of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnLineage> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, lineage)| lineage)
    }
}

/// The lineage of all models, one step and the whole way.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    steps: BTreeMap<TableName, ModelLineage>,
    whole: BTreeMap<TableName, ModelLineage>,
}

impl Lineage {
    /// Plans every model over empty tables and follows its columns. `sources` are the contracts of what is extracted.
    ///
    /// # Errors
    /// [`SQL`](crate::errors::SQL) if a statement cannot be planned.
    pub async fn of(session: &Session, models: &ModelSet, sources: &[Contract]) -> Result<Self> {
        let session = session.private();
        let contracts: Contracts<'_> = sources
            .iter()
            .chain(models.models().iter().map(|model| &model.contract))
            .map(|contract| (contract.table.clone(), contract))
            .collect();
        for (table, contract) in &contracts {
            session.register_table(table.schema(), table.table(), Arc::new(EmptyTable::new(contract.schema())));
        }
        let mut lineage = Self::default();
        for model in models.models() {
            lineage.steps.insert(model.table().clone(), step(&session, &contracts, model).await?);
        }
        // Former results are made of what comes later: once more, until nothing is added.
        for _ in 0..ROUNDS_MAX {
            let mut is_complete = true;
            for model in models.models() {
                let Some(step) = lineage.steps.get(model.table()) else { continue };
                let whole = lineage.whole(&contracts, model.table(), step);
                if lineage.whole.get(model.table()) != Some(&whole) {
                    is_complete = false;
                    lineage.whole.insert(model.table().clone(), whole);
                }
            }
            if is_complete {
                break;
            }
        }
        Ok(lineage)
    }

    /// A model's columns, made of columns of the tables that its statement names. Its own former result stands in the schema
    /// [`PREVIOUS`].
    #[must_use]
    pub fn step(&self, model: &TableName) -> Option<&ModelLineage> {
        self.steps.get(model)
    }

    /// A model's columns, made of columns of extracted tables, through all models between.
    #[must_use]
    pub fn to_sources(&self, model: &TableName) -> Option<&ModelLineage> {
        self.whole.get(model)
    }

    /// Puts the lineage of the models that a model reads in the place of their columns.
    fn whole(&self, contracts: &Contracts<'_>, table: &TableName, step: &ModelLineage) -> ModelLineage {
        let nothing = ModelLineage::default();
        let mut whole = ModelLineage::default();
        for _ in 0..ROUNDS_MAX {
            let below = |input: &TableName| match input.schema() {
                PREVIOUS if input.table() == table.table() => Some(&whole),
                PREVIOUS => TableName::model(input.table()).ok().and_then(|other| self.whole.get(&other)).or(Some(&nothing)),
                _ => self.whole.get(input),
            };
            let next = step.through(contracts, &below);
            if next == whole {
                break;
            }
            whole = next;
        }
        debug_assert!(whole.columns.len() == step.columns.len(), "model \"{table}\" keeps its columns");
        whole
    }
}

/// Every table's contract.
type Contracts<'a> = BTreeMap<TableName, &'a Contract>;

/// What a field of a table is, if its contract has it.
fn field_type<'a>(contracts: &Contracts<'a>, field: &InputField) -> Option<&'a ColumnType> {
    let mut names = field.path.split('.');
    let column = names.next()?;
    let (schema, table) = (field.table.schema(), field.table.table());
    let contract = match schema {
        PREVIOUS => contracts.get(&TableName::model(table).ok()?)?,
        _ => contracts.get(&field.table)?,
    };
    let mut data_type = &contract.columns.iter().find(|declared| declared.name.as_str() == column)?.data_type;
    for name in names {
        while let ColumnType::List(item) = data_type {
            data_type = item;
        }
        let ColumnType::Struct(fields) = data_type else { return None };
        data_type = &fields.iter().find(|field| field.name == name)?.data_type;
    }
    Some(data_type)
}

async fn step(session: &Session, contracts: &Contracts<'_>, model: &Model) -> Result<ModelLineage> {
    if model.uses_previous {
        session.register_table(PREVIOUS, model.table().table(), Arc::new(EmptyTable::new(model.contract.schema())));
    }
    for contract in &model.former {
        session.register_table(PREVIOUS, contract.table.table(), Arc::new(EmptyTable::new(contract.schema())));
    }
    if let Some(rules) = &model.rules {
        rules.register(session).await?;
    }
    let what = || format!("lineage of model \"{}\" cannot be told", model.table());
    let frame = session.select(&model.sql).await.map_err(|error| failure(what(), error))?;
    let relation = Walk::new(contracts).relation(frame.logical_plan()).map_err(|error| failure(what(), error))?;
    let names = frame.schema().fields().iter().map(|field| field.name().clone());
    Ok(ModelLineage { columns: names.zip(relation.columns).collect(), rows: relation.rows, rows_of: relation.rows_of })
}

impl ModelLineage {
    /// The same with every field of a table that `below` knows replaced by what that is made of.
    fn through<'a>(&self, contracts: &Contracts<'_>, below: &dyn Fn(&TableName) -> Option<&'a Self>) -> Self {
        let mut rows = Influences::default();
        let mut rows_of = BTreeSet::new();
        for row in &self.rows_of {
            match below(&row.table) {
                None => {
                    rows_of.insert(row.clone());
                }
                Some(model) => {
                    rows_of.extend(model.rows_of.iter().cloned());
                    rows.add(&model.rows);
                }
            }
        }
        rows.add(&self.rows.through(contracts, below));
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), column.through(contracts, below)));
        Self { columns: columns.collect(), rows, rows_of }
    }
}

//! Computing one model: run its statement, check the result, and tell what changed.
//!
//! ```text
//! statement ── cast to the contract ──> Parquet in the spill folder ── checks ──> changes against the table as it stands
//! ```
//! The result is written once and read from there for checks and comparison, so memory does not grow with it. Nothing that a
//! reader can see is written. A statement that finds too little memory is tried again
//! alone, with joins that spill.

mod anomaly;
mod changes;
mod checks;
mod digest;
mod measures;
mod parts;
mod spilled;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, JoinType};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{cast, ident};
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::ledger::Measured;
use pipeline_core::model::{Computed, Standard};
use pipeline_core::name::TableName;

#[cfg(feature = "cluster")]
use crate::errors::is_of_this_machine;
use crate::errors::{MEMORY, MODEL_INPUT, MODEL_SCHEMA, failure, is_memory};
use crate::model::{Dependence, Incremental, Model, ModelSet, PREVIOUS};
use crate::session::{JoinsBy, Session};
use spilled::Spilled;
use tracing::Instrument;

pub use checks::{Outcome, Verdict};
pub use parts::{Parts, PartsBounds};

impl Session {
    /// Computes a model, holds it against `standard`, and compares it with `current`, the table as it stands (None: there is none yet, so all rows are
    /// new).
    /// The changes are the rows that are new or differ in any column, then the keys that are gone, marked in the last column; each
    /// of the two in the order of the contract's sort columns and key.
    ///
    /// # Errors
    /// [`MODEL_INPUT`] if a table it reads is missing, [`MODEL_SCHEMA`] if the statement does not give what the contract says,
    /// [`MODEL_TEST`](crate::errors::MODEL_TEST) and [`MODEL_TEXT`](crate::errors::MODEL_TEXT) if rows break it, and those of
    /// [`Session::query`].
    pub async fn compute(&self, model: &Model, current: Option<Arc<dyn TableProvider>>, standard: &Standard) -> Result<Computed> {
        let session = self.private();
        if model.uses_previous {
            session.register_former(&model.contract, current.clone())?;
        }
        let (result, warnings, measured) = Box::pin(session.made(model, standard)).await?;
        let (table, rows) = (model.table(), result.rows());
        let comparison = tracing::info_span!("comparison", model = %table, rows);
        let changes = Box::pin(changes::changes(&session, model, result, current)).instrument(comparison).await?;
        Ok(Computed { changes, rows, warnings, measured, read: String::new(), note: String::new() })
    }

    /// Checks what a view shows, and holds it against `standard`. There are no changes.
    ///
    /// # Errors
    /// Those of [`Session::compute`].
    pub async fn compute_view(&self, model: &Model, standard: &Standard) -> Result<Computed> {
        let session = self.private();
        let (result, warnings, measured) = Box::pin(session.made(model, standard)).await?;
        let changes = BatchStream::of(model.contract.changes_schema(), Vec::new());
        Ok(Computed { changes, rows: result.rows(), warnings, measured, read: String::new(), note: String::new() })
    }

    /// What a model's statement gives, on disk and checked.
    async fn made(&self, model: &Model, standard: &Standard) -> Result<(Spilled, Vec<String>, Measured)> {
        let table = model.table();
        for input in &model.stored {
            if !self.has(input).await? {
                return Err(Error::new(&MODEL_INPUT, format!("model \"{table}\" reads table \"{input}\", which does not exist yet"))
                    .hint(format!("Run the pipeline with \"{input}\" among its tables or models first.")));
            }
        }
        self.register_asked(model).await?;
        let result = self.spill(model, &Plan::Statement(model)).instrument(tracing::info_span!("statement", model = %table)).await?;
        let checked = Box::pin(checks::check(self, model, &result, None, result.rows(), standard));
        let (warnings, measured) = checked.instrument(tracing::info_span!("checks", model = %table)).await?;
        Ok((result, warnings, measured))
    }

    /// Asks all data tests of a stored table.
    ///
    /// # Errors
    /// Those of [`Session::query`]. A test that fails is a verdict, no error.
    pub async fn test(&self, model: &Model, stored: Arc<dyn TableProvider>, standard: &Standard) -> Result<Vec<Verdict>> {
        let session = self.with_stored(model, stored)?;
        let counted = checks::numbers(&session, &format!("SELECT count(*) AS rows FROM {}", model.table().table())).await?;
        let rows = counted.first().and_then(|rows| u64::try_from(*rows).ok()).unwrap_or(0);
        Ok(Box::pin(checks::verdicts(&session, model, checks::Seen::All, rows, standard)).await?.0)
    }

    /// Asks those data tests of a stored table that time alone can make fail, and gives the warnings.
    ///
    /// # Errors
    /// [`MODEL_TEST`](crate::errors::MODEL_TEST) if one of severity `error` fails, and those of [`Session::query`].
    pub async fn still_holds(&self, model: &Model, stored: Arc<dyn TableProvider>) -> Result<Vec<String>> {
        let session = self.with_stored(model, stored)?;
        let verdicts = Box::pin(measures::of_age(&session, model)).await?;
        checks::warnings(model, &verdicts, || {
            let error = format!("table of model \"{}\", which nothing new came into, fails its data tests", model.table());
            (error, "Look why nothing new comes from the sources; `pipeline query` runs the query shown.".to_owned())
        })
    }

    /// A session that knows a stored table by its model's name, with the columns that the contract has now.
    fn with_stored(&self, model: &Model, stored: Arc<dyn TableProvider>) -> Result<Self> {
        let session = self.private();
        let frame = session.context().read_table(stored).and_then(|frame| typed(frame, &model.contract.schema(), Missing::IsNull));
        let view = frame.map_err(|error| failure(format!("table \"{}\" could not be read", model.table()), error))?.into_view();
        session.register_table(model.table().schema(), model.table().table(), view);
        Ok(session)
    }

    /// A table's rows as its contract declares them, for a destination that takes the whole table.
    ///
    /// # Errors
    /// Those of [`Session::query`].
    pub async fn export(&self, contract: &Contract, table: Arc<dyn TableProvider>) -> Result<BatchStream> {
        let what = "table could not be read whole";
        let frame = self.context().read_table(table).and_then(|frame| typed(frame, &contract.schema(), Missing::IsNull));
        let rows = crate::session::stream(what, frame.map_err(|error| failure(what, error))?).await?;
        Ok(with_schema(rows, contract.schema()))
    }

    /// A query over the common table expressions of a model's statement, as of the session's instant; `current` is the model's
    /// table as it stands.
    ///
    /// # Errors
    /// Those of [`Session::query`].
    pub async fn look_into(&self, model: &Model, current: Option<Arc<dyn TableProvider>>, query: &str) -> Result<BatchStream> {
        let session = self.private();
        session.register_former(&model.contract, current)?;
        session.register_asked(model).await?;
        session.query(&model.with_query(query)?).await
    }

    /// Makes known what a model's statement reads beside tables: former results of models made from it, and rules.
    async fn register_asked(&self, model: &Model) -> Result<()> {
        for contract in &model.former {
            let what = || format!("table \"{}\" cannot be opened", contract.table);
            let current = match self.has(&contract.table).await? {
                true => {
                    let reference = datafusion::common::TableReference::partial(contract.table.schema(), contract.table.table());
                    Some(self.context().table_provider(reference).await.map_err(|error| failure(what(), error))?)
                }
                false => None,
            };
            self.register_former(contract, current)?;
        }
        match &model.rules {
            Some(rules) => rules.register(self).await,
            None => Ok(()),
        }
    }

    /// A table as it stood, with the columns that its contract has now; without rows if there was none.
    fn register_former(&self, contract: &Contract, current: Option<Arc<dyn TableProvider>>) -> Result<()> {
        let what = || format!("former result of model \"{}\" cannot be read", contract.table);
        let former = match current {
            None => Arc::new(EmptyTable::new(contract.schema())) as Arc<dyn TableProvider>,
            Some(current) => {
                let frame = self.context().read_table(current).and_then(|frame| typed(frame, &contract.schema(), Missing::IsNull));
                frame.map_err(|error| failure(what(), error))?.into_view()
            }
        };
        self.register_table(PREVIOUS, contract.table.table(), former);
        Ok(())
    }

    /// Runs a plan into files. If it finds too little memory, it is run again alone, with joins that spill.
    async fn spill(&self, model: &Model, plan: &Plan<'_>) -> Result<Spilled> {
        let what = || format!("model \"{}\" could not be computed", model.table());
        if matches!(plan, Plan::Statement(_))
            && let Some(there) = self.distributed(JoinsBy::Hash)?
        {
            return self.spill_from_cluster(model, plan, there).await;
        }
        let first = {
            let _turn = self.engine().turns().beside_others().await;
            let frame = Box::pin(plan.frame(self)).await?;
            Box::pin(Spilled::write(self, model, frame)).await
        };
        match first {
            Err(error) if is_memory(&error) => {
                tracing::info!(model = %model.table(), "not enough memory beside others, trying again alone, with joins that spill");
                let _turn = self.engine().turns().alone().await;
                let patient = self.joining_by(JoinsBy::Merge);
                let frame = Box::pin(plan.frame(&patient)).await?;
                Box::pin(Spilled::write(&patient, model, frame)).await.map_err(|error| failure(what(), error))
            }
            first => first.map_err(|error| failure(what(), error)),
        }
    }

    /// Has a cluster run a plan, and writes what it gives into files. Where its executors find too little memory, they join by sorting.
    async fn spill_from_cluster(&self, model: &Model, plan: &Plan<'_>, there: Self) -> Result<Spilled> {
        let frame = Box::pin(plan.frame(&there)).await?;
        let error = match Box::pin(Spilled::write(self, model, frame)).await {
            Ok(spilled) => return Ok(spilled),
            Err(error) => distributed_failure(model, error),
        };
        let Some(patient) = self.distributed(JoinsBy::Merge)?.filter(|_| error.code() == &MEMORY) else { return Err(error) };
        tracing::info!(model = %model.table(), "not enough memory on the cluster, trying again with joins that spill");
        let frame = Box::pin(plan.frame(&patient)).await?;
        Box::pin(Spilled::write(self, model, frame)).await.map_err(|error| distributed_failure(model, error))
    }

    /// The model's statement, planned, checked against the contract and cast to its exact types.
    pub(crate) async fn plan(&self, model: &Model) -> Result<DataFrame> {
        let what = || format!("model \"{}\" could not be planned", model.table());
        let place = |error: Error| error.context(what()).caused_by(format!("file \"{}\"", model.file.display()));
        let frame = self.select(&model.sql).await.map_err(|error| place(failure("its statement cannot be used", error)))?;
        check_schema(model, frame.schema().inner())?;
        typed(frame, &model.contract.schema(), Missing::IsError).map_err(|error| failure(what(), error))
    }
}

fn distributed_failure(model: &Model, error: DataFusionError) -> Error {
    let what = format!("model \"{}\" could not be computed on the cluster", model.table());
    #[cfg(feature = "cluster")]
    if !is_of_this_machine(&error) {
        return crate::cluster::failure(what, error);
    }
    failure(what, error)
}

/// What is run into files.
enum Plan<'a> {
    /// A model's statement.
    Statement(&'a Model),
    /// Of a model's statement, the units that are computed anew.
    Units(&'a Model, &'a Incremental),
    /// The rows of an input that these are computed from.
    Input { dependence: &'a Dependence, schema: &'a SchemaRef, shown: &'a BTreeSet<String> },
    /// The rows of the table as it stands that belong to these units.
    Former { model: &'a Model, incremental: &'a Incremental, current: &'a Arc<dyn TableProvider> },
}

impl Plan<'_> {
    async fn frame(&self, session: &Session) -> Result<DataFrame> {
        match self {
            Self::Statement(model) => session.plan(model).await,
            Self::Units(model, incremental) => {
                let frame = session.plan(model).await?;
                let of_units = parts::of_units(session, incremental, frame, JoinType::RightSemi).await;
                of_units.map_err(|error| failure(format!("units of model \"{}\" could not be planned", model.table()), error))
            }
            Self::Input { dependence, schema, shown } => parts::input(session, dependence, schema, shown)
                .await
                .map_err(|error| failure(format!("rows of \"{}\" could not be chosen", dependence.table), error)),
            Self::Former { model, incremental, current } => {
                let current = session.context().read_table(Arc::clone(current));
                let current = current.and_then(|frame| typed(frame, &model.contract.schema(), Missing::IsNull));
                let of_units = match current {
                    Ok(current) => parts::of_units(session, incremental, current, JoinType::RightSemi).await,
                    Err(error) => Err(error),
                };
                of_units.map_err(|error| failure(format!("table \"{}\" could not be read", model.table()), error))
            }
        }
    }
}

/// Checks that the statement of each model in `made` gives what its contract says, without any data: extracted tables are known by
/// `sources`.
///
/// # Errors
/// [`MODEL_INPUT`], [`MODEL_SCHEMA`] or [`SQL`](crate::errors::SQL) for the first model that cannot be made.
pub async fn check_models(session: &Session, models: &ModelSet, sources: &[Contract], made: &BTreeSet<TableName>) -> Result<()> {
    let session = session.private();
    let contracts = sources.iter().chain(models.models().iter().map(|model| &model.contract));
    for contract in contracts {
        let empty = Arc::new(EmptyTable::new(contract.schema()));
        session.register_table(contract.table.schema(), contract.table.table(), empty);
    }
    for model in models.models().iter().filter(|model| made.contains(model.table())) {
        for input in &model.inputs {
            if !session.has(input).await? {
                return Err(Error::new(&MODEL_INPUT, format!("model \"{}\" reads table \"{input}\", which nobody makes", model.table()))
                    .caused_by(format!("file \"{}\"", model.file.display())));
            }
        }
        if model.uses_previous {
            session.register_table(PREVIOUS, model.table().table(), Arc::new(EmptyTable::new(model.contract.schema())));
        }
        if let Some(rules) = &model.rules {
            Box::pin(rules.check(&session)).await?;
        }
        session.register_asked(model).await?;
        Box::pin(session.plan(model)).await?;
        checks::check_plans(&session, model).await?;
        if let Some(incremental) = &model.incremental {
            Box::pin(parts::check_plans(&session, model, incremental)).await?;
        }
    }
    Ok(())
}

/// Compares what the statement gives with what the contract says. Text is text however it is held; nothing else converts itself.
fn check_schema(model: &Model, given: &SchemaRef) -> Result<()> {
    let file = model.file.display();
    let mut differences: Vec<String> = Vec::new();
    let declared = &model.contract.columns;
    for position in 0..declared.len().max(given.fields().len()) {
        match (declared.get(position), given.fields().get(position)) {
            (Some(column), Some(field)) if column.name.as_str() != field.name() => differences.push(format!(
                "column {}: the contract has \"{}\", the statement \"{}\"",
                position + 1,
                column.name,
                field.name()
            )),
            (Some(column), Some(field)) if !same_type(&column.data_type.arrow(), field.data_type()) => differences.push(format!(
                "column \"{}\": the contract says {} ({}), the statement gives {}",
                column.name,
                column.data_type,
                column.data_type.arrow(),
                field.data_type()
            )),
            (Some(column), None) => differences.push(format!("column \"{}\" is in the contract, but not in the statement", column.name)),
            (None, Some(field)) => differences.push(format!("column \"{}\" is in the statement, but not in the contract", field.name())),
            _ => {}
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let error = Error::new(&MODEL_SCHEMA, format!("model \"{}\" does not give what its contract declares", model.table()));
    let error = error.caused_by(format!("file \"{file}\""));
    Err(differences.into_iter().fold(error, Error::caused_by))
}

/// Compares what a query of `[incremental]` gives with the columns that tell units apart.
fn check_types(wanted: &SchemaRef, given: &SchemaRef, what: &str) -> Result<()> {
    let mut differences = Vec::new();
    for field in wanted.fields() {
        match given.field_with_name(field.name()) {
            Err(_) => differences.push(format!("`{what}` does not give column \"{}\"", field.name())),
            Ok(found) if !same_type(field.data_type(), found.data_type()) => differences.push(format!(
                "`{what}` gives column \"{}\" as {}, and the contract says {}",
                field.name(),
                found.data_type(),
                field.data_type()
            )),
            Ok(_) => {}
        }
    }
    if let Some(more) = given.fields().iter().find(|field| wanted.field_with_name(field.name()).is_err()) {
        differences.push(format!("`{what}` gives column \"{}\", which is not in `by`", more.name()));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let error = Error::new(&MODEL_SCHEMA, "it does not give the columns that tell units apart");
    Err(differences.into_iter().fold(error, Error::caused_by))
}

/// Whether two types hold the same values; names of list elements and NULL-ability do not matter.
fn same_type(declared: &DataType, given: &DataType) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_bytes = |data_type: &DataType| matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    match (declared, given) {
        (DataType::List(declared), DataType::List(given)) => same_type(declared.data_type(), given.data_type()),
        (DataType::Struct(declared), DataType::Struct(given)) => {
            declared.len() == given.len()
                && declared
                    .iter()
                    .zip(given)
                    .all(|(declared, given)| declared.name() == given.name() && same_type(declared.data_type(), given.data_type()))
        }
        (declared, given) => declared == given || (is_text(declared) && is_text(given)) || (is_bytes(declared) && is_bytes(given)),
    }
}

/// What to do about a column that a table does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsNull,
    IsError,
}

/// The columns of `schema`, in its order and with its exact types.
fn typed(frame: DataFrame, schema: &SchemaRef, missing: Missing) -> Result<DataFrame, DataFusionError> {
    let given = Arc::clone(frame.schema().inner());
    let columns = schema.fields().iter().map(|field| {
        let name = field.name();
        match given.field_with_name(name) {
            Ok(found) if found.data_type() == field.data_type() => ident(name),
            Err(_) if missing == Missing::IsNull => {
                let null = datafusion::common::ScalarValue::Null;
                cast(datafusion::logical_expr::lit(null), field.data_type().clone()).alias(name)
            }
            _ => cast(ident(name), field.data_type().clone()).alias(name),
        }
    });
    let columns: Vec<_> = columns.collect();
    frame.select(columns)
}

/// Gives each batch of a stream exactly this schema, which differs in NULL-ability and metadata only.
fn with_schema(rows: BatchStream, schema: SchemaRef) -> BatchStream {
    use futures::StreamExt;
    let wanted = Arc::clone(&schema);
    let rows = rows.map(move |batch| {
        let columns = batch?.columns().to_vec();
        arrow::array::RecordBatch::try_new(Arc::clone(&wanted), columns).map_err(Error::from)
    });
    BatchStream::new(schema, rows)
}

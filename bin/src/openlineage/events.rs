//! Events as `OpenLineage` 2-0-2 has them (<https://openlineage.io/spec/2-0-2/OpenLineage.json>), from what a run tells.
//!
//! Pure: nothing here sends or looks at the clock. Events hold names, types, counts, statements and errors' messages, which are all
//! free of rows' values.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_core::contract::{Column, ColumnType, Contract, Privacy};
use pipeline_core::name::TableName;
use pipeline_core::run::{RunStatus, StepKind, StepReport, StepStatus};
use pipeline_core::window::Timestamp;
use pipeline_transforms::lineage::{ColumnLineage, Influences, InputField, Lineage};
use pipeline_transforms::model::{Model, ModelSet};
use serde_json::{Map, Value, json};

/// Who tells.
const PRODUCER: &str = concat!("urn:pipeline:", env!("CARGO_PKG_VERSION"));
const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// A data set's name: where it is, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Where the tables of a project are, in `OpenLineage`'s words.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Extracted tables in their sources.
    pub(super) sources: BTreeMap<TableName, Place>,
    /// The folder of snapshots; their names begin with it.
    pub(super) landing: (String, String),
    /// The lake's folder.
    pub(super) lake: (String, String),
    /// Destinations by name: the namespace, and what stands before a table's name.
    pub(super) destinations: BTreeMap<String, (String, String)>,
}

/// What is known of a project when its runs begin.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) namespace: String,
    pub(super) contracts: BTreeMap<TableName, Contract>,
    pub(super) models: ModelSet,
    pub(super) lineage: Lineage,
    pub(super) places: Places,
}

/// A transition of a run or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Start,
    Complete,
    Fail,
    Abort,
}

impl Transition {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }

    pub(super) fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Done | RunStatus::Unchanged => Self::Complete,
            RunStatus::Failed => Self::Fail,
            RunStatus::Interrupted => Self::Abort,
        }
    }

    /// None for a step that was never begun.
    pub(super) fn of_step(status: StepStatus) -> Option<Self> {
        match status {
            StepStatus::Done | StepStatus::Unchanged | StepStatus::Resumed => Some(Self::Complete),
            StepStatus::Failed => Some(Self::Fail),
            StepStatus::Skipped => None,
        }
    }
}

/// What a step reads and writes.
struct Step {
    kind: StepKind,
    table: TableName,
    /// For loads.
    destination: Option<String>,
}

impl Step {
    /// `extract shop.orders`, `follow shop.orders`, `model orders`, `load lake orders`.
    fn parse(name: &str) -> Option<Self> {
        let words: Vec<&str> = name.split(' ').collect();
        let (kind, table, destination) = match words.as_slice() {
            ["extract" | "follow", table] => (StepKind::Extract, table, None),
            ["model", table] => (StepKind::Model, table, None),
            ["load", destination, table] => (StepKind::Load, table, Some((*destination).to_owned())),
            _ => return None,
        };
        Some(Self { kind, table: table.parse().ok()?, destination })
    }
}

impl Facts {
    /// A transition of a whole run.
    pub(super) fn of_run(&self, at: Timestamp, run: &str, pipeline: &str, transition: Transition, error: Option<&str>) -> Value {
        let mut facets = self.run_facets();
        if let Some(error) = error {
            facets.insert("errorMessage".to_owned(), error_facet(error));
        }
        let job = self.job(pipeline, "RUN", Map::new());
        event(at, transition, json!({ "runId": run, "facets": facets }), job, Vec::new(), Vec::new())
    }

    /// A transition of a step. None if the name is not one of a step.
    pub(super) fn of_step(
        &self,
        at: Timestamp,
        (run, pipeline): (&str, &str),
        step: &str,
        transition: Transition,
        report: Option<&StepReport>,
    ) -> Option<Value> {
        let parsed = Step::parse(step)?;
        let mut facets = self.run_facets();
        let parent = json!({ "run": { "runId": run }, "job": { "namespace": self.namespace, "name": pipeline } });
        facets.insert("parent".to_owned(), facet("1-2-0", "ParentRunFacet", parent));
        if let Some(report) = report.filter(|report| report.status == StepStatus::Failed) {
            let error = match &report.code {
                Some(code) => format!("{code}: {}", report.note),
                None => report.note.clone(),
            };
            facets.insert("errorMessage".to_owned(), error_facet(&error));
        }
        let (kind, sql) = match parsed.kind {
            StepKind::Extract => ("EXTRACT", None),
            StepKind::Load => ("LOAD", None),
            StepKind::Model => ("MODEL", self.models.get(&parsed.table).map(|model| model.sql.as_str())),
        };
        let mut of_job = Map::new();
        if let Some(query) = sql {
            of_job.insert("sql".to_owned(), facet("1-1-0", "SQLJobFacet", json!({ "query": query, "dialect": "datafusion" })));
        }
        let job = self.job(&format!("{pipeline}.{}", step.replace(' ', ".")), kind, of_job);
        let run = json!({ "runId": step_run(run, step), "facets": facets });
        let done = report.filter(|_| transition == Transition::Complete);
        Some(event(at, transition, run, job, self.inputs(&parsed, done), self.outputs(&parsed, done)))
    }

    fn run_facets(&self) -> Map<String, Value> {
        let engine = json!({ "name": "pipeline", "version": env!("CARGO_PKG_VERSION") });
        Map::from_iter([("processing_engine".to_owned(), facet("1-1-1", "ProcessingEngineRunFacet", engine))])
    }

    fn job(&self, name: &str, kind: &str, mut facets: Map<String, Value>) -> Value {
        let of_type = json!({ "processingType": "BATCH", "integration": "PIPELINE", "jobType": kind });
        facets.insert("jobType".to_owned(), facet("2-0-4", "JobTypeJobFacet", of_type));
        json!({ "namespace": self.namespace, "name": name, "facets": facets })
    }

    fn inputs(&self, step: &Step, done: Option<&StepReport>) -> Vec<Value> {
        let tables: Vec<(Place, &TableName)> = match step.kind {
            StepKind::Extract => vec![(self.source(&step.table), &step.table)],
            StepKind::Load => vec![(self.landed(self.model_of(step)), self.model_of(step))],
            StepKind::Model => {
                let model = self.models.get(&step.table);
                model.map(|model| model.inputs.iter().map(|input| (self.in_lake(input), input)).collect()).unwrap_or_default()
            }
        };
        let is_one = tables.len() == 1;
        let inputs = tables.into_iter().map(|(place, table)| {
            let contract = self.contracts.get(table).filter(|_| step.kind != StepKind::Extract);
            let mut dataset = dataset(&place, contract.map(schema_facet));
            // How many rows came of each of several inputs, a step does not count.
            if let Some(report) = done.filter(|_| is_one && step.kind != StepKind::Model) {
                let statistics = json!({ "rowCount": report.rows_in });
                dataset["inputFacets"] = json!({ "inputStatistics": facet("1-0-0", "InputStatisticsInputDatasetFacet", statistics) });
            }
            dataset
        });
        inputs.collect()
    }

    fn outputs(&self, step: &Step, done: Option<&StepReport>) -> Vec<Value> {
        let place = match (step.kind, &step.destination) {
            (StepKind::Load, Some(destination)) => self.at_destination(destination, &step.table),
            // Nothing is landed of a view: it is where models that read it look for it.
            (StepKind::Model, _) if self.models.get(&step.table).is_some_and(|model| model.is_view) => self.in_lake(&step.table),
            _ => self.landed(&step.table),
        };
        let contract = self.contracts.get(self.model_of(step));
        let mut dataset = dataset(&place, contract.map(schema_facet));
        if let Some(report) = done {
            let statistics = json!({ "rowCount": report.rows_out, "size": report.bytes });
            dataset["outputFacets"] = json!({ "outputStatistics": facet("1-0-2", "OutputStatisticsOutputDatasetFacet", statistics) });
            if let Some(lineage) = contract.and_then(|contract| self.column_lineage(step, contract)) {
                dataset["facets"]["columnLineage"] = lineage;
            }
        }
        vec![dataset]
    }

    /// The table that a step is about: what a destination has of a model may be another one's published form.
    fn model_of<'a>(&'a self, step: &'a Step) -> &'a TableName {
        let is_beside = step.destination.as_ref().is_some_and(|destination| self.places.destinations.contains_key(destination));
        let form = self.models.models().iter().find(|model| model.published_form_of.as_ref() == Some(&step.table));
        form.filter(|_| is_beside).map_or(&step.table, Model::table)
    }

    fn source(&self, table: &TableName) -> Place {
        let unknown = || Place { namespace: self.namespace.clone(), name: table.to_string() };
        self.places.sources.get(table).cloned().unwrap_or_else(unknown)
    }

    fn landed(&self, table: &TableName) -> Place {
        let (namespace, folder) = &self.places.landing;
        Place { namespace: namespace.clone(), name: format!("{folder}/{}.{}", table.schema(), table.table()) }
    }

    fn in_lake(&self, table: &TableName) -> Place {
        let (namespace, folder) = &self.places.lake;
        Place { namespace: namespace.clone(), name: format!("{folder}/{}/{}", table.schema(), table.table()) }
    }

    fn at_destination(&self, destination: &str, table: &TableName) -> Place {
        match self.places.destinations.get(destination) {
            Some((namespace, before)) => Place { namespace: namespace.clone(), name: format!("{before}.{}", table.table()) },
            None => self.in_lake(table),
        }
    }

    fn column_lineage(&self, step: &Step, contract: &Contract) -> Option<Value> {
        let content = match step.kind {
            StepKind::Extract => {
                let place = self.source(&step.table);
                let fields = contract.columns.iter().filter(|column| column.privacy != Privacy::Drop);
                let fields: Map<String, Value> = fields.map(|column| (column.name.to_string(), of_source(&place, column))).collect();
                json!({ "fields": fields })
            }
            StepKind::Load => {
                let place = self.landed(self.model_of(step));
                let field = |column: &Column| {
                    let kinds = [transformation("DIRECT", "IDENTITY", false)];
                    (column.name.to_string(), json!({ "inputFields": [input_field(&place, column.name.as_str(), &kinds)] }))
                };
                json!({ "fields": contract.columns.iter().map(field).collect::<Map<_, _>>() })
            }
            StepKind::Model => {
                let lineage = self.lineage.step(&step.table)?;
                let model = self.models.get(&step.table)?;
                let fields: Map<String, Value> =
                    lineage.columns.iter().map(|(name, column)| (name.clone(), self.of_column(model, column))).collect();
                json!({ "fields": fields, "dataset": self.of_influences(model, &lineage.rows) })
            }
        };
        Some(facet("1-2-0", "ColumnLineageDatasetFacet", content))
    }

    fn of_column(&self, model: &Model, column: &ColumnLineage) -> Value {
        let mut fields: BTreeMap<InputField, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for (field, kind) in &column.direct {
            for field in self.expressed(field) {
                fields.entry(field).or_default().insert(("DIRECT", kind.name()));
            }
        }
        for (field, kinds) in &column.indirect.fields {
            for field in self.expressed(field) {
                fields.entry(field).or_default().extend(kinds.iter().map(|kind| ("INDIRECT", kind.name())));
            }
        }
        json!({ "inputFields": self.input_fields(model, fields) })
    }

    fn of_influences(&self, model: &Model, influences: &Influences) -> Vec<Value> {
        let mut fields: BTreeMap<InputField, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for (field, kinds) in &influences.fields {
            for field in self.expressed(field) {
                fields.entry(field).or_default().extend(kinds.iter().map(|kind| ("INDIRECT", kind.name())));
            }
        }
        self.input_fields(model, fields)
    }

    /// Rows, as `count(*)` takes them, are told by the columns that identify them.
    fn expressed(&self, field: &InputField) -> Vec<InputField> {
        if !field.is_rows() {
            return vec![field.clone()];
        }
        let Some(contract) = self.contracts.get(&field.table) else { return Vec::new() };
        contract.key.iter().map(|name| InputField { table: field.table.clone(), path: name.to_string() }).collect()
    }

    fn input_fields(&self, model: &Model, fields: BTreeMap<InputField, BTreeSet<(&str, &str)>>) -> Vec<Value> {
        let fields = fields.into_iter().map(|(field, kinds)| {
            // What the model's own table held before the run stands where the table is.
            let table = if self.contracts.contains_key(&field.table) { &field.table } else { model.table() };
            let kinds: Vec<Value> = kinds.into_iter().map(|(kind, subtype)| transformation(kind, subtype, false)).collect();
            input_field(&self.in_lake(table), &field.path, &kinds)
        });
        fields.collect()
    }
}

/// A column as its source has it.
fn of_source(place: &Place, column: &Column) -> Value {
    let kind = match column.privacy {
        Privacy::Hash | Privacy::Mask => transformation("DIRECT", "TRANSFORMATION", true),
        Privacy::None | Privacy::Keep | Privacy::Drop => transformation("DIRECT", "IDENTITY", false),
    };
    json!({ "inputFields": [input_field(place, &column.from, &[kind])] })
}

fn transformation(kind: &str, subtype: &str, masking: bool) -> Value {
    json!({ "type": kind, "subtype": subtype, "masking": masking })
}

fn input_field(place: &Place, field: &str, kinds: &[Value]) -> Value {
    json!({ "namespace": place.namespace, "name": place.name, "field": field, "transformations": kinds })
}

fn dataset(place: &Place, schema: Option<Value>) -> Value {
    let facets: Map<String, Value> = schema.map(|schema| ("schema".to_owned(), schema)).into_iter().collect();
    json!({ "namespace": place.namespace, "name": place.name, "facets": facets })
}

fn schema_facet(contract: &Contract) -> Value {
    let fields: Vec<Value> = contract
        .columns
        .iter()
        .map(|column| {
            let mut field = schema_field(column.name.as_str(), &column.data_type);
            if !column.description.is_empty() {
                field["description"] = column.description.clone().into();
            }
            field
        })
        .collect();
    facet("1-2-0", "SchemaDatasetFacet", json!({ "fields": fields }))
}

fn schema_field(name: &str, data_type: &ColumnType) -> Value {
    match data_type {
        ColumnType::Struct(fields) => {
            let fields: Vec<Value> = fields.iter().map(|field| schema_field(&field.name, &field.data_type)).collect();
            json!({ "name": name, "type": "struct", "fields": fields })
        }
        // By convention of the facet, a list has one field, its element.
        ColumnType::List(item) => json!({ "name": name, "type": "array", "fields": [schema_field("_element", item)] }),
        other => json!({ "name": name, "type": other.to_string() }),
    }
}

fn error_facet(message: &str) -> Value {
    facet("1-0-1", "ErrorMessageRunFacet", json!({ "message": message, "programmingLanguage": "Rust" }))
}

/// A facet with what every one has.
fn facet(version: &str, name: &str, mut content: Value) -> Value {
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] = format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}").into();
    content
}

fn event(at: Timestamp, transition: Transition, run: Value, job: Value, inputs: Vec<Value>, outputs: Vec<Value>) -> Value {
    json!({
        "eventTime": at.to_string(), "producer": PRODUCER, "schemaURL": EVENT_SCHEMA, "eventType": transition.name(),
        "run": run, "job": job, "inputs": inputs, "outputs": outputs,
    })
}

/// A step's run has an id of its own, the same whenever its run is continued.
fn step_run(run: &str, step: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(run).chain_update([0]).chain_update(step).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

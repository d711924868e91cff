//! The order in which models can be made.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;

use super::Model;
use crate::errors::{MODEL_CYCLE, MODEL_INPUT};

/// Puts each model after those it reads; models that do not depend on each other stay in the order given.
pub(super) fn ordered(models: Vec<Model>) -> Result<Vec<Model>> {
    let names: BTreeSet<TableName> = models.iter().map(|model| model.table().clone()).collect();
    for model in &models {
        if let Some(missing) = model.inputs.iter().find(|input| input.is_model() && !names.contains(*input)) {
            return Err(Error::new(&MODEL_INPUT, format!("model \"{}\" reads model \"{missing}\", which does not exist", model.table()))
                .caused_by(format!("file \"{}\"", model.file.display()))
                .hint("Add the model, or name the source too if an extracted table is meant: FROM source.table."));
        }
    }
    let mut ordered: Vec<Model> = Vec::with_capacity(models.len());
    let mut placed: BTreeSet<TableName> = BTreeSet::new();
    let mut waiting = models;
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|model| model.inputs.iter().all(|input| !input.is_model() || placed.contains(input)));
        let Some(ready) = ready else {
            return Err(Error::new(&MODEL_CYCLE, format!("models read each other in a circle: {}", circle(&waiting))));
        };
        let model = waiting.remove(ready);
        placed.insert(model.table().clone());
        ordered.push(model);
    }
    Ok(ordered)
}

/// The models that read a table, and those that read them; `models` are in order.
pub(super) fn made_from(models: &[Model], table: &TableName) -> BTreeSet<TableName> {
    let mut made: BTreeSet<TableName> = BTreeSet::new();
    for model in models {
        if model.inputs.iter().any(|input| input == table || made.contains(input)) {
            made.insert(model.table().clone());
        }
    }
    made
}

/// One circle among models of which each reads another one of them: `a reads b reads a`.
fn circle(models: &[Model]) -> String {
    let by_name: BTreeMap<&TableName, &Model> = models.iter().map(|model| (model.table(), model)).collect();
    let mut path: Vec<&TableName> = Vec::new();
    let mut next = models.first().map(Model::table);
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let names: Vec<String> = path.iter().skip(start).chain([&name]).map(ToString::to_string).collect();
            return names.join(" reads ");
        }
        path.push(name);
        next = by_name.get(name).and_then(|model| model.inputs.iter().find(|input| by_name.contains_key(input)));
    }
    String::new()
}

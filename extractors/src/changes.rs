//! Batches of changes, whatever kind of source they come from.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;

/// A batch of whole rows, or of keys alone, as changes.
pub(crate) fn marked(contract: &Contract, batch: &RecordBatch, is_deleted: bool) -> Result<RecordBatch> {
    let schema = contract.changes_schema();
    let mut arrays: Vec<ArrayRef> = contract
        .columns
        .iter()
        .map(|column| match batch.column_by_name(column.name.as_str()) {
            Some(array) => Arc::clone(array),
            None => new_null_array(column.field().data_type(), batch.num_rows()),
        })
        .collect();
    arrays.push(Arc::new(BooleanArray::from(vec![is_deleted; batch.num_rows()])));
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// The contract of a table's key alone.
pub(crate) fn key_contract(contract: &Contract) -> Contract {
    Contract {
        columns: contract.columns.iter().filter(|column| contract.key.contains(&column.name)).cloned().collect(),
        cursor: None,
        ..contract.clone()
    }
}

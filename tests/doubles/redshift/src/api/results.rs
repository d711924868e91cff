//! GetStatementResult and GetStatementResultV2.

use std::sync::Arc;

use serde_json::{Value, json};

use super::input::Input;
use super::operations::{Response, parse_id, start, token};
use crate::engine::result::ResultSet;
use crate::service::double::Double;
use crate::service::error::ServiceError;
use crate::service::statement::{Format, Part, Status};

/// Rows a page: more need NextToken.
const PAGE_ROWS: usize = 1000;
/// Rows of one CSV chunk.
const CHUNK_ROWS: usize = 250;

/// GetStatementResult gives JSON, V2 the form that was asked for with the statement: CSV.
pub(super) async fn get(double: &Arc<Double>, input: &Input, format: Format) -> Result<Response, ServiceError> {
    let id = input.required_text("Id", usize::MAX)?;
    let (whole, number) = parse_id(&id)?;
    let statement = double.statement(whole)?;
    if let Some(seconds) = input.whole("WaitTimeSeconds", 1, 30)? {
        statement.wait(u64::try_from(seconds).unwrap_or(0)).await;
    }
    if statement.is_batch() && number.is_none() {
        return Err(ServiceError::validation("BatchExecuteStatement result can only be retrieved with sub-statement id."));
    }
    if statement.request.format != format {
        let (asked, other) = match format {
            Format::Json => ("GetStatementResult", "GetStatementResultV2"),
            Format::Csv => ("GetStatementResultV2", "GetStatementResult"),
        };
        let given = statement.request.format.name();
        return Err(ServiceError::validation(format!("{asked} does not return results in {given} format. Use {other}.")));
    }
    let progress = statement.progress.borrow().clone();
    let part = progress.parts.get(number.unwrap_or(1) - 1);
    let result = result(&id, part)?;
    let begin = start(input)?;
    let mut body =
        json!({ "ColumnMetadata": result.metadata(), "TotalNumRows": result.rows.len(), "Records": records(&result, begin, format) });
    if let Some(object) = body.as_object_mut() {
        if format == Format::Csv {
            object.insert("ResultFormat".to_owned(), json!(format.name()));
        }
        if result.rows.len() > begin + PAGE_ROWS {
            object.insert("NextToken".to_owned(), token(begin + PAGE_ROWS));
        }
    }
    Ok(body.into())
}

fn result(id: &str, part: Option<&Part>) -> Result<Arc<ResultSet>, ServiceError> {
    let missing = "Query does not have result. Please check query status with DescribeStatement.";
    match part {
        Some(Part { status: Status::Finished, result: Some(result), .. }) => Ok(Arc::clone(result)),
        _ => Err(ServiceError::not_found(id, missing)),
    }
}

fn records(result: &ResultSet, begin: usize, format: Format) -> Vec<Value> {
    match format {
        Format::Json => result.json_records(begin, PAGE_ROWS),
        Format::Csv => {
            let end = result.rows.len().min(begin + PAGE_ROWS);
            (begin..end)
                .step_by(CHUNK_ROWS)
                .map(|from| json!({ "CSVRecords": result.csv_records(from, CHUNK_ROWS.min(end - from)) }))
                .collect()
        }
    }
}

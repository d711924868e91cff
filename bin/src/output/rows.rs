//! Rows of a query: a table for people, JSON objects for programs.
//!
//! JSON: integers that a double holds exactly are numbers, others and every decimal are strings, so that no reader rounds
//! money; instants are RFC 3339 in UTC, dates `YYYY-MM-DD`, bytes hexadecimal; lists and structs nest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pipeline_core::error::Result;
use serde_json::{Map, Value};

use super::{Printer, Style, table};
use crate::arguments::OutputForm;

/// Rows shown to people at most: more is a file, not a look.
const ROWS_SHOWN_MAX: usize = 1_000;

/// Writes batches in the printer's form.
#[derive(Debug)]
pub(crate) struct Writer {
    printer: Printer,
    schema: SchemaRef,
    rows: Vec<Vec<String>>,
    rows_seen: usize,
}

impl Writer {
    /// A writer for batches of this schema.
    pub(crate) fn new(printer: Printer, schema: SchemaRef) -> Self {
        if printer.form == OutputForm::Json {
            printer.text("[");
        }
        Self { printer, schema, rows: Vec::new(), rows_seen: 0 }
    }

    /// Adds a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.printer.form {
            OutputForm::Human => self.keep(batch),
            OutputForm::Json | OutputForm::Ndjson => {
                for row in 0..batch.num_rows() {
                    let object = object(batch, row)?;
                    if self.printer.form == OutputForm::Ndjson {
                        self.printer.line(object);
                    } else {
                        let comma = if self.rows_seen == 0 { "\n" } else { ",\n" };
                        self.printer.text(format!("{comma}{object}"));
                    }
                    self.rows_seen += 1;
                }
                Ok(())
            }
        }
    }

    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        let shown = batch.num_rows().min(ROWS_SHOWN_MAX - self.rows.len());
        self.rows.extend(texts(&batch.slice(0, shown))?);
        self.rows_seen += batch.num_rows();
        Ok(())
    }

    /// Ends the output.
    pub(crate) fn finish(self) -> Result<()> {
        match self.printer.form {
            OutputForm::Human => {
                let headings: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let numbers: Vec<usize> =
                    self.schema.fields().iter().enumerate().filter(|(_, field)| is_number(field)).map(|(index, _)| index).collect();
                self.printer.line(table(&headings, &numbers, self.rows));
                let shown = if self.rows_seen > ROWS_SHOWN_MAX { format!(", the first {ROWS_SHOWN_MAX} shown") } else { String::new() };
                let rows = if self.rows_seen == 1 { "row" } else { "rows" };
                self.printer.note(self.printer.styled_error(Style::Dim, format!("{} {rows}{shown}", self.rows_seen)));
            }
            OutputForm::Json => self.printer.line(if self.rows_seen == 0 { "]" } else { "\n]" }),
            OutputForm::Ndjson => {}
        }
        Ok(())
    }
}

/// The rows of a batch as JSON objects.
pub(crate) fn objects(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    (0..batch.num_rows()).map(|row| fields(batch, row)).collect()
}

/// A row as a JSON object.
pub(crate) fn object(batch: &RecordBatch, row: usize) -> Result<Value> {
    fields(batch, row).map(Value::Object)
}

fn fields(batch: &RecordBatch, row: usize) -> Result<Map<String, Value>> {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    fields.map(|(field, column)| Ok((field.name().clone(), value(column, row)?))).collect()
}

/// A batch's values as people read them, row by row.
pub(crate) fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("");
    let formatters =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows()).map(|row| formatters.iter().map(|formatter| formatter.value(row).to_string()).collect()).collect())
}

pub(crate) fn is_number(field: &Arc<Field>) -> bool {
    field.data_type().is_numeric()
}

/// The largest integer up to which a double holds every integer.
const EXACT_INTEGER_MAX: i64 = 1 << 53;

fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    // A column of type null has no bitmap of nulls to ask.
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return Ok(Value::Null);
    }
    let text = || -> Result<String> {
        Ok(ArrayFormatter::try_new(column, &FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ")))?
            .value(row)
            .to_string())
    };
    Ok(match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => {
            let text = text()?;
            match text.parse::<i64>() {
                Ok(number) if (-EXACT_INTEGER_MAX..=EXACT_INTEGER_MAX).contains(&number) => Value::from(number),
                _ => Value::String(text),
            }
        }
        DataType::Float16 | DataType::Float32 => {
            text()?.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
        }
        DataType::Float64 => serde_json::Number::from_f64(column.as_primitive::<arrow::datatypes::Float64Type>().value(row))
            .map_or_else(|| text().map_or(Value::Null, Value::String), Value::Number),
        DataType::List(_) => nested(&column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => nested(&column.as_list::<i64>().value(row))?,
        DataType::Struct(fields) => {
            let columns = column.as_struct();
            let object: Map<String, Value> = fields
                .iter()
                .zip(columns.columns())
                .map(|(field, column)| Ok((field.name().clone(), value(column, row)?)))
                .collect::<Result<_>>()?;
            Value::Object(object)
        }
        _ => Value::String(text()?),
    })
}

fn nested(items: &ArrayRef) -> Result<Value> {
    (0..items.len()).map(|row| value(items, row)).collect::<Result<Vec<_>>>().map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array, TimestampMicrosecondArray};

    #[test]
    fn money_and_large_integers_are_text() {
        let money: ArrayRef = Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(18, 2).unwrap());
        assert_eq!(value(&money, 0).unwrap(), Value::String("12.50".to_owned()));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7, i64::MAX]));
        assert_eq!(value(&numbers, 0).unwrap(), Value::from(7));
        assert_eq!(value(&numbers, 1).unwrap(), Value::String(i64::MAX.to_string()));
        let instant: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC"));
        assert_eq!(value(&instant, 0).unwrap(), Value::String("1970-01-01T00:00:01.500Z".to_owned()));
    }
}

//! Which columns of a file are worth a dictionary, told by its first batch.
//!
//! The Parquet writer begins every column of every row group with a dictionary and gives it up when that has grown to a page of 1 MiB.
//! For columns whose values hardly repeat (identifiers, instants, documents) this is a fifth of the time that a table takes from its
//! source to its file, and their bytes are the same or fewer without.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::properties::WriterPropertiesBuilder;

/// Where the writer gives a dictionary up.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Values that are looked at.
const SAMPLE_VALUES_MAX: usize = 8192;

/// With fewer than these, nothing can be told and little be lost.
const SAMPLE_VALUES_MIN: usize = 1024;

/// The properties of a file whose first batch this is: a column whose values would not fit into a dictionary gets none.
#[must_use]
pub fn with_dictionaries(mut properties: WriterPropertiesBuilder, first: &RecordBatch) -> WriterPropertiesBuilder {
    let Ok(schema) = ArrowSchemaConverter::new().convert(&first.schema()) else { return properties };
    let mut leaves = Vec::with_capacity(schema.num_columns());
    first.columns().iter().for_each(|column| add_leaves(column, &mut leaves));
    if leaves.len() != schema.num_columns() {
        return properties;
    }
    for (column, values) in schema.columns().iter().zip(&leaves) {
        if dictionary_bytes(values).is_some_and(|bytes| bytes > DICTIONARY_BYTES_MAX) {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    properties
}

/// The columns that Parquet makes of an array, in its order.
fn add_leaves(array: &ArrayRef, into: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| add_leaves(column, into)),
        DataType::List(_) => add_leaves(array.as_list::<i32>().values(), into),
        _ => into.push(Arc::clone(array)),
    }
}

/// How many bytes a dictionary of values like these would need in the end; None if that cannot be told.
fn dictionary_bytes(values: &ArrayRef) -> Option<usize> {
    let count = values.len().min(SAMPLE_VALUES_MAX);
    if count < SAMPLE_VALUES_MIN {
        return None;
    }
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(count);
    let mut bytes = 0;
    let mut add = |value| {
        if seen.insert(value) {
            bytes += value.len() + size_of::<u32>();
        }
    };
    let data = values.to_data();
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().take(count).for_each(|value| add(value.unwrap_or_default().as_bytes())),
        DataType::Binary => values.as_binary::<i32>().iter().take(count).for_each(|value| add(value.unwrap_or_default())),
        other => {
            let width = other.primitive_width()?;
            let buffer = data.buffers().first()?.as_slice();
            buffer.get(data.offset() * width..)?.chunks_exact(width).take(count).for_each(&mut add);
        }
    }
    let repeated = count - seen.len();
    // Of D values that are equally frequent, a sample of n repeats about n²/2D.
    let all = if repeated == 0 { usize::MAX } else { count * count / (2 * repeated) };
    Some(all.saturating_mul(bytes / seen.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{Int64Array, ListArray, StringArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Schema};
    use parquet::file::properties::WriterProperties;
    use parquet::schema::types::ColumnPath;

    /// The names of the columns without a dictionary.
    fn without(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = with_dictionaries(WriterProperties::builder(), &batch).build();
        let schema = ArrowSchemaConverter::new().convert(&batch.schema()).unwrap();
        let paths = schema.columns().iter().map(|column| column.path().clone());
        paths.filter(|path: &ColumnPath| !properties.dictionary_enabled(path)).map(|path| path.string()).collect()
    }

    fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(values))
    }

    #[test]
    fn what_hardly_repeats_has_none() {
        let texts = |kinds: i64| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..8192).map(|row| format!("{:036}", (row * 7919) % kinds))))
        };
        let mut state = 1_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 1) as i64
        };
        let columns = vec![
            ("id", numbers(0..8192)),
            ("method", numbers((0..8192).map(|row| row % 5))),
            ("amount", numbers((0..8192).map(|_| random() % 20_011))),
            ("customer", texts(1_000_003)),
            ("store", texts(400)),
        ];
        assert_eq!(without(columns), ["id", "customer"]);
    }

    #[test]
    fn a_column_within_lists_is_told_by_its_path_and_a_slice_by_its_own_values() {
        let inner = StructArray::from(vec![
            (Arc::new(Field::new("id", DataType::Int64, true)), numbers(0..8192)),
            (Arc::new(Field::new("vat", DataType::Int64, true)), numbers((0..8192).map(|row| row % 3))),
        ]);
        let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
        let list: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([4; 2048]), Arc::new(inner), None));
        let same_then_unique = numbers((0..4096).map(|row| if row < 2048 { 1 } else { row })).slice(2048, 2048);
        let columns = vec![("items", list), ("tail", same_then_unique)];
        assert_eq!(without(columns), ["items.list.item.id", "tail"]);
    }

    #[test]
    fn few_rows_keep_theirs() {
        assert!(without(vec![("id", numbers(0..1000))]).is_empty());
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let empty = RecordBatch::new_empty(schema);
        assert!(with_dictionaries(WriterProperties::builder(), &empty).build().dictionary_enabled(&ColumnPath::from("id")));
    }
}

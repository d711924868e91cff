//! Growing columns that can be cut back: a row that does not fit leaves no trace.
//!
//! Every column knows its length, so a row is undone by truncating to the length before it. Finished columns are handed to Arrow
//! without a copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array, ListArray, NullBufferBuilder,
    PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Date32Type, Field, Fields, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, i256,
};
use pipeline_core::contract::{ColumnType, Only};
use pipeline_core::error::Result;
use pipeline_core::privacy::PrivacyKey;

use super::decode::Group;

/// A column while it grows.
#[derive(Debug)]
pub(crate) struct Column {
    /// Where it stands in the contract: `items.quantity`.
    pub(crate) path: String,
    /// Its declared type for people.
    pub(crate) declared: String,
    pub(crate) nullable: bool,
    pub(crate) only: Option<Only>,
    pub(crate) nulls: NullBufferBuilder,
    pub(crate) data: Data,
}

/// The values of a column.
#[derive(Debug)]
pub(crate) enum Data {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    WideDecimal {
        values: Vec<i256>,
        precision: u8,
        scale: i8,
    },
    Text(Strings),
    Json(Strings),
    Uuid(Strings),
    Bytes(Strings),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    LocalTimestamp(Vec<i64>),
    List {
        offsets: Vec<i32>,
        child: Box<Column>,
    },
    Struct(Box<Group>),
    /// A personal value: `inner` takes it for checking, `text` gets what may be shown.
    Secret {
        inner: Box<Column>,
        treatment: Treatment,
        text: Strings,
    },
    /// A personal value that is never read.
    Dropped {
        data_type: DataType,
    },
}

/// What happens to a personal value.
#[derive(Debug)]
pub(crate) enum Treatment {
    Hash(PrivacyKey),
    Mask,
}

/// Texts or bytes, one behind the other.
#[derive(Debug)]
pub(crate) struct Strings {
    pub(crate) offsets: Vec<i32>,
    pub(crate) bytes: Vec<u8>,
}

impl Strings {
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    /// Ends the value whose bytes were appended. False if the column is full: offsets have 31 bits.
    pub(crate) fn end(&mut self) -> bool {
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.offsets.push(end);
                true
            }
            Err(_) => false,
        }
    }

    fn repeat_offset(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.bytes.truncate(usize::try_from(self.offsets.last().copied().unwrap_or(0)).unwrap_or(0));
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let offsets = renew_with(&mut self.offsets, Some(0));
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(renew(&mut self.bytes)))
    }
}

/// Takes a vector out and leaves an empty one that can hold as much: the next batch is about as large.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    renew_with(values, None)
}

fn renew_with<T>(values: &mut Vec<T>, first: Option<T>) -> Vec<T> {
    let mut next = Vec::with_capacity(values.len());
    next.extend(first);
    std::mem::replace(values, next)
}

impl Data {
    /// Empty values of a declared type; nested columns are made by the caller.
    pub(super) fn scalar(data_type: &ColumnType) -> Option<Self> {
        Some(match data_type {
            ColumnType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            ColumnType::Int16 => Self::Int16(Vec::new()),
            ColumnType::Int32 => Self::Int32(Vec::new()),
            ColumnType::Int64 => Self::Int64(Vec::new()),
            ColumnType::Float32 => Self::Float32(Vec::new()),
            ColumnType::Float64 => Self::Float64(Vec::new()),
            ColumnType::Decimal { precision, scale } if *precision <= DECIMAL128_MAX_PRECISION => {
                Self::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            ColumnType::Decimal { precision, scale } => Self::WideDecimal { values: Vec::new(), precision: *precision, scale: *scale },
            ColumnType::Text { .. } => Self::Text(Strings::new()),
            ColumnType::Json => Self::Json(Strings::new()),
            ColumnType::Uuid => Self::Uuid(Strings::new()),
            ColumnType::Bytes => Self::Bytes(Strings::new()),
            ColumnType::Date => Self::Date(Vec::new()),
            ColumnType::Time => Self::Time(Vec::new()),
            ColumnType::Timestamp => Self::Timestamp(Vec::new()),
            ColumnType::LocalTimestamp => Self::LocalTimestamp(Vec::new()),
            ColumnType::List(_) | ColumnType::Struct(_) => return None,
        })
    }
}

impl Column {
    /// Whole values held.
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends NULL, whatever the contract says of it: the caller has checked, or stands below a NULL.
    pub(crate) fn append_null(&mut self) {
        match &mut self.data {
            Data::Boolean(values) => values.append(false),
            Data::Int16(values) => values.push(0),
            Data::Int32(values) | Data::Date(values) => values.push(0),
            Data::Int64(values) | Data::Time(values) | Data::Timestamp(values) | Data::LocalTimestamp(values) => values.push(0),
            Data::Float32(values) => values.push(0.0),
            Data::Float64(values) => values.push(0.0),
            Data::Decimal { values, .. } => values.push(0),
            Data::WideDecimal { values, .. } => values.push(i256::ZERO),
            Data::Text(strings) | Data::Json(strings) | Data::Uuid(strings) | Data::Bytes(strings) => strings.repeat_offset(),
            Data::Secret { text, .. } => text.repeat_offset(),
            Data::List { offsets, .. } => offsets.push(offsets.last().copied().unwrap_or(0)),
            Data::Struct(group) => group.columns.iter_mut().for_each(Self::append_null),
            Data::Dropped { .. } => {}
        }
        self.nulls.append_null();
    }

    /// Keeps the first `length` values, and takes back what was begun beyond them.
    pub(crate) fn truncate(&mut self, length: usize) {
        match &mut self.data {
            Data::Boolean(values) => values.truncate(length),
            Data::Int16(values) => values.truncate(length),
            Data::Int32(values) | Data::Date(values) => values.truncate(length),
            Data::Int64(values) | Data::Time(values) | Data::Timestamp(values) | Data::LocalTimestamp(values) => values.truncate(length),
            Data::Float32(values) => values.truncate(length),
            Data::Float64(values) => values.truncate(length),
            Data::Decimal { values, .. } => values.truncate(length),
            Data::WideDecimal { values, .. } => values.truncate(length),
            Data::Text(strings) | Data::Json(strings) | Data::Uuid(strings) | Data::Bytes(strings) => strings.truncate(length),
            Data::Secret { inner, text, .. } => {
                inner.truncate(0);
                text.truncate(length);
            }
            Data::List { offsets, child } => {
                offsets.truncate(length + 1);
                child.truncate(usize::try_from(offsets.last().copied().unwrap_or(0)).unwrap_or(0));
            }
            Data::Struct(group) => group.columns.iter_mut().for_each(|column| column.truncate(length)),
            Data::Dropped { .. } => {}
        }
        self.nulls.truncate(length);
    }

    /// The column's Arrow type.
    pub(super) fn data_type(&self) -> DataType {
        match &self.data {
            Data::Boolean(_) => DataType::Boolean,
            Data::Int16(_) => DataType::Int16,
            Data::Int32(_) => DataType::Int32,
            Data::Int64(_) => DataType::Int64,
            Data::Float32(_) => DataType::Float32,
            Data::Float64(_) => DataType::Float64,
            Data::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            Data::WideDecimal { precision, scale, .. } => DataType::Decimal256(*precision, *scale),
            Data::Text(_) | Data::Json(_) | Data::Uuid(_) | Data::Secret { .. } => DataType::Utf8,
            Data::Bytes(_) => DataType::Binary,
            Data::Date(_) => DataType::Date32,
            Data::Time(_) => ColumnType::Time.arrow(),
            Data::Timestamp(_) => ColumnType::Timestamp.arrow(),
            Data::LocalTimestamp(_) => ColumnType::LocalTimestamp.arrow(),
            Data::List { child, .. } => DataType::List(Arc::new(Field::new("element", child.data_type(), true))),
            Data::Struct(group) => DataType::Struct(group.fields()),
            Data::Dropped { data_type } => data_type.clone(),
        }
    }

    /// Takes the values out as an array and begins anew.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let length = self.nulls.len();
        let nulls = self.nulls.finish();
        let data_type = self.data_type();
        Ok(match &mut self.data {
            Data::Boolean(values) => {
                let values: BooleanBuffer = values.finish();
                Arc::new(BooleanArray::new(values, nulls))
            }
            Data::Int16(values) => primitive::<Int16Type>(values, nulls, data_type)?,
            Data::Int32(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Data::Int64(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Data::Float32(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Data::Float64(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Data::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Data::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, data_type)?,
            Data::Timestamp(values) | Data::LocalTimestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, data_type)?,
            Data::Decimal { values, precision, scale } => {
                Arc::new(Decimal128Array::try_new(ScalarBuffer::from(renew(values)), nulls)?.with_precision_and_scale(*precision, *scale)?)
            }
            Data::WideDecimal { values, precision, scale } => {
                Arc::new(Decimal256Array::try_new(ScalarBuffer::from(renew(values)), nulls)?.with_precision_and_scale(*precision, *scale)?)
            }
            Data::Text(strings) | Data::Json(strings) | Data::Uuid(strings) | Data::Secret { text: strings, .. } => {
                let (offsets, bytes) = strings.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Data::Bytes(strings) => {
                let (offsets, bytes) = strings.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Data::List { offsets, child } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew_with(offsets, Some(0))));
                let field = Arc::new(Field::new("element", child.data_type(), true));
                Arc::new(ListArray::try_new(field, offsets, child.finish()?, nulls)?)
            }
            Data::Struct(group) => {
                let fields: Fields = group.fields();
                let arrays = group.columns.iter_mut().map(Self::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new(fields, arrays, nulls)?)
            }
            Data::Dropped { data_type } => arrow::array::new_null_array(data_type, length),
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>, data_type: DataType) -> Result<ArrayRef> {
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(renew(values)), nulls)?;
    Ok(Arc::new(array.with_data_type(data_type)))
}

//! Growing columns that take values off the wire, and can be cut back: a row that does not fit leaves no trace.
//!
//! How a value is read is compiled into each column as a closure, so that a row costs one call a column. Finished columns are handed to
//! Arrow without a copy.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Fields};
use pipeline_core::error::Result;
use pipeline_core::privacy::{MASK, PrivacyKey};

use super::text::{Array, Row};
use super::unfit::Unfit;

/// A column while it grows.
pub(super) trait Sink: fmt::Debug + Send {
    /// Appends a value that is not NULL. If it does not fit, the column may end with a part of it, which truncating removes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit>;

    /// Appends NULL. The caller has checked that NULL fits, or stands below a NULL.
    fn append_null(&mut self);

    /// Whole values held.
    fn len(&self) -> usize;

    /// Keeps the first `length` values.
    fn truncate(&mut self, length: usize);

    /// Takes the values out and begins anew.
    fn finish(&mut self) -> Result<ArrayRef>;

    /// The type of the array.
    fn data_type(&self) -> DataType;
}

/// Takes a vector out and leaves an empty one that can hold as much: the next batch is about as large.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn renew_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = renew(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

/// Values of fixed width.
struct Primitive<P: ArrowPrimitiveType, F> {
    values: Vec<P::Native>,
    nulls: NullBufferBuilder,
    data_type: DataType,
    read: F,
}

/// A column of fixed width that is read by `read`.
pub(super) fn primitive<P: ArrowPrimitiveType>(
    data_type: DataType,
    read: impl Fn(&[u8]) -> Result<P::Native, Unfit> + Send + 'static,
) -> Box<dyn Sink> {
    Box::new(Primitive::<P, _> { values: Vec::new(), nulls: NullBufferBuilder::new(0), data_type, read })
}

impl<P: ArrowPrimitiveType, F> fmt::Debug for Primitive<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primitive").field("data_type", &self.data_type).field("length", &self.values.len()).finish_non_exhaustive()
    }
}

impl<P: ArrowPrimitiveType, F: Fn(&[u8]) -> Result<P::Native, Unfit> + Send> Sink for Primitive<P, F> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        self.values.push((self.read)(bytes)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.values.push(P::Native::default());
        self.nulls.append_null();
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array = PrimitiveArray::<P>::try_new(ScalarBuffer::from(renew(&mut self.values)), self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }
}

/// Truth values.
#[derive(Debug)]
struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

/// A column of truth values.
pub(super) fn booleans() -> Box<dyn Sink> {
    Box::new(Booleans { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) })
}

impl Sink for Booleans {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        self.values.append(super::text::boolean(bytes)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish())))
    }

    fn data_type(&self) -> DataType {
        DataType::Boolean
    }
}

/// Texts or bytes, one behind the other.
struct Strings<F> {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
    data_type: DataType,
    write: F,
}

/// A column of texts: `write` appends the UTF-8 of a value.
pub(super) fn texts(write: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unfit> + Send + 'static) -> Box<dyn Sink> {
    strings(DataType::Utf8, write)
}

/// A column of bytes as they are.
pub(super) fn binaries() -> Box<dyn Sink> {
    strings(DataType::Binary, |bytes, into| {
        into.extend_from_slice(bytes);
        Ok(())
    })
}

fn strings(data_type: DataType, write: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unfit> + Send + 'static) -> Box<dyn Sink> {
    Box::new(Strings { offsets: vec![0], bytes: Vec::new(), nulls: NullBufferBuilder::new(0), data_type, write })
}

impl<F> fmt::Debug for Strings<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strings").field("data_type", &self.data_type).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl<F: FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unfit> + Send> Sink for Strings<F> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        (self.write)(bytes, &mut self.bytes)?;
        // Offsets have 31 bits.
        self.offsets.push(i32::try_from(self.bytes.len()).map_err(|_| Unfit::Full)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.bytes.truncate(usize::try_from(self.offsets.last().copied().unwrap_or(0)).unwrap_or(0));
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = renew_offsets(&mut self.offsets);
        let bytes = Buffer::from_vec(renew(&mut self.bytes));
        let nulls = self.nulls.finish();
        Ok(match self.data_type {
            DataType::Binary => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
            _ => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
        })
    }

    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }
}

/// One-dimensional arrays; arrays of more dimensions where lists of lists are declared.
#[derive(Debug)]
struct List {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    element: Box<dyn Sink>,
    /// How many lists stand in each other, down to the element.
    depth: usize,
}

/// A column of arrays, of as many dimensions as `depth` says, whose lists hold what `element` takes.
pub(super) fn lists(element: Box<dyn Sink>, depth: usize) -> Box<dyn Sink> {
    let innermost = List { offsets: vec![0], nulls: NullBufferBuilder::new(0), element, depth: 1 };
    let mut list = innermost;
    for depth in 2..=depth {
        list = List { offsets: vec![0], nulls: NullBufferBuilder::new(0), element: Box::new(list), depth };
    }
    Box::new(list)
}

impl List {
    /// Appends a list of `sizes[0]` elements, each of which is a list of `sizes[1]`, and so on.
    fn fill(&mut self, sizes: &[(usize, i32)], wire: &mut super::wire::Wire<'_>) -> Result<(), Unfit> {
        let Some(((size, lower), deeper)) = sizes.split_first() else { return Err(Unfit::Dimensions) };
        if *lower != 1 {
            return Err(Unfit::Dimensions);
        }
        for _ in 0..*size {
            if deeper.is_empty() {
                match wire.field()? {
                    None => self.element.append_null(),
                    Some(bytes) => self.element.append(bytes)?,
                }
            } else {
                // Only the outermost list has a header; those within are given theirs.
                self.element.append(&header(deeper, wire)?)?;
            }
        }
        self.close()
    }

    fn close(&mut self) -> Result<(), Unfit> {
        self.offsets.push(i32::try_from(self.element.len()).map_err(|_| Unfit::Full)?);
        self.nulls.append_non_null();
        Ok(())
    }
}

/// The part of an array that is one of its lists, as an array of its own.
fn header(sizes: &[(usize, i32)], wire: &mut super::wire::Wire<'_>) -> Result<Vec<u8>, Unfit> {
    let number = |value: usize| u32::try_from(value).map(u32::to_be_bytes).map_err(|_| Unfit::Full);
    let mut array = Vec::new();
    array.extend_from_slice(&number(sizes.len())?);
    array.extend_from_slice(&[0; 8]);
    let mut count = 1_usize;
    for (size, lower) in sizes {
        array.extend_from_slice(&number(*size)?);
        array.extend_from_slice(&lower.to_be_bytes());
        count = count.checked_mul(*size).ok_or(Unfit::Full)?;
    }
    for _ in 0..count {
        match wire.field()? {
            None => array.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(bytes) => {
                array.extend_from_slice(&number(bytes.len())?);
                array.extend_from_slice(bytes);
            }
        }
    }
    Ok(array)
}

impl Sink for List {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let Array { dimensions, mut elements } = Array::of(bytes)?;
        if dimensions.is_empty() {
            elements.end()?;
            return self.close();
        }
        if dimensions.len() != self.depth {
            return Err(Unfit::Dimensions);
        }
        self.fill(&dimensions, &mut elements)?;
        elements.end()
    }

    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.element.truncate(usize::try_from(self.offsets.last().copied().unwrap_or(0)).unwrap_or(0));
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let field = Arc::new(Field::new("element", self.element.data_type(), true));
        let offsets = renew_offsets(&mut self.offsets);
        Ok(Arc::new(ListArray::try_new(field, offsets, self.element.finish()?, self.nulls.finish())?))
    }

    fn data_type(&self) -> DataType {
        DataType::List(Arc::new(Field::new("element", self.element.data_type(), true)))
    }
}

/// A field of a [`structs`] column.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) nullable: bool,
    /// Its position among the columns of the composite type.
    pub(super) place: usize,
    pub(super) sink: Box<dyn Sink>,
}

/// Rows of a composite type.
#[derive(Debug)]
struct Structs {
    nulls: NullBufferBuilder,
    /// How many columns the composite type has.
    width: usize,
    members: Vec<Member>,
}

/// A column of rows of a composite type with `width` columns.
pub(super) fn structs(width: usize, members: Vec<Member>) -> Box<dyn Sink> {
    Box::new(Structs { nulls: NullBufferBuilder::new(0), width, members })
}

impl Structs {
    fn fields(&self) -> Fields {
        self.members.iter().map(|member| Field::new(&member.name, member.sink.data_type(), member.nullable)).collect()
    }
}

impl Sink for Structs {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let mut row = Row::of(bytes)?;
        for place in 0..self.width {
            let value = row.next()?;
            for member in self.members.iter_mut().filter(|member| member.place == place) {
                match value {
                    Some(bytes) => member.sink.append(bytes).map_err(|unfit| unfit.within(&member.name))?,
                    None if member.nullable => member.sink.append_null(),
                    None => return Err(Unfit::Null.within(&member.name)),
                }
            }
        }
        row.end()?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.members.iter_mut().for_each(|member| member.sink.append_null());
        self.nulls.append_null();
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    fn truncate(&mut self, length: usize) {
        self.members.iter_mut().for_each(|member| member.sink.truncate(length));
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let fields = self.fields();
        let nulls: Option<NullBuffer> = self.nulls.finish();
        let arrays = self.members.iter_mut().map(|member| member.sink.finish()).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(fields, arrays, nulls)?))
    }

    fn data_type(&self) -> DataType {
        DataType::Struct(self.fields())
    }
}

/// A column that is never read.
#[derive(Debug)]
struct Dropped {
    length: usize,
    data_type: DataType,
}

/// A column of NULLs.
pub(super) fn dropped(data_type: DataType) -> Box<dyn Sink> {
    Box::new(Dropped { length: 0, data_type })
}

impl Sink for Dropped {
    fn append(&mut self, _: &[u8]) -> Result<(), Unfit> {
        self.length += 1;
        Ok(())
    }

    fn append_null(&mut self) {
        self.length += 1;
    }

    fn len(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(arrow::array::new_null_array(&self.data_type, std::mem::take(&mut self.length)))
    }

    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }
}

/// A column of personal values: each is checked by `inner`, which holds it for a moment; what is kept is its mask, or with a key the hash of
/// the text that `show` makes of it.
pub(super) fn secrets(
    mut inner: Box<dyn Sink>,
    key: Option<PrivacyKey>,
    show: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), Unfit> + Send + 'static,
) -> Box<dyn Sink> {
    let mut shown = Vec::new();
    texts(move |bytes, into| {
        let checked = inner.append(bytes);
        inner.truncate(0);
        checked?;
        match &key {
            None => into.extend_from_slice(MASK.as_bytes()),
            Some(key) => {
                shown.clear();
                show(bytes, &mut shown)?;
                into.extend_from_slice(key.hash(&shown).as_bytes());
            }
        }
        Ok(())
    })
}

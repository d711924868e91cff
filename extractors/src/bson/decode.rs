//! Documents to Arrow batches, as a contract declares them.
//!
//! A contract is compiled once into levels of expected fields. A document is walked once, front to back: each field is
//! compared with the one that is expected next, so that documents of the usual shape never search. Fields that nobody
//! declared are gathered for the column [`EXTRA_COLUMN`], or counted where there is none.
//!
//! A row is appended wholly or not at all: on a misfit every column is cut back to the length it had.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field as ArrowField, Fields, SchemaRef};
use pipeline_core::contract::{ColumnType, Contract, EXTRA_COLUMN, Only, Privacy};
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;

use super::column::{Column, Data, Strings, Treatment};
use super::element::{Elements, Malformed, Value, body, kind, name_length};
use super::json;
use super::unfit::Misfit;
use crate::bson::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, DECLARATION, PRIVACY_KEY};

/// Columns that are read from one document.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) level: Level,
    pub(crate) columns: Vec<Column>,
    names: Vec<String>,
}

/// What is expected in one document.
#[derive(Debug, Default)]
pub(crate) struct Level {
    pub(crate) fields: Vec<Field>,
    /// Every column read below this level.
    pub(crate) columns: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Field {
    /// The source's name with its closing zero, as it stands in the document.
    name: Box<[u8]>,
    /// The columns that take this field's value.
    pub(crate) targets: Vec<usize>,
    /// What is read inside this field's value by a path.
    pub(crate) inner: Level,
    /// Whether a column of personal values is read here: what it does not take must not show up as undeclared.
    pub(crate) sealed: bool,
}

/// A column and the names that lead to its value.
struct ReadFrom<'a> {
    path: Vec<&'a [u8]>,
    column: usize,
}

impl<'a> ReadFrom<'a> {
    fn new(from: &'a str, column: usize) -> Self {
        Self { path: from.split('.').map(str::as_bytes).collect(), column }
    }
}

/// What is read from one field, while it is gathered.
struct Gathered<'a> {
    name: &'a [u8],
    targets: Vec<usize>,
    inner: Vec<ReadFrom<'a>>,
}

/// Where the walk is, in the source's names.
pub(crate) struct Path<'a> {
    pub(crate) above: Option<&'a Self>,
    pub(crate) segment: Segment<'a>,
    pub(crate) depth: usize,
}

pub(crate) enum Segment<'a> {
    Name(&'a [u8]),
    Index(usize),
}

impl Path<'_> {
    /// Names joined by points. A point within a name is written as `\.`, and a backslash as two, so that different places have different
    /// paths.
    fn write(&self, into: &mut String) -> Result<(), Malformed> {
        use std::fmt::Write as _;
        if let Some(above) = self.above {
            above.write(into)?;
            into.push('.');
        }
        match self.segment {
            Segment::Name(name) => {
                let name = std::str::from_utf8(name).map_err(|_| Malformed("a field's name is not valid UTF-8"))?;
                if name.contains(['.', '\\']) {
                    into.push_str(&name.replace('\\', "\\\\").replace('.', "\\."));
                } else {
                    into.push_str(name);
                }
            }
            Segment::Index(index) => write!(into, "{index}").expect("writing into memory cannot fail"),
        }
        Ok(())
    }
}

/// Fields that nobody declared, of one row.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    wanted: bool,
    fields: Vec<(String, Vec<u8>)>,
    count: u64,
}

impl Extras {
    fn add(&mut self, path: &Path<'_>, value: Value<'_>) -> Result<(), Box<Misfit>> {
        self.add_text(path, |text| json::write(value, path.depth, text))
    }

    /// Adds a field whose value `write` appends as JSON; it is called only if somebody wants to know.
    pub(crate) fn add_text(
        &mut self,
        path: &Path<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Malformed>,
    ) -> Result<(), Box<Misfit>> {
        self.count += 1;
        if !self.wanted {
            return Ok(());
        }
        let mut name = String::new();
        path.write(&mut name)?;
        let mut text = Vec::new();
        write(&mut text)?;
        self.fields.push((name, text));
        Ok(())
    }

    /// Takes back what an earlier field of this name had.
    pub(crate) fn forget(&mut self, path: &Path<'_>) -> Result<(), Malformed> {
        if !self.fields.is_empty() {
            let mut name = String::new();
            path.write(&mut name)?;
            self.fields.retain(|(other, _)| other.strip_prefix(&name).is_none_or(|rest| !(rest.is_empty() || rest.starts_with('.'))));
        }
        Ok(())
    }

    /// Of fields with the same name keeps the last one, which counts, as everywhere.
    fn settle(&mut self) {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(self.fields.len());
        for (place, (name, _)) in self.fields.iter().enumerate() {
            last.insert(name, place);
        }
        if last.len() < self.fields.len() {
            let keep: HashSet<usize> = last.into_values().collect();
            let mut place = 0;
            self.fields.retain(|_| {
                place += 1;
                keep.contains(&(place - 1))
            });
        }
    }
}

/// Turns documents into batches of a contract.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    group: Group,
    extra: Option<usize>,
    extras: Extras,
    rows: usize,
    bytes: usize,
    undeclared: u64,
}

impl Decoder {
    /// Compiles a contract.
    ///
    /// # Errors
    /// [`PRIVACY_KEY`] if a column is hashed and there is no key; [`DECLARATION`] if a column is both `not null` and dropped,
    /// or [`EXTRA_COLUMN`] has a type that holds no JSON.
    pub fn new(contract: &Contract, key: Option<&PrivacyKey>) -> Result<Self> {
        let mut columns = Vec::with_capacity(contract.columns.len());
        let mut reads = Vec::with_capacity(contract.columns.len());
        let mut extra = None;
        for (index, declared) in contract.columns.iter().enumerate() {
            let name = declared.name.as_str();
            let wrong = |what: &str| Err(Error::new(&DECLARATION, format!("column \"{name}\" of table \"{}\" {what}", contract.table)));
            let mut column = Column::declared(name.to_owned(), &declared.data_type, declared.nullable, declared.only);
            match declared.privacy {
                Privacy::None | Privacy::Keep => {}
                Privacy::Hash | Privacy::Mask => {
                    let treatment = match (declared.privacy, key) {
                        (Privacy::Mask, _) => Treatment::Mask,
                        (_, Some(key)) => Treatment::Hash(key.clone()),
                        (_, None) => {
                            return Err(Error::new(
                                &PRIVACY_KEY,
                                format!("column \"{name}\" of table \"{}\" is hashed, and there is no key", contract.table),
                            ));
                        }
                    };
                    let shell = Data::Secret {
                        inner: Box::new(Column::declared(name.to_owned(), &ColumnType::Json, true, None)),
                        treatment,
                        text: Strings::new(),
                    };
                    let inner = std::mem::replace(&mut column.data, shell);
                    if let Data::Secret { inner: place, .. } = &mut column.data {
                        place.data = inner;
                        place.declared.clone_from(&column.declared);
                    }
                }
                Privacy::Drop if !declared.nullable => return wrong("is `not null` and never read (`pii drop`)"),
                Privacy::Drop => column.data = Data::Dropped { data_type: declared.data_type.arrow() },
            }
            if name == EXTRA_COLUMN {
                if !matches!(column.data, Data::Json(_) | Data::Text(_)) || !declared.nullable {
                    return wrong("takes what nobody declared, so its type is `json`");
                }
                extra = Some(index);
            } else {
                reads.push(ReadFrom::new(&declared.from, index));
            }
            columns.push(column);
        }
        let names = contract.columns.iter().map(|column| column.name.as_str().to_owned()).collect();
        let level = Level::of(reads, &columns);
        let extras = Extras { wanted: extra.is_some(), ..Extras::default() };
        Ok(Self { schema: contract.schema(), group: Group { level, columns, names }, extra, extras, rows: 0, bytes: 0, undeclared: 0 })
    }

    /// Appends a document as one row, or leaves everything as it was.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn append(&mut self, document: &[u8]) -> Result<(), Box<Misfit>> {
        self.append_row(document.len(), |level, columns, rows, extras| level.walk(columns, body(document)?, rows, None, 0, extras))
    }

    /// Appends what `walk` finds as one row, or leaves everything as it was. `bytes` is how long the row is at the source.
    pub(crate) fn append_row(
        &mut self,
        bytes: usize,
        walk: impl FnOnce(&Level, &mut [Column], usize, &mut Extras) -> Result<(), Box<Misfit>>,
    ) -> Result<(), Box<Misfit>> {
        self.extras.fields.clear();
        self.extras.count = 0;
        match self.try_append(walk) {
            Ok(()) => {
                self.rows += 1;
                self.bytes += bytes;
                self.undeclared += self.extras.count;
                Ok(())
            }
            Err(misfit) => {
                self.group.columns.iter_mut().for_each(|column| column.truncate(self.rows));
                Err(misfit)
            }
        }
    }

    fn try_append(
        &mut self,
        walk: impl FnOnce(&Level, &mut [Column], usize, &mut Extras) -> Result<(), Box<Misfit>>,
    ) -> Result<(), Box<Misfit>> {
        let Group { level, columns, .. } = &mut self.group;
        walk(level, columns, self.rows, &mut self.extras)?;
        if let Some(column) = self.extra.and_then(|index| columns.get_mut(index)) {
            self.extras.settle();
            append_extras(column, &self.extras.fields)?;
        }
        fill(columns, self.rows)
    }

    /// Whole rows waiting to be taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it is time to [`finish`](Self::finish) a batch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// How many fields nobody declared, in all documents appended so far.
    #[must_use]
    pub fn undeclared(&self) -> u64 {
        self.undeclared
    }

    /// Takes the rows out as one batch.
    ///
    /// # Errors
    /// Only on an error of ours.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.group.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

fn append_extras(column: &mut Column, fields: &[(String, Vec<u8>)]) -> Result<(), Box<Misfit>> {
    let (Data::Json(strings) | Data::Text(strings)) = &mut column.data else { return Ok(()) };
    if fields.is_empty() {
        column.append_null();
        return Ok(());
    }
    for (index, (name, text)) in fields.iter().enumerate() {
        strings.bytes.push(if index == 0 { b'{' } else { b',' });
        json::write_text(name, &mut strings.bytes);
        strings.bytes.push(b':');
        strings.bytes.extend_from_slice(text);
    }
    strings.bytes.push(b'}');
    if !strings.end() {
        return Err(Misfit::boxed(&column.path, "what nobody declared is too long for a batch"));
    }
    column.nulls.append_non_null();
    Ok(())
}

/// Makes the columns that met no value NULL.
pub(crate) fn fill(columns: &mut [Column], rows: usize) -> Result<(), Box<Misfit>> {
    for column in columns {
        if column.len() == rows {
            if !column.nullable {
                return Err(Misfit::boxed(&column.path, "a value is missing or NULL, and the column is not null"));
            }
            column.append_null();
        }
    }
    Ok(())
}

impl Level {
    fn of(reads: Vec<ReadFrom<'_>>, columns: &[Column]) -> Self {
        // In order of first mention, which is the order documents are expected to have.
        let mut fields: Vec<Gathered<'_>> = Vec::new();
        let all = reads.iter().map(|read| read.column).collect();
        for ReadFrom { path, column } in reads {
            let Some((head, deeper)) = path.split_first() else { continue };
            let place = fields.iter().position(|field| field.name == *head).unwrap_or_else(|| {
                fields.push(Gathered { name: head, targets: Vec::new(), inner: Vec::new() });
                fields.len() - 1
            });
            if let Some(field) = fields.get_mut(place) {
                if deeper.is_empty() {
                    field.targets.push(column);
                } else {
                    field.inner.push(ReadFrom { path: deeper.to_vec(), column });
                }
            }
        }
        let is_personal = |column: &Column| matches!(column.data, Data::Secret { .. } | Data::Dropped { .. });
        let fields = fields
            .into_iter()
            .map(|Gathered { name, targets, inner }| Field {
                name: name.iter().copied().chain([0]).collect(),
                sealed: targets.iter().any(|index| columns.get(*index).is_some_and(is_personal)),
                targets,
                inner: Self::of(inner, columns),
            })
            .collect();
        Self { fields, columns: all }
    }

    /// The field whose name, with its closing zero, stands at the head of `rest`: looked for from `expected` on, then from the
    /// start.
    fn search(&self, name: &[u8], expected: usize) -> Option<usize> {
        let (before, after) = self.fields.split_at(expected.min(self.fields.len()));
        let found = after.iter().position(|field| &*field.name == name).map(|place| place + before.len());
        found.or_else(|| before.iter().position(|field| &*field.name == name))
    }

    /// The place of the field of that name: looked for from `expected` on, then from the start.
    pub(crate) fn place(&self, name: &str, expected: usize) -> Option<usize> {
        let is_named = |field: &Field| field.name.strip_suffix(&[0]) == Some(name.as_bytes());
        let (before, after) = self.fields.split_at(expected.min(self.fields.len()));
        let found = after.iter().position(is_named).map(|place| place + before.len());
        found.or_else(|| before.iter().position(is_named))
    }

    /// Appends what one document has for the columns of this level. Columns that meet no value keep their length.
    fn walk(
        &self,
        columns: &mut [Column],
        body: &[u8],
        rows: usize,
        above: Option<&Path<'_>>,
        depth: usize,
        extras: &mut Extras,
    ) -> Result<(), Box<Misfit>> {
        let cut = Malformed("a value ends outside its document");
        let mut rest = body;
        let mut expected = 0;
        // Beyond the last field that was met: what is met again stands before it.
        let mut beyond = 0;
        while let Some((kind, after)) = rest.split_first() {
            let (place, name_bytes) = match self.fields.get(expected) {
                Some(field) if after.starts_with(&field.name) => (Some(expected), field.name.len()),
                _ => {
                    let length = name_length(after)? + 1;
                    (self.search(after.get(..length).ok_or(cut)?, expected), length)
                }
            };
            let value = Value::at_head(*kind, after.get(name_bytes..).ok_or(cut)?)?;
            rest = after.get(name_bytes + value.bytes.len()..).ok_or(cut)?;
            let name = after.get(..name_bytes - 1).ok_or(cut)?;
            let path = Path { above, segment: Segment::Name(name), depth: depth + 1 };
            match place.and_then(|place| Some((place, self.fields.get(place)?))) {
                Some((place, field)) => {
                    expected = place + 1;
                    if place < beyond {
                        extras.forget(&path)?;
                    }
                    beyond = beyond.max(expected);
                    if !field.take(columns, value, rows, &path, extras)? {
                        extras.add(&path, value)?;
                    }
                }
                None if self.is_point(name, value) => {}
                None => extras.add(&path, value)?,
            }
        }
        Ok(())
    }

    /// Whether this is the `type` of a GeoJSON point whose coordinates are declared: it says nothing more than they do.
    fn is_point(&self, name: &[u8], value: Value<'_>) -> bool {
        name == b"type"
            && value.kind == kind::STRING
            && value.text() == Ok("Point")
            && self.fields.iter().any(|field| &*field.name == b"coordinates\0")
    }
}

impl Field {
    /// Gives the value to the columns that take it. False if it is undeclared after all.
    fn take(
        &self,
        columns: &mut [Column],
        value: Value<'_>,
        rows: usize,
        path: &Path<'_>,
        extras: &mut Extras,
    ) -> Result<bool, Box<Misfit>> {
        let mut taken = self.sealed;
        for target in &self.targets {
            let Some(column) = columns.get_mut(*target) else { continue };
            if column.len() > rows {
                // The same field again: the last one counts.
                column.truncate(rows);
            }
            let fits = match column.only {
                None => true,
                Some(Only::String) => value.kind == kind::STRING,
                Some(Only::Document) => value.kind == kind::DOCUMENT,
            };
            if value.is_null() {
                taken = true;
            } else if fits {
                column.append(value, path, extras)?;
                taken = true;
            }
        }
        if !self.inner.fields.is_empty() {
            for index in &self.inner.columns {
                if let Some(column) = columns.get_mut(*index).filter(|column| column.len() > rows) {
                    column.truncate(rows);
                }
            }
            if matches!(value.kind, kind::DOCUMENT | kind::ARRAY) {
                self.inner.walk(columns, value.body()?, rows, Some(path), path.depth, extras)?;
                taken = true;
            } else if value.is_null() {
                taken = true;
            } else if !taken {
                let column = self.inner.columns.first().and_then(|index| columns.get(*index)).map_or("", |column| &column.path);
                return Err(Misfit::boxed(column, format!("{} stands where a document is expected", value.name())));
            }
        }
        Ok(taken)
    }
}

impl Group {
    fn of(fields: &[pipeline_core::contract::StructField], above: &str) -> Self {
        let columns: Vec<Column> = fields
            .iter()
            .map(|field| Column::declared(format!("{above}.{}", field.name), &field.data_type, field.nullable, field.only))
            .collect();
        let reads = fields.iter().enumerate().map(|(index, field)| ReadFrom::new(&field.from, index)).collect();
        let level = Level::of(reads, &columns);
        Self { level, columns, names: fields.iter().map(|field| field.name.clone()).collect() }
    }

    /// The Arrow fields of the columns.
    pub(super) fn fields(&self) -> Fields {
        self.names.iter().zip(&self.columns).map(|(name, column)| ArrowField::new(name, column.data_type(), column.nullable)).collect()
    }
}

impl Column {
    fn declared(path: String, data_type: &ColumnType, nullable: bool, only: Option<Only>) -> Self {
        let (data, declared) = match data_type {
            ColumnType::List(item) => {
                let child = Self::declared(path.clone(), item, true, None);
                (Data::List { offsets: vec![0], child: Box::new(child) }, "a list".to_owned())
            }
            ColumnType::Struct(fields) => (Data::Struct(Box::new(Group::of(fields, &path))), "a document".to_owned()),
            scalar => (Data::scalar(scalar).expect("only lists and structs are nested"), scalar.to_string()),
        };
        Self { path, declared, nullable, only, nulls: NullBufferBuilder::new(0), data }
    }

    /// Appends a value that is not NULL. On a misfit, the column ends with a part of it, which truncating removes.
    fn append(&mut self, value: Value<'_>, path: &Path<'_>, extras: &mut Extras) -> Result<(), Box<Misfit>> {
        match (&mut self.data, value.kind) {
            (Data::Struct(group), kind::DOCUMENT) => {
                let rows = self.nulls.len();
                let Group { level, columns, .. } = &mut **group;
                level.walk(columns, value.body()?, rows, Some(path), path.depth, extras)?;
                fill(columns, rows)?;
            }
            (Data::List { offsets, child }, kind::ARRAY) => {
                let mut elements = Elements::of(value.body()?);
                let mut index = 0;
                while let Some((_, element)) = elements.next()? {
                    if element.is_null() {
                        child.append_null();
                    } else {
                        let path = Path { above: Some(path), segment: Segment::Index(index), depth: path.depth + 1 };
                        child.append(element, &path, extras)?;
                    }
                    index += 1;
                }
                match i32::try_from(child.len()) {
                    Ok(end) => offsets.push(end),
                    Err(_) => return Err(Misfit::boxed(&self.path, "a list is too long for a batch")),
                }
            }
            (Data::Secret { inner, treatment, text }, _) => {
                inner.append(value, path, &mut Extras::default())?;
                match treatment {
                    Treatment::Mask => text.bytes.extend_from_slice(pipeline_core::privacy::MASK.as_bytes()),
                    Treatment::Hash(key) => text.bytes.extend_from_slice(key.hash(&inner.shown(value, path)?).as_bytes()),
                }
                inner.truncate(0);
                text.end();
            }
            (Data::Dropped { .. }, _) => {
                self.nulls.append_null();
                return Ok(());
            }
            (Data::Struct(_) | Data::List { .. }, _) => {
                return Err(Misfit::boxed(&self.path, format!("{} stands where {} is declared", value.name(), self.declared)));
            }
            (data, _) => {
                data.append(value, path.depth).map_err(|unfit| Misfit::boxed(&self.path, unfit.reason(value.name(), &self.declared)))?;
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The one value held, as the text that is hashed: what the declared type makes of it, so that the same value hashes the same in
    /// every source. Nested values count as their JSON text.
    fn shown(&self, value: Value<'_>, path: &Path<'_>) -> Result<Vec<u8>, Box<Misfit>> {
        if let Some(text) = self.data.shown() {
            return Ok(text);
        }
        let mut text = Vec::new();
        json::write(value, path.depth, &mut text)?;
        Ok(text)
    }
}

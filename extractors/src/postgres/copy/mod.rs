//! COPY's binary format to Arrow batches, without rows in between.
//!
//! [`Decoder`] takes the bytes in chunks cut anywhere, and appends each value to its column as it comes. Format: PostgreSQL 15 documentation,
//! COPY, "Binary Format"; values: the send functions of `src/backend/utils/adt`, named where each is read.
//!
//! # Decisions
//! - A row is appended wholly or not at all: one that does not fit goes to the quarantine as its raw tuple, with NULL in the place of
//!   personal values and of columns that are not read.
//! - Types that no value could pass between (`text` into `int`) are refused before anything is read. Where only some values fit, such as a
//!   `numeric` without scale into `decimal(18,2)`, each value is taken exactly or its row is quarantined.
//! - `character(n)` loses its padding, as in PostgreSQL's own cast to text.
//! - A text column takes any type, as `value::text` prints it with `DateStyle` ISO, `IntervalStyle` postgres, time zone UTC; a JSON column
//!   takes any type as `to_jsonb(value)::text` prints it. So `text` into `json` is a JSON string.
//! - Infinities of dates and times, 24:00 and instants beyond 64 bits of microseconds fit text only. `NaN` and infinities of numbers fit
//!   floating point only.
//! - `money` has two decimals here; a live server is asked for the number instead.
//! - Columns of the source that nobody declared go to [`EXTRA_COLUMN`] as one JSON object, without its NULLs, if the contract has that column.
//!
//! | PostgreSQL | declared, besides `text` and `json` |
//! |---|---|
//! | `smallint` `integer` `bigint` `oid` `real` `double precision` `numeric` `money` | any number: `smallint` `int` `bigint` `real` `double` `decimal(p,s)`, value by value |
//! | `boolean` | `boolean` |
//! | `text` `varchar` `character(n)` | `uuid`, value by value |
//! | `uuid` | `uuid` |
//! | `date` / `time` / `timestamp` / `timestamptz` | `date` / `time` / `local_timestamp` / `timestamp` |
//! | `bytea` | `bytes` |
//! | array of T | `list<…>` of what T fits; `list<list<…>>` for two dimensions; lower bounds other than 1 do not fit |
//! | composite | `struct<…>`, fields by name; or one field of it by `from = column.field` |
//! | `point` | `double` by `from = column.x` and `column.y` |
//! | everything else, also ranges, `interval`, `inet`, `timetz`, `bit`, `xml` and extensions' types | text and JSON only |

mod calendar;
mod compile;
mod float;
mod frame;
mod json;
mod labels;
mod network;
mod numeric;
mod shown;
mod sink;
mod text;
mod unfit;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use pipeline_core::contract::{ColumnType, Contract, EXTRA_COLUMN, Privacy};
use pipeline_core::error::{Error, Result};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};

pub(super) use self::frame::{Frame, Stop, field};
pub use self::labels::Labels;
pub(crate) use self::shown::to_json;
use self::sink::Sink;
use self::text::Row;
use self::unfit::Unfit;
use self::wire::Wire;
use super::error::{COLUMN, COPY, KEY, LOST, TYPE};
use super::types::PostgresType;
use crate::nearest::nearest;

/// Most rows in a batch.
pub const BATCH_ROWS_MAX: usize = 8_192;

/// Source bytes after which a batch is full.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// What the format of rejected tuples is called.
pub const FORMAT: &str = "copy-binary";

/// A column of the data, in the order it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name in the source.
    pub name: String,
    /// Its type.
    pub type_: PostgresType,
    /// Where it is an enumerated type whose values arrive as the numbers of `hashenum`: what they stand for.
    pub labels: Option<Labels>,
}

impl SourceColumn {
    /// A column whose values arrive in their type's own form.
    #[must_use]
    pub fn new(name: impl Into<String>, type_: PostgresType) -> Self {
        Self { name: name.into(), type_, labels: None }
    }
}

/// Decides by one field's bytes, None for NULL, whether a row is wanted.
pub type RowFilter = Box<dyn Fn(Option<&[u8]>) -> bool + Send>;

/// Turns COPY's binary format into batches of a contract.
pub struct Decoder {
    schema: SchemaRef,
    table: TableName,
    columns: Vec<Column>,
    fields: Vec<Field>,
    /// The place of the column that takes what nobody declared.
    extra: Option<usize>,
    /// What a rejected row's fields are, written down beside it.
    layout: Arc<str>,
    /// The places of columns that are never read.
    unread: Vec<usize>,
    filter: Option<(usize, RowFilter)>,
    quarantine: Quarantine,
    origin: String,
    /// The key's columns that may be told: their names in the source, their places, and their types. Empty if one may not.
    key: Vec<(String, usize, PostgresType)>,
    positions: Option<BTreeSet<String>>,
    frame: Frame,
    tuples: u64,
    rows: usize,
    bytes: usize,
    ready: VecDeque<RecordBatch>,
}

/// A column of the contract while it grows.
#[derive(Debug)]
struct Column {
    name: String,
    nullable: bool,
    /// The source's and the declared type, for people.
    source: String,
    declared: String,
    sink: Box<dyn Sink>,
}

/// What becomes of one field of a tuple.
#[derive(Debug)]
struct Field {
    name: String,
    type_: PostgresType,
    labels: Option<Labels>,
    targets: Vec<Target>,
    /// Whether it goes to the column of what nobody declared.
    is_extra: bool,
    /// Whether a rejected row may show it: it is read, and not personal.
    is_open: bool,
}

impl Field {
    /// A value in the form of its type.
    fn value<'a>(&'a self, sent: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Misfit> {
        match (&self.labels, sent) {
            (Some(labels), Some(number)) => match labels.of(number) {
                Ok(Some(label)) => Ok(Some(label)),
                Ok(None) => Err(Misfit::Label),
                Err(_) => Err(Misfit::Frame("has a label that is no number")),
            },
            _ => Ok(sent),
        }
    }

    fn takes(&self, column: usize) -> bool {
        self.targets.iter().any(|target| target.column == column)
    }
}

#[derive(Debug)]
struct Target {
    column: usize,
    part: Part,
}

/// What of a field's value goes into a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Whole,
    /// A point's coordinate: geo_ops.c point_send writes two doubles.
    Coordinate(usize),
    /// A field of a composite type; its place, how many there are, and what of it.
    Field {
        place: usize,
        part: Box<Self>,
    },
}

impl Part {
    /// The part's bytes; None if it is NULL.
    fn of<'a>(&self, value: &'a [u8]) -> Result<Option<&'a [u8]>, Unfit> {
        match self {
            Self::Whole => Ok(Some(value)),
            Self::Coordinate(index) => {
                let mut wire = Wire(value);
                wire.bytes(index * 8)?;
                wire.bytes(8).map(Some)
            }
            Self::Field { place, part } => {
                let mut row = Row::of(value)?;
                for _ in 0..*place {
                    row.next()?;
                }
                row.next()?.map_or(Ok(None), |value| part.of(value))
            }
        }
    }
}

/// A column of the source that a contract's column is read from, and the part of it.
#[derive(Debug)]
struct Origin {
    place: usize,
    part: Part,
    type_: PostgresType,
}

/// The source column's name and the path behind it that `from` means, if the names of the source have such a column.
pub(super) fn split_path<'a>(from: &'a str, names: &mut dyn Iterator<Item = &str>) -> Option<(&'a str, &'a str)> {
    let mut best: Option<(&str, &str)> = None;
    for name in names {
        // Names may hold points themselves: the longest name that fits is meant.
        let Some(rest) = from.strip_prefix(name) else { continue };
        let path = if rest.is_empty() { Some("") } else { rest.strip_prefix('.') };
        if let Some(path) = path.filter(|_| best.is_none_or(|(best, _)| name.len() > best.len())) {
            best = from.split_at_checked(name.len()).map(|(name, _)| (name, path));
        }
    }
    best
}

/// The key's columns, if none of them is personal and all are columns of their own.
fn open_key(contract: &Contract, columns: &[SourceColumn]) -> Vec<(String, usize, PostgresType)> {
    let column = |name: &ColumnName| {
        let declared = contract.column(name).filter(|declared| matches!(declared.privacy, Privacy::None | Privacy::Keep))?;
        let place = columns.iter().position(|column| column.name == declared.from)?;
        columns.get(place).map(|column| (column.name.clone(), place, column.type_.clone()))
    };
    contract.key.iter().map(column).collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn origin(from: &str, columns: &[SourceColumn]) -> Option<Origin> {
    let (name, path) = split_path(from, &mut columns.iter().map(|column| column.name.as_str()))?;
    let (place, column) = columns.iter().enumerate().find(|(_, column)| column.name == name)?;
    let (part, type_) = part(path, &column.type_)?;
    Some(Origin { place, part, type_ })
}

fn part(path: &str, type_: &PostgresType) -> Option<(Part, PostgresType)> {
    if path.is_empty() {
        return Some((Part::Whole, type_.clone()));
    }
    match type_ {
        PostgresType::Point => {
            let index = ["x", "y"].iter().position(|name| *name == path)?;
            Some((Part::Coordinate(index), PostgresType::Float8))
        }
        PostgresType::Composite(fields) => {
            let (name, rest) = split_path(path, &mut fields.iter().map(|field| field.name.as_str()))?;
            let (place, field) = fields.iter().enumerate().find(|(_, field)| field.name == name)?;
            let (part, type_) = part(rest, &field.type_)?;
            Some((Part::Field { place, part: Box::new(part) }, type_))
        }
        _ => None,
    }
}

impl Decoder {
    /// Compiles a contract against the columns that the data has.
    ///
    /// # Errors
    /// [`COLUMN`] if a declared column is missing; [`TYPE`] if no value of its type could fit, or a column is `not null` and never read;
    /// [`crate::bson::PRIVACY_KEY`] if a column is hashed and there is no key.
    pub fn new(contract: &Contract, columns: &[SourceColumn], key: Option<PrivacyKey>) -> Result<Self> {
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|column| Field {
                name: column.name.clone(),
                type_: column.type_.clone(),
                labels: column.labels.clone(),
                targets: Vec::new(),
                is_extra: false,
                is_open: false,
            })
            .collect();
        let mut compiled = Vec::with_capacity(contract.columns.len());
        let mut extra = None;
        for (index, declared) in contract.columns.iter().enumerate() {
            let name = declared.name.as_str();
            let wrong = |what: String| Error::new(&TYPE, format!("column \"{name}\" of table \"{}\" {what}", contract.table));
            let mut column = Column {
                name: name.to_owned(),
                nullable: declared.nullable,
                source: String::new(),
                declared: declared.data_type.to_string(),
                sink: sink::dropped(declared.data_type.arrow()),
            };
            if name == EXTRA_COLUMN {
                if !matches!(declared.data_type, ColumnType::Json | ColumnType::Text { .. }) || !declared.nullable {
                    return Err(wrong("takes what nobody declared, so its type is `json`".to_owned()));
                }
                extra = Some(index);
                // What arrives here is JSON text already.
                column.sink = sink::texts(|bytes, into| {
                    into.extend_from_slice(bytes);
                    Ok(())
                });
                compiled.push(column);
                continue;
            }
            if declared.privacy == Privacy::Drop {
                if !declared.nullable {
                    return Err(wrong("is `not null` and never read (`pii drop`)".to_owned()));
                }
                compiled.push(column);
                continue;
            }
            let Some(Origin { place, part, type_ }) = origin(&declared.from, columns) else {
                return Err(missing(contract, declared, columns));
            };
            let read = Some(&type_).filter(|type_| type_.is_known() && declared.only.is_none());
            let Some(sink) = read.and_then(|type_| compile::reader(type_, &declared.data_type)) else {
                return Err(wrong(format!("is declared as {}, which {} cannot be read into", declared.data_type, article(&type_))));
            };
            column.sink = match declared.privacy {
                Privacy::None | Privacy::Keep | Privacy::Drop => sink,
                Privacy::Mask => compile::protected(sink, None, &type_, &declared.data_type),
                Privacy::Hash => {
                    let key = key.clone().ok_or_else(|| {
                        Error::new(KEY, format!("column \"{name}\" of table \"{}\" is hashed, and there is no key", contract.table))
                    })?;
                    compile::protected(sink, Some(key), &type_, &declared.data_type)
                }
            };
            column.source = article(&type_);
            if let Some(field) = fields.get_mut(place) {
                field.is_open = true;
                field.targets.push(Target { column: index, part });
            }
            compiled.push(column);
        }
        let claims: Vec<(usize, Privacy)> =
            contract.columns.iter().filter_map(|declared| Some((origin(&declared.from, columns)?.place, declared.privacy))).collect();
        for (place, field) in fields.iter_mut().enumerate() {
            let mut privacies = claims.iter().filter(|(claimed, _)| *claimed == place).map(|(_, privacy)| *privacy).peekable();
            field.is_extra = extra.is_some() && privacies.peek().is_none() && field.type_.is_known();
            // A value that is personal for one of its readers is personal for all.
            field.is_open = (field.is_extra || field.is_open) && privacies.all(|privacy| matches!(privacy, Privacy::None | Privacy::Keep));
        }
        let unread = (0..compiled.len()).filter(|index| extra != Some(*index) && !fields.iter().any(|field| field.takes(*index))).collect();
        let layout = shown::layout(fields.iter().map(|field| (&field.name, &field.type_, field.is_open)));
        Ok(Self {
            layout,
            schema: contract.schema(),
            table: contract.table.clone(),
            columns: compiled,
            fields,
            extra,
            unread,
            filter: None,
            quarantine: Quarantine::new(),
            origin: String::new(),
            key: open_key(contract, columns),
            positions: None,
            frame: Frame::default(),
            tuples: 0,
            rows: 0,
            bytes: 0,
            ready: VecDeque::new(),
        })
    }

    /// Sends rows that do not fit to `quarantine`. Their position is their key as JSON, `{"id":"7"}`, in PostgreSQL's spelling; where there is no
    /// key, or it is personal, `origin, tuple N`, counted from 1.
    #[must_use]
    pub fn rejecting_to(mut self, quarantine: &Quarantine, origin: &str) -> Self {
        self.quarantine = quarantine.clone();
        self.origin = if origin.is_empty() { String::new() } else { format!("{origin}, ") };
        self
    }

    /// Takes only rows that `filter` admits by the bytes of one source column, given by its place.
    #[must_use]
    pub fn only_rows(mut self, place: usize, filter: RowFilter) -> Self {
        self.filter = Some((place, filter));
        self
    }

    /// Takes only the rows at these positions.
    #[must_use]
    pub fn only_positions(mut self, positions: BTreeSet<String>) -> Self {
        self.positions = Some(positions);
        self
    }

    /// Where rows go that do not fit.
    #[must_use]
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Tuples seen so far, whether they fitted, were passed over, or not.
    #[must_use]
    pub fn tuples(&self) -> u64 {
        self.tuples
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// [`COPY`] if they are not in the format; [`pipeline_core::quarantine::REJECTED`] if the quarantine overflows.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        let mut frame = std::mem::take(&mut self.frame);
        let result = frame.push(chunk, |tuple| self.tuple(tuple));
        self.frame = frame;
        result.map_err(|error| match error {
            frame::Stop::Broken(what) => Error::new(&COPY, format!("data of table \"{}\" {what}", self.table)),
            frame::Stop::Failed(error) => error,
        })
    }

    /// The next batch, if one is full.
    pub fn take_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// Ends the data: what is left becomes a last batch, which [`Self::take_batch`] gives.
    ///
    /// # Errors
    /// [`COPY`] if the data has no end yet.
    pub fn finish(&mut self) -> Result<()> {
        if !self.frame.is_ended() {
            return Err(Error::new(&COPY, format!("data of table \"{}\" ends without its trailer", self.table)));
        }
        if self.rows > 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn tuple(&mut self, tuple: &[u8]) -> Result<(), frame::Stop> {
        self.tuples += 1;
        if let Some((place, filter)) = &self.filter
            && !filter(frame::field(tuple, *place))
        {
            return Ok(());
        }
        if self.positions.as_ref().is_some_and(|positions| !positions.contains(&self.position(tuple))) {
            return Ok(());
        }
        match self.append(tuple) {
            Ok(()) => {
                self.rows += 1;
                self.bytes += tuple.len();
                if self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX {
                    self.flush().map_err(frame::Stop::Failed)?;
                }
                Ok(())
            }
            Err(Misfit::Frame(what)) => Err(frame::Stop::Broken(what)),
            Err(Misfit::Label) => {
                let what = format!("an enumerated type of table \"{}\" got a new label while it was read", self.table);
                Err(frame::Stop::Failed(Error::new(&LOST, what)))
            }
            Err(Misfit::Value(column, unfit)) => {
                self.columns.iter_mut().for_each(|column| column.sink.truncate(self.rows));
                self.reject(tuple, column, &unfit).map_err(frame::Stop::Failed)
            }
        }
    }

    fn append(&mut self, tuple: &[u8]) -> Result<(), Misfit> {
        let mut wire = Wire(tuple);
        let broken = |_| Misfit::Frame("has a tuple that ends early");
        let count = wire.u16().map_err(broken)?;
        if usize::from(count) != self.fields.len() {
            return Err(Misfit::Frame("has a tuple of another number of columns than its table"));
        }
        let mut extras = Vec::new();
        for field in &self.fields {
            let value = field.value(wire.field().map_err(broken)?)?;
            for target in &field.targets {
                let Some(column) = self.columns.get_mut(target.column) else { continue };
                let misfit = |unfit| Misfit::Value(target.column, unfit);
                let part = match value {
                    Some(value) if matches!(target.part, Part::Whole) => Some(value),
                    Some(value) => target.part.of(value).map_err(misfit)?,
                    None => None,
                };
                match part {
                    Some(bytes) => column.sink.append(bytes).map_err(misfit)?,
                    None if column.nullable => column.sink.append_null(),
                    None => return Err(misfit(Unfit::Null)),
                }
            }
            if let (true, Some(value), Some(extra)) = (field.is_extra, value, self.extra) {
                let mut text = Vec::new();
                json::write(&field.type_, value, &mut text).map_err(|unfit| Misfit::Value(extra, unfit.within(&field.name)))?;
                extras.push((field.name.clone(), text));
            }
        }
        if let Some((extra, column)) = self.extra.and_then(|extra| Some((extra, self.columns.get_mut(extra)?))) {
            if extras.is_empty() {
                column.sink.append_null();
            } else {
                let mut text = Vec::new();
                json::write_members(extras, &mut text);
                column.sink.append(&text).map_err(|unfit| Misfit::Value(extra, unfit))?;
            }
        }
        for index in &self.unread {
            if let Some(column) = self.columns.get_mut(*index) {
                column.sink.append_null();
            }
        }
        Ok(())
    }

    /// Where a tuple is, in words that find it again if it has a key.
    fn position(&self, tuple: &[u8]) -> String {
        let value = |place: usize, type_: &PostgresType| {
            let mut text = compile::reader(type_, &ColumnType::Text { bytes_max: None })?;
            text.append(frame::field(tuple, place)?).ok()?;
            Some(text.finish().ok()?.as_string_opt::<i32>()?.value(0).to_owned())
        };
        let key: Option<serde_json::Map<String, serde_json::Value>> =
            self.key.iter().map(|(name, place, type_)| Some((name.clone(), value(*place, type_)?.into()))).collect();
        match key.filter(|key| !key.is_empty()) {
            Some(key) => serde_json::Value::Object(key).to_string(),
            None => format!("{}tuple {}", self.origin, self.tuples),
        }
    }

    fn reject(&mut self, tuple: &[u8], column: usize, unfit: &Unfit) -> Result<()> {
        let Some(column) = self.columns.get(column) else { return Ok(()) };
        let (part, reason) = unfit.explain(&column.source, &column.declared);
        let rejected = Rejected {
            column: part.map_or_else(|| column.name.clone(), |part| format!("{}.{part}", column.name)),
            reason,
            position: self.position(tuple),
            raw: self.open_part(tuple),
            format: FORMAT.into(),
            fields: Some(Arc::clone(&self.layout)),
        };
        self.quarantine.reject(&self.table, rejected)
    }

    /// A tuple with NULL in the place of what is personal or not read at all.
    fn open_part(&self, tuple: &[u8]) -> Vec<u8> {
        let mut wire = Wire(tuple);
        let mut open = wire.bytes(2).unwrap_or_default().to_vec();
        for field in &self.fields {
            let sent = wire.field().unwrap_or_default();
            match field.value(sent) {
                Ok(Some(value)) if field.is_open => {
                    open.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
                    open.extend_from_slice(value);
                }
                _ => open.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        open
    }

    fn flush(&mut self) -> Result<()> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|column| column.sink.finish()).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.ready.push_back(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?);
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("table", &self.table)
            .field("columns", &self.columns)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Why a tuple was not appended.
enum Misfit {
    /// The bytes are not a tuple of this table.
    Frame(&'static str),
    /// A number stands for no label that was known when the reading was planned.
    Label,
    /// The value for the contract's column at this place does not fit.
    Value(usize, Unfit),
}

fn missing(contract: &Contract, declared: &pipeline_core::contract::Column, columns: &[SourceColumn]) -> Error {
    let error = Error::new(
        &COLUMN,
        format!(
            "column \"{}\" of table \"{}\" is read from \"{}\", which the source does not have",
            declared.name, contract.table, declared.from
        ),
    );
    match nearest(&declared.from, columns.iter().map(|column| column.name.as_str())) {
        Some(name) => error.hint(format!("Did you mean \"{name}\"? Write `from {name}` in the column's declaration.")),
        None => error,
    }
}

fn article(type_: &PostgresType) -> String {
    let name = type_.to_string();
    let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// Whether values of a type can be read into a declared one at all: all of them, or some.
#[must_use]
pub fn can_be_read(type_: &PostgresType, declared: &ColumnType) -> bool {
    type_.is_known() && compile::reader(type_, declared).is_some()
}

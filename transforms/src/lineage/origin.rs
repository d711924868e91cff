//! Where a value comes from, and how two origins become one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pipeline_core::name::TableName;

use super::{Contracts, ModelLineage, field_type};

/// A field of a table: a column, or a path into one such as `totals.total`; lists are passed through by the same path. An empty
/// path means the table's rows themselves, as `count(*)` takes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputField {
    /// The table.
    pub table: TableName,
    /// Names with dots between.
    pub path: String,
}

impl InputField {
    /// The column that the path begins with; None for rows.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.path.split('.').next().filter(|column| !column.is_empty())
    }

    /// Whether the table's rows are meant.
    #[must_use]
    pub fn is_rows(&self) -> bool {
        self.path.is_empty()
    }

    fn below(&self, name: &str) -> Self {
        Self { table: self.table.clone(), path: format!("{}.{name}", self.path) }
    }
}

impl fmt::Display for InputField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_rows() { write!(f, "rows of {}", self.table) } else { write!(f, "{}.{}", self.table, self.path) }
    }
}

/// How a value goes into a column. Of several ways the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direct {
    /// As it is.
    Identity,
    /// Computed with, row by row.
    Transformation,
    /// Together with those of other rows.
    Aggregation,
}

impl Direct {
    /// `OpenLineage`'s word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "IDENTITY",
            Self::Transformation => "TRANSFORMATION",
            Self::Aggregation => "AGGREGATION",
        }
    }
}

/// How a value decides about others without being among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Indirect {
    /// It is compared to bring rows together.
    Join,
    /// It is in a condition that rows have to meet.
    Filter,
    /// Rows are grouped by it.
    GroupBy,
    /// Rows are sorted by it.
    Sort,
    /// A window is parted or ordered by it.
    Window,
    /// It is in the condition of a CASE.
    Conditional,
}

impl Indirect {
    /// `OpenLineage`'s word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "JOIN",
            Self::Filter => "FILTER",
            Self::GroupBy => "GROUP_BY",
            Self::Sort => "SORT",
            Self::Window => "WINDOW",
            Self::Conditional => "CONDITIONAL",
        }
    }
}

/// What a run brings along, which no table holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// `as_of()`.
    AsOf,
    /// A parameter of the configuration.
    Parameter(String),
    /// The key of `keyed_hash`.
    Key,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsOf => f.write_str("as_of()"),
            Self::Parameter(name) => write!(f, "parameter {name}"),
            Self::Key => f.write_str("privacy key"),
        }
    }
}

/// What decides without being part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Influences {
    /// Fields, and how each decides.
    pub fields: BTreeMap<InputField, BTreeSet<Indirect>>,
    /// What the run brings along.
    pub settings: BTreeSet<Setting>,
}

impl Influences {
    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        for (field, kinds) in &other.fields {
            self.fields.entry(field.clone()).or_default().extend(kinds);
        }
        self.settings.extend(other.settings.iter().cloned());
    }

    /// Adds everything that a value comes from as deciding in this way.
    pub(super) fn add_origin(&mut self, origin: &ColumnLineage, kind: Indirect) {
        for field in origin.direct.keys() {
            self.fields.entry(field.clone()).or_default().insert(kind);
        }
        for field in origin.indirect.fields.keys() {
            self.fields.entry(field.clone()).or_default().insert(kind);
        }
        self.settings.extend(origin.settings.iter().chain(&origin.indirect.settings).cloned());
    }

    pub(super) fn through<'a>(&self, contracts: &Contracts<'_>, below: &dyn Fn(&TableName) -> Option<&'a ModelLineage>) -> Self {
        let mut whole = Self { fields: BTreeMap::new(), settings: self.settings.clone() };
        for (field, kinds) in &self.fields {
            let origin = resolved(contracts, field, below);
            for kind in kinds {
                whole.add_origin(&origin, *kind);
            }
        }
        whole
    }
}

/// What one column, or any value of a statement, comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnLineage {
    /// Fields whose values go into it.
    pub direct: BTreeMap<InputField, Direct>,
    /// Fields and settings that decide about it.
    pub indirect: Influences,
    /// What the run brings along, as a value.
    pub settings: BTreeSet<Setting>,
    /// The fields of a struct that the statement makes.
    pub(super) fields: BTreeMap<String, Self>,
}

impl ColumnLineage {
    /// Whether nothing that a table or a run holds takes part: the value is written in the statement.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.direct.is_empty() && self.indirect.fields.is_empty() && self.indirect.settings.is_empty() && self.settings.is_empty()
    }

    pub(super) fn field_as_it_is(field: InputField) -> Self {
        Self { direct: BTreeMap::from([(field, Direct::Identity)]), ..Self::default() }
    }

    pub(super) fn of_setting(setting: Setting) -> Self {
        Self { settings: BTreeSet::from([setting]), ..Self::default() }
    }

    /// Adds all that `other` comes from, its values used at least in this way.
    pub(super) fn add(&mut self, other: &Self, at_least: Direct) {
        for (field, kind) in &other.direct {
            let kind = (*kind).max(at_least);
            self.direct.entry(field.clone()).and_modify(|known| *known = (*known).max(kind)).or_insert(kind);
        }
        self.indirect.add(&other.indirect);
        self.settings.extend(other.settings.iter().cloned());
    }

    /// Two rows of the same column, as a union has them: both origins, each field of a struct by itself.
    pub(super) fn or(mut self, other: &Self) -> Self {
        self.add(other, Direct::Identity);
        for (name, field) in &other.fields {
            let known = self.fields.remove(name).unwrap_or_default();
            self.fields.insert(name.clone(), known.or(field));
        }
        self
    }

    /// The origin of one field of a struct, or of the structs in a list.
    pub(super) fn at(&self, contracts: &Contracts<'_>, name: &str) -> Self {
        if let Some(field) = self.fields.get(name) {
            return field.clone();
        }
        let mut origin = Self { indirect: self.indirect.clone(), settings: self.settings.clone(), ..Self::default() };
        for (field, kind) in &self.direct {
            let below = field.below(name);
            // A function may have made another struct of it: then the whole of it is what is known.
            match field_type(contracts, &below) {
                Some(_) => origin.direct.insert(below, *kind),
                None => origin.direct.insert(field.clone(), (*kind).max(Direct::Transformation)),
            };
        }
        origin
    }

    pub(super) fn through<'a>(&self, contracts: &Contracts<'_>, below: &dyn Fn(&TableName) -> Option<&'a ModelLineage>) -> Self {
        let mut whole = Self { indirect: self.indirect.through(contracts, below), settings: self.settings.clone(), ..Self::default() };
        for (field, kind) in &self.direct {
            whole.add(&resolved(contracts, field, below), *kind);
        }
        for (name, field) in &self.fields {
            whole.fields.insert(name.clone(), field.through(contracts, below));
        }
        whole
    }
}

/// What a field of a table is made of, if the table is made.
fn resolved<'a>(contracts: &Contracts<'_>, field: &InputField, below: &dyn Fn(&TableName) -> Option<&'a ModelLineage>) -> ColumnLineage {
    let Some(model) = below(&field.table) else { return ColumnLineage::field_as_it_is(field.clone()) };
    let mut names = field.path.split('.').filter(|name| !name.is_empty());
    let Some(column) = names.next() else {
        let rows = model.rows_of.iter().map(|rows| (rows.clone(), Direct::Aggregation));
        return ColumnLineage { direct: rows.collect(), indirect: model.rows.clone(), ..ColumnLineage::default() };
    };
    let start = model.column(column).cloned().unwrap_or_default();
    names.fold(start, |origin, name| origin.at(contracts, name))
}

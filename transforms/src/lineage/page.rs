//! The page that says of every mart what each column means, and where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use pipeline_core::contract::{Column, ColumnType, Contract, Privacy};
use pipeline_core::load::Distribution;
use pipeline_core::name::TableName;

use super::picture::group;
use super::{ColumnLineage, Direct, Influences, InputField, Lineage, ModelLineage};
use crate::model::{DataTest, Model, ModelSet, PREVIOUS, Severity, TestKind, spell_age};

/// An extracted table, and what its source calls it.
#[derive(Debug, Clone)]
pub struct SourceTable {
    /// What it promises.
    pub contract: Contract,
    /// Its name in the source: a collection, a relation, an index.
    pub place: String,
}

/// The page in Markdown. `head` stands below its title.
#[must_use]
pub fn page(models: &ModelSet, lineage: &Lineage, sources: &[SourceTable], head: &str) -> String {
    let page = Page { models, lineage, sources };
    let mut text = format!("# Marts\n\n{head}\n");
    page.contents(&mut text);
    let mut groups: Vec<String> = models.models().iter().map(group).collect();
    groups.sort();
    groups.dedup();
    for name in groups {
        for model in models.models().iter().filter(|model| group(model) == name) {
            page.model(&mut text, model);
        }
    }
    page.extracted(&mut text);
    text
}

struct Page<'a> {
    models: &'a ModelSet,
    lineage: &'a Lineage,
    sources: &'a [SourceTable],
}

impl Page<'_> {
    fn contents(&self, text: &mut String) {
        text.push_str("\n| mart | one row is | what it tells |\n|---|---|---|\n");
        let mut models: Vec<&Model> = self.models.models().iter().collect();
        models.sort_by_key(|model| group(model));
        for model in models {
            line(text, &format!("| {} | {} | {} |", link(model.table()), cell(&model.grain), cell(&model.contract.description)));
        }
    }

    fn model(&self, text: &mut String, model: &Model) {
        let contract = &model.contract;
        line(text, &format!("\n## {}\n\n{}\n", model.table(), sentence(&contract.description)));
        let key: Vec<String> = contract.key.iter().map(|name| code(name.as_str())).collect();
        line(text, &format!("- **Grain:** {}", model.grain));
        line(text, &format!("- **Key:** {}", key.join(", ")));
        let inputs: Vec<String> = model.inputs.iter().map(link).collect();
        let before = if model.uses_previous { " and its own rows as they stood before the run" } else { "" };
        line(text, &format!("- **Reads:** {}{before}", inputs.join(", ")));
        let readers: Vec<String> =
            self.models.models().iter().filter(|other| other.inputs.contains(model.table())).map(|other| link(other.table())).collect();
        if !readers.is_empty() {
            line(text, &format!("- **Read by:** {}", readers.join(", ")));
        }
        let (Some(step), Some(whole)) = (self.lineage.step(model.table()), self.lineage.to_sources(model.table())) else { return };
        self.rows(text, step);
        let place = if model.is_view { "not there: a view, which is not stored".to_owned() } else { layout(model) };
        line(text, &format!("- **In the warehouse:** {place}"));
        text.push_str("\n| column | type | unit | what it means | made of | in the sources |\n|---|---|---|---|---|---|\n");
        for column in &contract.columns {
            let name = column.name.as_str();
            let (Some(near), Some(far)) = (step.column(name), whole.column(name)) else { continue };
            let unit = model.units.get(name).map(String::as_str).unwrap_or_default();
            let null = if column.nullable { "" } else { ", never NULL" };
            line(
                text,
                &format!(
                    "| {} | {}{null} | {} | {} | {} | {} |",
                    code(name),
                    code(&column.data_type.to_string()),
                    cell(unit),
                    cell(&column.description),
                    self.made_of(near),
                    self.in_sources(far)
                ),
            );
        }
        tests(text, model);
    }

    /// What decides which rows there are.
    fn rows(&self, text: &mut String, step: &ModelLineage) {
        let mut by_kind: BTreeMap<super::Indirect, BTreeMap<&TableName, BTreeSet<&str>>> = BTreeMap::new();
        for (field, kinds) in &step.rows.fields {
            for kind in kinds {
                by_kind.entry(*kind).or_default().entry(&field.table).or_default().insert(&field.path);
            }
        }
        for (kind, tables) in by_kind {
            let words = match kind {
                super::Indirect::Join => "Joined by",
                super::Indirect::Filter => "Filtered by",
                super::Indirect::GroupBy => "Grouped by",
                super::Indirect::Sort => "Sorted by",
                super::Indirect::Window => "In windows by",
                super::Indirect::Conditional => "On condition of",
            };
            let fields: Vec<String> = tables.iter().map(|(table, paths)| fields_of(&named(table), paths)).collect();
            line(text, &format!("- **{words}:** {}", fields.join("; ")));
        }
        let settings: Vec<String> = step.rows.settings.iter().map(|setting| code(&setting.to_string())).collect();
        if !settings.is_empty() {
            line(text, &format!("- **Its rows depend on:** {}", settings.join(", ")));
        }
    }

    /// One step back: the columns that a statement names.
    fn made_of(&self, column: &ColumnLineage) -> String {
        let mut parts = Vec::new();
        for kind in [Direct::Identity, Direct::Transformation, Direct::Aggregation] {
            let fields = column.direct.iter().filter(|(_, found)| **found == kind).map(|(field, _)| field);
            let words = by_table(fields, named, |field| field.path.clone());
            if !words.is_empty() {
                let verb = match kind {
                    Direct::Identity => "",
                    Direct::Transformation => "computed from ",
                    Direct::Aggregation => "over rows: ",
                };
                parts.push(format!("{verb}{words}"));
            }
        }
        parts.extend(settings(column));
        let deciding = deciding(&column.indirect);
        if !deciding.is_empty() {
            parts.push(format!("decided by {deciding}"));
        }
        if parts.is_empty() { "written in the statement".to_owned() } else { parts.join("; ") }
    }

    /// The whole way back: the sources' own fields.
    fn in_sources(&self, column: &ColumnLineage) -> String {
        let told = |fields: &mut dyn Iterator<Item = &InputField>| by_table(fields, |table| self.place(table), |field| self.field(field));
        let direct = told(&mut column.direct.keys());
        // Of a count, what is counted says more than whose rows.
        if column.direct.keys().any(|field| !field.is_rows()) {
            return direct;
        }
        let deciding = told(&mut column.indirect.fields.keys().filter(|field| !field.is_rows()));
        let deciding = (!deciding.is_empty()).then(|| format!("decided by {deciding}"));
        let mut parts: Vec<String> = Some(direct).filter(|direct| !direct.is_empty()).into_iter().chain(deciding).collect();
        if parts.is_empty() {
            parts = settings(column);
        }
        if parts.is_empty() { "nothing: the statement says it".to_owned() } else { parts.join("; ") }
    }

    fn source(&self, table: &TableName) -> Option<&SourceTable> {
        self.sources.iter().find(|source| source.contract.table == *table)
    }

    fn place(&self, table: &TableName) -> String {
        self.source(table).map_or_else(|| named(table), |source| format!("{} {}", table.schema(), code(&source.place)))
    }

    fn field(&self, field: &InputField) -> String {
        self.source(&field.table).and_then(|source| source.contract.source_path(&field.path)).unwrap_or_else(|| field.path.clone())
    }

    fn extracted(&self, text: &mut String) {
        text.push_str("\n# Extracted tables\n\nWhat is read, as the configuration declares it.\n");
        for source in self.sources {
            let contract = &source.contract;
            line(text, &format!("\n## {}\n\n{}\n", contract.table, sentence(&contract.description)));
            line(text, &format!("- **In the source:** {}", self.place(&contract.table)));
            let key: Vec<String> = contract.key.iter().map(|name| code(name.as_str())).collect();
            line(text, &format!("- **Key:** {}", key.join(", ")));
            if let Some(cursor) = &contract.cursor {
                line(text, &format!("- **Read since:** {}", code(cursor.as_str())));
            }
            text.push_str("\n| column | type | in the source | |\n|---|---|---|---|\n");
            for column in &contract.columns {
                let name = column.name.as_str();
                field_row(text, name, &column.data_type, &column.from, note(column));
                fields_below(text, name, &column.from, &column.data_type);
            }
        }
    }
}

fn field_row(text: &mut String, name: &str, data_type: &ColumnType, from: &str, note: &str) {
    let mut inner = data_type;
    while let ColumnType::List(item) = inner {
        inner = item;
    }
    let shown = match (data_type, inner) {
        (ColumnType::Struct(_), _) => "struct".to_owned(),
        (_, ColumnType::Struct(_)) => "list of structs".to_owned(),
        _ => data_type.to_string(),
    };
    line(text, &format!("| {} | {} | {} | {note} |", code(name), code(&shown), code(from)));
}

/// The fields of structs, below the column that holds them.
fn fields_below(text: &mut String, name: &str, from: &str, data_type: &ColumnType) {
    match data_type {
        ColumnType::List(item) => fields_below(text, name, from, item),
        ColumnType::Struct(fields) => {
            for field in fields {
                let (name, from) = (format!("{name}.{}", field.name), format!("{from}.{}", field.from));
                field_row(text, &name, &field.data_type, &from, "");
                fields_below(text, &name, &from, &field.data_type);
            }
        }
        _ => {}
    }
}

fn note(column: &Column) -> &'static str {
    match (column.privacy, column.nullable) {
        (Privacy::Hash, _) => "personal: a keyed hash",
        (Privacy::Mask, _) => "personal: masked",
        (Privacy::Drop, _) => "personal: never read",
        (Privacy::Keep, _) => "personal: kept in the clear",
        (Privacy::None, false) => "never NULL",
        (Privacy::None, true) => "",
    }
}

fn layout(model: &Model) -> String {
    let distribution = match &model.layout.distribution {
        Distribution::Auto => "distributed as the warehouse sees fit".to_owned(),
        Distribution::Even => "distributed evenly".to_owned(),
        Distribution::All => "on every node".to_owned(),
        Distribution::Key(column) => format!("distributed by {}", code(column.as_str())),
    };
    let sort: Vec<String> = model.layout.sort.iter().map(|column| code(column.as_str())).collect();
    if sort.is_empty() { distribution } else { format!("{distribution}, sorted by {}", sort.join(", ")) }
}

fn tests(text: &mut String, model: &Model) {
    let key: Vec<String> = model.contract.key.iter().map(|name| code(name.as_str())).collect();
    line(text, "\n**Data tests**, beside those of types and of what is never NULL:\n");
    line(text, &format!("- {} identify one row", key.join(", ")));
    for test in &model.tests {
        let warns = if test.severity == Severity::Warn { " (warns)" } else { "" };
        line(text, &format!("- {}{warns}", asked(test)));
    }
}

fn asked(test: &DataTest) -> String {
    match &test.kind {
        TestKind::Unique { columns } => {
            let columns: Vec<String> = columns.iter().map(|name| code(name.as_str())).collect();
            format!("{} are unique", columns.join(", "))
        }
        TestKind::NotNull { column } => format!("{} has no NULL", code(column.as_str())),
        TestKind::AcceptedValues { column, values } => {
            let values: Vec<String> = values.iter().map(|value| code(value.trim_matches('\''))).collect();
            format!("{} is one of {}", code(column.as_str()), values.join(", "))
        }
        TestKind::Range { column, min, max } => match (min, max) {
            (Some(min), Some(max)) => format!("{} lies between {min} and {max}", code(column.as_str())),
            (Some(min), None) => format!("{} is {min} or more", code(column.as_str())),
            (_, max) => format!("{} is {} or less", code(column.as_str()), max.as_deref().unwrap_or_default()),
        },
        TestKind::Relationship { column, to_table, to_column } => {
            format!("{} is in {} of {}", code(column.as_str()), code(to_column.as_str()), link(to_table))
        }
        TestKind::NoRows { .. } => test.name.clone(),
        TestKind::Freshness { column, max_age_us } => {
            format!("the newest {} is at most {} old", code(column.as_str()), spell_age(*max_age_us))
        }
        TestKind::RowCount { .. } => "as many rows as former runs let expect".to_owned(),
        TestKind::Distribution { column, measure, .. } => {
            format!("the {} of {} is what former runs let expect", measure.words(), code(column.as_str()))
        }
    }
}

fn settings(column: &ColumnLineage) -> Vec<String> {
    column.settings.iter().map(|setting| code(&setting.to_string())).collect()
}

fn deciding(influences: &Influences) -> String {
    let mut words = by_table(influences.fields.keys(), named, |field| field.path.clone());
    for setting in &influences.settings {
        let separator = if words.is_empty() { "" } else { "; " };
        write!(words, "{separator}{}", code(&setting.to_string())).expect("a String takes any text");
    }
    words
}

/// `orders` revenue, tip; `stores` city.
fn by_table<'a>(
    fields: impl Iterator<Item = &'a InputField>,
    table: impl Fn(&TableName) -> String,
    path: impl Fn(&InputField) -> String,
) -> String {
    let mut tables: BTreeMap<&TableName, Vec<String>> = BTreeMap::new();
    for field in fields {
        tables.entry(&field.table).or_default().push(path(field));
    }
    let words = tables.into_iter().map(|(name, paths)| {
        let paths: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
        fields_of(&table(name), &paths)
    });
    words.collect::<Vec<_>>().join("; ")
}

fn fields_of(table: &str, paths: &BTreeSet<&str>) -> String {
    let rows = if paths.contains("") { vec!["its rows".to_owned()] } else { Vec::new() };
    let fields = paths.iter().filter(|path| !path.is_empty()).map(|path| code(path));
    format!("{table}: {}", rows.into_iter().chain(fields).collect::<Vec<_>>().join(", "))
}

/// A table's name as a link to its section; a model's former self as such.
fn named(table: &TableName) -> String {
    match table.schema() {
        PREVIOUS => format!("{} before the run", code(table.table())),
        _ => link(table),
    }
}

fn link(table: &TableName) -> String {
    let name = table.to_string();
    format!("[{name}](#{})", name.replace('.', ""))
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

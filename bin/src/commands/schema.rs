//! `pipeline schema`: what is declared beside what the sources hold.

use std::sync::Arc;

use pipeline_core::config::{CONFIG, TableConfig};
use pipeline_core::contract::{Column, ColumnType, Contract, EXTRA_COLUMN, Privacy, holds};
use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::name::TableName;
use pipeline_core::run::{RunKind, RunRequest, Selection, Stop};
use pipeline_extractors::discover::{DISCOVER, Found, FoundColumn};
use serde_json::{Value, json};
use toml_edit::DocumentMut;

use super::init::named;
use crate::arguments::{Global, OutputForm, SchemaArguments, SchemaCommand};
use crate::output::{Printer, Style, progress, table};
use crate::project::Project;

/// What the sources hold needs a decision.
pub(crate) static SCHEMA_DIFFERS: Code = Code {
    name: "E-SCHEMA-DIFFERS",
    kind: ErrorKind::Data,
    meaning: "A source holds something else than its tables declare, in a way that needs a decision: a column is gone, or of another type, or the declared \
              key is not what tells rows apart there.",
    remedy: "`pipeline schema accept TABLE` takes it over where that loses nothing; otherwise follow the remedy beside each column.",
};

/// How a column differs, or the key.
#[derive(Debug, Clone, PartialEq)]
enum Difference {
    /// The source has it, and it is not declared.
    New(ColumnType),
    /// It is declared, and the source has it no more; perhaps under another name.
    Gone { perhaps: Option<String> },
    /// The source's type holds more than the declared one.
    Wider(ColumnType),
    /// The source's type does not fit the declared one.
    Other(ColumnType),
    /// Values of several types were seen.
    Mixed(String),
    /// It is declared `not null`, and the source allows NULL.
    Nullable,
    /// The same, and it was seen to be NULL or missing.
    SeenNull,
    /// It may be NULL as it is declared, and in the source it cannot.
    NeverNull,
    /// Nothing in the source keeps the declared key unique; what else is unique there.
    NotUnique(Vec<Vec<String>>),
}

impl Difference {
    fn needs_decision(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Other(_) => true,
            // Where the source keeps nothing unique, the key may be right all the same.
            Self::NotUnique(others) => !others.is_empty(),
            Self::New(_) | Self::Wider(_) | Self::Mixed(_) | Self::Nullable | Self::SeenNull | Self::NeverNull => false,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Gone { .. } => "gone",
            Self::Wider(_) => "wider",
            Self::Other(_) => "other type",
            Self::Mixed(_) => "mixed types",
            Self::Nullable | Self::SeenNull => "can be NULL",
            Self::NeverNull => "never NULL",
            Self::NotUnique(_) => "key not unique",
        }
    }

    fn remedy(&self, column: &str, is_open: bool) -> String {
        match self {
            Self::New(_) if is_open => format!("it goes to `{EXTRA_COLUMN}` until it is declared; `accept` declares it"),
            Self::New(_) => "it is not read; `accept` declares it".to_owned(),
            Self::Gone { perhaps: Some(name) } => {
                format!("\"{name}\" is new and of the same type: if it was renamed, write `from {name}` in the declaration of \"{column}\"")
            }
            Self::Gone { perhaps: None } => "`accept` keeps what the lake has of it, and reads it no more".to_owned(),
            Self::Wider(_) => "larger values go to quarantine; `accept` widens the column, here and in the lake".to_owned(),
            Self::Other(data_type) => {
                format!(
                    "a column cannot become another type: declare a new column with another name, `… = \"{data_type} from …\"`, and keep the old one"
                )
            }
            Self::Mixed(note) => note.clone(),
            Self::Nullable => "the source allows NULL, and such rows go to quarantine: if they are right, remove `not null`".to_owned(),
            Self::SeenNull => "documents without it were seen, and go to quarantine: if they are right, remove `not null`".to_owned(),
            Self::NeverNull => "the source allows no NULL: `not null` can be declared".to_owned(),
            Self::NotUnique(others) => {
                let others: Vec<String> = others.iter().map(|columns| columns.join(", ")).collect();
                let of_source = if others.is_empty() {
                    "the source keeps no columns unique: a unique index on these would make it certain".to_owned()
                } else {
                    format!("what the source keeps unique: {}", others.join("; "))
                };
                format!("rows of the source that share it become one in the lake; {of_source}")
            }
        }
    }
}

/// A table beside what its source holds.
struct Compared {
    table: TableName,
    found: Found,
    /// By the names of columns, in their order; a key is the names of its columns.
    differences: Vec<(String, Difference)>,
}

pub(crate) async fn schema(global: &Global, printer: Printer, arguments: SchemaArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    match arguments.command {
        SchemaCommand::Show { table } => {
            let compared = compare(&project, printer, &[table]).await?;
            compared.iter().try_for_each(|compared| show(&project, printer, compared))
        }
        SchemaCommand::Diff { tables } => diff(printer, &compare(&project, printer, &tables).await?),
        SchemaCommand::Accept { table } => {
            let compared = compare(&project, printer, std::slice::from_ref(&table)).await?;
            match compared.first() {
                Some(compared) => accept(&project, printer, compared).await,
                None => Ok(()),
            }
        }
    }
}

/// Looks at the sources of these tables, or of all.
async fn compare(project: &Project, printer: Printer, wanted: &[String]) -> Result<Vec<Compared>> {
    let config = &project.config;
    let known = |name: &String| config.sources.values().any(|source| source.tables.keys().any(|table| table.to_string() == *name));
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        return Err(Error::new(&CONFIG, format!("there is no table \"{unknown}\"")).hint("`pipeline config show` lists the tables."));
    }
    let mut all = Vec::new();
    for source in config.sources.values() {
        let tables: Vec<(&TableName, &TableConfig)> =
            source.tables.iter().filter(|(table, _)| wanted.is_empty() || wanted.contains(&table.to_string())).collect();
        if tables.is_empty() {
            continue;
        }
        let secrets = project.secrets().await?;
        let connected = super::init::connect(config, &source.name, &config.folder, secrets).await?;
        let found = match connected.discover().await {
            Err(error) if error.code() == &DISCOVER && wanted.is_empty() => {
                printer.note(format!("source \"{}\" does not tell what it holds", source.name));
                continue;
            }
            found => found?,
        };
        for (table, declared) in tables {
            let Some(found) = found.iter().find(|found| is_it(declared, found)) else {
                return Err(Error::new(&SCHEMA_DIFFERS, format!("source \"{}\" holds nothing for table \"{table}\"", source.name))
                    .hint("Correct `relation` or `collection` in the table's section, or remove the section."));
            };
            let differences = differences(&declared.contract, found);
            all.push(Compared { table: table.clone(), found: found.clone(), differences });
        }
    }
    Ok(all)
}

fn is_it(declared: &TableConfig, found: &Found) -> bool {
    let plain = |text: &str| text.replace('"', "");
    let place = declared.options.clone().text(found.place_key).ok().flatten();
    let place = plain(&place.unwrap_or_else(|| declared.contract.table.table().to_owned()));
    let found = plain(&found.place);
    found == place || (!place.contains('.') && found.rsplit('.').next() == Some(&place))
}

/// Pure: every column that differs, by its name, and the key.
fn differences(contract: &Contract, found: &Found) -> Vec<(String, Difference)> {
    let declared = &contract.columns;
    let read = |column: &Column| column.name.as_str() != EXTRA_COLUMN && column.privacy != Privacy::Drop;
    let of = |column: &Column| {
        found.columns.iter().find(|found| column.from == found.from || column.from.starts_with(&format!("{}.", found.from)))
    };
    let is_declared = |found: &FoundColumn| {
        declared.iter().any(|column| column.from == found.from || column.from.starts_with(&format!("{}.", found.from)))
    };
    let mut differences = Vec::new();
    let mut new: Vec<&FoundColumn> = Vec::new();
    for (name, column) in named(found).into_iter().filter(|(_, column)| !is_declared(column)) {
        differences.push((name, Difference::New(column.data_type.clone())));
        new.push(column);
    }
    for column in declared.iter().filter(|column| read(column)) {
        let name = column.name.as_str().to_owned();
        let difference = match of(column) {
            // Fields that no document of the sample has may be rare.
            None if found.is_open => None,
            None => {
                let alike = new.iter().find(|new| new.data_type.arrow() == column.data_type.arrow());
                Some(Difference::Gone { perhaps: alike.map(|new| new.from.clone()) })
            }
            Some(found_column) if found_column.from == column.from && column.only.is_none() => {
                differences.extend(null_difference(column, found_column, found).map(|difference| (name.clone(), difference)));
                type_difference(&column.data_type, found_column, found.is_open)
            }
            Some(_) => None,
        };
        differences.extend(difference.map(|difference| (name, difference)));
    }
    differences.extend(key_difference(contract, found));
    differences.sort_by(|a, b| a.0.cmp(&b.0));
    differences
}

fn null_difference(declared: &Column, column: &FoundColumn, found: &Found) -> Option<Difference> {
    // Documents can lack every field, and rows of a view every column: `not null` is there to find those that do.
    let has_constraints = !found.is_open && found.unique.is_some();
    match (declared.nullable, column.nullable) {
        (false, true) if column.is_seen_null => Some(Difference::SeenNull),
        (false, true) if has_constraints => Some(Difference::Nullable),
        (true, false) => Some(Difference::NeverNull),
        _ => None,
    }
}

/// Whether anything in the source keeps the declared key unique: the same columns, or fewer of them.
fn key_difference(contract: &Contract, found: &Found) -> Option<(String, Difference)> {
    let unique = found.unique.as_ref()?;
    let key: Vec<&str> = contract.key.iter().filter_map(|name| contract.column(name)).map(|column| column.from.as_str()).collect();
    let is_kept = unique.iter().any(|columns| columns.iter().all(|column| key.contains(&column.as_str())));
    if key.is_empty() || is_kept {
        return None;
    }
    let names: Vec<&str> = contract.key.iter().map(pipeline_core::name::ColumnName::as_str).collect();
    Some((names.join(", "), Difference::NotUnique(unique.clone())))
}

fn type_difference(declared: &ColumnType, found: &FoundColumn, is_sampled: bool) -> Option<Difference> {
    let (mine, theirs) = (declared.arrow(), found.data_type.arrow());
    let takes_all = matches!(declared, ColumnType::Text { .. } | ColumnType::Json);
    // A sample says little about how many digits there are, and documents within documents change all the time.
    let is_alike = is_sampled
        && (declared.is_nested() && (found.data_type.is_nested() || found.data_type == ColumnType::Json)
            || matches!((declared, &found.data_type), (ColumnType::Decimal { .. }, ColumnType::Decimal { .. })));
    if mine == theirs || takes_all || is_alike || holds(&mine, &theirs) {
        return None;
    }
    match &found.note {
        Some(note) if is_sampled => Some(Difference::Mixed(note.clone())),
        _ if holds(&theirs, &mine) => Some(Difference::Wider(found.data_type.clone())),
        _ if is_sampled && found.data_type == ColumnType::Json => None,
        _ => Some(Difference::Other(found.data_type.clone())),
    }
}

fn show(project: &Project, printer: Printer, compared: &Compared) -> Result<()> {
    let declared = project.config.sources.values().find_map(|source| source.tables.get(&compared.table));
    let columns = declared.map(|table| table.contract.columns.as_slice()).unwrap_or_default();
    let found_of = |from: &str| compared.found.columns.iter().find(|found| found.from == from).map(|found| found.data_type.to_string());
    let mut rows: Vec<(String, String, String)> = columns
        .iter()
        .map(|column| (column.name.as_str().to_owned(), column.data_type.to_string(), found_of(&column.from).unwrap_or_default()))
        .collect();
    for (name, difference) in &compared.differences {
        if let Difference::New(data_type) = difference {
            rows.push((name.clone(), String::new(), data_type.to_string()));
        }
    }
    let word = |name: &str| {
        let of_column =
            compared.differences.iter().filter(|(column, difference)| column == name && !matches!(difference, Difference::NotUnique(_)));
        of_column.map(|(_, difference)| difference.word()).collect::<Vec<_>>().join(", ")
    };
    if printer.form != OutputForm::Human {
        let columns: Vec<Value> = rows
            .iter()
            .map(|(name, declared, found)| json!({ "column": name, "declared": declared, "found": found, "difference": word(name) }))
            .collect();
        return printer.json(&json!({ "schema_version": 1, "table": compared.table, "place": compared.found.place, "rows_estimated": compared.found.rows, "columns": columns }));
    }
    printer.line(format!("{} is {}", printer.styled(Style::Strong, &compared.table), compared.found.place));
    let rows = rows.into_iter().map(|(name, declared, found)| {
        let difference = printer.styled(Style::Warn, word(&name));
        vec![name, shortened(&declared), shortened(&found), difference]
    });
    printer.line(table(&["column", "declared", "found", ""], &[], rows));
    Ok(())
}

fn shortened(text: &str) -> String {
    const CHARACTERS_SHOWN: usize = 40;
    if text.chars().count() <= CHARACTERS_SHOWN {
        text.to_owned()
    } else {
        text.chars().take(CHARACTERS_SHOWN - 1).chain(['…']).collect()
    }
}

fn diff(printer: Printer, compared: &[Compared]) -> Result<()> {
    let undecided: usize =
        compared.iter().flat_map(|compared| &compared.differences).filter(|(_, difference)| difference.needs_decision()).count();
    if printer.form == OutputForm::Human {
        if compared.iter().all(|compared| compared.differences.is_empty()) {
            printer.line("the sources hold what is declared");
        }
        for compared in compared.iter().filter(|compared| !compared.differences.is_empty()) {
            printer.line(printer.styled(Style::Strong, &compared.table));
            for (name, difference) in &compared.differences {
                let style = if difference.needs_decision() { Style::Bad } else { Style::Warn };
                printer.line(format!(
                    "  {} {name}: {}",
                    printer.styled(style, difference.word()),
                    difference.remedy(name, compared.found.is_open)
                ));
            }
        }
    } else {
        let differences: Vec<Value> = compared
            .iter()
            .flat_map(|compared| {
                compared.differences.iter().map(|(name, difference)| {
                    json!({ "table": compared.table, "column": name, "difference": difference.word(), "needs_decision": difference.needs_decision(),
                        "remedy": difference.remedy(name, compared.found.is_open) })
                })
            })
            .collect();
        printer.json(&json!({ "schema_version": 1, "differences": differences }))?;
    }
    if undecided == 0 {
        return Ok(());
    }
    Err(Error::new(
        &SCHEMA_DIFFERS,
        if undecided == 1 { "1 difference needs a decision".to_owned() } else { format!("{undecided} differences need a decision") },
    ))
}

/// Edits the configuration file, keeping its comments and order, and writes down what changed.
async fn accept(project: &Project, printer: Printer, compared: &Compared) -> Result<()> {
    let stuck = compared
        .differences
        .iter()
        .find(|(_, difference)| matches!(difference, Difference::Other(_) | Difference::Gone { perhaps: Some(_) }));
    if let Some((name, difference)) = stuck {
        return Err(Error::new(
            &SCHEMA_DIFFERS,
            format!("column \"{name}\" of table \"{}\" cannot be taken over by itself", compared.table),
        )
        .hint(difference.remedy(name, compared.found.is_open)));
    }
    let file = project.config.layers.file().to_path_buf();
    let failed = |cause: String| Error::new(&CONFIG, format!("configuration \"{}\" could not be changed", file.display())).caused_by(cause);
    let text = std::fs::read_to_string(&file).map_err(|error| failed(error.kind().to_string()))?;
    let mut document: DocumentMut = text.parse().map_err(|_| failed("it is not TOML".to_owned()))?;
    let profile = project.config.profile.as_deref();
    let columns = columns_of(&mut document, &compared.table, profile).ok_or_else(|| {
        failed(format!("it has no section sources.{}.tables.{}.columns", compared.table.schema(), compared.table.table()))
    })?;
    let mut changes = Vec::new();
    for (name, difference) in &compared.differences {
        match difference {
            Difference::New(data_type) => {
                let Some((_, found)) = named(&compared.found).into_iter().find(|(named, _)| named == name) else {
                    continue;
                };
                let from = if found.from == *name { String::new() } else { format!(" from {}", found.from) };
                columns.insert(name, toml_edit::value(format!("{data_type}{from}")));
                changes.push(format!("+ {name} {data_type}"));
            }
            Difference::Wider(data_type) => {
                let declared = columns.get(name).and_then(|item| item.as_str()).unwrap_or_default().to_owned();
                replace(columns, name, format!("{data_type}{}", after_type(&declared)));
                changes.push(format!("~ {name} becomes {data_type}"));
            }
            Difference::Gone { .. } => {
                let declared = columns.get(name).and_then(|item| item.as_str()).unwrap_or_default();
                let data_type = declared.strip_suffix(after_type(declared)).unwrap_or(declared).trim().to_owned();
                replace(columns, name, format!("{data_type} pii drop"));
                changes.push(format!("- {name} is read no more"));
            }
            Difference::Other(_)
            | Difference::Mixed(_)
            // Whether rows with NULL are right, and what tells rows apart, the source does not know.
            | Difference::Nullable
            | Difference::SeenNull
            | Difference::NeverNull
            | Difference::NotUnique(_) => {}
        }
    }
    if changes.is_empty() {
        printer.line("nothing to take over");
        return Ok(());
    }
    let text = document.to_string();
    // What is written must be read again.
    pipeline_core::config::Config::load(&file, &text, profile, &[])?;
    record(project, printer, &compared.table, changes.clone()).await?;
    std::fs::write(&file, text).map_err(|error| failed(error.kind().to_string()))?;
    if printer.form != OutputForm::Human {
        return printer.json(&json!({ "schema_version": 1, "table": compared.table, "changes": changes }));
    }
    for change in &changes {
        printer.line(format!("  {change}"));
    }
    printer.line(format!("changed {}; the next run brings it into the lake", file.display()));
    Ok(())
}

/// Changes a value and leaves the comment behind it.
fn replace(columns: &mut dyn toml_edit::TableLike, name: &str, text: String) {
    let decor = columns.get(name).and_then(|item| item.as_value()).map(|value| value.decor().clone());
    let mut item = toml_edit::value(text);
    if let (Some(value), Some(decor)) = (item.as_value_mut(), decor) {
        *value.decor_mut() = decor;
    }
    columns.insert(name, item);
}

/// What stands behind the type in a column's declaration, with the space before it.
fn after_type(declared: &str) -> &str {
    const WORDS: [&str; 4] = [" not null", " from ", " only ", " pii "];
    // A struct's fields have such words of their own.
    let begin = declared.rfind('>').unwrap_or(0);
    let rest = declared.get(begin..).unwrap_or_default();
    let at = WORDS.iter().filter_map(|word| rest.find(word)).min();
    at.and_then(|at| rest.get(at..)).unwrap_or_default()
}

fn columns_of<'a>(document: &'a mut DocumentMut, table: &TableName, profile: Option<&str>) -> Option<&'a mut dyn toml_edit::TableLike> {
    let tail = ["sources", table.schema(), "tables", table.table(), "columns"];
    let of_profile: Vec<&str> = profile.iter().flat_map(|profile| ["profiles", profile]).chain(tail).collect();
    let has = |path: &[&str]| path.iter().try_fold(document.as_item(), |item, key| item.get(key)).is_some();
    let path: Vec<&str> = if has(&tail) {
        tail.to_vec()
    } else if has(&of_profile) {
        of_profile
    } else {
        return None;
    };
    path.iter().try_fold(document.as_item_mut(), |item, key| item.get_mut(key))?.as_table_like_mut()
}

/// The ledger remembers what was taken over, by the pipeline that reads the table.
async fn record(project: &Project, printer: Printer, table: &TableName, changes: Vec<String>) -> Result<()> {
    let mut pipelines = project.config.pipelines.keys();
    let reads = |name: &&String| project.tables(name).is_ok_and(|tables| tables.contains(table));
    let Some(pipeline) = pipelines.find(reads) else { return Ok(()) };
    let engine = project.engine(pipeline, progress(printer), Stop::default(), 0).await?;
    let request = RunRequest {
        kind: RunKind::Schema,
        window: None,
        as_of: super::run::as_of(project, None)?,
        selection: Selection { only: vec![table.to_string()], skip: Vec::new() },
        full_refresh: false,
    };
    Arc::new(engine).schema_accepted(table, changes, request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline_core::contract::parse_column;
    use pipeline_core::name::ColumnName;

    fn declared(columns: &[(&str, &str)], key: &[&str]) -> Contract {
        Contract {
            table: "s.t".parse().unwrap(),
            columns: columns
                .iter()
                .map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &str::to_owned).unwrap())
                .collect(),
            key: key.iter().map(|name| ColumnName::new(name).unwrap()).collect(),
            cursor: None,
            description: String::new(),
        }
    }

    fn found(columns: &[(&str, &str)], is_open: bool) -> Found {
        let column = |(from, text): &(&str, &str)| FoundColumn {
            from: (*from).to_owned(),
            data_type: text.parse().unwrap(),
            nullable: true,
            is_seen_null: false,
            note: None,
        };
        Found {
            place: "t".to_owned(),
            place_key: "relation",
            rows: None,
            bytes: None,
            columns: columns.iter().map(column).collect(),
            key: Vec::new(),
            unique: None,
            cursors: Vec::new(),
            is_open,
        }
    }

    fn words(differences: &[(String, Difference)]) -> Vec<(&str, &str)> {
        differences.iter().map(|(name, difference)| (name.as_str(), difference.word())).collect()
    }

    #[test]
    fn what_differs_is_told_apart() {
        let declared = declared(
            &[
                ("id", "int"),
                ("amount", "decimal(12,2)"),
                ("old", "date"),
                ("note", "text"),
                ("at", "timestamp from place.x"),
                ("_extra", "json"),
            ],
            &[],
        );
        let there = found(&[("id", "bigint"), ("amount", "text"), ("newer", "date"), ("note", "json"), ("place", "json")], false);
        let differences = differences(&declared, &there);
        assert_eq!(words(&differences), [("amount", "other type"), ("id", "wider"), ("newer", "new"), ("old", "gone")]);
        assert_eq!(differences[3].1, Difference::Gone { perhaps: Some("newer".to_owned()) });
        // In a sample, what is not there may be rare.
        let sampled = super::differences(&declared, &found(&[("id", "int")], true));
        assert!(!words(&sampled).iter().any(|(name, _)| *name == "old"));
    }

    #[test]
    fn null_is_told_apart_where_the_source_knows() {
        let declared =
            declared(&[("id", "int not null"), ("at", "date"), ("part", "int not null from at.x"), ("size", "int not null")], &[]);
        let mut there = found(&[("id", "int"), ("at", "date"), ("size", "bigint")], false);
        there.columns[1].nullable = false;
        assert_eq!(words(&differences(&declared, &there)), [("at", "never NULL"), ("size", "wider")], "a view");
        there.unique = Some(Vec::new());
        let all = [("at", "never NULL"), ("id", "can be NULL"), ("size", "can be NULL"), ("size", "wider")];
        let found = differences(&declared, &there);
        assert_eq!(words(&found), all);
        assert!(!found.iter().any(|(_, difference)| difference.needs_decision()));
        // Of documents, what was seen counts.
        there.is_open = true;
        there.columns[0].is_seen_null = true;
        assert_eq!(words(&differences(&declared, &there)), [("at", "never NULL"), ("id", "can be NULL"), ("size", "wider")]);
    }

    #[test]
    fn a_key_that_the_source_does_not_keep_unique_is_told() {
        let declared = declared(&[("store", "int"), ("number", "int from No"), ("line", "int")], &["store", "number"]);
        let mut there = found(&[("store", "int"), ("No", "int"), ("line", "int")], false);
        let mut of = |unique: Option<&[&[&str]]>| {
            there.unique = unique.map(|all| all.iter().map(|columns| columns.iter().map(|name| (*name).to_owned()).collect()).collect());
            differences(&declared, &there)
        };
        for unique in [None, Some(&[&["No", "store"][..]][..]), Some(&[&["line"], &["No"][..]][..])] {
            assert_eq!(of(unique), [], "{unique:?}");
        }
        let narrower = of(Some(&[&["store", "No", "line"]]));
        assert_eq!(words(&narrower), [("store, number", "key not unique")]);
        assert!(narrower[0].1.needs_decision() && narrower[0].1.remedy("", false).ends_with("unique: store, No, line"), "{narrower:?}");
        assert!(!of(Some(&[]))[0].1.needs_decision());
    }

    #[test]
    fn what_stands_behind_a_type_is_kept() {
        for (declared, rest) in [
            ("int not null", " not null"),
            ("decimal(12,2) from a.b pii none", " from a.b pii none"),
            ("list<struct<a int not null from x>> from items", " from items"),
            ("struct<a int from x>", ""),
            ("text", ""),
        ] {
            assert_eq!(after_type(declared), rest, "{declared}");
        }
    }
}

//! `pipeline init`: a configuration written from what live databases hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_core::config::{CONFIG, Config, Secret, SecretSource};
use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::name::TableName;
use pipeline_core::pace::Pace;
use pipeline_extractors::discover::{Found, FoundColumn, FoundCursor, column_name, is_usual_cursor, looks_personal};
use pipeline_extractors::kind::{Connect, Source, Spec};
use pipeline_loaders::s3::AwsOptions;

use crate::arguments::{Global, InitArguments};
use crate::output::{Printer, count, plural};
use crate::project::FILE_NAME;
use crate::secrets::Secrets;
use crate::sources::kind;

/// There is a configuration already.
pub(crate) static EXISTS: Code = Code {
    name: "E-EXISTS",
    kind: ErrorKind::Usage,
    meaning: "A file is there already that was to be written.",
    remedy: "Pass --force to write over it, or --config to name another one.",
};

/// Columns that are hashed by their name.
const HASHED: [&str; 4] = ["email", "phone", "first_name", "last_name"];

pub(crate) async fn init(global: &Global, printer: Printer, arguments: InitArguments) -> Result<()> {
    let file = global.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    if file.exists() && !arguments.force && !arguments.print {
        return Err(Error::new(&EXISTS, format!("configuration \"{}\" is there already", file.display())));
    }
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    let secrets = Arc::new(Secrets::new(&folder, AwsOptions { region: None, endpoint: None, credentials: None, profile: None }));
    let mut sources = Vec::new();
    for text in &arguments.source {
        let (name, secret) = text.split_once('=').ok_or_else(|| {
            Error::new(&CONFIG, format!("source \"{text}\" names no secret"))
                .hint("Write it as NAME=env:VARIABLE or NAME=file:PATH; the secret holds the connection string.")
        })?;
        // Checks the name, too.
        TableName::new(name, "table")?;
        let url = secrets.fetch(&Secret::parse(secret)?).await?;
        let section = section(name, secret, &url)?;
        let config = Config::load(&file, &section, None, &[])?;
        let connected = connect(&config, name, &folder, Arc::clone(&secrets) as Arc<dyn SecretSource>).await?;
        let found = connected.discover().await.map_err(|error| error.context(format!("source \"{name}\" could not be looked at")))?;
        printer.note(format!("{name}: {}", plural(found.len(), "table")));
        sources.push((section, name.to_owned(), found));
    }
    let text = render(&arguments.name, &sources);
    // What is written must be read again.
    Config::load(&file, &text, None, &[])?;
    if arguments.print {
        printer.line(text.trim_end());
        return Ok(());
    }
    std::fs::write(&file, text).map_err(|error| {
        Error::new(&CONFIG, format!("configuration \"{}\" could not be written", file.display())).caused_by(error.kind())
    })?;
    printer.line(format!("wrote {}", file.display()));
    printer.line(
        "next: look at the lines marked `review`, then `pipeline config check`, `pipeline doctor nightly` and `pipeline run nightly`",
    );
    Ok(())
}

/// A connected source of a configuration.
pub(crate) async fn connect(config: &Config, name: &str, folder: &Path, secrets: Arc<dyn SecretSource>) -> Result<Box<dyn Source>> {
    let Some(source) = config.sources.get(name) else {
        return Err(Error::new(&CONFIG, format!("there is no source \"{name}\"")));
    };
    let spec: Box<dyn Spec> = (kind(source)?.read)(source.options.clone())?;
    let connect = Connect { folder: folder.to_path_buf(), secrets, key: None, pace: Pace::default(), work: std::env::temp_dir() };
    spec.connect(&connect).await.map_err(|error| error.context(format!("source \"{name}\" could not be opened")))
}

/// The section of a source, from its connection string's scheme. The connection string itself is not written.
fn section(name: &str, secret: &str, url: &str) -> Result<String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let (kind, more) = match scheme {
        "postgres" | "postgresql" => ("postgres", ""),
        "mongodb" | "mongodb+srv" => ("mongodb", "naming = \"camelCase\"\n"),
        _ => {
            return Err(Error::new(&CONFIG, format!("the connection string of source \"{name}\" is of no kind that can be looked at"))
                .hint("It begins with postgres://, mongodb:// or mongodb+srv://. Sources of other kinds are declared by hand."));
        }
    };
    Ok(format!("[sources.{name}]\nkind = \"{kind}\"\nurl = {}\n{more}", quoted(secret)))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The whole file.
fn render(project: &str, sources: &[(String, String, Vec<Found>)]) -> String {
    let mut text = format!(
        "# Written from what the sources hold. Look at what is marked `review`: types, keys and cursors are what the databases say, what is\n\
         # personal is guessed from names.\n\n[project]\nname = {}\n\n[project.privacy]\n# The key of keyed hashes (HMAC-SHA256). Keep it: with \
         another key, hashes of the same person no longer join.\nkey = \"env:PIPELINE_PRIVACY_KEY\"\n\
         # Columns of these names are hashed wherever they stand, unless the column says otherwise (`pii keep`).\nhash = [{}]\n",
        quoted(project),
        HASHED.map(quoted).join(", ")
    );
    for (section, name, found) in sources {
        text.push_str(&format!("\n{section}"));
        let mut names: Vec<String> = Vec::new();
        for table in found {
            text.push_str(&table_section(name, table, &mut names));
        }
    }
    let tables: Vec<String> = sources.iter().map(|(_, name, _)| quoted(&format!("{name}.*"))).collect();
    text.push_str(&format!(
        "\n[pipelines.nightly]\ndescription = \"Every table into the lake\"\ntables = [{}]\nmodels = []\n",
        tables.join(", ")
    ));
    text
}

/// A table's section. `names` are those that the source's tables have already.
fn table_section(source: &str, table: &Found, names: &mut Vec<String>) -> String {
    let bare = table.place.rsplit('.').next().unwrap_or(&table.place).trim_matches('"').to_owned();
    let mut text = String::new();
    let first = column_name(&bare).unwrap_or_else(|| "table".to_owned());
    let name = if names.contains(&first) { column_name(&table.place).unwrap_or(first) } else { first };
    let size = match (table.rows, table.bytes) {
        (Some(rows), Some(bytes)) if bytes >= 1 << 20 => format!("# about {} rows, {} MiB\n", count(rows), count(bytes >> 20)),
        (Some(rows), _) => format!("# about {} rows\n", count(rows)),
        _ => String::new(),
    };
    text.push_str(&format!("\n{size}"));
    let usable: Vec<(String, &FoundColumn)> = named(table);
    if usable.is_empty() || names.contains(&name) {
        text.push_str(&format!("# review: \"{}\" has no column that could be declared, or a name that another table has\n", table.place));
        return text;
    }
    let column_of = |from: &str| usable.iter().find(|(_, column)| column.from == from).map(|(name, _)| name.clone());
    text.push_str(&format!("[sources.{source}.tables.{name}]\n"));
    if bare != name || table.place_key == "relation" {
        text.push_str(&format!("{} = {}\n", table.place_key, quoted(&table.place)));
    }
    let key: Vec<String> = table.key.iter().filter_map(|from| column_of(from)).collect();
    if key.is_empty() || key.len() < table.key.len() {
        text.push_str("# review: no key was found; without one, rows that change are there twice\n");
    } else {
        text.push_str(&format!("key = [{}]\n", key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")));
    }
    text.push_str(&cursor_lines(table, &key, &column_of));
    text.push_str(&format!("[sources.{source}.tables.{name}.columns]\n"));
    for (name, column) in &usable {
        let mut declaration = column.data_type.to_string();
        if !column.nullable || key.contains(name) {
            declaration.push_str(" not null");
        }
        if column.from != spelled(table, name) {
            declaration.push_str(&format!(" from {}", column.from));
        }
        let mut notes: Vec<String> = column.note.iter().cloned().collect();
        if looks_personal(&column.from) && !HASHED.contains(&name.as_str()) {
            notes.push("looks personal: add `pii hash`, `pii mask` or `pii drop` if it is".to_owned());
        }
        let note = match notes.as_slice() {
            [] if HASHED.contains(&name.as_str()) => "  # hashed, see [project.privacy]".to_owned(),
            [] => String::new(),
            notes => format!("  # review: {}", notes.join("; ")),
        };
        text.push_str(&format!("{name} = {}{note}\n", quoted(&declaration)));
    }
    if table.is_open && column_of("_extra").is_none() {
        text.push_str("_extra = \"json\"\n");
    }
    names.push(name);
    text
}

/// The columns that can be named, each with its name: the first to ask for a name has it.
pub(super) fn named(table: &Found) -> Vec<(String, &FoundColumn)> {
    let mut named: Vec<(String, &FoundColumn)> = Vec::new();
    for column in &table.columns {
        // A point in a field's own name would be read as a path.
        let name = column_name(&column.from).filter(|name| {
            !column.from.contains(|c: char| c == '.' || c.is_whitespace() || "<>(),".contains(c))
                && named.iter().all(|(known, _)| known != name)
        });
        if let Some(name) = name {
            named.push((name, column));
        }
    }
    named
}

/// How the source would spell a column's name by itself.
fn spelled(table: &Found, name: &str) -> String {
    if table.place_key != "collection" {
        return name.to_owned();
    }
    let mut upper = false;
    name.chars().fold(String::new(), |mut text, character| {
        if character == '_' {
            upper = true;
        } else {
            text.push(if std::mem::take(&mut upper) { character.to_ascii_uppercase() } else { character });
        }
        text
    })
}

/// The cursor, if a column can be one, and what else could.
fn cursor_lines(table: &Found, key: &[String], column_of: &dyn Fn(&str) -> Option<String>) -> String {
    let shown = |cursor: &FoundCursor| match &cursor.index {
        Some(index) => format!("{} (index {index})", cursor.from),
        None => format!("{} (no index begins with it: each run looks at every row)", cursor.from),
    };
    const NOTHING: &str = "# no column tells what changed: every run reads the whole table\n";
    let Some((best, others)) = table.cursors.split_first() else { return NOTHING.to_owned() };
    if best.is_number {
        let Some(name) = column_of(&best.from) else { return NOTHING.to_owned() };
        // Chosen by itself it would lose changes without a word.
        return format!(
            "# review: no column tells what changed: every run reads the whole table. If its rows are only added, never changed or deleted, and\n\
             # none is committed after one with a higher number, then `cursor = {}` reads only new ones: {}\n",
            quoted(&name),
            shown(best)
        );
    }
    // The rest would fill the line: times of things that happen once.
    let is_likely = |cursor: &&FoundCursor| !cursor.is_number && (cursor.index.is_some() || is_usual_cursor(&cursor.from));
    let others: Vec<String> = others.iter().filter(is_likely).map(shown).collect();
    let others = if others.is_empty() { String::new() } else { format!("; others: {}", others.join(", ")) };
    let is_usual = is_usual_cursor(&best.from);
    match column_of(&best.from) {
        Some(name) if is_usual && !key.is_empty() => format!("cursor = {}  # review: {}{others}\n", quoted(&name), shown(best)),
        _ => format!("# review: every run reads the whole table; `cursor` could be {}{others}\n", shown(best)),
    }
}

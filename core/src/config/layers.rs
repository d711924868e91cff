//! What was written, and where: the file, a profile laid over it, and overrides from flags and the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::{Table, Value};

use super::{CONFIG, Secret};
use crate::error::{Error, Result};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File {
        /// From 1.
        line: usize,
        /// The profile's name, if the line belongs to one.
        profile: Option<String>,
    },
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { line, profile: None } => write!(f, "line {line}"),
            Self::File { line, profile: Some(profile) } => write!(f, "line {line}, profile {profile}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
        }
    }
}

/// A value given outside the file: `project.lake=/data/lake`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The dotted path of the key.
    pub path: String,
    /// The value, as TOML or plain text.
    pub value: String,
    /// Flag or environment.
    pub origin: Origin,
}

impl Override {
    /// Reads `path=value`.
    ///
    /// # Errors
    /// [`CONFIG`] if there is no `=`.
    pub fn parse(text: &str, origin: Origin) -> Result<Self> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => Ok(Self { path: path.trim().to_owned(), value: value.to_owned(), origin }),
            _ => Err(Error::new(&CONFIG, "a setting on the command line has no key or no value")
                .hint("Write it as --set project.lake=/data/lake.")),
        }
    }
}

/// All layers as one table, with the origin of each leaf. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Layers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    profile: Option<String>,
    profiles: Vec<String>,
    root: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    pub(super) fn new(file: &Path, text: &str, profile: Option<&str>, overrides: &[Override]) -> Result<Self> {
        let mut root: Table = text.parse().map_err(|error| syntax_error(file, text, &error))?;
        let mut lines = BTreeMap::new();
        if let Ok(spanned) = toml::de::DeTable::parse(text) {
            record_lines(spanned.get_ref(), "", text, &mut lines);
        }
        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        for (path, line) in &lines {
            if !path.starts_with("profiles.") {
                origins.insert(path.clone(), Origin::File { line: *line, profile: None });
            }
        }
        let profiles = match root.remove("profiles") {
            None => Table::new(),
            Some(Value::Table(profiles)) => profiles,
            Some(_) => return Err(Error::new(&CONFIG, format!("key \"profiles\" in \"{}\" is not a section", file.display()))),
        };
        let names: Vec<String> = profiles.keys().cloned().collect();
        let default = root.remove("default_profile").and_then(|value| value.as_str().map(str::to_owned));
        let chosen = profile.map(str::to_owned).or(default);
        if let Some(name) = &chosen {
            let Some(Value::Table(layer)) = profiles.get(name) else {
                return Err(Error::new(&CONFIG, format!("there is no profile \"{name}\" in \"{}\"", file.display()))
                    .hint(format!("Use one of: {}.", names.join(", "))));
            };
            let prefix = format!("profiles.{name}.");
            for (path, line) in &lines {
                if let Some(path) = path.strip_prefix(&prefix) {
                    origins.insert(path.to_owned(), Origin::File { line: *line, profile: Some(name.clone()) });
                }
            }
            merge(&mut root, layer.clone());
        }
        for given in overrides {
            set(&mut root, &given.path, value_of(&given.value))?;
            origins.insert(given.path.clone(), given.origin.clone());
        }
        Ok(Self(Arc::new(Inner { file: file.to_path_buf(), profile: chosen, profiles: names, root, origins })))
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// The profile in force.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.0.profile.as_deref()
    }

    /// Every profile there is.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        &self.0.profiles
    }

    pub(super) fn root(&self) -> &Table {
        &self.0.root
    }

    /// Where the value of a dotted path came from; None for defaults.
    #[must_use]
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            if let Some(origin) = self.0.origins.get(path) {
                return Some(origin);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Every leaf as (path, value as TOML, origin), for `config show`. A secret that is written out is not shown.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, String, Option<Origin>)> {
        let mut leaves = Vec::new();
        collect(&self.0.root, "", &mut leaves);
        leaves
            .into_iter()
            .map(|(path, value)| {
                let origin = self.origin(&path).cloned();
                (path, value, origin)
            })
            .collect()
    }

    /// A [`CONFIG`] error at a path: file, line and key are named.
    #[must_use]
    pub fn error(&self, path: &str, message: impl Into<String>) -> Error {
        let place = match self.origin(path) {
            Some(origin @ Origin::File { .. }) => format!("{}, {origin}, key {path}", self.0.file.display()),
            Some(origin) => format!("{origin}, key {path}"),
            None => format!("{}, key {path}", self.0.file.display()),
        };
        Error::new(&CONFIG, message).caused_by(place)
    }
}

fn syntax_error(file: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message: String = error.message().lines().next().unwrap_or_default().to_owned();
    Error::new(&CONFIG, format!("\"{}\" is not valid TOML", file.display())).caused_by(format!("line {line}: {message}"))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn record_lines(table: &toml::de::DeTable<'_>, prefix: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        lines.insert(path.clone(), line_of(text, key.span().start));
        if let toml::de::DeValue::Table(inner) = value.get_ref() {
            record_lines(inner, &path, text, lines);
        }
    }
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn value_of(text: &str) -> Value {
    // TOML where it is TOML (numbers, lists, booleans), else plain text.
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, path: &str, value: Value) -> Result<()> {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => match table.entry(first).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => set(inner, rest, value),
            _ => Err(Error::new(&CONFIG, format!("setting \"{path}\" goes below a key that is not a section"))),
        },
    }
}

fn collect(table: &Table, prefix: &str, leaves: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => collect(inner, &path, leaves),
            Value::String(text) if is_written_out_secret(&path, text) => leaves.push((path, "\"***\"".to_owned())),
            other => leaves.push((path, other.to_string())),
        }
    }
}

/// Keys whose values are references to secrets.
const SECRET_KEYS: &[&str] = &["url", "password", "privacy.key", "access_key_id", "secret_access_key", "session_token"];

/// Whether a value is a secret that should have been a reference: nobody is shown it, not even while looking for the mistake.
fn is_written_out_secret(path: &str, text: &str) -> bool {
    let names_secret = SECRET_KEYS.iter().any(|key| path.strip_suffix(key).is_some_and(|rest| rest.ends_with('.')));
    let holds_password = text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')));
    (names_secret && Secret::parse(text).is_err()) || holds_password
}

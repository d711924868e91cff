//! A section of the configuration that is read key by key: what is left at the end was a mistake.

use toml::{Table, Value};

use super::layers::Layers;
use super::secret::Secret;
use super::units::{parse_bytes, parse_share};
use crate::error::{Error, Result};
use crate::window::parse_duration_us;

/// What makes reading a section fail.
pub type KindError = Error;

/// A section. Readers take the keys they know; [`Options::end`] refuses the rest, naming the nearest known key.
#[derive(Debug, Clone)]
pub struct Options {
    table: Table,
    path: String,
    layers: Layers,
    asked: Vec<String>,
}

impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table && self.path == other.path
    }
}

impl Options {
    pub(super) fn new(table: Table, path: String, layers: Layers) -> Self {
        Self { table, path, layers, asked: Vec::new() }
    }

    /// The dotted path of a key of this section.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// An error at a key of this section.
    #[must_use]
    pub fn error(&self, key: &str, message: impl Into<String>) -> Error {
        self.layers.error(&self.path(key), message)
    }

    /// The keys that have not been taken, in the order they were written.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// Whether the section is empty or missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.push(key.to_owned());
        self.table.remove(key)
    }

    /// A section within this one; empty if it is not there.
    ///
    /// # Errors
    /// If the key is not a section.
    pub fn section(&mut self, key: &str) -> Result<Self> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => return Err(self.error(key, format!("key \"{key}\" is not a section"))),
        };
        Ok(Self::new(table, self.path(key), self.layers.clone()))
    }

    /// The named sections within a section, such as every `[sources.NAME]`.
    ///
    /// # Errors
    /// If one of them is not a section.
    pub fn sections(&mut self, key: &str) -> Result<Vec<(String, Self)>> {
        let mut outer = self.section(key)?;
        outer.keys().into_iter().map(|name| Ok((name.clone(), outer.section(&name)?))).collect()
    }

    /// A text.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            // A date without quotes is TOML's own type, and means the same here.
            Some(Value::Datetime(value)) => Ok(Some(value.to_string())),
            Some(other) => Err(self.wrong(key, "a text", &other)),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// If it is missing or something else.
    pub fn required(&mut self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| {
            self.layers
                .error(&self.path, format!("key \"{key}\" is missing in section [{}]", self.path))
                .hint(format!("Add `{key} = \"…\"` to it."))
        })
    }

    /// A text, number or boolean, as text.
    ///
    /// # Errors
    /// If it is a list or a section.
    pub fn scalar(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_))) => Ok(Some(value.to_string())),
            Some(other) => Err(self.wrong(key, "a text or a number", &other)),
        }
    }

    /// A number, or a section of numbers by name; each as text.
    ///
    /// # Errors
    /// If it is something else.
    #[expect(clippy::type_complexity, reason = "amounts with the currencies that they are in, if they say one; named types would hide it")]
    pub fn amounts(&mut self, key: &str) -> Result<Option<Vec<(Option<String>, String)>>> {
        if !matches!(self.table.get(key), Some(Value::Table(_))) {
            return Ok(self.scalar(key)?.map(|text| vec![(None, text)]));
        }
        let mut named = self.section(key)?;
        let mut amounts = Vec::new();
        for name in named.keys() {
            let text = named.scalar(&name)?.unwrap_or_default();
            amounts.push((Some(name), text));
        }
        Ok(Some(amounts))
    }

    /// A list of texts; one text counts as a list of one.
    ///
    /// # Errors
    /// If it is something else.
    pub fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, "a list of texts", value)))
                .collect::<Result<Vec<_>>>()
                .map(Some),
            Some(other) => Err(self.wrong(key, "a list of texts", &other)),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// If it is something else.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, "true or false", &other)),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// If it is something else.
    pub fn number(&mut self, key: &str) -> Result<Option<u64>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Integer(value)) if value >= 0 => Ok(u64::try_from(value).ok()),
            Some(other) => Err(self.wrong(key, "a whole number", &other)),
        }
    }

    /// A size such as `"64MiB"`, in bytes.
    ///
    /// # Errors
    /// If it is something else.
    pub fn bytes(&mut self, key: &str) -> Result<Option<u64>> {
        let Some(text) = self.scalar(key)? else { return Ok(None) };
        parse_bytes(&text)
            .map(Some)
            .ok_or_else(|| self.error(key, format!("\"{text}\" is not a size")).hint("Write it as \"64MiB\" or \"1GiB\"."))
    }

    /// A duration such as `"30s"`, in microseconds.
    ///
    /// # Errors
    /// If it is something else.
    pub fn duration_us(&mut self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse_duration_us(&text)
            .map(Some)
            .map_err(|_| self.error(key, format!("\"{text}\" is not a duration")).hint("Write it as \"30s\", \"15m\" or \"24h\"."))
    }

    /// A share such as `"0.1%"`, from 0 to 1.
    ///
    /// # Errors
    /// If it is something else.
    pub fn share(&mut self, key: &str) -> Result<Option<f64>> {
        let Some(text) = self.scalar(key)? else { return Ok(None) };
        parse_share(&text).map(Some).ok_or_else(|| self.error(key, format!("\"{text}\" is not a share")).hint("Write it as \"0.1%\"."))
    }

    /// A reference to a secret: never the secret itself.
    ///
    /// # Errors
    /// If it is not a reference.
    pub fn secret(&mut self, key: &str) -> Result<Option<Secret>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        Secret::parse(&text).map(Some).map_err(|error| {
            let place = self.error(key, "").causes().join("");
            error.caused_by(place)
        })
    }

    /// A reference to a secret that must be there.
    ///
    /// # Errors
    /// If it is missing or not a reference.
    pub fn required_secret(&mut self, key: &str) -> Result<Secret> {
        self.secret(key)?.ok_or_else(|| {
            self.layers
                .error(&self.path, format!("key \"{key}\" is missing in section [{}]", self.path))
                .hint(format!("Add `{key} = \"env:NAME\"` to it."))
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If a key is left that nobody asked for.
    pub fn end(self) -> Result<()> {
        let Some(unknown) = self.table.keys().next() else { return Ok(()) };
        let nearest = self.asked.iter().min_by_key(|known| distance(known, unknown)).filter(|known| distance(known, unknown) <= 3);
        let section = if self.path.is_empty() { "at the top of the file".to_owned() } else { format!("in section [{}]", self.path) };
        let hint = match nearest {
            Some(known) => format!("Did you mean \"{known}\"?"),
            None => {
                let mut known = self.asked.clone();
                known.sort();
                known.dedup();
                format!("Known keys here: {}.", known.join(", "))
            }
        };
        Err(self.error(unknown, format!("unknown key \"{unknown}\" {section}")).hint(hint))
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> Error {
        self.error(key, format!("key \"{key}\" should be {wanted}, not {}", article(found.type_str())))
    }
}

fn article(kind: &str) -> String {
    match kind {
        "integer" | "array" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}

/// Levenshtein's distance, for "did you mean".
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = before + usize::from(l != *r);
            before = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(before + 1);
        }
    }
    row[right.len()]
}

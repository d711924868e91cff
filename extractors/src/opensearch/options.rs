//! How an OpenSearch source is configured.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pipeline_core::config::{Options, Secret};
use pipeline_core::error::Result;
use pipeline_core::pace::Pace;

/// How long an answer may take, if the configuration says nothing.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// How long the server keeps a point in time after a page, if the configuration says nothing: longer than a page waits for its consumer.
const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(600);

/// Documents of a page, if the configuration says nothing.
const PAGE_ROWS_DEFAULT: u64 = 1_000;

/// The server's own limit (`index.max_result_window`), unless an index raises it.
const PAGE_ROWS_MAX: u64 = 10_000;

/// The section of a source of `kind = "opensearch"`, before its secrets are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchConfig {
    /// Where the URL is.
    pub url: Secret,
    /// The user, if the URL names none.
    pub user: Option<String>,
    /// Where the password is, if the URL has none.
    pub password: Option<Secret>,
    /// The certificates of authorities to trust besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long the server keeps a point in time after a page.
    pub keep_alive: Duration,
    /// Most documents of a page.
    pub page_rows: u64,
}

impl SearchConfig {
    /// Reads the source's section.
    ///
    /// # Errors
    /// If `url` is missing or no reference, a figure is out of range, or a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let url = options.required_secret("url")?;
        let user = options.text("user")?;
        let password = options.secret("password")?;
        if user.is_some() != password.is_some() {
            let (given, missing) = if user.is_some() { ("user", "password") } else { ("password", "user") };
            return Err(options
                .error(given, format!("\"{given}\" is set without \"{missing}\""))
                .hint(format!("Set `{missing}` as well.")));
        }
        let ca_file = options.text("ca_file")?.map(PathBuf::from);
        let mut duration = |key: &str, default| -> Result<Duration> {
            match options.duration_us(key)? {
                None => Ok(default),
                Some(us) if us >= 1_000_000 => Ok(Duration::from_micros(us.unsigned_abs())),
                Some(_) => Err(options.error(key, format!("\"{key}\" is shorter than a second")).hint("Write it as \"60s\" or \"10m\".")),
            }
        };
        let timeout = duration("timeout", TIMEOUT_DEFAULT)?;
        let keep_alive = duration("keep_alive", KEEP_ALIVE_DEFAULT)?;
        let page_rows = options.number("page_rows")?.unwrap_or(PAGE_ROWS_DEFAULT);
        if !(1..=PAGE_ROWS_MAX).contains(&page_rows) {
            return Err(options
                .error("page_rows", format!("a page of {page_rows} rows is not possible"))
                .hint(format!("Use a number from 1 to {PAGE_ROWS_MAX}.")));
        }
        options.end()?;
        Ok(Self { url, user, password, ca_file, timeout, keep_alive, page_rows })
    }
}

/// Where an OpenSearch server is. Its text form hides the URL and the password.
#[derive(Clone)]
pub struct SearchOptions {
    /// The URL: a secret, since it may hold user and password.
    pub url: String,
    /// User and password, if the URL has none.
    pub login: Option<(String, String)>,
    /// As in [`SearchConfig`], from where this process stands.
    pub ca_file: Option<PathBuf>,
    /// As in [`SearchConfig`].
    pub timeout: Duration,
    /// As in [`SearchConfig`].
    pub keep_alive: Duration,
    /// As in [`SearchConfig`].
    pub page_rows: u64,
    /// How fast it may be read.
    pub pace: Pace,
}

impl SearchOptions {
    /// A server by its URL alone.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self {
            url,
            login: None,
            ca_file: None,
            timeout: TIMEOUT_DEFAULT,
            keep_alive: KEEP_ALIVE_DEFAULT,
            page_rows: PAGE_ROWS_DEFAULT,
            pace: Pace::default(),
        }
    }
}

impl fmt::Debug for SearchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchOptions").field("url", &"…").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

/// What a table's section says beside its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The index's name, an alias, or a pattern, if it is not the table's name.
    pub index: Option<String>,
}

impl TableOptions {
    /// Reads what is left of a table's section. `file` belongs to the same table read from a dump, in another profile.
    ///
    /// # Errors
    /// If a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let index = options.text("index")?;
        options.text("file")?;
        options.end()?;
        Ok(Self { index })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline_core::config::Config;

    use super::*;
    use crate::opensearch::EXAMPLE;

    fn read(example: &str) -> Result<(SearchConfig, TableOptions)> {
        let text = format!("[project]\nname = \"example\"\n{example}");
        let source = Config::load(Path::new("project/pipelines.toml"), &text, None, &[])?.sources.remove("audit").unwrap();
        let table = source.tables.into_values().next().unwrap();
        Ok((SearchConfig::read(source.options)?, TableOptions::read(table.options)?))
    }

    #[test]
    fn the_example_is_read_and_mistakes_in_it_are_named() {
        let (config, table) = read(EXAMPLE).unwrap();
        assert_eq!((config.url.to_string().as_str(), config.user.as_deref()), ("env:AUDIT_OPENSEARCH_URL", Some("pipeline")));
        assert_eq!((config.timeout.as_secs(), config.keep_alive.as_secs(), config.page_rows), (30, 300, 2_000));
        assert_eq!(table.index.as_deref(), Some("audit-*"));
        assert_eq!(read(&EXAMPLE.replace("keep_alive = ", "keepalive = ")).unwrap_err().remedy(), "Did you mean \"keep_alive\"?");
        assert_eq!(read(&EXAMPLE.replace("2000", "20000")).unwrap_err().message(), "a page of 20000 rows is not possible");
        assert!(read(&EXAMPLE.replace("user = ", "# user = ")).unwrap_err().message().contains("without \"user\""));
        let open_secret = EXAMPLE.replace("env:AUDIT_OPENSEARCH_PASSWORD", "hunter2");
        assert!(!format!("{:?}", read(&open_secret).unwrap_err()).contains("hunter2"));
    }
}

//! The sections that say where models are computed.

use super::kind::Options;
use crate::error::Result;

/// Parts of a stage, if the configuration says nothing.
const PARTITIONS_DEFAULT: u64 = 16;

/// The section `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Host and port of its scheduler.
    pub scheduler: Option<Address>,
    /// Into how many parts a stage of a statement is cut.
    pub partitions: usize,
    /// Whether the project's models are computed there: `engine = "ballista"` in `[project]`.
    pub is_used: bool,
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address; one of IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`; None if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let is_host = !host.is_empty() && !host.contains('/') && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        is_host.then(|| Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Cluster {
    pub(super) fn read(mut section: Options, is_used: bool) -> Result<Self> {
        let scheduler = match section.text("scheduler")? {
            None if is_used => {
                return Err(section
                    .error("scheduler", "the engine \"ballista\" needs to know where its scheduler is")
                    .hint("Add a section [cluster] with scheduler = \"HOST:50050\", or set engine = \"local\" in [project]."));
            }
            None => None,
            Some(text) => Some(Address::parse(&text).ok_or_else(|| {
                section.error("scheduler", "scheduler is not written as HOST:PORT").hint("Write it as \"scheduler.internal:50050\".")
            })?),
        };
        let partitions = section.number("partitions")?.unwrap_or(PARTITIONS_DEFAULT).clamp(1, 10_000);
        section.end()?;
        Ok(Self { scheduler, partitions: usize::try_from(partitions).unwrap_or(1), is_used })
    }
}

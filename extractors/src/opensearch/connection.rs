//! A connection to a cluster, shared by its tables.

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Extractor;
use pipeline_core::pace::Pace;
use pipeline_core::privacy::PrivacyKey;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE};
use reqwest::{Certificate, Client, Method, Url};
use serde_json::Value;

use super::error::{CURSOR, Failure, URL, VERSION};
use super::options::{SearchOptions, TableOptions};
use super::plan::SearchExtractor;
use crate::bson::{CursorField, Decoder};

/// Most bytes of an answer, unpacked: a single document has at most 100 MB (the server's `http.max_content_length`).
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// The first version with points in time.
const VERSION_MIN: Version = Version { major: 2, minor: 4 };

/// The first version that sorts by `_shard_doc`.
const VERSION_WITH_SHARD_DOC: Version = Version { major: 3, minor: 3 };

/// A server's version, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

/// A connection to one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    url: Url,
    login: Option<(String, String)>,
    keep_alive: Duration,
    page_rows: u64,
    pace: Pace,
    version: Version,
}

/// What the server answered.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// The server's clock, in microseconds since 1970 UTC; it tells whole seconds.
    pub(super) server_time_us: Option<i64>,
}

impl Answer {
    pub(super) fn value(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::Reply)
    }
}

impl Connection {
    /// Reads the URL and asks the server for its version.
    ///
    /// # Errors
    /// [`URL`] if the URL or the certificate file cannot be used; [`VERSION`] if the server is too old or another one;
    /// [`UNREACHABLE`](super::UNREACHABLE), [`TLS`](super::TLS) or [`AUTH`](super::AUTH) from the way there.
    pub async fn open(options: &SearchOptions) -> Result<Self> {
        let unusable = |what: &str| Error::new(&URL, what);
        let mut url = Url::parse(&options.url).map_err(|_| unusable("the OpenSearch URL cannot be read"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(unusable("the OpenSearch URL does not begin with https:// or http:// and a host"));
        }
        let mut login = options.login.clone();
        if !url.username().is_empty() {
            let decoded = |text: &str| percent_decoded(text).ok_or_else(|| unusable("the login in the OpenSearch URL cannot be read"));
            login = Some((decoded(url.username())?, decoded(url.password().unwrap_or_default())?));
        }
        // Without a login in it, the URL may stand in the client's errors and logs.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(unusable("the OpenSearch URL cannot hold a login"));
        }
        let mut client =
            Client::builder().timeout(options.timeout).connect_timeout(options.timeout).redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &options.ca_file {
            let wrong = |what: &str| unusable(&format!("the certificate file \"{}\" {what}", file.display()));
            let pem = tokio::fs::read(file).await.map_err(|error| wrong("could not be read").caused_by(error.kind()))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| wrong("is not PEM"))?;
            if certificates.is_empty() {
                return Err(wrong("holds no certificate"));
            }
            for certificate in certificates {
                client = client.add_root_certificate(certificate);
            }
        }
        let client = client.build().map_err(|_| unusable("the client of the OpenSearch server could not be made"))?;
        let (keep_alive, page_rows, pace) = (options.keep_alive, options.page_rows, options.pace.clone());
        let version = Version { major: 0, minor: 0 };
        let mut inner = Inner { client, url, login, keep_alive, page_rows, pace, version };
        let what = "the OpenSearch server could not be asked for its version";
        let answer = inner.call(Method::GET, &[], &[], None).await.map_err(|failure| failure.about(what))?;
        let root = answer.value().map_err(|failure| failure.about(what))?;
        let about = |name: &str| root.get("version").and_then(|version| version.get(name)).and_then(Value::as_str);
        let version = about("number").and_then(Version::parse);
        match version.filter(|version| about("distribution") == Some("opensearch") && *version >= VERSION_MIN) {
            Some(version) => inner.version = version,
            None => return Err(Error::new(&VERSION, "the server is not OpenSearch 2.4 or newer")),
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Opens a table: what an index, an alias or a pattern of the cluster holds.
    ///
    /// # Errors
    /// [`CURSOR`] if the contract's cursor has a type that documents do not have; the errors of [`Decoder::new`]. Whether the
    /// index exists is asked when it is planned.
    pub fn table(&self, contract: Contract, table: &TableOptions, key: Option<PrivacyKey>) -> Result<Box<dyn Extractor>> {
        Decoder::new(&contract, key.as_ref())?;
        let cursor = CursorField::of(&contract);
        if cursor.is_none() && contract.cursor.is_some() {
            return Err(Error::new(&CURSOR, format!("table \"{}\" has a cursor of a type that documents do not have", contract.table)));
        }
        let index = table.index.clone().unwrap_or_else(|| contract.table.table().to_owned());
        Ok(Box::new(SearchExtractor::new(self.clone(), index, contract, cursor, key)))
    }

    /// How fast the cluster may be read.
    pub(super) fn pace(&self) -> &Pace {
        &self.0.pace
    }

    pub(super) fn page_rows(&self) -> u64 {
        self.0.page_rows
    }

    /// How long a point in time shall live after a page, as the server reads it.
    pub(super) fn keep_alive(&self) -> String {
        format!("{}s", self.0.keep_alive.as_secs().max(1))
    }

    /// Whether documents can be sorted by `_shard_doc`.
    pub(super) fn has_shard_doc(&self) -> bool {
        self.0.version >= VERSION_WITH_SHARD_DOC
    }

    /// Sends a request to the path made of `segments`. A body makes it JSON.
    pub(super) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        parameters: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.0.call(method, segments, parameters, body).await
    }
}

impl Inner {
    async fn call(&self, method: Method, segments: &[&str], parameters: &[(&str, &str)], body: Option<&Value>) -> Result<Answer, Failure> {
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| Failure::Connection)?.pop_if_empty().extend(segments);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let mut request = self.client.request(method, url).header(ACCEPT_ENCODING, "gzip");
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(|error| Failure::of(&error))?;
        let status = response.status();
        let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let server_time_us = response.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(time_of_header);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLarge { bytes_max: ANSWER_BYTES_MAX });
            }
            body.extend_from_slice(&chunk);
        }
        if is_packed {
            body = unpacked(&body, ANSWER_BYTES_MAX)?;
        }
        if !status.is_success() {
            return Err(Failure::of_status(status.as_u16(), &body));
        }
        Ok(Answer { body, server_time_us })
    }
}

/// The time of an HTTP `Date` (RFC 9110, section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn time_of_header(text: &str) -> Option<i64> {
    chrono::NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT").ok().map(|time| time.and_utc().timestamp_micros())
}

fn unpacked(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    // One byte more tells that there is more: a small answer must not unpack to all memory there is.
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(packed).take(limit).read_to_end(&mut body).map_err(|_| Failure::Reply)?;
    if body.len() > bytes_max { Err(Failure::TooLarge { bytes_max }) } else { Ok(body) }
}

/// Text without percent-encoding; None if it is malformed.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let digits = [*rest.next()?, *rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("version", &self.0.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn packed_answers_are_unpacked_up_to_a_limit() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&[b' '; 10_000]).unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(unpacked(&packed, 10_000).unwrap().len(), 10_000);
        assert!(matches!(unpacked(&packed, 9_999), Err(Failure::TooLarge { .. })));
        assert!(matches!(unpacked(b"not packed", 100), Err(Failure::Reply)));
    }

    #[test]
    fn headers_versions_and_logins_are_read() {
        assert_eq!(time_of_header("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000_000));
        assert_eq!(time_of_header("yesterday"), None);
        assert!(Version::parse("2.19.1").unwrap() < VERSION_WITH_SHARD_DOC && Version::parse("3.10.0").unwrap() > VERSION_WITH_SHARD_DOC);
        assert_eq!(percent_decoded("p%40ss%C3%A9").as_deref(), Some("p@ssé"));
        assert_eq!(percent_decoded("p%4"), None);
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_refused_without_being_shown() {
        for url in ["secret", "ftp://secret", "http://"] {
            let error = Connection::open(&SearchOptions::new(url.to_owned())).await.unwrap_err();
            assert_eq!(error.code().name, "E-SEARCH-URL");
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}

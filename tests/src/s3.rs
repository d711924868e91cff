//! An S3 server.

use std::process::Command;

use ureq::http::Method;

use crate::http::{self, Response};
use crate::server::{Server, StartError, start};
use crate::signature::{self, Signable};
use crate::{keeper, place, port};

/// The region of every request; the server has none of its own.
pub(crate) const REGION: &str = "us-east-1";

/// Keys of an identity.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

impl Credentials {
    fn new(name: &str) -> Self {
        Self { access_key_id: format!("{name}{}", place::random_hex(6)).to_uppercase(), secret_access_key: place::random_hex(20) }
    }

    /// The environment variables that AWS clients read.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("AWS_REGION", REGION.to_owned()),
        ]
    }
}

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its entity tag, without quotes.
    pub tag: String,
}

/// SeaweedFS: signatures, conditional writes and checksums are verified, and a bucket that is missing stays missing.
///
/// What it does not have: encryption with KMS keys, and an atomic condition on the completion of a multipart upload.
#[derive(Debug)]
pub struct S3 {
    port: u16,
    owner: Credentials,
    reader: Credentials,
    _server: Server,
}

impl S3 {
    /// Starts a server without buckets.
    ///
    /// # Panics
    /// If the server is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        start(Self::attempt)
    }

    fn attempt() -> Result<Self, StartError> {
        let folder = keeper::folder("s3");
        let data = folder.join("data");
        std::fs::create_dir(&data).expect("the folder was made a moment ago");
        let (owner, reader) = (Credentials::new("owner"), Credentials::new("reader"));
        let identity = |name: &str, credentials: &Credentials, actions: &[&str]| {
            serde_json::json!({
                "name": name,
                "credentials": [{"accessKey": credentials.access_key_id, "secretKey": credentials.secret_access_key}],
                "actions": actions,
            })
        };
        let identities = serde_json::json!({"identities": [
            identity("owner", &owner, &["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", &reader, &["Read", "List"]),
        ]});
        let configuration = folder.join("identities.json");
        std::fs::write(&configuration, identities.to_string()).expect("the folder was made a moment ago");

        let port = port::free();
        let mut command = Command::new(place::service("weed"));
        command.arg("mini").arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", configuration.display()));
        command.arg(format!("-s3.port={port}"));
        for name in ["master", "volume", "filer", "admin"] {
            command.arg(format!("-{name}.port={}", port::free()));
        }
        command
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            // Made on first use, a bucket would hide that nobody made it.
            .args(["-s3.autoCreateBucket=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=128"])
            .env("WEED_S3_SSE_KEY", "any")
            .env("GOMEMLIMIT", "400MiB")
            .env("HOME", &folder)
            .current_dir(&folder);
        let server = Server::spawn("s3", "KILL", &folder, &mut command);
        let answers = || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            // Listening is not yet working: the first object needs a volume, which takes another second.
            let probe = |method: Method, path: &str| request(port, &owner, method, path, &[], Vec::new()).ok();
            let made = probe(Method::PUT, "/ready-probe")?.status;
            if made != 200 && made != 409 {
                return None;
            }
            let written = request(port, &owner, Method::PUT, "/ready-probe/object", &[], b"x".to_vec()).ok()?.status == 200;
            (written && probe(Method::DELETE, "/ready-probe/object")?.status == 204 && probe(Method::DELETE, "/ready-probe")?.status == 204)
                .then_some(())
        };
        let (server, ()) = server.ready(answers)?;
        Ok(Self { port, owner, reader, _server: server })
    }

    /// The URL of the server, without bucket: path-style addressing, no TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The keys of an identity that may do everything.
    #[must_use]
    pub fn owner(&self) -> &Credentials {
        &self.owner
    }

    /// The keys of an identity that may list and read, but not write.
    #[must_use]
    pub fn reader(&self) -> &Credentials {
        &self.reader
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_bucket(&self, bucket: &str) {
        self.done(Method::PUT, &format!("/{bucket}"), Vec::new());
    }

    /// Writes an object.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn put(&self, bucket: &str, key: &str, body: Vec<u8>) {
        self.done(Method::PUT, &format!("/{bucket}/{key}"), body);
    }

    /// An object's content.
    ///
    /// # Panics
    /// If the server refuses, or the object is not there.
    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.done(Method::GET, &format!("/{bucket}/{key}"), Vec::new()).body
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.done(Method::DELETE, &format!("/{bucket}/{key}"), Vec::new());
    }

    /// All objects whose keys begin so, by key.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn list(&self, bucket: &str, prefix: &str) -> Vec<Object> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if let Some(token) = &token {
                query.push(("continuation-token", token));
            }
            let text = self.ask(bucket, &query);
            for content in elements(&text, "Contents") {
                let field = |name| elements(content, name).next().map(unescape).unwrap_or_default();
                objects.push(Object {
                    key: field("Key"),
                    bytes: field("Size").parse().expect("S3 gives every object's size"),
                    tag: field("ETag").trim_matches('"').to_owned(),
                });
            }
            token = elements(&text, "NextContinuationToken").next().map(unescape);
            if token.is_none() {
                objects.sort_unstable();
                return objects;
            }
        }
    }

    /// The keys of multipart uploads that were begun, and neither completed nor aborted.
    ///
    /// # Panics
    /// If the server refuses, or there are more than one answer holds (1,000).
    #[must_use]
    pub fn unfinished_uploads(&self, bucket: &str) -> Vec<String> {
        let text = self.ask(bucket, &[("uploads", "")]);
        assert_ne!(elements(&text, "IsTruncated").next(), Some("true"), "more unfinished uploads than one answer holds");
        elements(&text, "Upload").filter_map(|upload| elements(upload, "Key").next().map(unescape)).collect()
    }

    fn ask(&self, bucket: &str, query: &[(&str, &str)]) -> String {
        let answer = request(self.port, &self.owner, Method::GET, &format!("/{bucket}"), query, Vec::new())
            .unwrap_or_else(|error| panic!("the S3 server did not answer: {error}"));
        assert_eq!(answer.status, 200, "the S3 server refused to list bucket \"{bucket}\": {}", answer.text());
        answer.text()
    }

    fn done(&self, method: Method, path: &str, body: Vec<u8>) -> Response {
        let answer = request(self.port, &self.owner, method.clone(), path, &[], body)
            .unwrap_or_else(|error| panic!("the S3 server did not answer: {error}"));
        assert!(
            (200..300).contains(&answer.status),
            "the S3 server refused {method} \"{path}\" with status {}: {}",
            answer.status,
            answer.text()
        );
        answer
    }
}

fn request(
    port: u16,
    credentials: &Credentials,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Response, String> {
    let host = format!("127.0.0.1:{port}");
    let path = signature::path_text(path);
    let signable = Signable { method: &method, host: &host, path: &path, query, body: &body };
    let headers = signature::headers(&signable, credentials, REGION, place::now());
    let query = signature::query_text(query);
    let separator = if query.is_empty() { "" } else { "?" };
    http::send(method, &format!("http://{host}{path}{separator}{query}"), &headers, body)
}

/// The contents of the elements of this name. Enough for S3's listings, whose elements of one name never nest.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(open.as_str())
        .skip(1)
        .filter_map(move |rest| rest.split_once(close.as_str()).map(|(content, _)| content))
        .collect::<Vec<_>>()
        .into_iter()
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let text = "<R><Contents><Key>a&amp;b</Key><Size>3</Size></Contents><Contents><Key>c</Key></Contents></R>";
        let keys: Vec<String> = elements(text, "Contents").filter_map(|content| elements(content, "Key").next().map(unescape)).collect();
        assert_eq!(keys, ["a&b", "c"]);
    }
}

//! A server of OpenSearch's protocol.

use std::process::Command;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::server::{Server, StartError, start};
use crate::{http, keeper, place, port};

/// Documents in one bulk request.
const BULK_ROWS: usize = 500;

/// osmem-server: an emulator of OpenSearch 3 in memory.
///
/// It is not OpenSearch, so tests must not claim for OpenSearch what it does differently: it has one node and no memory limits, asks for no
/// password, packs no answers, and loses nothing that is not taken from it on purpose.
#[derive(Debug)]
pub struct OpenSearch {
    port: u16,
    _server: Server,
}

impl OpenSearch {
    /// Starts a server that asks for no password.
    ///
    /// # Panics
    /// If the server is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        start(Self::attempt)
    }

    fn attempt() -> Result<Self, StartError> {
        let folder = keeper::folder("opensearch");
        let port = port::free();
        let mut command = Command::new(place::service("osmem-server"));
        command.args(["-addr", &format!("127.0.0.1:{port}"), "-no-stdin-watch"]).current_dir(&folder);
        let server = Server::spawn("opensearch", "KILL", &folder, &mut command);
        let url = format!("http://127.0.0.1:{port}/");
        let (server, ()) =
            server.ready(|| http::send(Method::GET, &url, &[], Vec::new()).ok().filter(|answer| answer.status == 200).map(|_| ()))?;
        Ok(Self { port, _server: server })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes an index with the mapping of these fields.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_index(&self, index: &str, properties: &Value) {
        self.send(Method::PUT, index, Some(&json!({"mappings": {"properties": properties}})));
    }

    /// Writes documents, each with its identifier, and makes them visible.
    ///
    /// # Panics
    /// If the server refuses one of them.
    pub fn index(&self, index: &str, documents: &[(String, Value)]) {
        for part in documents.chunks(BULK_ROWS) {
            let lines: String = part.iter().map(|(id, document)| format!("{}\n{document}\n", json!({"index": {"_id": id}}))).collect();
            let answer = self.request(Method::POST, &format!("{index}/_bulk"), lines.into_bytes(), "application/x-ndjson");
            assert_eq!(answer["errors"], false, "a document was refused");
        }
        self.send(Method::POST, &format!("{index}/_refresh"), None);
    }

    /// Removes a document.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn delete(&self, index: &str, id: &str) {
        self.send(Method::DELETE, &format!("{index}/_doc/{id}?refresh=true"), None);
    }

    /// The points in time that are open.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn points_in_time(&self) -> Vec<String> {
        let answer = self.send(Method::GET, "_search/point_in_time/_all", None);
        let points = answer["pits"].as_array().cloned().unwrap_or_default();
        points.iter().filter_map(|point| point["pit_id"].as_str().map(str::to_owned)).collect()
    }

    /// Takes all points in time away, as a node that leaves does. How many there were.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn lose_points_in_time(&self) -> usize {
        let points = self.points_in_time();
        if !points.is_empty() {
            self.send(Method::DELETE, "_search/point_in_time/_all", None);
        }
        points.len()
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.request(method, path, body.map(Value::to_string).unwrap_or_default().into_bytes(), "application/json")
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>, content_type: &str) -> Value {
        let headers = [("content-type".to_owned(), content_type.to_owned())];
        let answer = http::send(method, &format!("{}/{path}", self.url()), &headers, body)
            .unwrap_or_else(|error| panic!("opensearch did not answer \"{path}\": {error}"));
        assert!(answer.status < 300, "opensearch refused \"{path}\": {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("opensearch answered \"{path}\" with something else: {error}"))
    }
}

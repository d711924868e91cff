//! A receiver of traces.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::server::{Server, StartError, start};
use crate::{keeper, place, port};

/// How long spans that were sent may take to be printed.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// rotel, an OpenTelemetry collector that prints every span it receives over OTLP.
#[derive(Debug)]
pub struct OtlpReceiver {
    http_port: u16,
    grpc_port: u16,
    server: Server,
}

/// A span as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// Hexadecimal.
    pub trace_id: String,
    /// Hexadecimal.
    pub span_id: String,
    /// Hexadecimal; empty for the first span of a trace.
    pub parent_span_id: String,
    /// What it is of.
    pub name: String,
    /// Nanoseconds since 1970.
    pub start_ns: u64,
    /// Nanoseconds since 1970.
    pub end_ns: u64,
    /// How it ended.
    pub status: SpanStatus,
    /// What the status says.
    pub status_message: String,
    /// Values as text, whatever their type.
    pub attributes: BTreeMap<String, String>,
    /// What happened within.
    pub events: Vec<SpanEvent>,
    /// The resource's attributes, such as `service.name`.
    pub resource: BTreeMap<String, String>,
}

/// An event of a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanEvent {
    /// What happened.
    pub name: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpanStatus {
    /// Nobody said.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// Badly.
    Error,
}

impl OtlpReceiver {
    /// Starts a receiver.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        start(Self::attempt)
    }

    fn attempt() -> Result<Self, StartError> {
        let folder = keeper::folder("otlp");
        let (http_port, grpc_port) = (port::free(), port::free());
        let mut command = Command::new(place::service("rotel-agent"));
        command
            .arg("start")
            .arg("--otlp-http-endpoint")
            .arg(format!("127.0.0.1:{http_port}"))
            .arg("--otlp-grpc-endpoint")
            .arg(format!("127.0.0.1:{grpc_port}"))
            .args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .env("NO_COLOR", "1")
            .env("HOME", &folder)
            .current_dir(&folder);
        let server = Server::spawn("otlp", "KILL", &folder, &mut command);
        let (server, ()) = server.ready(|| {
            std::net::TcpStream::connect(("127.0.0.1", http_port)).ok()?;
            std::net::TcpStream::connect(("127.0.0.1", grpc_port)).ok().map(|_| ())
        })?;
        Ok(Self { http_port, grpc_port, server })
    }

    /// Where OTLP over HTTP is received: `otlp_endpoint` of the configuration.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Where OTLP over gRPC is received.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// The spans that arrived so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        parse(&self.server.log())
    }

    /// The spans, as soon as one of this name is there: those of one request arrive together.
    ///
    /// # Panics
    /// If none comes within ten seconds; with the names of those that did.
    #[must_use]
    pub fn spans_with(&self, name: &str) -> Vec<Span> {
        let deadline = Instant::now() + ARRIVAL_TIMEOUT;
        loop {
            let spans = self.spans();
            if spans.iter().any(|span| span.name == name) {
                return spans;
            }
            if Instant::now() > deadline {
                let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
                panic!("no span \"{name}\" arrived, but {names:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Which list the attributes that follow belong to.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Resource,
    Scope,
    Span,
    Event,
}

/// Reads what rotel prints with `--debug-log-verbosity detailed`.
fn parse(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut resource: BTreeMap<String, String> = BTreeMap::new();
    let mut place = Place::Resource;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if line.starts_with("ResourceSpans #") {
            resource.clear();
            place = Place::Resource;
        } else if line.starts_with("ScopeSpans #") {
            place = Place::Scope;
        } else if line.starts_with("Span #") {
            spans.push(Span { resource: resource.clone(), ..Span::default() });
            place = Place::Span;
        } else if line.starts_with("SpanEvent #") {
            if let Some(span) = spans.last_mut() {
                span.events.push(SpanEvent::default());
            }
            place = Place::Event;
        } else if let Some(attribute) = trimmed.strip_prefix("-> ") {
            let Some((name, value)) = attribute.split_once(": ") else { continue };
            if place == Place::Event && matches!(name, "Name" | "Timestamp" | "DroppedAttributesCount") {
                if let (Some(event), "Name") = (spans.last_mut().and_then(|span| span.events.last_mut()), name) {
                    value.clone_into(&mut event.name);
                }
                continue;
            }
            let mut value = value.to_owned();
            // A text of several lines goes on until its parenthesis closes.
            while value.contains('(') && !value.ends_with(')') {
                let Some(next) = lines.next() else { break };
                value = format!("{value}\n{next}");
            }
            let value = content(&value);
            match place {
                Place::Resource => drop(resource.insert(name.to_owned(), value)),
                Place::Scope => {}
                Place::Span => drop(spans.last_mut().and_then(|span| span.attributes.insert(name.to_owned(), value))),
                Place::Event => {
                    drop(
                        spans
                            .last_mut()
                            .and_then(|span| span.events.last_mut())
                            .and_then(|event| event.attributes.insert(name.to_owned(), value)),
                    );
                }
            }
        } else if let (Some((name, value)), Some(span), Place::Span) = (trimmed.split_once(':'), spans.last_mut(), place) {
            field(span, name.trim_end(), value.trim());
        }
    }
    spans
}

fn field(span: &mut Span, name: &str, value: &str) {
    let text = value.to_owned();
    match name {
        "Trace ID" => span.trace_id = text,
        "Parent ID" => span.parent_span_id = text,
        "ID" => span.span_id = text,
        "Name" => span.name = text,
        "Start time" => span.start_ns = value.parse().unwrap_or_default(),
        "End time" => span.end_ns = value.parse().unwrap_or_default(),
        "Status message" => span.status_message = text,
        "Status code" => {
            span.status = match value {
                "STATUS_CODE_OK" => SpanStatus::Ok,
                "STATUS_CODE_ERROR" => SpanStatus::Error,
                _ => SpanStatus::Unset,
            };
        }
        _ => {}
    }
}

/// `Int(3)` is 3, `Str(text)` is text.
fn content(value: &str) -> String {
    value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "2026-01-01T00:00:00Z  INFO Starting Rotel. grpc_endpoint=\"127.0.0.1:1\"
ResourceSpans #0
Resource attributes:
     -> service.name: Str(pipeline)
ScopeSpans #0
InstrumentationScope x 
Span #0
    Trace ID       : 5b8e
    Parent ID      : 
    ID             : eee1
    Name           : load step: one
    Kind           : SPAN_KIND_INTERNAL
Start time: 1544712660000000000
End time: 1544712661000000000
    Status code    : STATUS_CODE_ERROR
    Status message : bad
Attributes:
     -> rows: Int(3)
     -> text: Str(a b: c
second (line))
Events:
SpanEvent #0
     -> Name: retried
     -> Timestamp: 1544712660500000000
     -> DroppedAttributesCount: 0
     -> Attributes::
     -> attempt: Int(2)
Span #1
    Trace ID       : 5b8e
    Parent ID      : eee1
    ID             : eee2
    Name           : slice
";

    #[test]
    fn what_is_printed_is_read() {
        let spans = parse(PRINTED);
        assert_eq!(spans.len(), 2);
        let span = &spans[0];
        assert_eq!((span.name.as_str(), span.span_id.as_str(), span.parent_span_id.as_str()), ("load step: one", "eee1", ""));
        assert_eq!((span.status, span.status_message.as_str()), (SpanStatus::Error, "bad"));
        assert_eq!(span.end_ns - span.start_ns, 1_000_000_000);
        assert_eq!(span.attributes["rows"], "3");
        assert_eq!(span.attributes["text"], "a b: c\nsecond (line)");
        assert_eq!(span.resource["service.name"], "pipeline");
        assert_eq!(span.events[0].name, "retried");
        assert_eq!(span.events[0].attributes["attempt"], "2");
        assert_eq!((spans[1].name.as_str(), spans[1].parent_span_id.as_str()), ("slice", "eee1"));
        assert!(spans[1].attributes.is_empty());
    }
}

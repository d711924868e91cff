//! A statement, from its submission to the end of its retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};

use super::target::Target;
use crate::clock;
use crate::engine::execute::Parameter;
use crate::engine::result::ResultSet;

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Submitted,
    Picked,
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Picked => "PICKED",
            Self::Started => "STARTED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }

    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Aborted)
    }
}

/// How a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One transaction: all or none.
    Transaction,
    /// Each statement by itself; later ones run after a failure.
    AutoCommit,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transaction => "TRANSACTION",
            Self::AutoCommit => "AUTO_COMMIT",
        }
    }
}

/// The form results were asked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) statements: Vec<String>,
    /// None: ExecuteStatement.
    pub(crate) mode: Option<Mode>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) target: Target,
    pub(crate) name: Option<String>,
    pub(crate) format: Format,
    pub(crate) session_id: Option<String>,
}

/// One statement of a batch, or the only one.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) rows: i64,
    pub(crate) query_id: i64,
    pub(crate) duration_nanoseconds: i64,
    pub(crate) has_result: bool,
    pub(crate) result: Option<Arc<ResultSet>>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// How far a statement has come.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) process_id: i32,
    pub(crate) duration_nanoseconds: i64,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) parts: Vec<Part>,
}

/// A statement the service knows.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) id: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) request: Request,
    pub(crate) progress: watch::Sender<Progress>,
    cancelled: AtomicBool,
    pub(crate) cancel_asked: Notify,
}

impl Statement {
    pub(crate) fn new(request: Request) -> Self {
        let now = clock::now();
        let part = Part {
            status: Status::Submitted,
            error: None,
            rows: -1,
            query_id: 0,
            duration_nanoseconds: -1,
            has_result: false,
            result: None,
            updated_at: now,
        };
        let progress = Progress {
            status: Status::Submitted,
            error: None,
            process_id: 0,
            duration_nanoseconds: -1,
            updated_at: now,
            parts: vec![part; request.statements.len()],
        };
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            created_at: now,
            request,
            progress: watch::Sender::new(progress),
            cancelled: AtomicBool::new(false),
            cancel_asked: Notify::new(),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel_asked.notify_waiters();
    }

    /// Moves to a status.
    pub(crate) fn advance(&self, status: Status) {
        self.progress.send_modify(|progress| {
            progress.status = status;
            progress.updated_at = clock::now();
        });
    }

    /// Changes one part.
    pub(crate) fn change_part(&self, index: usize, change: impl FnOnce(&mut Part)) {
        self.progress.send_modify(|progress| {
            if let Some(part) = progress.parts.get_mut(index) {
                change(part);
                part.updated_at = clock::now();
            }
        });
    }

    /// Waits until the end, at most so long. Returns how far it has come.
    pub(crate) async fn wait(&self, seconds: u64) -> Progress {
        let mut receiver = self.progress.subscribe();
        let ended = receiver.wait_for(|progress| progress.status.is_terminal());
        // Both an end and the passing of the time are answered with what is then known.
        let _ended = tokio::time::timeout(std::time::Duration::from_secs(seconds), ended).await.is_ok();
        self.progress.borrow().clone()
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.request.mode.is_some()
    }

    /// DescribeStatement of the whole.
    pub(crate) fn describe(&self, progress: &Progress) -> Value {
        let mut body = Map::new();
        self.request.target.describe(&mut body);
        let mut put = |name: &str, value: Value| {
            body.insert(name.to_owned(), value);
        };
        put("Id", json!(self.id));
        put("Status", json!(progress.status.name()));
        put("CreatedAt", json!(clock::epoch_seconds(self.created_at)));
        put("UpdatedAt", json!(clock::epoch_seconds(progress.updated_at)));
        put("Duration", json!(progress.duration_nanoseconds));
        put("RedshiftPid", json!(progress.process_id));
        put("ResultFormat", json!(self.request.format.name()));
        if let Some(error) = &progress.error {
            put("Error", json!(error));
        }
        if let Some(session_id) = &self.request.session_id {
            put("SessionId", json!(session_id));
        }
        if !self.request.parameters.is_empty() {
            put("QueryParameters", parameters(&self.request.parameters));
        }
        put("HasResultSet", json!(progress.parts.iter().any(|part| part.has_result)));
        match (self.request.mode, progress.parts.first()) {
            (Some(mode), _) => {
                put("ExecutionMode", json!(mode.name()));
                put("RedshiftQueryId", json!(0));
                put("ResultRows", json!(-1));
                put("ResultSize", json!(-1));
                let parts: Vec<Value> = (0..progress.parts.len()).filter_map(|index| self.describe_part(progress, index)).collect();
                put("SubStatements", Value::Array(parts));
            }
            (None, Some(part)) => {
                put("QueryString", json!(self.request.statements.first()));
                put("RedshiftQueryId", json!(part.query_id));
                put("ResultRows", json!(part.rows));
                put("ResultSize", json!(size(part)));
            }
            (None, None) => {}
        }
        Value::Object(body)
    }

    /// One of SubStatements.
    pub(crate) fn describe_part(&self, progress: &Progress, index: usize) -> Option<Value> {
        let part = progress.parts.get(index)?;
        let mut body = json!({
            "Id": format!("{}:{}", self.id, index + 1),
            "Status": part.status.name(),
            "CreatedAt": clock::epoch_seconds(self.created_at),
            "UpdatedAt": clock::epoch_seconds(part.updated_at),
            "Duration": part.duration_nanoseconds,
            "QueryString": self.request.statements.get(index),
            "RedshiftQueryId": part.query_id,
            "ResultRows": part.rows,
            "ResultSize": size(part),
            "HasResultSet": part.has_result,
        });
        if let (Some(error), Some(object)) = (&part.error, body.as_object_mut()) {
            object.insert("Error".to_owned(), json!(error));
        }
        Some(body)
    }

    /// One of ListStatements.
    pub(crate) fn listed(&self) -> Value {
        let progress = self.progress.borrow();
        let mut body = json!({
            "Id": self.id,
            "Status": progress.status.name(),
            "CreatedAt": clock::epoch_seconds(self.created_at),
            "UpdatedAt": clock::epoch_seconds(progress.updated_at),
            "IsBatchStatement": self.is_batch(),
            "ResultFormat": self.request.format.name(),
        });
        let Some(object) = body.as_object_mut() else { return body };
        if self.is_batch() {
            object.insert("QueryStrings".to_owned(), json!(self.request.statements));
        } else {
            object.insert("QueryString".to_owned(), json!(self.request.statements.first()));
        }
        for (key, value) in
            [("StatementName", &self.request.name), ("SessionId", &self.request.session_id), ("SecretArn", &self.request.target.secret)]
        {
            if let Some(value) = value {
                object.insert(key.to_owned(), json!(value));
            }
        }
        if !self.request.parameters.is_empty() {
            object.insert("QueryParameters".to_owned(), parameters(&self.request.parameters));
        }
        body
    }
}

fn parameters(parameters: &[Parameter]) -> Value {
    parameters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn size(part: &Part) -> i64 {
    match (&part.result, part.status) {
        (Some(result), _) => i64::try_from(result.bytes).unwrap_or(i64::MAX),
        (None, Status::Finished) => 0,
        (None, _) => -1,
    }
}

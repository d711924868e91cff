//! Sessions: one connection kept between calls, one statement at a time, closed when unused for too long.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};

use super::target::Target;
use crate::clock;
use crate::engine::connection::Connection;

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionStatus {
    Available,
    Busy,
    Closed,
}

impl SessionStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Busy => "BUSY",
            Self::Closed => "CLOSED",
        }
    }
}

#[derive(Debug)]
struct State {
    status: SessionStatus,
    keep_alive_seconds: i64,
    updated_at: DateTime<Utc>,
    statement_id: Option<String>,
}

/// A session.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) target: Target,
    created_at: DateTime<Utc>,
    state: Mutex<State>,
    /// None before the first statement and after the end.
    pub(crate) connection: tokio::sync::Mutex<Option<Connection>>,
}

/// A session's longest life. Management guide, "Quotas for the Data API".
const LIFE: Duration = Duration::hours(24);

impl Session {
    /// Opened by a call, busy with its statement.
    pub(crate) fn open(target: Target, keep_alive_seconds: i64) -> Self {
        let now = clock::now();
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            target,
            created_at: now,
            state: Mutex::new(State { status: SessionStatus::Busy, keep_alive_seconds, updated_at: now, statement_id: None }),
            connection: tokio::sync::Mutex::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> SessionStatus {
        let mut state = self.state();
        let unused =
            state.status == SessionStatus::Available && clock::now() - state.updated_at >= Duration::seconds(state.keep_alive_seconds);
        let aged = clock::now() - self.created_at >= LIFE;
        if unused || aged {
            state.status = SessionStatus::Closed;
        }
        state.status
    }

    /// Takes the session for a statement; false when it is busy or closed.
    pub(crate) fn take(&self, keep_alive_seconds: Option<i64>) -> bool {
        if self.status() != SessionStatus::Available {
            return false;
        }
        let mut state = self.state();
        state.status = SessionStatus::Busy;
        state.updated_at = clock::now();
        if let Some(seconds) = keep_alive_seconds {
            state.keep_alive_seconds = seconds;
        }
        true
    }

    pub(crate) fn works_on(&self, statement_id: &str) {
        self.state().statement_id = Some(statement_id.to_owned());
    }

    /// Gives the session back after a statement. Returns how long it stays open.
    pub(crate) fn release(&self) -> i64 {
        let mut state = self.state();
        if state.status == SessionStatus::Busy {
            state.status = SessionStatus::Available;
        }
        state.updated_at = clock::now();
        state.statement_id = None;
        state.keep_alive_seconds
    }

    /// Ends the session: temporary tables and settings are gone.
    pub(crate) async fn close(&self) {
        self.state().status = SessionStatus::Closed;
        *self.connection.lock().await = None;
    }

    /// One of ListSessions.
    pub(crate) fn listed(&self) -> Value {
        let status = self.status();
        let state = self.state();
        let mut body = Map::new();
        self.target.describe(&mut body);
        body.remove("SecretArn");
        body.insert("SessionId".to_owned(), json!(self.id));
        body.insert("Status".to_owned(), json!(status.name()));
        body.insert("CreatedAt".to_owned(), json!(clock::epoch_seconds(self.created_at)));
        body.insert("UpdatedAt".to_owned(), json!(clock::epoch_seconds(state.updated_at)));
        body.insert("SessionAliveSeconds".to_owned(), json!(state.keep_alive_seconds));
        body.insert("SessionTtl".to_owned(), json!(clock::epoch_seconds(state.updated_at + Duration::seconds(state.keep_alive_seconds))));
        if let Some(statement_id) = &state.statement_id {
            body.insert("CurrentStatementId".to_owned(), json!(statement_id));
        }
        Value::Object(body)
    }
}

//! Runs a submitted statement or batch to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::double::Double;
use super::session::Session;
use super::statement::{Mode, Statement, Status};
use crate::clock;
use crate::engine::connection::{Connection, Failure, Outcome};
use crate::engine::history::Ended;
use crate::postgres::errors::serialization;
use crate::sql::error::SqlError;

/// Between a call's response and the statement's first step: a client that does not wait sees SUBMITTED.
const PICK_PAUSE: Duration = Duration::from_millis(2);

/// Faults of one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunFaults {
    pub(super) wait_seconds: f64,
    pub(super) conflict: bool,
}

/// A run.
pub(super) struct Run {
    pub(super) double: Arc<Double>,
    pub(super) statement: Arc<Statement>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) faults: RunFaults,
}

impl Run {
    /// Runs, and gives the session back.
    pub(super) async fn execute(self) {
        tokio::time::sleep(PICK_PAUSE).await;
        self.statement.advance(Status::Picked);
        let started = Instant::now();
        match &self.session {
            None => {
                let opened = Connection::open(&self.double.postgres, &self.statement.request.target.database).await;
                match opened {
                    Ok(mut connection) => Box::pin(self.on_connection(&mut connection, started)).await,
                    Err(error) => self.end(Some(&error), started),
                }
            }
            Some(session) => {
                let mut held = session.connection.lock().await;
                if held.is_none() {
                    match Connection::open(&self.double.postgres, &session.target.database).await {
                        Ok(connection) => *held = Some(connection),
                        Err(error) => self.end(Some(&error), started),
                    }
                }
                if let Some(connection) = held.as_mut() {
                    Box::pin(self.on_connection(connection, started)).await;
                }
            }
        }
    }

    async fn on_connection(&self, connection: &mut Connection, started: Instant) {
        let process_id = connection.process_id;
        self.statement.progress.send_modify(|progress| progress.process_id = process_id);
        self.statement.advance(Status::Started);
        connection.conflict_at_commit = self.faults.conflict;
        let cancelling = self.cancel_when_asked(process_id);
        let work = async {
            if self.faults.wait_seconds > 0.0 {
                tokio::time::sleep(Duration::from_secs_f64(self.faults.wait_seconds)).await;
            }
            match self.statement.request.mode {
                Some(Mode::Transaction) => Box::pin(self.transaction(connection)).await,
                Some(Mode::AutoCommit) | None => Box::pin(self.each_alone(connection)).await,
            }
        };
        let outcome = tokio::select! {
            outcome = Box::pin(work) => outcome,
            () = cancelling => Err(SqlError::new("57014", "Query cancelled on user's request")),
        };
        self.end(outcome.err().as_ref(), started);
    }

    /// Ends when the statement was to be cancelled and PostgreSQL has had time to stop it.
    async fn cancel_when_asked(&self, process_id: i32) {
        loop {
            let asked = self.statement.cancel_asked.notified();
            if self.statement.is_cancelled() {
                break;
            }
            asked.await;
        }
        let pool = self.double.pool(&self.statement.request.target.database);
        if let Err(error) = sqlx::query("SELECT pg_cancel_backend($1)").bind(process_id).execute(&pool).await {
            tracing::warn!(%error, "a statement could not be cancelled");
        }
        // A statement that PostgreSQL runs ends with its own error; this is for one that waits elsewhere.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    async fn each_alone(&self, connection: &mut Connection) -> Result<(), SqlError> {
        let batch = self.statement.is_batch();
        let mut first = None;
        for index in 0..self.statement.request.statements.len() {
            if self.statement.is_cancelled() {
                self.statement.change_part(index, |part| part.status = Status::Aborted);
                continue;
            }
            if let Err(error) = Box::pin(self.part(connection, index)).await {
                first.get_or_insert(numbered(batch, index, error));
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn transaction(&self, connection: &mut Connection) -> Result<(), SqlError> {
        let isolation = self.double.surroundings.isolation;
        let count = self.statement.request.statements.len();
        let begun = connection.in_transaction;
        if !begun {
            connection.begin(isolation).await?;
        }
        for index in 0..count {
            if let Err(error) = Box::pin(self.part(connection, index)).await {
                for later in index + 1..count {
                    self.statement.change_part(later, |part| part.status = Status::Aborted);
                }
                connection.rollback().await?;
                return Err(numbered(true, index, error));
            }
            // TRUNCATE has committed what was before it: what follows is a transaction of its own.
            if !connection.in_transaction && index + 1 < count {
                connection.begin(isolation).await?;
            }
        }
        if connection.in_transaction { connection.commit().await } else { Ok(()) }
    }

    async fn part(&self, connection: &mut Connection, index: usize) -> Result<(), SqlError> {
        let request = &self.statement.request;
        let text = request.statements.get(index).map(String::as_str).unwrap_or_default();
        let query_id = self.double.next_query_id();
        self.statement.change_part(index, |part| {
            part.status = Status::Started;
            part.query_id = query_id;
        });
        let (started, started_at) = (Instant::now(), clock::now());
        let mut outcome = Box::pin(connection.execute(text, &request.parameters, query_id, &self.double.surroundings)).await;
        if outcome.is_ok() && connection.conflict_at_commit && !connection.in_transaction {
            // Nothing was committed by this statement: the conflict is reported all the same.
            connection.conflict_at_commit = false;
            outcome = Err(serialization("table").into());
        }
        let ended = Ended {
            database: &request.target.database,
            query_id,
            process_id: connection.process_id,
            text,
            started_at,
            ended_at: clock::now(),
            cancelled: self.statement.is_cancelled(),
            outcome: outcome.as_ref(),
        };
        if let Err(error) = ended.write(&self.double.pool(&request.target.database)).await {
            tracing::warn!(%error, "the history could not be written");
        }
        self.settle(index, outcome, started)
    }

    fn settle(&self, index: usize, outcome: Result<Outcome, Failure>, started: Instant) -> Result<(), SqlError> {
        let duration = nanoseconds(started);
        match outcome {
            Ok(outcome) => {
                self.statement.change_part(index, |part| {
                    part.status = Status::Finished;
                    part.rows = i64::try_from(outcome.rows).unwrap_or(i64::MAX);
                    part.has_result = outcome.result.is_some();
                    part.result = outcome.result.map(Arc::new);
                    part.duration_nanoseconds = duration;
                });
                Ok(())
            }
            Err(failure) => {
                let text = identified(&failure.error.to_string(), &self.statement.id);
                let status = if self.statement.is_cancelled() { Status::Aborted } else { Status::Failed };
                self.statement.change_part(index, |part| {
                    part.status = status;
                    part.error = Some(text);
                    part.duration_nanoseconds = duration;
                });
                Err(failure.error)
            }
        }
    }

    /// The end of the whole: nothing changes after this. The session is free before the end is seen.
    fn end(&self, error: Option<&SqlError>, started: Instant) {
        if let Some(session) = &self.session {
            close_when_unused(session);
        }
        let cancelled = self.statement.is_cancelled();
        self.statement.progress.send_modify(|progress| {
            progress.duration_nanoseconds = nanoseconds(started);
            progress.updated_at = clock::now();
            progress.error = error.map(|error| identified(&error.to_string(), &self.statement.id));
            progress.status = match error {
                None => Status::Finished,
                Some(_) if cancelled => Status::Aborted,
                Some(_) => Status::Failed,
            };
            for part in progress.parts.iter_mut().filter(|part| !part.status.is_terminal()) {
                part.status = progress.status;
            }
        });
    }
}

fn nanoseconds(started: Instant) -> i64 {
    i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

/// A batch's error names the statement.
fn numbered(batch: bool, index: usize, error: SqlError) -> SqlError {
    if !batch {
        return error;
    }
    SqlError { message: format!("Query #{} failed with ERROR: {}", index + 1, error.message), ..error }
}

/// Errors end with an id for the service's support.
fn identified(text: &str, statement_id: &str) -> String {
    let text = text.strip_prefix("ERROR: ").filter(|rest| rest.starts_with("Query #")).unwrap_or(text);
    format!("{text}\n  [ErrorId: 1-{}]", statement_id.replace('-', ""))
}

/// Gives a session back, and closes it when it has not been used for its time.
fn close_when_unused(session: &Arc<Session>) {
    let seconds = u64::try_from(session.release()).unwrap_or(0);
    let session = Arc::clone(session);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if session.status() == super::session::SessionStatus::Closed {
            session.close().await;
        }
    });
}

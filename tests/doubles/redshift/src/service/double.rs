//! What the double knows: statements, sessions and tokens, and the way to PostgreSQL.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool};

use super::error::ServiceError;
use super::faults::{Fault, FaultKind, Ledger};
use super::rates::Rates;
use super::run;
use super::session::{Session, SessionStatus};
use super::statement::{Request, Statement};
use crate::clock;
use crate::engine::connection::Surroundings;
use crate::engine::history;

/// How long ClientTokens are remembered. Management guide, "Quotas for the Data API".
const TOKEN_RETENTION: Duration = Duration::hours(8);
/// How long statements and their results are kept.
const STATEMENT_RETENTION: Duration = Duration::hours(24);
/// Sessions a cluster or workgroup may have open.
const SESSIONS_MAX: usize = 500;

/// The limits a user may set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Statements not ended.
    pub(crate) active_statements_max: usize,
    /// Refuse calls above the service's rates.
    pub(crate) enforce_rates: bool,
}

/// When a token came, and the statement it brought.
type Remembered = (DateTime<Utc>, Arc<Statement>);

/// The double.
pub(crate) struct Double {
    pub(crate) postgres: PgConnectOptions,
    pub(crate) surroundings: Surroundings,
    limits: Limits,
    statements: Mutex<Vec<Arc<Statement>>>,
    tokens: Mutex<HashMap<String, Remembered>>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    pools: Mutex<HashMap<String, PgPool>>,
    ledger: Mutex<Ledger>,
    rates: Mutex<Rates>,
    query_ids: AtomicI64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Double {
    pub(crate) fn new(postgres: PgConnectOptions, surroundings: Surroundings, limits: Limits) -> Self {
        Self {
            postgres,
            surroundings,
            limits,
            statements: Mutex::default(),
            tokens: Mutex::default(),
            sessions: Mutex::default(),
            pools: Mutex::default(),
            ledger: Mutex::default(),
            rates: Mutex::default(),
            // Ids go on rising when the double is started again on the same data.
            query_ids: AtomicI64::new(clock::now().timestamp()),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    pub(crate) fn next_query_id(&self) -> i64 {
        self.query_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn admit(&self, operation: &str) -> Result<(), ServiceError> {
        if self.limits.enforce_rates { locked(&self.rates).admit(operation, clock::now()) } else { Ok(()) }
    }

    /// Connections for the double's own queries.
    pub(crate) fn pool(&self, database: &str) -> PgPool {
        let mut pools = locked(&self.pools);
        pools.entry(database.to_owned()).or_insert_with(|| history::pool(self.postgres.clone(), database)).clone()
    }

    /// The statement of an earlier call with this token.
    pub(crate) fn by_token(&self, token: &str, statements: &[String]) -> Option<Arc<Statement>> {
        let mut tokens = locked(&self.tokens);
        tokens.retain(|_, (at, _)| clock::now() - *at < TOKEN_RETENTION);
        let statement = tokens.get(token).map(|(_, statement)| Arc::clone(statement))?;
        drop(tokens);
        self.ledger().replayed(statement.request.statements == statements);
        Some(statement)
    }

    /// Accepts a statement and starts it.
    pub(crate) fn submit(
        self: &Arc<Self>,
        request: Request,
        session: Option<Arc<Session>>,
        token: Option<String>,
        faults: &[Fault],
    ) -> Arc<Statement> {
        let statement = Arc::new(Statement::new(request));
        locked(&self.statements).push(Arc::clone(&statement));
        if let Some(token) = token {
            locked(&self.tokens).insert(token, (clock::now(), Arc::clone(&statement)));
        }
        if let Some(session) = &session {
            session.works_on(&statement.id);
        }
        let faults = run::RunFaults {
            wait_seconds: faults.iter().filter(|fault| fault.kind == FaultKind::Slow).map(|fault| fault.seconds).sum(),
            conflict: faults.iter().any(|fault| fault.kind == FaultKind::Serialization),
        };
        let run = run::Run { double: Arc::clone(self), statement: Arc::clone(&statement), session, faults };
        tokio::spawn(Box::pin(run.execute()));
        statement
    }

    /// Refuses one more statement when too many have not ended.
    pub(crate) fn admit_statement(&self) -> Result<(), ServiceError> {
        let active = self.all_statements().iter().filter(|statement| !statement.progress.borrow().status.is_terminal()).count();
        if active >= self.limits.active_statements_max {
            return Err(ServiceError::new("ActiveStatementsExceededException", 400, "Active statements exceeded the allowed quota"));
        }
        Ok(())
    }

    /// Statements still kept, oldest first.
    pub(crate) fn all_statements(&self) -> Vec<Arc<Statement>> {
        let mut statements = locked(&self.statements);
        statements.retain(|statement| clock::now() - statement.created_at < STATEMENT_RETENTION);
        statements.clone()
    }

    /// A statement by its id, without the number of a sub-statement.
    pub(crate) fn statement(&self, id: &str) -> Result<Arc<Statement>, ServiceError> {
        let found = self.all_statements().into_iter().find(|statement| statement.id == id);
        found.ok_or_else(|| ServiceError::not_found(id, "Query does not exist."))
    }

    /// Opens a session, busy with its first statement.
    pub(crate) fn add_session(&self, session: Session) -> Result<Arc<Session>, ServiceError> {
        let mut sessions = locked(&self.sessions);
        if sessions.values().filter(|session| session.status() != SessionStatus::Closed).count() >= SESSIONS_MAX {
            return Err(ServiceError::new("ActiveSessionsExceededException", 400, "Active sessions exceeded the allowed quota"));
        }
        let session = Arc::new(session);
        sessions.insert(session.id.clone(), Arc::clone(&session));
        Ok(session)
    }

    pub(crate) fn session(&self, id: &str) -> Result<Arc<Session>, ServiceError> {
        locked(&self.sessions).get(id).cloned().ok_or_else(|| ServiceError::validation(format!("Session with Id: {id} is invalid")))
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = locked(&self.sessions).values().cloned().collect();
        sessions.sort_by(|left, right| left.id.cmp(&right.id));
        sessions
    }
}

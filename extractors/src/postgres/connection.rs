//! Connections to one database: a bounded number of them, set up alike, and used again.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::pace::Pace;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::error::{During, POOLER, TIMEOUT, UNREACHABLE, URL, failed};
use super::options::PostgresOptions;
use crate::calm::calm;

/// How much longer than the server's own limit to wait for its answer.
const GRACE: Duration = Duration::from_secs(60);

/// Connections of one source.
pub(super) struct Connections {
    options: PgConnectOptions,
    timeout: Duration,
    statement_timeout: Duration,
    slow_after: Duration,
    pause_above: Option<Duration>,
    pace: Pace,
    is_consistent: bool,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

impl fmt::Debug for Connections {
    // The driver's own text form holds the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("database", &self.options.get_database()).finish_non_exhaustive()
    }
}

/// A connection that is lent. Dropping it closes it; [`Lent::give_back`] keeps it for the next one.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) connection: PgConnection,
    owner: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    /// Gives the connection back. It must not be in a transaction.
    pub(super) fn give_back(self) {
        self.owner.idle.lock().expect("no holder of this lock panics").push(self.connection);
    }
}

impl Connections {
    pub(super) fn new(options: &PostgresOptions) -> Result<Arc<Self>> {
        // The driver's error would quote the string.
        let parsed =
            PgConnectOptions::from_str(&options.url).map_err(|_| Error::new(&URL, "the PostgreSQL connection string cannot be read"))?;
        Ok(Arc::new(Self {
            options: verified(parsed, &options.url).application_name(&options.application_name).disable_statement_logging(),
            timeout: options.timeout,
            statement_timeout: options.statement_timeout,
            slow_after: options.slow_after,
            pause_above: options.pause_above,
            pace: options.pace.clone(),
            is_consistent: options.consistent_snapshot,
            permits: Arc::new(Semaphore::new(options.connections_max.clamp(1, Semaphore::MAX_PERMITS))),
            idle: Mutex::new(Vec::new()),
        }))
    }

    /// The longest that a statement may be waited for.
    pub(super) fn patience(&self) -> Duration {
        self.statement_timeout + GRACE
    }

    /// How fast the database may be read.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whether all tables of a run are read in one snapshot.
    pub(super) fn is_consistent(&self) -> bool {
        self.is_consistent
    }

    /// Waits while the server takes long to answer.
    pub(super) async fn calm(&self, connection: &mut PgConnection) -> Result<()> {
        let connection = tokio::sync::Mutex::new(connection);
        calm(self.pause_above, || async {
            let mut connection = connection.lock().await;
            self.rows(&mut connection, "SELECT 1", "the PostgreSQL server could not be asked for a sign of life").await.map(drop)
        })
        .await
    }

    /// The user that connections are made for.
    pub(super) fn user(&self) -> &str {
        self.options.get_username()
    }

    /// A connection, as soon as there is one to have.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::new(&BUG, "connections are no longer lent"))?;
        let idle = self.idle.lock().expect("no holder of this lock panics").pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(Lent { connection, owner: Arc::clone(self), _permit: permit })
    }

    /// A new connection, not counted.
    pub(super) async fn open(&self) -> Result<PgConnection> {
        const WHAT: &str = "the PostgreSQL server could not be connected to";
        let connecting = async {
            let mut connection = self.options.connect().await.map_err(|error| failed(WHAT, &error, During::Connecting))?;
            let settings = settings(self.statement_timeout);
            sqlx::raw_sql(AssertSqlSafe(settings))
                .execute(&mut connection)
                .await
                .map_err(|error| failed(WHAT, &error, During::Connecting))?;
            Ok(connection)
        };
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::new(&UNREACHABLE, WHAT).caused_by(format!("it did not answer within {} seconds", self.timeout.as_secs()))),
        }
    }

    /// Makes sure that a session is one: what is set in it is there in its next statement, also while another session is busy.
    ///
    /// # Errors
    /// [`POOLER`] if statements of one session reach several of the server's.
    pub(super) async fn check_session(&self) -> Result<()> {
        const WHAT: &str = "the PostgreSQL server's sessions could not be looked at";
        let token = uuid::Uuid::now_v7().simple().to_string();
        let connecting = async {
            let mut first = self.options.connect().await.map_err(|error| failed(WHAT, &error, During::Connecting))?;
            // A setting that no one else reads: whatever shares connections would hand out all others too.
            self.rows(&mut first, &format!("SELECT set_config('pipeline.session', '{token}', false)"), WHAT).await?;
            // A pooler gives the connection that was just used to whoever asks next, and keeps it there for a transaction.
            let mut second = self.options.connect().await.map_err(|error| failed(WHAT, &error, During::Connecting))?;
            self.rows(&mut second, "BEGIN", WHAT).await?;
            let found = self.rows(&mut first, "SELECT current_setting('pipeline.session', true)", WHAT).await?;
            self.rows(&mut second, "ROLLBACK", WHAT).await?;
            close(second).await;
            close(first).await;
            Ok::<_, Error>(found.into_iter().flatten().flatten().next())
        };
        let found: Option<String> = match tokio::time::timeout(self.timeout, connecting).await {
            Ok(found) => found?,
            Err(_) => {
                let seconds = self.timeout.as_secs();
                return Err(Error::new(&UNREACHABLE, WHAT).caused_by(format!("it did not answer within {seconds} seconds")));
            }
        };
        if found.as_deref() == Some(token.as_str()) {
            return Ok(());
        }
        Err(Error::new(&POOLER, "the statements of one session reach several sessions of the PostgreSQL server"))
    }

    /// Closes the connections that nobody uses.
    pub(super) async fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().expect("no holder of this lock panics"));
        for connection in idle {
            close(connection).await;
        }
    }

    /// Executes a query and gives its rows as text.
    pub(super) async fn rows(&self, connection: &mut PgConnection, sql: &str, what: &str) -> Result<Vec<Vec<Option<String>>>> {
        let asking = async {
            // Simple queries answer in text, whatever the type.
            let answer = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection);
            let rows = match tokio::time::timeout(self.patience(), answer).await {
                Ok(rows) => rows.map_err(|error| failed(what, &error, During::Executing))?,
                Err(_) => return Err(Error::new(&TIMEOUT, what)),
            };
            rows.iter().map(|row: &PgRow| (0..row.len()).map(|place| text(row, place, what)).collect()).collect()
        };
        self.watched("postgresql query", sql, asking).await
    }

    /// Does what a statement needs inside a span of its own, which says how long it took and how it ended.
    pub(super) async fn watched<T>(&self, name: &str, statement: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let span = tracing::info_span!(
            "statement",
            otel.name = name,
            db.system = "postgresql",
            db.statement = statement,
            rows = Empty,
            duration_ms = Empty,
            slow = Empty,
            failed = Empty,
        );
        let watching = async {
            let began = Instant::now();
            let result = work.await;
            let duration = began.elapsed();
            let span = Span::current();
            span.record("duration_ms", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
            span.record("slow", duration >= self.slow_after);
            span.record("failed", result.is_err());
            if duration >= self.slow_after {
                tracing::warn!(seconds = duration.as_secs(), "a statement was slow");
            }
            if let Err(error) = &result {
                tracing::warn!(at = error.code().name, "a statement failed");
            }
            result
        };
        watching.instrument(span).await
    }
}

fn text(row: &PgRow, place: usize, what: &str) -> Result<Option<String>> {
    row.try_get_unchecked(place).map_err(|error| failed(what, &error, During::Executing))
}

/// Says goodbye, so that the server's log has no complaint. Whether it hears makes no difference.
pub(super) async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %failed("a connection could not be closed", &error, During::Executing), "connection closed late");
    }
}

/// A connection string that does not say how far to trust the server trusts one elsewhere only after its certificate is verified: the driver alone
/// would take any, or none. On this machine there is nobody in between.
fn verified(options: PgConnectOptions, url: &str) -> PgConnectOptions {
    let says = url.split_once('?').is_some_and(|(_, query)| query.contains("sslmode=") || query.contains("ssl-mode="));
    let host = options.get_host();
    let is_here = host.starts_with('/') || matches!(host, "localhost" | "127.0.0.1" | "::1" | "[::1]") || options.get_socket().is_some();
    if says || is_here { options } else { options.ssl_mode(PgSslMode::VerifyFull) }
}

/// What every session is set to, so that texts are written as the decoder writes them, and the server ends what takes too long.
fn settings(statement_timeout: Duration) -> String {
    format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = 0; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; \
         SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET standard_conforming_strings = on",
        // The setting has 31 bits of milliseconds.
        statement_timeout.as_millis().clamp(1, i32::MAX.unsigned_abs().into())
    )
}

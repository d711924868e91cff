//! The Data API: statements go out, are waited for, and their rows come back.
//!
//! A request whose answer is lost is sent again with the same client token, and the service answers with the statement that runs
//! already. The client's own retries do not cover the service's "too many active statements", so this module does. A token
//! belongs to one attempt, not to the load: the service remembers it for eight hours together with a failure, which a later
//! attempt must not inherit; that a load happens once is what the guard statement is for.

use std::time::Duration;

use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_redshiftdata::types::{ExecutionMode, Field, StatementStatusString, StatusString, SubStatementData};
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use super::errors::{Failure, query_of, read};
use super::options::{Limits, RedshiftOptions, Target};
use super::sql::{Purpose, Statement};
use crate::s3::AWS_CREDENTIALS;

/// Most statements of one batch (Data API's limit).
pub(super) const BATCH_STATEMENTS_MAX: usize = 40;

/// The shortest time between two looks at a statement, for a service that does not hold requests open.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The longest time between two such looks.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A statement or batch that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its id in the Data API.
    pub(super) id: String,
    /// How long it took from here.
    pub(super) duration: Duration,
    /// Why it failed, if it did.
    pub(super) failed: Option<Failed>,
}

/// A failure within a statement or batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// The failed statement's position in the batch, from 0, if the service tells.
    pub(super) index: Option<usize>,
    /// What it was for.
    pub(super) purpose: Purpose,
    /// Its query's number in the warehouse, if known.
    pub(super) query: Option<i64>,
    /// What went wrong.
    pub(super) failure: Failure,
}

/// What an id stands for while it is waited for.
enum State {
    Running,
    Finished,
    Failed,
}

/// Why a request was not served.
enum Refusal {
    /// Too busy: the same request may be sent again.
    Busy(String),
    /// Too many long polls on one statement: look without waiting.
    Waiting,
    /// For good.
    Final(Error),
}

/// A warehouse behind the Data API.
#[derive(Debug, Clone)]
pub(super) struct DataApi {
    client: Client,
    target: Target,
    database: String,
    secret_arn: Option<String>,
    limits: Limits,
}

impl DataApi {
    /// A client; opens no connection.
    pub(super) fn new(client: Client, options: &RedshiftOptions) -> Self {
        Self {
            client,
            target: options.target.clone(),
            database: options.database.clone(),
            secret_arn: options.secret_arn.clone(),
            limits: options.limits.clone(),
        }
    }

    /// Runs statements: one by itself, several in one transaction. `load` leads the texts in a comment; `attempt` names this very
    /// attempt. Errors of SQL are in the result; errors of the service are errors.
    ///
    /// # Errors
    /// [`super::UNAVAILABLE`], [`super::TIMEOUT`], [`super::DENIED`], [`super::TARGET`], [`AWS_CREDENTIALS`].
    pub(super) async fn run(&self, table: Option<&TableName>, statements: &[Statement], load: &str, attempt: &str) -> Result<Ended> {
        let purpose = match statements {
            [one] => one.purpose.name(),
            _ => "transaction",
        };
        let name = table.map_or_else(|| format!("redshift {purpose}"), |table| format!("redshift {purpose} {table}"));
        let span = tracing::info_span!(
            "statement", otel.name = %name, db.system = "redshift", kind = purpose, table = Empty, statement_id = Empty,
            statements = statements.len(), duration_ms = Empty, slow = Empty, failed = Empty,
        );
        if let Some(table) = table {
            span.record("table", tracing::field::display(table));
        }
        let work = async {
            let began = Instant::now();
            let result = self.send_and_wait(statements, load, attempt, began).await;
            let duration = began.elapsed();
            let span = Span::current();
            span.record("duration_ms", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
            let slow = duration >= self.limits.slow_after;
            span.record("slow", slow);
            let failed = match &result {
                Ok(ended) => ended.failed.as_ref().map(|failed| failed.purpose.name()),
                Err(error) => Some(error.code().name),
            };
            span.record("failed", failed.is_some());
            if slow {
                tracing::warn!(seconds = duration.as_secs(), "a statement was slow");
            }
            if let Some(failed) = failed {
                tracing::warn!(at = failed, "a statement failed");
            }
            result
        };
        Box::pin(work.instrument(span)).await
    }

    async fn send_and_wait(&self, statements: &[Statement], load: &str, attempt: &str, began: Instant) -> Result<Ended> {
        let texts: Vec<String> = statements.iter().map(|statement| statement.tagged(load)).collect();
        let token = token(load, attempt, &texts);
        let (id, status) = self.submit(&texts, &token).await?;
        Span::current().record("statement_id", id.as_str());
        let mut state = submitted(status.as_ref());
        let mut pause = LOOK_PAUSE;
        let mut may_wait = true;
        loop {
            match state {
                State::Finished => return Ok(Ended { id, duration: began.elapsed(), failed: None }),
                State::Failed => {
                    let failed = self.why(&id, statements).await?;
                    return Ok(Ended { id, duration: began.elapsed(), failed: Some(failed) });
                }
                State::Running => {}
            }
            if began.elapsed() >= self.limits.statement_timeout {
                return Err(self.give_up(&id).await);
            }
            let looked = Instant::now();
            match self.look(&id, may_wait).await? {
                Some(next) => state = next,
                None => may_wait = false,
            }
            // A service that holds the request open has paused already.
            if matches!(state, State::Running) && looked.elapsed() < pause {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_PAUSE_MAX);
            }
        }
    }

    async fn submit(&self, texts: &[String], token: &str) -> Result<(String, Option<StatementStatusString>)> {
        let (cluster, user, workgroup) = match &self.target {
            Target::Cluster { identifier, db_user } => (Some(identifier.clone()), db_user.clone(), None),
            Target::Serverless { workgroup } => (None, None, Some(workgroup.clone())),
        };
        self.patiently(token, || async {
            match texts {
                [text] => {
                    let sent = self
                        .client
                        .execute_statement()
                        .sql(text)
                        .set_cluster_identifier(cluster.clone())
                        .set_db_user(user.clone())
                        .set_workgroup_name(workgroup.clone())
                        .set_secret_arn(self.secret_arn.clone())
                        .database(&self.database)
                        .client_token(token)
                        .wait_time_seconds(self.limits.wait_seconds)
                        .send();
                    let sent = Box::pin(sent).await.map_err(|error| refusal(&error))?;
                    Ok((sent.id.unwrap_or_default(), sent.status))
                }
                texts => {
                    let sent = self
                        .client
                        .batch_execute_statement()
                        .set_sqls(Some(texts.to_vec()))
                        .set_cluster_identifier(cluster.clone())
                        .set_db_user(user.clone())
                        .set_workgroup_name(workgroup.clone())
                        .set_secret_arn(self.secret_arn.clone())
                        .database(&self.database)
                        .client_token(token)
                        .execution_mode(ExecutionMode::Transaction)
                        .wait_time_seconds(self.limits.wait_seconds)
                        .send();
                    let sent = Box::pin(sent).await.map_err(|error| refusal(&error))?;
                    Ok((sent.id.unwrap_or_default(), sent.status))
                }
            }
        })
        .await
    }

    /// The state of a statement; None if the service refuses to hold the request open.
    async fn look(&self, id: &str, may_wait: bool) -> Result<Option<State>> {
        let looked = self
            .patiently(id, || async {
                let request = self.client.describe_statement().id(id);
                let request = if may_wait { request.wait_time_seconds(self.limits.wait_seconds) } else { request };
                match Box::pin(request.send()).await.map_err(|error| refusal(&error)) {
                    Ok(found) => Ok(Some(described(found.status()))),
                    Err(Refusal::Waiting) => Ok(None),
                    Err(other) => Err(other),
                }
            })
            .await?;
        Ok(looked)
    }

    async fn why(&self, id: &str, statements: &[Statement]) -> Result<Failed> {
        let found = self
            .patiently(id, || async { Box::pin(self.client.describe_statement().id(id).send()).await.map_err(|error| refusal(&error)) })
            .await?;
        let parts: &[SubStatementData] = found.sub_statements();
        let index = parts.iter().position(|part| {
            matches!(part.status(), Some(StatementStatusString::Failed | StatementStatusString::Aborted)) && part.error().is_some()
        });
        let index = if statements.len() == 1 { Some(0) } else { index };
        let part = index.and_then(|index| parts.get(index));
        let text = part.and_then(|part| part.error()).or(found.error()).unwrap_or_default();
        let query = part.map_or(found.redshift_query_id(), |part| part.redshift_query_id());
        let purpose =
            index.and_then(|index| statements.get(index)).or(statements.first()).map_or(Purpose::Define, |statement| statement.purpose);
        let failure = match found.status() {
            Some(StatusString::Aborted) if text.is_empty() => Failure::Unavailable,
            _ => read(text),
        };
        Ok(Failed { index, purpose, query: Some(query).filter(|query| *query > 0).or_else(|| query_of(text)), failure })
    }

    async fn give_up(&self, id: &str) -> Error {
        let seconds = self.limits.statement_timeout.as_secs();
        if Box::pin(self.client.cancel_statement().id(id).send()).await.is_err() {
            tracing::warn!(statement_id = id, "a statement that took too long could not be cancelled");
        }
        Error::new(&super::TIMEOUT, format!("statement {id} did not finish within {seconds} s"))
    }

    /// All rows of a statement's result, as text.
    ///
    /// # Errors
    /// As [`DataApi::run`].
    pub(super) async fn rows(&self, id: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut rows = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self
                .patiently(id, || async {
                    let request = self.client.get_statement_result().id(id).set_next_token(next.clone());
                    Box::pin(request.send()).await.map_err(|error| refusal(&error))
                })
                .await?;
            rows.extend(page.records().iter().map(|record| record.iter().map(text_of).collect::<Vec<_>>()));
            next = page.next_token().map(str::to_owned).filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Sends a request until it is served, refused for good, or tried often enough.
    async fn patiently<T, F, W>(&self, seed: &str, mut send: F) -> Result<T>
    where
        F: FnMut() -> W,
        W: Future<Output = Result<T, Refusal>>,
    {
        let mut tried = 0;
        loop {
            tried += 1;
            let why = match send().await {
                Ok(served) => return Ok(served),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Busy(why)) => why,
                Err(Refusal::Waiting) => "too many requests wait for one statement".to_owned(),
            };
            if tried >= self.limits.attempts_max {
                let what = format!("the Data API did not serve a request in {tried} tries");
                return Err(Error::new(&super::UNAVAILABLE, what).caused_by(why));
            }
            tracing::debug!(why, tried, "the Data API is busy");
            self.pause(seed, tried).await;
        }
    }

    /// Waits after the `tried`th try.
    pub(super) async fn pause(&self, seed: &str, tried: u32) {
        tokio::time::sleep(pause_after(&self.limits, seed, tried)).await;
    }
}

/// The pause after the `tried`th try: doubling, of random length between half and all of it. The randomness comes from the
/// request's own name, so that a run can be repeated.
fn pause_after(limits: &Limits, seed: &str, tried: u32) -> Duration {
    let whole = limits.pause.saturating_mul(1_u32 << tried.saturating_sub(1).min(16)).min(limits.pause_max);
    let hash = Sha256::digest(format!("{seed}#{tried}"));
    let share = hash.first().copied().map_or(0.0, |byte| f64::from(byte) / 255.0);
    whole.mul_f64(0.5 + share / 2.0)
}

/// A client token of at most 64 characters: the same for the same texts of the same attempt.
fn token(load: &str, attempt: &str, texts: &[String]) -> String {
    let mut hash = Sha256::new();
    for text in [load, attempt].into_iter().chain(texts.iter().map(String::as_str)) {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

fn submitted(status: Option<&StatementStatusString>) -> State {
    match status {
        Some(StatementStatusString::Finished) => State::Finished,
        Some(StatementStatusString::Failed | StatementStatusString::Aborted) => State::Failed,
        _ => State::Running,
    }
}

fn described(status: Option<&StatusString>) -> State {
    match status {
        Some(StatusString::Finished) => State::Finished,
        Some(StatusString::Failed | StatusString::Aborted) => State::Failed,
        _ => State::Running,
    }
}

fn text_of(field: &Field) -> Option<String> {
    match field {
        Field::BooleanValue(value) => Some(value.to_string()),
        Field::DoubleValue(value) => Some(value.to_string()),
        Field::LongValue(value) => Some(value.to_string()),
        Field::StringValue(value) => Some(value.clone()),
        _ => None,
    }
}

/// Classifies the service's refusals by their code. The message of a refusal names the request's parts, never rows.
fn refusal<E>(error: &SdkError<E>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let message = || error.message().unwrap_or_default().lines().next().unwrap_or_default().chars().take(200).collect::<String>();
    let refused = |code, what: &str| Refusal::Final(Error::new(code, what.to_owned()).caused_by(message()));
    if crate::s3::lacks_credentials(error) {
        return Refusal::Final(Error::new(&AWS_CREDENTIALS, "the Data API cannot be asked without credentials"));
    }
    match error.code() {
        Some(
            name @ ("ThrottlingException"
            | "ActiveStatementsExceededException"
            | "ActiveSessionsExceededException"
            | "ExecuteStatementException"
            | "BatchExecuteStatementException"
            | "DatabaseConnectionException"
            | "QueryTimeoutException"
            | "InternalServerException"),
        ) => Refusal::Busy(name.to_owned()),
        Some("ActiveWaitingRequestsExceededException") => Refusal::Waiting,
        Some("AccessDeniedException") => refused(&super::DENIED, "the Data API refuses these credentials"),
        Some(
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "InvalidClientTokenId",
        ) => refused(&AWS_CREDENTIALS, "the Data API does not accept these credentials"),
        Some("ResourceNotFoundException") => refused(&super::TARGET, "the Data API does not find what was asked for"),
        Some("ValidationException") => refused(&super::TARGET, "the Data API does not accept a request"),
        Some(other) => match error.raw_response().map(|response| response.status().as_u16()) {
            Some(status) if status >= 500 => Refusal::Busy(other.to_owned()),
            _ => refused(&super::STATEMENT, &format!("the Data API refuses a request ({other})")),
        },
        None => match error {
            SdkError::ConstructionFailure(_) => refused(&super::TARGET, "a request to the Data API could not be built; is the region set?"),
            SdkError::TimeoutError(_) => Refusal::Busy("no answer in time".to_owned()),
            SdkError::DispatchFailure(_) => Refusal::Busy("no connection".to_owned()),
            _ => Refusal::Busy("no proper answer".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_limit_and_differ_by_request() {
        let limits = Limits { pause: Duration::from_secs(1), pause_max: Duration::from_secs(8), ..Limits::default() };
        for tried in 1..40 {
            let whole = Duration::from_secs(1 << (tried - 1).min(3));
            let pause = pause_after(&limits, "a", tried);
            assert!(pause >= whole / 2 && pause <= whole, "{tried}: {pause:?}");
        }
        let pauses: std::collections::BTreeSet<Duration> = (0..20).map(|n| pause_after(&limits, &n.to_string(), 1)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[test]
    fn a_token_names_one_attempt() {
        let texts = ["SELECT 1".to_owned()];
        assert_eq!(token("load", "1", &texts), token("load", "1", &texts));
        assert_ne!(token("load", "1", &texts), token("load", "2", &texts));
        assert_ne!(token("load", "1", &texts), token("load", "1", &["SELECT 2".to_owned()]));
        assert_eq!(token("load", "1", &texts).len(), 64);
    }
}

//! The operations on statements and sessions.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::input::Input;
use crate::clock;
use crate::service::double::Double;
use crate::service::error::ServiceError;
use crate::service::faults::{Fault, FaultKind};
use crate::service::session::Session;
use crate::service::statement::{Format, Mode, Request, Statement, Status};
use crate::service::target::Target;
use crate::sql::token::{Reading, Token, tokenize};

/// The longest statement, in bytes: the newest documented limit.
const STATEMENT_BYTES_MAX: usize = 200 * 1024;
/// Statements of a batch.
const BATCH_STATEMENTS_MAX: usize = 40;
/// The longest wait, in seconds.
const WAIT_SECONDS_MAX: i64 = 30;
/// A session's longest keep-alive, in seconds.
const KEEP_ALIVE_SECONDS_MAX: i64 = 86_400;
const TOKEN_LENGTH_MAX: usize = 64;
const NAME_LENGTH_MAX: usize = 2048;

/// An operation's response, and the statement that must end before some faults answer.
pub(super) struct Response {
    pub(super) body: Value,
    pub(super) statement: Option<Arc<Statement>>,
}

impl From<Value> for Response {
    fn from(body: Value) -> Self {
        Self { body, statement: None }
    }
}

/// ExecuteStatement and BatchExecuteStatement.
pub(super) async fn execute(double: &Arc<Double>, input: &Input, batch: bool, faults: &[Fault]) -> Result<Response, ServiceError> {
    let (statements, mode) = if batch {
        let statements = input.texts("Sqls", 1, BATCH_STATEMENTS_MAX)?;
        let mode = match input.choice("ExecutionMode", &["TRANSACTION", "AUTO_COMMIT"])?.as_deref() {
            Some("AUTO_COMMIT") => Mode::AutoCommit,
            _ => Mode::Transaction,
        };
        (statements, Some(mode))
    } else {
        (vec![input.required_text("Sql", usize::MAX)?], None)
    };
    if statements.iter().any(|statement| statement.len() > STATEMENT_BYTES_MAX) {
        return Err(ServiceError::validation(format!("The SQL statement is longer than {STATEMENT_BYTES_MAX} bytes")));
    }
    let parameters = input.parameters()?;
    check_parameters_used(&statements, &parameters)?;
    let wait = input.whole("WaitTimeSeconds", 1, WAIT_SECONDS_MAX)?;
    let token = input.text("ClientToken", TOKEN_LENGTH_MAX)?;
    let name = input.text("StatementName", NAME_LENGTH_MAX)?;
    let format = match input.choice("ResultFormat", &["JSON", "CSV"])?.as_deref() {
        Some("CSV") => Format::Csv,
        _ => Format::Json,
    };
    if let Some(statement) = token.as_ref().and_then(|token| double.by_token(token, &statements)) {
        return Ok(accepted(statement, wait).await);
    }
    double.admit_statement()?;
    let (target, session) = place(double, input, faults).await?;
    let request =
        Request { statements, mode, parameters, target, name, format, session_id: session.as_ref().map(|session| session.id.clone()) };
    let statement = double.submit(request, session, token, faults);
    Ok(accepted(statement, wait).await)
}

async fn accepted(statement: Arc<Statement>, wait: Option<i64>) -> Response {
    let progress = match wait {
        Some(seconds) => statement.wait(u64::try_from(seconds).unwrap_or(0)).await,
        None => statement.progress.borrow().clone(),
    };
    let mut body = Map::new();
    statement.request.target.describe(&mut body);
    body.insert("Id".to_owned(), json!(statement.id));
    body.insert("CreatedAt".to_owned(), json!(clock::epoch_seconds(statement.created_at)));
    body.insert("DbGroups".to_owned(), json!([]));
    if let Some(session_id) = &statement.request.session_id {
        body.insert("SessionId".to_owned(), json!(session_id));
    }
    if wait.is_some() {
        body.insert("Status".to_owned(), json!(progress.status.name()));
        body.insert("RedshiftPid".to_owned(), json!(progress.process_id));
        body.insert("HasResultSet".to_owned(), json!(progress.parts.iter().any(|part| part.has_result)));
    }
    Response { body: Value::Object(body), statement: Some(statement) }
}

/// Every parameter must stand in some statement.
fn check_parameters_used(statements: &[String], parameters: &[(String, String)]) -> Result<(), ServiceError> {
    if parameters.is_empty() {
        return Ok(());
    }
    let used: Vec<String> = statements
        .iter()
        .flat_map(|statement| tokenize(statement, Reading::default()).unwrap_or_default())
        .filter_map(|token| if let Token::Parameter(name) = token { Some(name) } else { None })
        .collect();
    for (index, (name, _)) in parameters.iter().enumerate() {
        if parameters.iter().skip(index + 1).any(|(other, _)| other == name) {
            return Err(ServiceError::validation(format!("Parameter {name} is given more than once")));
        }
        if !used.contains(name) {
            return Err(ServiceError::validation(format!("Parameters list contains unused parameters. Unused parameters: [{name}]")));
        }
    }
    if let Some(missing) = used.iter().find(|name| !parameters.iter().any(|(given, _)| given == *name)) {
        return Err(ServiceError::validation(format!("Parameter {missing} has no value")));
    }
    Ok(())
}

pub(super) fn target(input: &Input) -> Result<Target, ServiceError> {
    Target::new(
        input.text("ClusterIdentifier", 63)?,
        input.text("WorkgroupName", 128)?,
        input.text("Database", 64)?,
        input.text("DbUser", usize::MAX)?,
        input.text("SecretArn", usize::MAX)?,
    )
}

/// A session's connection, a new session's, or one of the call's own.
async fn place(double: &Arc<Double>, input: &Input, faults: &[Fault]) -> Result<(Target, Option<Arc<Session>>), ServiceError> {
    let keep_alive = input.whole("SessionKeepAliveSeconds", 0, KEEP_ALIVE_SECONDS_MAX)?;
    if let Some(id) = input.text("SessionId", usize::MAX)? {
        if ["ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SecretArn"].iter().any(|name| input.is_given(name)) {
            return Err(ServiceError::validation(
                "ClusterIdentifier, WorkgroupName, Database, DbUser and SecretArn cannot be specified with SessionId",
            ));
        }
        let session = double.session(&id)?;
        if faults.iter().any(|fault| fault.kind == FaultKind::SessionClosed) {
            session.close().await;
        }
        if !session.take(keep_alive) {
            return Err(ServiceError::validation("Session is not available"));
        }
        return Ok((session.target.clone(), Some(session)));
    }
    let target = target(input)?;
    match keep_alive {
        Some(seconds) if seconds > 0 => {
            let session = double.add_session(Session::open(target.clone(), seconds))?;
            Ok((target, Some(session)))
        }
        _ => Ok((target, None)),
    }
}

/// `uuid` or `uuid:n`.
pub(super) fn parse_id(id: &str) -> Result<(&str, Option<usize>), ServiceError> {
    let invalid = || {
        ServiceError::validation(format!(
            "id must satisfy regex pattern: ^[a-z0-9]{{8}}(-[a-z0-9]{{4}}){{3}}-[a-z0-9]{{12}}(:\\d+)?$, got {id}"
        ))
    };
    let (whole, number) = match id.split_once(':') {
        Some((whole, number)) => (whole, Some(number.parse::<usize>().ok().filter(|number| *number > 0).ok_or_else(invalid)?)),
        None => (id, None),
    };
    uuid::Uuid::parse_str(whole).map_err(|_| invalid())?;
    Ok((whole, number))
}

/// DescribeStatement.
pub(super) async fn describe(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let id = input.required_text("Id", usize::MAX)?;
    let (whole, number) = parse_id(&id)?;
    let statement = double.statement(whole)?;
    let progress = match input.whole("WaitTimeSeconds", 1, WAIT_SECONDS_MAX)? {
        Some(seconds) => statement.wait(u64::try_from(seconds).unwrap_or(0)).await,
        None => statement.progress.borrow().clone(),
    };
    match number {
        None => Ok(statement.describe(&progress).into()),
        Some(number) if statement.is_batch() => statement
            .describe_part(&progress, number - 1)
            .map(Response::from)
            .ok_or_else(|| ServiceError::not_found(&id, "Query does not exist.")),
        Some(_) => Err(ServiceError::not_found(&id, "Query does not exist.")),
    }
}

/// CancelStatement.
pub(super) fn cancel(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let id = input.required_text("Id", usize::MAX)?;
    let (whole, number) = parse_id(&id)?;
    if number.is_some() {
        return Err(ServiceError::validation("A sub-statement cannot be cancelled by itself"));
    }
    let statement = double.statement(whole)?;
    let status: Status = statement.progress.borrow().status;
    if status.is_terminal() {
        return Err(ServiceError::validation(format!("Could not cancel a query that is already in {} state with ID: {id}", status.name())));
    }
    statement.cancel();
    Ok(json!({ "Status": true }).into())
}

/// ListStatements: newest first.
pub(super) fn list_statements(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, 100)?;
    let status = input.choice("Status", &["SUBMITTED", "PICKED", "STARTED", "FINISHED", "ABORTED", "FAILED", "ALL"])?;
    let name = input.text("StatementName", NAME_LENGTH_MAX)?;
    let filters = [input.text("ClusterIdentifier", 63)?, input.text("WorkgroupName", 128)?, input.text("Database", 64)?];
    let mut statements = double.all_statements();
    statements.reverse();
    statements.retain(|statement| {
        let target = &statement.request.target;
        let [cluster, workgroup, database] = &filters;
        status.as_ref().is_none_or(|status| status == "ALL" || status == statement.progress.borrow().status.name())
            && name.as_ref().is_none_or(|name| statement.request.name.as_ref().is_some_and(|given| given.starts_with(name)))
            && (cluster.is_none() || *cluster == target.cluster)
            && (workgroup.is_none() || *workgroup == target.workgroup)
            && database.as_ref().is_none_or(|database| *database == target.database)
    });
    let listed: Vec<Value> = statements.iter().map(|statement| statement.listed()).collect();
    Ok(paged("Statements", listed, page).into())
}

/// ListSessions.
pub(super) fn list_sessions(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, 100)?;
    let status = input.choice("Status", &["AVAILABLE", "BUSY", "CLOSED"])?;
    let id = input.text("SessionId", usize::MAX)?;
    let mut sessions = double.all_sessions();
    sessions.retain(|session| {
        status.as_ref().is_none_or(|status| status == session.status().name()) && id.as_ref().is_none_or(|id| *id == session.id)
    });
    let listed: Vec<Value> = sessions.iter().map(|session| session.listed()).collect();
    Ok(paged("Sessions", listed, page).into())
}

/// Where a page begins and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) start: usize,
    pub(super) size: usize,
}

/// `NextToken` and `MaxResults`.
pub(super) fn page(input: &Input, size_max: i64) -> Result<Page, ServiceError> {
    let size = input.whole("MaxResults", 0, size_max)?.filter(|size| *size > 0).unwrap_or(size_max);
    Ok(Page { start: start(input)?, size: usize::try_from(size).unwrap_or(usize::MAX) })
}

/// What a `NextToken` stands for.
pub(super) fn start(input: &Input) -> Result<usize, ServiceError> {
    let Some(token) = input.text("NextToken", usize::MAX)? else { return Ok(0) };
    token.strip_prefix("from-").and_then(|start| start.parse().ok()).ok_or_else(|| ServiceError::validation("NextToken is invalid"))
}

pub(super) fn token(start: usize) -> Value {
    Value::String(format!("from-{start}"))
}

/// One page of a list.
pub(super) fn paged(name: &str, items: Vec<Value>, page: Page) -> Value {
    let end = page.start.saturating_add(page.size);
    let more = items.len() > end;
    let items: Vec<Value> = items.into_iter().skip(page.start).take(page.size).collect();
    let mut body = Map::new();
    body.insert(name.to_owned(), Value::Array(items));
    if more {
        body.insert("NextToken".to_owned(), token(end));
    }
    Value::Object(body)
}

//! The HTTP server: AWS JSON 1.1 at `/`, the double's own switches below `/_double/`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response as HttpResponse, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::input::Input;
use super::operations::{self, Response};
use super::{lists, results};
use crate::service::double::Double;
use crate::service::error::ServiceError;
use crate::service::faults::{Call, Fault, FaultKind};
use crate::service::statement::Format;

/// The largest request: a full batch with its JSON escapes.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
const TARGET_PREFIX: &str = "RedshiftData.";

/// The client is to see its connection close.
#[derive(Debug, thiserror::Error)]
#[error("the response is withheld")]
struct Withheld;

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, double: Arc<Double>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                continue;
            }
        };
        let double = Arc::clone(&double);
        tokio::spawn(async move {
            let service = service_fn(move |request| Box::pin(answer(Arc::clone(&double), request)));
            let connection =
                hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

async fn answer(double: Arc<Double>, request: Request<Incoming>) -> Result<HttpResponse<Full<Bytes>>, Withheld> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return Ok(refusal(&ServiceError::new("RequestEntityTooLargeException", 413, "The request is too large"))),
    };
    let path = head.uri.path();
    if path.starts_with("/_double/") {
        return Ok(switch(&double, &head.method, path, &body));
    }
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let outcome = match (head.method == Method::POST && path == "/", authorize(head.headers.get(AUTHORIZATION))) {
        (false, _) => Err(ServiceError::new("UnknownOperationException", 404, "The service is at POST /")),
        (true, Err(error)) => Err(error),
        (true, Ok(())) => match target.strip_prefix(TARGET_PREFIX) {
            Some(operation) => Box::pin(call(&double, operation, &body)).await?,
            None => Err(ServiceError::new("UnknownOperationException", 404, "The request names no operation of RedshiftData")),
        },
    };
    Ok(match outcome {
        Ok(body) => response(200, &body, None),
        Err(error) => refusal(&error),
    })
}

/// Signatures are not verified, but a request must carry one for this service.
fn authorize(header: Option<&HeaderValue>) -> Result<(), ServiceError> {
    let Some(header) = header.and_then(|value| value.to_str().ok()) else {
        return Err(ServiceError::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token"));
    };
    let Some((_, scope)) = header.strip_prefix("AWS4-HMAC-SHA256 ").and_then(|rest| rest.split_once("Credential=")) else {
        return Err(ServiceError::new("IncompleteSignatureException", 403, "Authorization header requires 'Credential' parameter."));
    };
    let credential = scope.split([',', ' ']).next().unwrap_or_default();
    match credential.rsplit('/').take(2).collect::<Vec<_>>().as_slice() {
        ["aws4_request", "redshift-data"] => Ok(()),
        _ => Err(ServiceError::new("InvalidSignatureException", 403, "Credential should be scoped to correct service: 'redshift-data'.")),
    }
}

/// One operation, with the faults that fire at it.
async fn call(double: &Arc<Double>, operation: &str, body: &Bytes) -> Result<Result<Value, ServiceError>, Withheld> {
    let parsed = Input::parse(body);
    let faults = double.ledger().receive(noted(operation, parsed.as_ref().ok()));
    let input = match parsed {
        Ok(input) => input,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = double.admit(operation) {
        return Ok(Err(error));
    }
    if let Some(error) = faults.iter().find_map(refused_by_fault) {
        return Ok(Err(error));
    }
    let outcome = Box::pin(dispatch(double, operation, &input, &faults)).await;
    let Some(fault) = faults.iter().find(|fault| matches!(fault.kind, FaultKind::LostResponse | FaultKind::ErrorAfter)) else {
        return Ok(outcome.map(|response| response.body));
    };
    if let Ok(Response { statement: Some(statement), .. }) = &outcome {
        // The statement really runs: a day is the longest it may.
        statement.wait(24 * 60 * 60).await;
    }
    match fault.kind {
        FaultKind::LostResponse => Err(Withheld),
        _ => Ok(Err(ServiceError::internal(fault.status))),
    }
}

fn noted(operation: &str, input: Option<&Input>) -> Call {
    let statements = input.map(|input| match input.text("Sql", usize::MAX) {
        Ok(Some(statement)) => vec![statement],
        _ => input.texts("Sqls", 0, usize::MAX).unwrap_or_default(),
    });
    let client_token = input.and_then(|input| input.text("ClientToken", usize::MAX).ok().flatten());
    Call { operation: operation.to_owned(), statements: statements.unwrap_or_default(), client_token }
}

fn refused_by_fault(fault: &Fault) -> Option<ServiceError> {
    match fault.kind {
        FaultKind::ErrorBefore => Some(ServiceError::internal(fault.status)),
        FaultKind::Throttle => Some(ServiceError::throttled()),
        FaultKind::ActiveStatements => {
            Some(ServiceError::new("ActiveStatementsExceededException", 400, "Active statements exceeded the allowed quota"))
        }
        FaultKind::ActiveSessions => {
            Some(ServiceError::new("ActiveSessionsExceededException", 400, "Active sessions exceeded the allowed quota"))
        }
        _ => None,
    }
}

async fn dispatch(double: &Arc<Double>, operation: &str, input: &Input, faults: &[Fault]) -> Result<Response, ServiceError> {
    match operation {
        "ExecuteStatement" => operations::execute(double, input, false, faults).await,
        "BatchExecuteStatement" => operations::execute(double, input, true, faults).await,
        "DescribeStatement" => operations::describe(double, input).await,
        "CancelStatement" => operations::cancel(double, input),
        "GetStatementResult" => results::get(double, input, Format::Json).await,
        "GetStatementResultV2" => results::get(double, input, Format::Csv).await,
        "ListStatements" => operations::list_statements(double, input),
        "ListSessions" => operations::list_sessions(double, input),
        "ListDatabases" => lists::databases(double, input).await,
        "ListSchemas" => lists::schemas(double, input).await,
        "ListTables" => lists::tables(double, input).await,
        "DescribeTable" => lists::describe(double, input).await,
        _ => Err(ServiceError::new("UnknownOperationException", 404, "The operation is not known")),
    }
}

/// The double's own switches: no signature is needed.
fn switch(double: &Arc<Double>, method: &Method, path: &str, body: &Bytes) -> HttpResponse<Full<Bytes>> {
    match (method.as_str(), path) {
        ("POST", "/_double/faults") => match serde_json::from_slice::<Vec<Fault>>(body) {
            Ok(faults) => {
                double.ledger().arm(faults);
                response(200, &json!({}), None)
            }
            Err(error) => response(400, &json!({ "Message": format!("not a list of faults: {error}") }), None),
        },
        ("POST", "/_double/reset") => {
            double.ledger().reset();
            response(200, &json!({}), None)
        }
        ("GET", "/_double/calls") => response(200, &double.ledger().report(), None),
        ("GET", "/_double/health") => response(200, &json!({ "status": "ready" }), None),
        _ => response(404, &json!({ "Message": "no such switch" }), None),
    }
}

fn refusal(error: &ServiceError) -> HttpResponse<Full<Bytes>> {
    response(error.status, &error.body(), Some(error.kind))
}

fn response(status: u16, body: &Value, kind: Option<&'static str>) -> HttpResponse<Full<Bytes>> {
    let mut response = HttpResponse::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(kind) = kind {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized(header: Option<&str>) -> Option<&'static str> {
        authorize(header.map(|text| HeaderValue::from_str(text).unwrap()).as_ref()).err().map(|error| error.kind)
    }

    #[test]
    fn requests_carry_a_signature_for_this_service() {
        assert_eq!(authorized(None), Some("MissingAuthenticationTokenException"));
        assert_eq!(authorized(Some("Bearer x")), Some("IncompleteSignatureException"));
        assert_eq!(
            authorized(Some("AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=00")),
            Some("InvalidSignatureException")
        );
        assert_eq!(
            authorized(Some(
                "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/redshift-data/aws4_request, SignedHeaders=host, Signature=00"
            )),
            None
        );
    }
}

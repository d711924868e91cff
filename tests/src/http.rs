//! Requests to servers of the harness.

use std::time::Duration;

use ureq::http::{Method, Request};

/// No server of the harness needs so long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request. Every status is an answer.
///
/// # Errors
/// What failed, if no answer came.
pub(crate) fn send(method: Method, url: &str, headers: &[(String, String)], body: Vec<u8>) -> Result<Response, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build().into();
    let mut request = Request::builder().method(method.clone()).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = if method == Method::PUT || method == Method::POST {
        agent.run(request.body(body).map_err(|error| error.to_string())?)
    } else {
        agent.run(request.body(()).map_err(|error| error.to_string())?)
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())?;
    Ok(Response { status: answer.status().as_u16(), body })
}

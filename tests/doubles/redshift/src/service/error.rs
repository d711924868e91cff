//! The service's exceptions, with the HTTP status and the fields its model gives them.

use serde_json::{Value, json};

/// An exception of the Data API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) kind: &'static str,
    pub(crate) status: u16,
    pub(crate) message: String,
    resource_id: Option<String>,
}

impl ServiceError {
    pub(crate) fn new(kind: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { kind, status, message: message.into(), resource_id: None }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", 400, message)
    }

    pub(crate) fn not_found(resource_id: &str, message: impl Into<String>) -> Self {
        Self { resource_id: Some(resource_id.to_owned()), ..Self::new("ResourceNotFoundException", 400, message) }
    }

    pub(crate) fn throttled() -> Self {
        Self::new("ThrottlingException", 400, "Rate exceeded")
    }

    /// A server's error, with a status of 500 or above.
    pub(crate) fn internal(status: u16) -> Self {
        Self::new("InternalServerException", status, "The request could not be completed")
    }

    /// The response's body.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({ "__type": self.kind, "Message": self.message });
        if let (Some(resource_id), Some(object)) = (&self.resource_id, body.as_object_mut()) {
            object.insert("ResourceId".to_owned(), Value::String(resource_id.clone()));
        }
        body
    }
}

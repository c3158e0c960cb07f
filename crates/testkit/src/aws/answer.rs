//! Answers in AWS's words.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::call::{AwsCall, Service};
use super::policy::{Right, Verdict};
use super::rights::shown;

/// An answer that the proxy makes, or one that it has read to the end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    kind: &'static str,
}

impl Answer {
    /// Success of a JSON service.
    pub(super) const fn json(body: Value) -> Self {
        Self { status: StatusCode::OK, body, kind: "application/x-amz-json-1.1" }
    }

    /// An error: status 400 of a JSON service, the given one of S3.
    pub(super) fn error(call: &AwsCall, s3: StatusCode, name: &str, message: &str) -> Self {
        match call.service {
            Service::Json => {
                let body = json!({ "__type": name, "message": message });
                Self { status: StatusCode::BAD_REQUEST, ..Self::json(body) }
            }
            Service::S3 { .. } => {
                let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
                let xml = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{name}</Code><Message>{escaped}</Message></Error>"
                );
                Self { status: s3, body: xml.into(), kind: "application/xml" }
            }
        }
    }

    pub(super) fn throttled(call: &AwsCall) -> Self {
        match call.service {
            Service::Json => Self::error(call, StatusCode::OK, "ThrottlingException", "Rate exceeded"),
            Service::S3 { .. } => Self::error(
                call,
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Please reduce your request rate.",
            ),
        }
    }

    /// The access key is unknown.
    pub(super) fn stranger(call: &AwsCall) -> Self {
        match (&call.service, &call.key) {
            (Service::Json, _) => {
                let message = "The security token included in the request is invalid.";
                Self::error(call, StatusCode::OK, "UnrecognizedClientException", message)
            }
            (Service::S3 { .. }, Some(_)) => {
                let message = "The AWS Access Key Id you provided does not exist in our records.";
                Self::error(call, StatusCode::FORBIDDEN, "InvalidAccessKeyId", message)
            }
            (Service::S3 { .. }, None) => {
                Self::error(call, StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
            }
        }
    }

    /// S3 rejects the signature or the token.
    pub(super) fn unbelieved(call: &AwsCall, name: &str) -> Self {
        Self::error(call, StatusCode::FORBIDDEN, name, "The session is not what it claims to be.")
    }

    /// A right is missing.
    pub(super) fn denied(
        call: &AwsCall,
        account: &str,
        principal: &str,
        right: &Right,
        verdict: Verdict,
    ) -> Self {
        let action = &right.action;
        let who = format!("arn:aws:sts::{account}:assumed-role/bakery-{principal}/bakery");
        let why = match verdict {
            Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
            _ => format!("because no identity-based policy allows the {action} action"),
        };
        let resource = match call.service {
            Service::S3 { .. } => format!("\"{}\"", shown(right)),
            Service::Json => shown(right).to_owned(),
        };
        let message =
            format!("User: {who} is not authorized to perform: {action} on resource: {resource} {why}");
        let name = match call.service {
            Service::S3 { .. } => "AccessDenied",
            Service::Json => "AccessDeniedException",
        };
        Self::error(call, StatusCode::FORBIDDEN, name, &message)
    }

    /// The `clientToken` of `RunTask` was used for another request.
    pub(super) fn conflict(call: &AwsCall, tasks: Vec<String>) -> Self {
        let message =
            "The provided clientToken is already in use: it was already used with different parameters.";
        let mut answer = Self::error(call, StatusCode::OK, "ConflictException", message);
        answer.body["resourceIds"] = tasks.into();
        answer
    }

    /// The response to send.
    pub(super) fn response(&self) -> Response<Body> {
        let bytes = match &self.body {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.kind));
        response.headers_mut().insert("x-amzn-requestid", header::HeaderValue::from_static("of-the-proxy"));
        response
    }

    /// An answer of the emulator.
    pub(super) const fn read(status: StatusCode, body: Value) -> Self {
        Self { status, body, kind: "application/x-amz-json-1.1" }
    }
}

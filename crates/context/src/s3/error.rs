//! Errors of an S3 store, with hints that name the variable to check.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use bakery_core::message::Hint;

/// Why an object could not be sent or read. Never contains credentials or a URL.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The local file cannot be read.
    #[error("`{}` cannot be read: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The store refused the request.
    #[error("{operation}: the store answered {status} {code}{}", colon(text))]
    Refused {
        /// The request.
        operation: S3Operation,
        /// HTTP status.
        status: u16,
        /// The store's error code.
        code: String,
        /// The store's message and request ID; may be empty.
        text: String,
    },
    /// The store did not answer.
    #[error("{operation}: no answer from the store{}", colon(text))]
    Unreachable {
        /// The request.
        operation: S3Operation,
        /// The reason; may be empty.
        text: String,
    },
    /// No credentials are configured.
    #[error("{operation}: no credentials found")]
    NoCredentials {
        /// The request.
        operation: S3Operation,
    },
    /// The caller stopped the request.
    #[error("{operation}: stopped")]
    Stopped {
        /// The request.
        operation: S3Operation,
    },
}

/// A request to a store. Displays as `sending KEY (bucket BUCKET)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Operation {
    pub(super) verb: &'static str,
    pub(super) bucket: String,
    pub(super) key: String,
}

impl fmt::Display for S3Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` (bucket `{}`)", self.verb, self.key, self.bucket)
    }
}

impl S3Error {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    pub(super) fn status(&self) -> u16 {
        if let Self::Refused { status, .. } = self { *status } else { 0 }
    }
}

impl Hint for S3Error {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::File { .. } => "check that no other program removes temporary files",
            Self::Refused { status, code, operation, .. } => match (code.as_str(), status) {
                ("NoSuchBucket", _) => "S3_BUCKET must be an existing bucket in S3_REGION",
                ("NoSuchKey", _) => {
                    "submit the build again: the bucket's lifecycle rule may have removed the context"
                }
                ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken", _) => {
                    "check S3_ACCESS_KEY, S3_SECRET_KEY and S3_SESSION_TOKEN, or the AWS credentials"
                }
                ("RequestTimeTooSkewed", _) => "correct the clock of this machine",
                ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect", _)
                | (_, 301 | 307) => "S3_REGION must be the region of the bucket, and S3_ENDPOINT its store",
                (_, 401 | 403) => {
                    let action = if operation.verb == GET { "s3:GetObject" } else { "s3:PutObject" };
                    let hint =
                        format!("the credentials need `{action}` on arn:aws:s3:::{}/*", operation.bucket);
                    return Some(hint.into());
                }
                (_, 404) => "S3_ENDPOINT must be an S3 store, and S3_BUCKET a bucket in it",
                (_, 400) => "check S3_ENDPOINT, S3_REGION and S3_SSL",
                _ => "try again later",
            },
            Self::Unreachable { .. } => {
                "check S3_ENDPOINT, S3_SSL, and the network and proxies between this machine and the store"
            }
            Self::NoCredentials { .. } => {
                "set S3_ACCESS_KEY and S3_SECRET_KEY, or provide AWS credentials (AWS_ACCESS_KEY_ID, profile, role)"
            }
            Self::Stopped { .. } => "send it again",
        };
        Some(hint.into())
    }
}

pub(super) const PUT: &str = "sending";
pub(super) const GET: &str = "reading";

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Translates an error of the SDK. `Debug` and the raw response are never used: they may contain signed headers.
pub(super) fn from_sdk<E>(operation: S3Operation, error: &SdkError<E>) -> S3Error
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(refused) => {
            let (meta, raw) = (refused.err().meta(), refused.raw());
            let mut text = meta.message().unwrap_or_default().to_owned();
            if let Some(id) = meta.request_id() {
                text.push_str(if text.is_empty() { "request " } else { " (request " });
                text.push_str(id);
                text.push_str(if text.starts_with("request ") { "" } else { ")" });
            }
            let code = meta.code().unwrap_or("(no error code)").to_owned();
            S3Error::Refused { operation, status: raw.status().as_u16(), code, text }
        }
        SdkError::ResponseError(garbled) => S3Error::Refused {
            operation,
            status: garbled.raw().status().as_u16(),
            code: "(not an S3 error)".to_owned(),
            text: String::new(),
        },
        other => {
            let causes = causes(other);
            if causes.iter().any(|cause| cause.contains("credential")) {
                S3Error::NoCredentials { operation }
            } else {
                S3Error::Unreachable { operation, text: causes.last().cloned().unwrap_or_default() }
            }
        }
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

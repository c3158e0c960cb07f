//! What a store answers, in words that name the variable to look at.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;

/// Why a context did not reach the bucket, or did not come out of it. Never holds a key or a URL.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The local file.
    #[error("`{}`: cannot be read: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The store said no.
    #[error("{doing}: the store answered {status} {code}{}", colon(text))]
    Refused {
        /// What was asked.
        doing: Doing,
        /// HTTP status.
        status: u16,
        /// The store's own word.
        code: String,
        /// The store's own sentence.
        text: String,
    },
    /// No answer.
    #[error("{doing}: the store gave no answer{}", colon(text))]
    Unreachable {
        /// What was asked.
        doing: Doing,
        /// Why.
        text: String,
    },
    /// Nobody to ask as.
    #[error("{doing}: no credentials were found")]
    NoCredentials {
        /// What was asked.
        doing: Doing,
    },
    /// The caller asked for the end.
    #[error("{doing}: stopped")]
    Stopped {
        /// What was asked.
        doing: Doing,
    },
}

/// What was asked of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    pub(super) verb: &'static str,
    pub(super) bucket: String,
    pub(super) key: String,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` (bucket `{}`)", self.verb, self.key, self.bucket)
    }
}

impl S3Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File { .. } => "the packed context is a temporary file: was it removed?".to_owned(),
            Self::Refused { status, code, doing, .. } => match (code.as_str(), status) {
                ("NoSuchBucket", _) => "S3_BUCKET names a bucket that exists in S3_REGION".to_owned(),
                ("NoSuchKey", _) => {
                    "send the context again: the bucket's lifecycle rule may have removed it".to_owned()
                }
                ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken", _) => {
                    "check S3_ACCESS_KEY, S3_SECRET_KEY and S3_SESSION_TOKEN, or AWS's own credentials"
                        .to_owned()
                }
                ("RequestTimeTooSkewed", _) => "set the clock of this machine".to_owned(),
                ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect", _)
                | (_, 301 | 307) => {
                    "S3_REGION is the region of the bucket, and S3_ENDPOINT its store".to_owned()
                }
                (_, 401 | 403) => {
                    let action = if doing.verb == GET { "s3:GetObject" } else { "s3:PutObject" };
                    format!("the credentials need `{action}` on arn:aws:s3:::{}/*", doing.bucket)
                }
                (_, 404) => "S3_ENDPOINT and S3_BUCKET name a store and a bucket in it".to_owned(),
                (_, 400) => "S3_ENDPOINT, S3_REGION and S3_SSL describe the store".to_owned(),
                _ => "try again later".to_owned(),
            },
            Self::Unreachable { .. } => {
                "check S3_ENDPOINT, S3_SSL and the way to the store (proxy, network)".to_owned()
            }
            Self::NoCredentials { .. } => {
                "set S3_ACCESS_KEY and S3_SECRET_KEY, or give AWS's own (AWS_ACCESS_KEY_ID, profile, role)"
                    .to_owned()
            }
            Self::Stopped { .. } => "call again to send it".to_owned(),
        }
    }

    /// True where the same call may go well a little later.
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

pub(super) const PUT: &str = "sending";
pub(super) const GET: &str = "reading";

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// The SDK's error in our words. `Debug` and the raw response are never used: they may hold signed headers.
pub(super) fn ours<E>(doing: Doing, error: &SdkError<E>) -> S3Error
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
            let code = meta.code().unwrap_or("without a reason").to_owned();
            S3Error::Refused { doing, status: raw.status().as_u16(), code, text }
        }
        SdkError::ResponseError(garbled) => S3Error::Refused {
            doing,
            status: garbled.raw().status().as_u16(),
            code: "with something that is not S3".to_owned(),
            text: String::new(),
        },
        other => {
            let causes = causes(other);
            if causes.iter().any(|cause| cause.contains("credential")) {
                S3Error::NoCredentials { doing }
            } else {
                S3Error::Unreachable { doing, text: causes.last().cloned().unwrap_or_default() }
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

//! Calling AWS: the configuration of its clients, and what a failed call means.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use bakery_core::message::Message;
use bakery_core::reason::Reason;

use super::super::LaunchError;
use super::aws_messages;

/// How often a build's call is made that AWS throttles or fails on its side; the SDK waits longer each time.
pub(super) const ATTEMPTS: u32 = 6;
/// What may be wrong where AWS rejects a call.
const SETTINGS: &str = "check the ECS_ settings: roles, subnets, security groups, log group";
/// What may be wrong where the SDK finds no credentials.
const CREDENTIALS: &str = "give the server a role, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment \
                           of its process: AWS's SDK does not read the server's .env";
/// How long AWS may take to answer once.
const ANSWER: Duration = Duration::from_secs(20);

/// The configuration of every client: AWS's usual chain of credentials, and the endpoints that its standard variables name
/// (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_ECS`, ...).
pub(super) async fn config(region: &str, attempts: u32) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(ANSWER)
        .build();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .retry_config(
            RetryConfig::standard().with_max_attempts(attempts).with_max_backoff(Duration::from_secs(10)),
        )
        .timeout_config(timeouts)
        .load()
        .await
}

/// A call that failed.
#[derive(Debug, Clone)]
pub(super) struct AwsCallError {
    /// AWS's error code; empty where it did not answer.
    pub(super) code: String,
    /// AWS's message, or what came back instead.
    pub(super) text: String,
    /// What to do about it, where that does not follow from the code.
    pub(super) hint: Option<&'static str>,
    /// What was tried.
    doing: String,
}

impl AwsCallError {
    /// The failed call of an error of the SDK.
    pub(super) fn of<E, R>(doing: impl Into<String>, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let (code, message) = match error.as_service_error() {
            Some(service) => (
                service.code().unwrap_or("an unnamed error").to_owned(),
                service.message().map(str::to_owned),
            ),
            None => (String::new(), None),
        };
        let text = match message {
            Some(message) => format!("{code}: {message}"),
            None if !code.is_empty() => code.clone(),
            None => unanswered(error),
        };
        Self { code, text, hint: None, doing: doing.into() }
    }

    /// A call that AWS answered with something unusable.
    pub(super) fn unusable(doing: impl Into<String>, text: impl Into<String>, hint: &'static str) -> Self {
        Self { code: "unusable".to_owned(), text: text.into(), hint: Some(hint), doing: doing.into() }
    }

    /// Whether AWS denied it.
    pub(super) fn is_denied(&self) -> bool {
        self.code.starts_with("AccessDenied") || self.code == "UnauthorizedOperation"
    }

    /// The denied action, where AWS names one.
    pub(super) fn denied_action(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("not authorized to perform: ")?;
        rest.split_whitespace().next()
    }

    /// Whether AWS throttles our calls.
    pub(super) fn is_throttled(&self) -> bool {
        self.code.contains("Throttl")
            || ["LimitExceededException", "RequestLimitExceeded"].contains(&self.code.as_str())
            // Of two servers that register the same family at once.
            || self.text.contains("Too many concurrent attempts")
    }

    /// Whether AWS may have done what was asked nevertheless.
    pub(super) fn is_doubtful(&self) -> bool {
        (self.code.is_empty() && !self.lacks_credentials()) || self.code == "ServerException"
    }

    /// Whether a launch is repeated after it. Every other failure is returned to the caller.
    pub(super) fn is_retried(&self) -> bool {
        self.is_throttled() || self.is_doubtful() || self.lacks_credentials()
    }

    /// Whether the task definition does not exist, or is not active.
    pub(super) fn lacks_definition(&self) -> bool {
        let text = self.text.to_lowercase();
        self.code == "ClientException"
            && (text.contains("taskdefinition") || text.contains("task definition"))
    }

    /// Whether the SDK found no credentials.
    fn lacks_credentials(&self) -> bool {
        self.code.is_empty() && self.text.to_lowercase().contains("credentials")
    }

    /// The launch error that it stands for.
    pub(super) fn error(&self) -> LaunchError {
        let Self { code, text, doing, .. } = self;
        let hint = |text: &str| Some(text.to_owned());
        let (reason, retryable, hint) = match code.as_str() {
            _ if self.is_denied() => (Reason::LaunchRefused, false, Some(self.denied_hint())),
            _ if self.is_throttled() => (
                Reason::PlatformUnreachable,
                true,
                hint("AWS throttles; lower MAX_RUNS if it keeps doing so"),
            ),
            "ClusterNotFoundException" => (
                Reason::LaunchRefused,
                false,
                hint("ECS_CLUSTER does not name a cluster of this account and region"),
            ),
            "PlatformTaskDefinitionIncompatibilityException" | "PlatformUnknownException" => {
                (Reason::LaunchRefused, false, hint("Fargate in this region does not support such a task"))
            }
            "InvalidParameterException" | "ClientException" | "UnsupportedFeatureException" => {
                // A used-up quota has the same code as a wrong setting.
                let (reason, hint) =
                    aws_messages::of(text).unwrap_or((Reason::LaunchRefused, Some(SETTINGS)));
                (reason, reason.retryable(), hint.map(str::to_owned))
            }
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => (
                Reason::LaunchRefused,
                false,
                hint("the server's AWS credentials are not valid or have expired"),
            ),
            _ if self.lacks_credentials() => (Reason::PlatformUnreachable, true, hint(CREDENTIALS)),
            "" => (
                Reason::PlatformUnreachable,
                true,
                hint("check AWS_REGION, and that the server reaches AWS on port 443"),
            ),
            _ => (Reason::PlatformUnreachable, true, self.hint.map(str::to_owned)),
        };
        LaunchError { retryable, reason, message: Message { text: format!("{doing}: {text}"), hint } }
    }

    fn denied_hint(&self) -> String {
        match self.denied_action() {
            Some(action) => format!("the server's role lacks {action}; docs/aws.md lists what it needs"),
            None => "the server's role lacks a permission; docs/aws.md lists what it needs".to_owned(),
        }
    }
}

impl std::fmt::Display for AwsCallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.doing, self.text)
    }
}

fn unanswered<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let text = match error {
        SdkError::TimeoutError(_) => "timed out".to_owned(),
        other => DisplayErrorContext(other).to_string(),
    };
    // The SDK's context repeats itself in Debug form behind a bracket.
    let text = text.split(" (").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("AWS does not answer ({text})")
}

#[cfg(test)]
mod tests;

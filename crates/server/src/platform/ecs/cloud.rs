//! Calling AWS: one client for each service, and what a refusal means.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use bakery_core::message::Message;
use bakery_core::reason::Reason;

use super::super::LaunchError;
use super::meaning;

/// How often a call of a build is made that AWS throttles or fails on its side; the SDK waits longer each time.
pub(super) const ATTEMPTS: u32 = 6;
/// What may be wrong where AWS does not like a call.
const SETTINGS: &str = "check the ECS_ settings: roles, subnets, security groups, log group";
/// What may be wrong where the SDK finds no credentials.
const CREDENTIALS: &str = "give the server a role, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment \
                           of its process: AWS's SDK does not read the server's .env";
/// How long AWS may take to answer once.
const ANSWER: Duration = Duration::from_secs(20);

/// What every client is made of: AWS's usual chain of credentials, and the endpoints that its standard variables name
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

/// A call that came to nothing.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// AWS's word for it; empty where it did not answer.
    pub(super) code: String,
    /// AWS's sentence, or what came back instead.
    pub(super) said: String,
    /// What to do about it, where that does not follow from the code.
    pub(super) hint: Option<&'static str>,
    doing: String,
}

impl Refused {
    /// What an error of the SDK says.
    pub(super) fn of<E, R>(doing: impl Into<String>, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let (code, message) = match error.as_service_error() {
            Some(service) => (
                service.code().unwrap_or("an error without a name").to_owned(),
                service.message().map(str::to_owned),
            ),
            None => (String::new(), None),
        };
        let said = match message {
            Some(message) => format!("{code}: {message}"),
            None if !code.is_empty() => code.clone(),
            None => unanswered(error),
        };
        Self { code, said, hint: None, doing: doing.into() }
    }

    /// What AWS answered, and what is of no use all the same.
    pub(super) fn seen(doing: impl Into<String>, said: impl Into<String>, hint: &'static str) -> Self {
        Self { code: "of no use".to_owned(), said: said.into(), hint: Some(hint), doing: doing.into() }
    }

    /// Whether AWS denied it.
    pub(super) fn is_denied(&self) -> bool {
        self.code.starts_with("AccessDenied") || self.code == "UnauthorizedOperation"
    }

    /// The action that AWS says is denied, where it names one.
    pub(super) fn denied_action(&self) -> Option<&str> {
        let (_, rest) = self.said.split_once("not authorized to perform: ")?;
        rest.split_whitespace().next()
    }

    /// Whether AWS has had too many calls of ours.
    pub(super) fn is_throttled(&self) -> bool {
        self.code.contains("Throttl")
            || ["LimitExceededException", "RequestLimitExceeded"].contains(&self.code.as_str())
            // Of two servers that register the same family at once.
            || self.said.contains("Too many concurrent attempts")
    }

    /// Whether AWS may have done it all the same.
    pub(super) fn is_doubtful(&self) -> bool {
        (self.code.is_empty() && !self.lacks_credentials()) || self.code == "ServerException"
    }

    /// Whether a launch asks again: everything else is told to whoever has asked for it.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_throttled() || self.is_doubtful() || self.lacks_credentials()
    }

    /// Whether there is no such task definition, or none that is active.
    pub(super) fn lacks_definition(&self) -> bool {
        let said = self.said.to_lowercase();
        self.code == "ClientException"
            && (said.contains("taskdefinition") || said.contains("task definition"))
    }

    /// Whether the SDK has found nobody to be.
    fn lacks_credentials(&self) -> bool {
        self.code.is_empty() && self.said.to_lowercase().contains("credentials")
    }

    /// What it means for a launch.
    pub(super) fn error(&self) -> LaunchError {
        let Self { code, said, doing, .. } = self;
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
                hint("ECS_CLUSTER names no cluster of this account and region"),
            ),
            "PlatformTaskDefinitionIncompatibilityException" | "PlatformUnknownException" => {
                (Reason::LaunchRefused, false, hint("Fargate in this region does not take such a task"))
            }
            "InvalidParameterException" | "ClientException" | "UnsupportedFeatureException" => {
                // A quota that is used up is told by the same word as a setting that is wrong.
                let (reason, hint) = meaning::of(said).unwrap_or((Reason::LaunchRefused, Some(SETTINGS)));
                (reason, reason.retryable(), hint.map(str::to_owned))
            }
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => (
                Reason::LaunchRefused,
                false,
                hint("the server's AWS credentials are not valid, or not any more"),
            ),
            _ if self.lacks_credentials() => (Reason::PlatformUnreachable, true, hint(CREDENTIALS)),
            "" => (
                Reason::PlatformUnreachable,
                true,
                hint("check AWS_REGION, and the server's way to AWS on port 443"),
            ),
            _ => (Reason::PlatformUnreachable, true, self.hint.map(str::to_owned)),
        };
        LaunchError { retryable, reason, message: Message { text: format!("{doing}: {said}"), hint } }
    }

    fn denied_hint(&self) -> String {
        match self.denied_action() {
            Some(action) => format!("the server's role lacks {action}; docs/aws.md lists what it needs"),
            None => "the server's role lacks a permission; docs/aws.md lists what it needs".to_owned(),
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.doing, self.said)
    }
}

fn unanswered<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let said = match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        other => DisplayErrorContext(other).to_string(),
    };
    // The SDK's context repeats itself in Debug form behind a bracket.
    let said = said.split(" (").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("AWS does not answer ({said})")
}

#[cfg(test)]
mod tests;

//! The record of a call.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Replaces a secret.
const HIDDEN: &str = "***";

/// Parts of the lower-case names of members and variables whose values are secrets.
const SECRETS: [&str; 6] = ["secretstring", "secretbinary", "password", "token", "secret_key", "signature"];

/// Names that look like secrets and are not: two ids of requests, and a position in a list.
const NAMES: [&str; 3] = ["clienttoken", "clientrequesttoken", "nexttoken"];

/// How a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By the emulator or the S3 server.
    Forwarded,
    /// It was refused: no policy grants it.
    Refused,
    /// With the fault that the test asked for.
    Injected,
    /// By the stub, which starts no container.
    Stubbed,
    /// From the proxy's memory: a `clientToken` that was used before, a definition that was deregistered.
    Remembered,
}

/// One recorded call.
#[derive(Clone)]
pub struct Recorded {
    /// The name of the principal, or an unknown access key.
    pub principal: String,
    /// As policies write it: `ecs:RunTask`, `secretsmanager:CreateSecret`, `s3:PutObject`.
    pub action: String,
    /// The body, without secrets; for S3 `{"method", "path", "query"}`.
    pub request: Value,
    /// The number of bytes of the body; for S3 as declared by the caller.
    pub size: u64,
    /// The status of the answer; 0 where the connection was cut instead.
    pub status: u16,
    /// The answer, without secrets; for S3 `null`, or the text of an error.
    pub answer: Value,
    /// Why the answer is what it is.
    pub outcome: Outcome,
    /// When it arrived.
    pub at: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// Request line, headers and body (not an S3 object's) as they were received.
    raw: String,
}

impl Recorded {
    /// The beginning of a record, before there is an answer.
    pub(super) fn begin(principal: String, action: String, request: &Value, raw: String) -> Self {
        Self {
            principal,
            action,
            request: redacted(request),
            size: 0,
            status: 0,
            answer: Value::Null,
            outcome: Outcome::Injected,
            at: Instant::now(),
            took: Duration::ZERO,
            raw,
        }
    }

    /// Whether the request contains a text in its first line, a header or its body.
    pub fn holds(&self, text: &str) -> bool {
        self.raw.contains(text)
    }
}

/// Without the parts that may hold secrets.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, action, request, status, answer, outcome, .. } = self;
        write!(f, "{principal} {action} {request} -> {status} {outcome:?} {answer}")
    }
}

/// A copy without the values of members, variables and query parameters whose names mark secrets.
pub(super) fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let variable = members.get("name").and_then(Value::as_str).is_some_and(is_secret);
            let copy = members.iter().map(|(name, value)| {
                let hide = is_secret(name) || variable && name == "value";
                let shown = if hide && value.is_string() { HIDDEN.into() } else { redacted(value) };
                (name.clone(), shown)
            });
            Value::Object(copy.collect())
        }
        Value::Array(list) => list.iter().map(redacted).collect(),
        other => other.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !NAMES.contains(&name.as_str()) && SECRETS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_everywhere_and_still_found() {
        let body = json!({
            "clientToken": "k3",
            "SecretString": "{\"password\":\"crumbs\"}",
            "overrides": { "containerOverrides": [{ "environment": [
                { "name": "BAKERY_LAUNCH_TOKEN", "value": "flour" }, { "name": "BAKERY_RUN", "value": "run" }] }] },
        });
        let call = Recorded::begin("server".to_owned(), "ecs:RunTask".to_owned(), &body, body.to_string());
        let shown = format!("{call:?}");
        assert!(!shown.contains("crumbs") && !shown.contains("flour"), "{shown}");
        assert!(shown.contains("k3") && shown.contains("run"), "{shown}");
        assert!(call.holds("flour") && call.holds("crumbs") && !call.holds("sugar"));
    }
}

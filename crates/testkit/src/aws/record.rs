//! What is kept of a call.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What stands where a secret was.
const HIDDEN: &str = "***";

/// Members and variables whose value is a secret, by a part of their name in lower case.
const SECRETS: [&str; 6] = ["secretstring", "secretbinary", "password", "token", "secret_key", "signature"];

/// The first two are names that callers give to requests, the third is a place in a list.
const NAMES: [&str; 3] = ["clienttoken", "clientrequesttoken", "nexttoken"];

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was passed on, and the answer is the emulator's or the S3 server's.
    Forwarded,
    /// No policy grants it.
    Refused,
    /// The test had asked for this answer.
    Injected,
    /// The stub has answered, and no container is behind it.
    Stubbed,
    /// What the proxy remembers answered: a `clientToken` that was used, a definition that was deregistered.
    Remembered,
}

/// One call that went by.
#[derive(Clone)]
pub struct Recorded {
    /// The name of the principal, or the access key that nobody has.
    pub principal: String,
    /// As policies write it: `ecs:RunTask`, `secretsmanager:CreateSecret`, `s3:PutObject`.
    pub action: String,
    /// The body, without secrets; for S3 `{"method", "path", "query"}`.
    pub request: Value,
    /// How many bytes the body had; for S3 what was announced.
    pub size: u64,
    /// The status of the answer; 0 where the connection was cut instead.
    pub status: u16,
    /// The answer, without secrets; for S3 `null`, or the text of an error.
    pub answer: Value,
    /// Why the answer is what it is.
    pub outcome: Outcome,
    /// When it came.
    pub at: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// Request line, headers and body (not an S3 object's) as they came.
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

    /// Whether what was sent holds a text anywhere: in its first line, a header or its body.
    pub fn holds(&self, text: &str) -> bool {
        self.raw.contains(text)
    }
}

/// Without what may hold secrets.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, action, request, status, answer, outcome, .. } = self;
        write!(f, "{principal} {action} {request} -> {status} {outcome:?} {answer}")
    }
}

/// A copy without the values of members, variables and query parameters that are secrets by their name.
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
    fn secrets_are_hidden_wherever_they_stand_and_still_found() {
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

//! `clientToken` of `RunTask`, which the emulator ignores.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::sync::lock;

/// The request that used a token, and its answer, which names tasks.
#[derive(Debug, Default)]
pub(super) struct Used(Option<(Value, Value)>);

/// How a request relates to the earlier uses of its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It is new, or it started nothing before.
    New,
    /// It was answered before, with this answer.
    Again(Value),
    /// The token was used by another request, which started these tasks.
    Conflict(Vec<String>),
}

/// All tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Arc<AsyncMutex<Used>>>>);

impl Tokens {
    /// Locks one token: a second request with it waits until the first is answered.
    pub(super) async fn of(&self, token: &str) -> OwnedMutexGuard<Used> {
        let used = {
            let mut all = lock(&self.0);
            Arc::clone(all.entry(token.to_owned()).or_default())
        };
        used.lock_owned().await
    }
}

impl Used {
    pub(super) fn knows(&self, request: &Value) -> Known {
        match &self.0 {
            None => Known::New,
            Some((before, answer)) if before == request => Known::Again(answer.clone()),
            Some((_, answer)) => Known::Conflict(arns(answer)),
        }
    }

    /// Keeps the answer if it names tasks.
    pub(super) fn keep(&mut self, request: &Value, answer: &Value) {
        if !arns(answer).is_empty() {
            self.0 = Some((request.clone(), answer.clone()));
        }
    }
}

fn arns(answer: &Value) -> Vec<String> {
    let tasks = answer["tasks"].as_array().into_iter().flatten();
    tasks.filter_map(|task| task["taskArn"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_equal_request_gets_the_same_answer_and_another_one_conflicts() {
        let tokens = Tokens::default();
        let asked: Value = serde_json::from_str(r#"{"count": 1, "startedBy": "x"}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"startedBy": "x", "count": 1}"#).unwrap();
        let answer = json!({ "tasks": [{ "taskArn": "arn" }] });
        let mut used = tokens.of("t").await;
        assert_eq!(used.knows(&asked), Known::New);
        used.keep(&asked, &json!({ "tasks": [], "failures": [{ "reason": "x" }] }));
        assert_eq!(used.knows(&asked), Known::New, "nothing was started");
        used.keep(&asked, &answer);
        drop(used);
        assert_eq!(tokens.of("t").await.knows(&same), Known::Again(answer));
        let other = json!({ "count": 2, "startedBy": "x" });
        assert_eq!(tokens.of("t").await.knows(&other), Known::Conflict(vec!["arn".to_owned()]));
        assert_eq!(tokens.of("u").await.knows(&other), Known::New);
    }
}

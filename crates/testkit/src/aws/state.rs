//! The state that all requests share, what it records of them, and which of them it refuses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use axum::http::header;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{AwsCall, Service};
use super::fault::{Ending, Faults, hide};
use super::policy::{Policy, Right, Verdict};
use super::record::Recorded;
use super::rights::{definition, rights, roles_of};
use super::stub::Stub;
use super::token::Tokens;
use crate::sync::lock;

/// The parts of the proxy that all requests share.
#[derive(Debug)]
pub(super) struct ProxyShared {
    pub(super) client: reqwest::Client,
    pub(super) emulator: String,
    pub(super) account: String,
    pub(super) s3: Option<String>,
    pub(super) tokens: Tokens,
    pub(super) stub: Arc<Stub>,
    pub(super) state: Mutex<ProxyState>,
}

#[derive(Debug, Default)]
pub(super) struct ProxyState {
    /// By access key: a principal's name, and what it may do.
    pub(super) principals: HashMap<String, (String, Policy)>,
    /// By access key, for keys that need a session token: secret and token.
    pub(super) sessions: HashMap<String, (String, String)>,
    pub(super) denied: BTreeSet<String>,
    pub(super) faults: Faults,
    /// How many times a new task is `MISSING`, and how many times each one still will be.
    pub(super) lag: usize,
    pub(super) lagging: HashMap<String, usize>,
    pub(super) endings: HashMap<String, Ending>,
    /// Definitions by ARN: their roles.
    pub(super) roles: HashMap<String, Vec<String>>,
    pub(super) inactive: HashSet<String>,
    pub(super) tasks: Vec<Value>,
    pub(super) calls: Vec<Recorded>,
}

impl ProxyShared {
    pub(super) fn state(&self) -> MutexGuard<'_, ProxyState> {
        lock(&self.state)
    }

    /// Makes a call of the proxy's own to the emulator.
    pub(super) async fn ask(&self, action: &str, body: &Value) -> Result<Value> {
        let (service, name) = action.split_once(':').context("service:Action")?;
        let service = if service == "ecs" { "AmazonEC2ContainerServiceV20141113" } else { service };
        let request = self.client.post(&self.emulator).header("x-amz-target", format!("{service}.{name}"));
        let request = request.header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
        let answer = request.body(body.to_string()).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{action}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The denial of a call; `None` lets the call through.
    pub(super) async fn refuse(&self, call: &AwsCall) -> Option<Answer> {
        let principal = call.key.as_ref().and_then(|key| self.state().principals.get(key).cloned());
        let Some((name, policy)) = principal else { return Some(Answer::stranger(call)) };
        let roles = if call.action == "ecs:RunTask" { self.roles(call).await } else { Vec::new() };
        let judge = |right: &Right| match policy.judge(right) {
            Verdict::Granted if self.state().denied.contains(&right.action) => Verdict::Ungranted,
            verdict => verdict,
        };
        let needed = rights(call, &self.account, &roles);
        let missing = needed.iter().map(|right| (right, judge(right))).find(|(_, v)| *v != Verdict::Granted);
        missing.map(|(right, verdict)| Answer::denied(call, &self.account, &name, right, verdict))
    }

    /// The roles that a launch passes on: its definition's, and those in its overrides.
    async fn roles(&self, call: &AwsCall) -> Vec<String> {
        let mut roles = roles_of(&call.body["overrides"]);
        let known = self.state().roles.get(&definition(call, &self.account)).cloned();
        if let Some(known) = known {
            roles.extend(known);
        } else {
            // A family means its latest definition, which the emulator has. A missing definition has no roles.
            let asked = json!({ "taskDefinition": call.text("taskDefinition") });
            let found = self.ask("ecs:DescribeTaskDefinition", &asked).await.unwrap_or_default();
            self.learn("ecs:DescribeTaskDefinition", &found);
            roles.extend(roles_of(&found["taskDefinition"]));
        }
        roles
    }

    /// Records what an answer shows.
    pub(super) fn learn(&self, action: &str, answer: &Value) {
        let mut state = self.state();
        let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default();
        match action {
            "ecs:RegisterTaskDefinition" | "ecs:DescribeTaskDefinition" if !arn.is_empty() => {
                state.roles.insert(arn.to_owned(), roles_of(&answer["taskDefinition"]));
            }
            "ecs:DeregisterTaskDefinition" => {
                state.inactive.insert(arn.to_owned());
            }
            "ecs:RunTask" => {
                let lag = state.lag;
                for task in answer["tasks"].as_array().into_iter().flatten() {
                    state.lagging.insert(task["taskArn"].as_str().unwrap_or_default().to_owned(), lag);
                    state.tasks.push(task.clone());
                }
            }
            _ => {}
        }
    }

    /// Replaces parts of a `DescribeTasks` answer with what the test asked for.
    pub(super) fn disguise(&self, answer: &mut Value) {
        let mut state = self.state();
        for task in answer["tasks"].as_array_mut().into_iter().flatten() {
            if let Some(ending) = state.endings.get(task["taskArn"].as_str().unwrap_or_default()) {
                ending.onto(task);
            }
        }
        let mut hidden = HashSet::new();
        for (arn, left) in &mut state.lagging {
            let asked = answer["tasks"].as_array().into_iter().flatten().any(|task| task["taskArn"] == **arn);
            if asked && *left > 0 {
                *left -= 1;
                hidden.insert(arn.clone());
            }
        }
        hide(answer, &|arn| hidden.contains(arn));
    }

    /// Whether a missing object must look like a denial: to callers that may not list the bucket.
    pub(super) fn conceals(&self, call: &AwsCall) -> bool {
        let (Service::S3 { bucket, object }, Some(key)) = (&call.service, &call.key) else { return false };
        let list = Right::new("s3:ListBucket", format!("arn:aws:s3:::{bucket}"));
        let state = self.state();
        let may = !state.denied.contains(&list.action)
            && state.principals.get(key).is_some_and(|(_, policy)| policy.judge(&list) == Verdict::Granted);
        !object.is_empty() && !may
    }
}

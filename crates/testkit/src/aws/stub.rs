//! A stub of ECS, for more tasks than a machine can run: it answers the launches of certain families itself and
//! simulates their tasks. The test plays the agents.
//!
//! A task is `PROVISIONING`, then `PENDING`, and a second after its launch `RUNNING`. It is `STOPPED` as soon as its agent has
//! ended. On Fargate all of this takes longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::call::AwsCall;
use super::fault::Ending;
use super::rights::definition;
use crate::sync::lock;

/// How long a task is `PROVISIONING` ...
const PROVISIONING: Duration = Duration::from_millis(500);
/// ... and how long it takes from its launch until it is `RUNNING`.
const START: Duration = Duration::from_secs(1);

/// The stub's families and tasks.
#[derive(Debug, Default)]
pub(super) struct Stub {
    families: Mutex<HashMap<String, mpsc::UnboundedSender<Launch>>>,
    /// By ARN.
    tasks: Mutex<HashMap<String, Task>>,
}

#[derive(Debug)]
struct Task {
    begun: Instant,
    /// The task as `DescribeTasks` shows it, but for its status.
    shown: Value,
    ending: Option<Ending>,
}

/// A launch of one of the stub's tasks, whose agent the test plays.
#[derive(Debug)]
pub struct Launch {
    /// The variables of its container, as the launch overrides them.
    pub env: HashMap<String, String>,
    arn: String,
    begun: Instant,
    stub: Arc<Stub>,
}

impl Launch {
    /// Waits until the task is `RUNNING`.
    pub async fn runs(&self) {
        tokio::time::sleep_until(self.begun + START).await;
    }

    /// Ends the task as if its agent had ended with this exit code.
    pub fn exits(self, code: i64) {
        let reason = "Essential container in task exited".to_owned();
        let ending = Ending { code: "EssentialContainerExited", reason, exit: Some(code), container: None };
        self.stub.end(&self.arn, ending);
    }
}

impl Task {
    fn seen(&self) -> Value {
        let mut seen = self.shown.clone();
        let (task, container) = match self.begun.elapsed() {
            age if age < PROVISIONING => ("PROVISIONING", "PENDING"),
            age if age < START => ("PENDING", "PENDING"),
            _ => ("RUNNING", "RUNNING"),
        };
        seen["lastStatus"] = task.into();
        seen["containers"][0]["lastStatus"] = container.into();
        if let Some(ending) = &self.ending {
            ending.onto(&mut seen);
        }
        seen
    }
}

impl Stub {
    pub(super) fn take(&self, family: &str) -> mpsc::UnboundedReceiver<Launch> {
        let (sender, launches) = mpsc::unbounded_channel();
        lock(&self.families).insert(family.to_owned(), sender);
        launches
    }

    /// `RunTask` of one task; `None` if the family is not the stub's, or if no test plays its agents any more.
    pub(super) fn start(self: &Arc<Self>, call: &AwsCall, account: &str) -> Option<Value> {
        let definition = definition(call, account);
        let family = definition.rsplit('/').next()?.split(':').next()?;
        let player = lock(&self.families).get(family)?.clone();
        let (begun, container) = (Instant::now(), &call.body["overrides"]["containerOverrides"][0]);
        let prefix = format!("arn:aws:ecs:{}:{account}:", call.region);
        let cluster = call.text("cluster");
        let mut tasks = lock(&self.tasks);
        let arn = format!("{prefix}task/{cluster}/{:032x}", tasks.len());
        let shown = json!({
            "taskArn": arn, "clusterArn": format!("{prefix}cluster/{cluster}"), "taskDefinitionArn": definition,
            "launchType": call.body["launchType"], "startedBy": call.body["startedBy"], "tags": call.body["tags"],
            "overrides": call.body["overrides"], "lastStatus": "PROVISIONING", "desiredStatus": "RUNNING",
            "containers": [{ "name": container["name"], "taskArn": arn, "lastStatus": "PENDING" }],
        });
        let variables = container["environment"].as_array().into_iter().flatten();
        let text = |member: &Value| member.as_str().map(str::to_owned);
        let env = variables.filter_map(|it| Some((text(&it["name"])?, text(&it["value"])?))).collect();
        player.send(Launch { env, arn: arn.clone(), begun, stub: Arc::clone(self) }).ok()?;
        tasks.insert(arn, Task { begun, shown: shown.clone(), ending: None });
        Some(json!({ "tasks": [shown], "failures": [] }))
    }

    /// The stub's tasks among those that `DescribeTasks` names, and the ARNs of all others.
    pub(super) fn describe(&self, asked: &Value) -> (Vec<Value>, Vec<Value>) {
        let tasks = lock(&self.tasks);
        let (mut shown, mut others) = (Vec::new(), Vec::new());
        for arn in asked["tasks"].as_array().into_iter().flatten() {
            match tasks.get(arn.as_str().unwrap_or_default()) {
                Some(task) => shown.push(task.seen()),
                None => others.push(arn.clone()),
            }
        }
        (shown, others)
    }

    /// `StopTask`; `None` if the task is not the stub's. The player of its agent is not notified.
    pub(super) fn stop(&self, call: &AwsCall) -> Option<Value> {
        let reason = call.text("reason").to_owned();
        let ending = Ending { code: "UserInitiated", reason, exit: Some(137), container: None };
        Some(json!({ "task": self.end(call.text("task"), ending)? }))
    }

    /// The first ending counts.
    fn end(&self, arn: &str, ending: Ending) -> Option<Value> {
        let mut tasks = lock(&self.tasks);
        let task = tasks.get_mut(arn)?;
        task.ending.get_or_insert(ending);
        Some(task.seen())
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Service;
    use super::*;

    fn call(body: Value) -> AwsCall {
        let (action, region) = ("ecs:RunTask".to_owned(), "eu-west-1".to_owned());
        AwsCall { service: Service::Json, action, key: None, region, body }
    }

    #[tokio::test]
    async fn a_task_begins_in_steps_and_ends_with_its_agent() {
        let stub = Arc::new(Stub::default());
        let mut launches = stub.take("f-amd64");
        let container = json!({ "name": "agent", "environment": [{ "name": "TOKEN", "value": "flour" }] });
        let asked = json!({ "cluster": "c", "taskDefinition": "f-amd64", "overrides": { "containerOverrides": [container] } });
        assert_eq!(stub.start(&call(json!({ "taskDefinition": "f-arm64" })), "1"), None);
        let started = stub.start(&call(asked.clone()), "1").unwrap();
        let arn = started["tasks"][0]["taskArn"].clone();
        let status = || {
            let (shown, others) = stub.describe(&json!({ "tasks": [arn, "arn:of-the-emulator"] }));
            assert_eq!(others, ["arn:of-the-emulator"]);
            (shown[0]["lastStatus"].clone(), shown[0]["containers"][0]["exitCode"].clone())
        };
        assert_eq!(status(), ("PROVISIONING".into(), Value::Null));
        let launch = launches.recv().await.unwrap();
        assert_eq!(launch.env["TOKEN"], "flour");
        launch.runs().await;
        assert_eq!(status(), ("RUNNING".into(), Value::Null));
        launch.exits(0);
        assert_eq!(status(), ("STOPPED".into(), 0.into()));
        assert!(stub.stop(&call(json!({ "task": arn }))).is_some(), "it has ended already");
        assert_eq!(status(), ("STOPPED".into(), 0.into()));
        assert_eq!(stub.stop(&call(json!({ "task": "arn:of-the-emulator" }))), None);
        drop(launches);
        assert_eq!(stub.start(&call(asked), "1"), None, "nobody plays agents any more");
    }
}

//! The faults that a test can inject into the proxy.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// What happens to a call instead of being passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `ThrottlingException`; of S3 `SlowDown`.
    Throttle,
    /// An error of the service: its name and its message.
    Error(&'static str, String),
    /// Success with a list of failures that have this reason, as `RunTask` reports a task that was not placed.
    Failure(String),
    /// `DescribeTasks`: every task is `MISSING`.
    Missing,
    /// The connection is cut before the call is passed on.
    Cut,
    /// The call is passed on, and the connection is cut before its answer.
    Lost,
}

impl Fault {
    /// Fargate has no capacity.
    pub fn capacity() -> Self {
        Self::Failure(
            "Capacity is unavailable at this time. Please try again later or in a different availability zone"
                .to_owned(),
        )
    }

    /// ECS cannot assume the role that the definition names.
    pub fn role_missing() -> Self {
        Self::Error("ClientException", "ECS was unable to assume the role that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.".to_owned())
    }

    /// There is no such cluster.
    pub fn cluster_missing() -> Self {
        Self::Error("ClusterNotFoundException", "Cluster not found.".to_owned())
    }

    /// The definition was deregistered.
    pub fn inactive() -> Self {
        Self::Error("ClientException", "TaskDefinition is inactive".to_owned())
    }
}

/// How a task ended, according to `DescribeTasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `stopCode`, such as `SpotInterruption`.
    pub code: &'static str,
    /// `stoppedReason`.
    pub reason: String,
    /// The container's `exitCode`; `None` removes it, as for a container that never ran.
    pub exit: Option<i64>,
    /// The container's own `reason`.
    pub container: Option<String>,
}

impl Ending {
    /// Spot takes its capacity back.
    pub fn spot() -> Self {
        let reason = "Your Spot Task was interrupted.".to_owned();
        Self { code: "SpotInterruption", reason, exit: Some(137), container: None }
    }

    /// The container exceeded its memory.
    pub fn out_of_memory() -> Self {
        let container = "OutOfMemoryError: Container killed due to memory usage".to_owned();
        let reason = "Essential container in task exited".to_owned();
        Self { code: "EssentialContainerExited", reason, exit: Some(137), container: Some(container) }
    }

    /// Applies it to a task in an answer of `DescribeTasks`.
    pub(super) fn onto(&self, task: &mut Value) {
        for status in ["lastStatus", "desiredStatus"] {
            task[status] = "STOPPED".into();
        }
        task["stopCode"] = self.code.into();
        task["stoppedReason"] = self.reason.as_str().into();
        for container in task["containers"].as_array_mut().into_iter().flatten() {
            container["lastStatus"] = "STOPPED".into();
            if let Some(members) = container.as_object_mut() {
                members.remove("exitCode");
                members.extend(self.exit.map(|exit| ("exitCode".to_owned(), exit.into())));
                members.extend(self.container.clone().map(|reason| ("reason".to_owned(), reason.into())));
            }
        }
    }
}

/// The faults that were not used yet.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<(String, Fault, usize)>);

impl Faults {
    pub(super) fn add(&mut self, action: &str, fault: Fault, times: usize) {
        self.0.push_back((action.to_owned(), fault, times));
    }

    /// Takes the next fault for a call, in the order of injection.
    pub(super) fn take(&mut self, action: &str) -> Option<Fault> {
        let at = self.0.iter().position(|(wanted, _, times)| wanted == action && *times > 0)?;
        let (_, fault, times) = &mut self.0[at];
        *times -= 1;
        let fault = fault.clone();
        if *times == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Makes these tasks `MISSING` in an answer of `DescribeTasks`.
pub(super) fn hide(answer: &mut Value, hidden: &dyn Fn(&str) -> bool) {
    let Some(tasks) = answer["tasks"].as_array_mut() else { return };
    let mut missing = Vec::new();
    tasks.retain(|task| {
        let arn = task["taskArn"].as_str().unwrap_or_default();
        let hide = hidden(arn);
        if hide {
            missing.push(json!({ "arn": arn, "reason": "MISSING" }));
        }
        !hide
    });
    if let Some(failures) = answer["failures"].as_array_mut() {
        failures.extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_in_order_and_only_for_their_action() {
        let mut faults = Faults::default();
        faults.add("ecs:RunTask", Fault::Throttle, 2);
        faults.add("ecs:RunTask", Fault::Cut, 1);
        faults.add("ecs:StopTask", Fault::Lost, 0);
        assert_eq!(faults.take("ecs:DescribeTasks"), None);
        assert_eq!(faults.take("ecs:StopTask"), None);
        let taken: Vec<_> = std::iter::from_fn(|| faults.take("ecs:RunTask")).collect();
        assert_eq!(taken, [Fault::Throttle, Fault::Throttle, Fault::Cut]);
    }

    #[test]
    fn a_hidden_task_is_a_failure_and_an_ending_is_applied_to_a_task() {
        let mut answer = json!({ "tasks": [{ "taskArn": "a" }, { "taskArn": "b" }], "failures": [] });
        hide(&mut answer, &|arn| arn == "a");
        let wanted =
            json!({ "tasks": [{ "taskArn": "b" }], "failures": [{ "arn": "a", "reason": "MISSING" }] });
        assert_eq!(answer, wanted);
        let mut task = json!({ "lastStatus": "RUNNING", "containers": [{ "exitCode": 0 }] });
        Ending::spot().onto(&mut task);
        assert_eq!(task["stopCode"], "SpotInterruption");
        assert_eq!(task["containers"][0], json!({ "lastStatus": "STOPPED", "exitCode": 137 }));
    }
}

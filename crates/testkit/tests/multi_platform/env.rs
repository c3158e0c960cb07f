//! The environment of these tests: a server with a namespace of Kubernetes and a cluster of ECS.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::aws::AwsEnv;
use bakery_testkit::client::Ended;
use bakery_testkit::k8s_env::K8sEnv;
use serde_json::Value;

/// Fields are dropped in order: the server first.
pub(crate) struct MultiPlatformEnv {
    pub(crate) k8s: K8sEnv,
    pub(crate) aws: AwsEnv,
}

impl MultiPlatformEnv {
    /// A server that is ready. Its `CONTROLLER_URL` has the address at which pods reach this machine; tasks reach it too.
    pub(crate) async fn open(name: &str) -> Result<Self> {
        let aws = AwsEnv::new(name).await?;
        let aws_vars = aws.vars();
        let vars: Vec<_> = aws_vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let k8s = K8sEnv::start(name, &vars).await?;
        Ok(Self { k8s, aws })
    }

    /// The ARN of the one task that was started on ECS.
    pub(crate) fn task(&self) -> Result<String> {
        let tasks = self.aws.proxy.tasks();
        ensure!(tasks.len() == 1, "one task: {tasks:?}");
        Ok(tasks[0]["taskArn"].as_str().context("no ARN")?.to_owned())
    }

    /// Checks that one task was started on ECS, and one Job on Kubernetes.
    pub(crate) async fn started_once(&self) -> Result<()> {
        self.task()?;
        let made = self.k8s.namespace.made().await?;
        ensure!(made.len() == 1, "one Job: {made:?}");
        Ok(())
    }

    /// Waits until nothing of the server is left on either platform.
    pub(crate) async fn gone(&self) -> Result<()> {
        self.k8s.gone(Duration::from_secs(20)).await?;
        for task in self.aws.proxy.tasks() {
            self.aws.reaches(task["taskArn"].as_str().context("no ARN")?, "STOPPED").await?;
        }
        Ok(())
    }

    /// The details for a failed assertion: output, log and calls.
    pub(crate) fn details(&self, ended: &Ended) -> String {
        format!("{}\ncalls:\n{:#?}", self.k8s.details(ended), self.aws.proxy.calls())
    }
}

/// A config with one image and a task on each platform.
pub(crate) fn halves(image: &str) -> String {
    format!(
        "global:\n  kaniko: {{ destination: \"{image}\" }}\nbake:\n- {{ arch: amd64, platform: k8s }}\n\
         - {{ arch: arm64, platform: ecs }}\n"
    )
}

/// One member of each task in a build's JSON, in the order of the config.
pub(crate) fn of_tasks<'a>(view: &'a Value, member: &str) -> Vec<&'a Value> {
    view["targets"][0]["tasks"].as_array().into_iter().flatten().map(|task| &task[member]).collect()
}

//! The AWS environment of a test: a proxy, a family and a cluster of its own, and plain calls.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{AwsProxy, Emulator, Policy, PolicyNames};
use crate::engine::Engine;
use crate::parts::Parts;
use crate::process::until;
use crate::s3::{Keys, S3};

/// The access key of the server.
pub const SERVER: &str = "AKIASERVEROFTESTS001";
/// The access key of the client.
pub const CLIENT: &str = "AKIACLIENTOFTESTS001";

/// The emulated AWS that one test uses.
#[derive(Debug)]
pub struct AwsEnv {
    /// The real parts.
    pub parts: Parts,
    /// The emulator.
    pub emulator: Emulator,
    /// The engine on which the emulator starts containers.
    pub engine: Engine,
    /// The names in the policies.
    pub names: PolicyNames,
    /// The proxy in front of the emulator.
    pub proxy: AwsProxy,
    _s3: Option<S3>,
}

impl AwsEnv {
    /// A new environment, in which the server has the baseline rights only.
    pub async fn new(name: &str) -> Result<Self> {
        Self::with(name, None).await
    }

    /// The same with an S3 server behind the proxy, for the client and the task role.
    pub async fn with_s3(name: &str) -> Result<Self> {
        let (parts, emulator) = (Parts::required(), Emulator::required());
        let keys =
            [Keys::new(CLIENT, "client-secret"), Keys::new(SERVER, "server-secret"), emulator.task.clone()];
        let s3 = S3::listening(&parts, &parts.gateway, &keys).await?;
        Self::with(name, Some(s3)).await
    }

    async fn with(name: &str, s3: Option<S3>) -> Result<Self> {
        let (parts, emulator) = (Parts::required(), Emulator::required());
        let name = format!("{name}-{}", std::process::id());
        let role = |role: &str| format!("arn:aws:iam::{}:role/{role}", emulator.account);
        let names = PolicyNames {
            region: emulator.region.clone(),
            account: emulator.account.clone(),
            cluster: name.clone(),
            bucket: s3.as_ref().map_or("none", |s3| &s3.bucket).to_owned(),
            family: name.clone(),
            execution_role_arn: role("exec"),
            task_role_arn: role("task"),
            secret_name: format!("{name}/pull"),
            log_group: format!("/{name}"),
        };
        let host = s3.as_ref().map(|s3| s3.host.as_str());
        let proxy = AwsProxy::start(&emulator, host, &["127.0.0.1", &emulator.host]).await?;
        proxy.grant("server", SERVER, Policy::example("server", &names)?);
        proxy.grant("client", CLIENT, Policy::example("client", &names)?);
        proxy.grant("agent", &emulator.task.id, Policy::example("task-role", &names)?);
        Ok(Self { engine: Engine::new(&parts), parts, emulator, names, proxy, _s3: s3 })
    }

    /// Grants the server the rights beyond the baseline.
    pub fn with_extras(&self) -> Result<()> {
        let extras = Policy::example("server-extras", &self.names)?;
        self.proxy.grant("server", SERVER, Policy::example("server", &self.names)?.and(extras));
        Ok(())
    }

    /// The variables of a server that runs its tasks here.
    pub fn vars(&self) -> [(&'static str, String); 12] {
        [
            ("AWS_REGION", self.names.region.clone()),
            ("AWS_ENDPOINT_URL_ECS", self.proxy.url()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", self.proxy.url()),
            ("AWS_ACCESS_KEY_ID", SERVER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "server-secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("ECS_CLUSTER", self.names.cluster.clone()),
            ("ECS_SUBNETS", "subnet-1,subnet-2".to_owned()),
            ("ECS_SECURITY_GROUPS", "sg-1".to_owned()),
            ("ECS_EXEC_ROLE_ARN", self.names.execution_role_arn.clone()),
            ("ECS_TASK_ROLE_ARN", self.names.task_role_arn.clone()),
            ("AGENT_TASK_FAMILY", self.names.family.clone()),
        ]
    }

    /// Makes a call as the server; returns the status and the answer.
    pub async fn ask(&self, action: &str, body: &Value) -> Result<(u16, Value)> {
        let (service, name) = action.split_once(':').context("service:Action")?;
        let target = if service == "ecs" { "AmazonEC2ContainerServiceV20141113" } else { service };
        let region = &self.emulator.region;
        let signed = format!("AWS4-HMAC-SHA256 Credential={SERVER}/20260101/{region}/{service}/aws4_request");
        let request = reqwest::Client::new().post(self.proxy.url()).header("authorization", signed);
        let request = request.header("x-amz-target", format!("{target}.{name}")).body(body.to_string());
        let answer = request.send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        Ok((status, serde_json::from_str(&text).context(text)?))
    }

    /// The same; anything but success is an error.
    pub async fn done(&self, action: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self.ask(action, body).await?;
        ensure!(status == 200, "{action}: {status} {answer}");
        Ok(answer)
    }

    /// Registers a definition that runs a script in the shell of the agent image; returns the ARN.
    pub async fn define(&self, arch: &str, script: &str) -> Result<String> {
        let container = json!({ "entryPoint": ["/kaniko/bin/sh", "-c"], "command": [script] });
        self.define_container(arch, container).await
    }

    /// The same with members of the container overridden. The emulator takes the architecture's image from the index.
    pub async fn define_container(&self, arch: &str, own: Value) -> Result<String> {
        let mut container = json!({ "name": "agent", "image": self.parts.agent_index, "essential": true });
        container
            .as_object_mut()
            .context("an object")?
            .extend(own.as_object().cloned().context("an object")?);
        let definition = json!({
            "family": format!("{}-{arch}", self.names.family).to_lowercase(),
            "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
            "runtimePlatform": { "cpuArchitecture": arch, "operatingSystemFamily": "LINUX" },
            "executionRoleArn": self.names.execution_role_arn, "taskRoleArn": self.names.task_role_arn,
            "containerDefinitions": [container],
        });
        let answer = self.done("ecs:RegisterTaskDefinition", &definition).await?;
        Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().context("no ARN")?.to_owned())
    }

    /// The request of `RunTask` for a definition.
    pub fn launch(&self, definition: &str) -> Value {
        json!({
            "cluster": self.names.cluster, "taskDefinition": definition, "launchType": "FARGATE", "count": 1,
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"], "assignPublicIp": "ENABLED" } },
        })
    }

    /// Starts a task; returns its ARN.
    pub async fn run(&self, launch: &Value) -> Result<String> {
        let answer = self.done("ecs:RunTask", launch).await?;
        Ok(answer["tasks"][0]["taskArn"].as_str().with_context(|| answer.to_string())?.to_owned())
    }

    /// What `DescribeTasks` answers about a task.
    pub async fn describe(&self, task: &str) -> Result<Value> {
        let body = json!({ "cluster": self.names.cluster, "tasks": [task] });
        self.done("ecs:DescribeTasks", &body).await
    }

    /// Waits for a status; returns the task.
    pub async fn reaches(&self, task: &str, status: &str) -> Result<Value> {
        let mut seen = Value::Null;
        let reached = async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            seen = self.describe(task).await.map(|mut answer| answer["tasks"][0].take()).unwrap_or_default();
            seen["lastStatus"] == status || seen["lastStatus"] == "STOPPED"
        };
        until(status, Duration::from_mins(2), reached).await?;
        ensure!(seen["lastStatus"] == status, "{seen}");
        Ok(seen)
    }

    /// The name of a task's container in the engine.
    pub fn container(task: &str) -> String {
        let id = task.rsplit('/').next().unwrap_or_default();
        format!("ministack-ecs-{}-agent", &id[..8])
    }

    /// Waits for the end of a task, which must have this exit code; returns the task.
    pub async fn exits(&self, task: &str, code: i64) -> Result<Value> {
        let ended = self.reaches(task, "STOPPED").await?;
        if ended["containers"][0]["exitCode"] != code {
            let log = self.engine.docker(&["logs", &Self::container(task)]).await.unwrap_or_default();
            anyhow::bail!("{ended}\n{log}");
        }
        Ok(ended)
    }
}

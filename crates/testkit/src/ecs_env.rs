//! The environment of a test of whole builds on ECS: a server whose calls go through the proxy of an [`AwsEnv`].

use anyhow::Result;
use serde_json::Value;

use crate::aws::{AwsEnv, CLIENT};
use crate::client::{Client, Ended};
use crate::process::free_port;
use crate::project::Project;
use crate::registry::{LOGIN, Registry};
use crate::server::Server;
use crate::skopeo;

/// A server with ECS and a registry of its own. Fields are dropped in order: the server first.
#[derive(Debug)]
pub struct EcsEnv {
    /// The server.
    pub server: Server,
    /// The emulated AWS.
    pub aws: AwsEnv,
    /// Where its images go.
    pub registry: Registry,
}

impl EcsEnv {
    /// An environment whose server is ready. `vars` override the variables of every test.
    pub async fn start(aws: AwsEnv, vars: &[(&str, String)]) -> Result<Self> {
        let mut env = Self::stopped(aws, vars).await?;
        env.server.run().await?;
        Ok(env)
    }

    /// The same with a server that is not started yet.
    pub async fn stopped(aws: AwsEnv, vars: &[(&str, String)]) -> Result<Self> {
        let registry = Registry::start(&aws.parts).await?;
        let listen = free_port(&aws.emulator.host)?.to_string();
        let own = [
            ("BAKERY_LISTEN", listen.clone()),
            ("BAKERY_OPEN", "true".to_owned()),
            ("CONTROLLER_URL", format!("http://{listen}")),
            ("DOCKER_HOST", String::new()),
        ];
        let aws_vars = aws.vars();
        let all = own.iter().chain(&aws_vars).chain(vars).map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = all.collect();
        let server = Server::new(&aws.parts, &[&registry.host], &all)?;
        Ok(Self { server, aws, registry })
    }

    /// A client in a project's folder.
    pub fn client(&self, project: &Project) -> Client {
        Client::new(&self.aws.parts, project.path(), &self.server.url)
    }

    /// The reason why the last build failed.
    pub async fn reason(&self, project: &Project) -> Result<String> {
        let listed = self.client(project).run(&["ps", "--json"]).await?;
        let answer: Value = serde_json::from_str(&listed.out)?;
        Ok(answer["builds"][0]["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// A name in the registry of this environment.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host)
    }

    /// Inspects an image with skopeo.
    pub async fn inspect(&self, image: &str, args: &[&str]) -> Result<Value> {
        skopeo::inspect(&self.aws.parts, image, args).await
    }

    /// The details for a failed assertion: output, log and calls.
    pub fn details(&self, ended: &Ended) -> String {
        let calls: Vec<String> = self.aws.proxy.calls().iter().map(|call| format!("{call:?}")).collect();
        format!(
            "client: {:?}\n{}\n{}\nserver:\n{}\ncalls:\n{}",
            ended.code,
            ended.out,
            ended.err,
            self.server.log(),
            calls.join("\n")
        )
    }

    /// The tasks that were started, in order, each with the request that started it.
    pub fn started(&self) -> Vec<(String, Value)> {
        let mut started: Vec<(String, Value)> = Vec::new();
        for call in self.aws.proxy.calls_of("ecs:RunTask") {
            let Some(arn) = call.answer["tasks"][0]["taskArn"].as_str() else { continue };
            if started.iter().all(|(known, _)| known != arn) {
                started.push((arn.to_owned(), call.request.clone()));
            }
        }
        started
    }

    /// The server's variables for contexts in this test's bucket.
    pub fn bucket(aws: &AwsEnv) -> [(&'static str, String); 4] {
        [
            ("S3_ENDPOINT", aws.proxy.host_on(&aws.emulator.host)),
            ("S3_SSL", "false".to_owned()),
            ("S3_BUCKET", aws.names.bucket.clone()),
            ("S3_REGION", aws.names.region.clone()),
        ]
    }

    /// The server's variables for a pull secret that it creates.
    pub fn pull_secret(aws: &AwsEnv) -> [(&'static str, String); 3] {
        let (user, password) = LOGIN;
        [
            ("AGENT_IMAGE_SECRET_NAME", aws.names.secret_name.clone()),
            ("AGENT_IMAGE_SECRET_USERNAME", user.to_owned()),
            ("AGENT_IMAGE_SECRET_PASSWORD", password.to_owned()),
        ]
    }

    /// Adds the S3 variables, with keys of the client's own.
    pub fn with_bucket(&self, client: Client) -> Client {
        let bucket = Self::bucket(&self.aws);
        let client = bucket.iter().fold(client, |client, (name, value)| client.with(name, value));
        client.with("S3_ACCESS_KEY", CLIENT).with("S3_SECRET_KEY", "client-secret")
    }
}

/// A config with one amd64 task.
pub fn single(destination: &str) -> String {
    crate::project::single(destination).replace("global:\n", "global:\n  platform: ecs\n")
}

//! The platform `ecs` over the AWS protocol: the contract of all launchers.

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::config::Credentials;
use bakery_core::names::{Arch, RunName};
use bakery_server::platform::ecs::{Capacity, EcsOptions, EcsPlatform};
use bakery_server::platform::{Capabilities, LaunchOrder, Launcher};
use bakery_server::spawn::Tasks;
use bakery_testkit::aws::{AwsEnv, SERVER};
use bakery_testkit::launcher_fixture::{Orders, shell_image};
use bakery_testkit::platform::contract::{self, Behavior, LauncherFixture};

/// A platform whose "agent" is a shell that runs a script from its order's environment.
struct EcsFixture {
    platform: EcsPlatform,
    aws: AwsEnv,
    image: String,
    orders: Orders,
    _data: tempfile::TempDir,
}

impl EcsFixture {
    async fn open(name: &str) -> Result<Self> {
        let aws = AwsEnv::new(name).await?;
        aws.with_extras()?;
        let image = format!("bakery.test/{name}-{}:1", std::process::id());
        shell_image(&aws.engine, &aws.parts, name, &image).await?;
        let data = tempfile::tempdir()?;
        let platform =
            EcsPlatform::with(&config(&aws).await, &options(&aws, &image)?, data.path(), &Tasks::new())
                .await?;
        Ok(Self { platform, aws, image, orders: Orders::of(name, 250, 512), _data: data })
    }

    async fn close(self) -> Result<()> {
        self.aws.engine.docker(&["rmi", "-f", &self.image]).await.map(drop)
    }
}

async fn config(aws: &AwsEnv) -> SdkConfig {
    let keys = Credentials::new(SERVER, "server-secret", None, None, "test");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(aws.names.region.clone()))
        .endpoint_url(aws.proxy.url())
        .credentials_provider(keys)
        .load()
        .await
}

fn options(aws: &AwsEnv, image: &str) -> Result<EcsOptions> {
    let names = &aws.names;
    Ok(EcsOptions {
        installation: names.cluster.clone(),
        agent_image: image.parse()?,
        region: names.region.clone(),
        cluster: names.cluster.clone(),
        subnets: vec!["subnet-1".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        execution_role: names.execution_role_arn.clone(),
        task_role: Some(names.task_role_arn.clone()),
        log_group: None,
        capacity: Capacity::Fargate,
        public_ip: true,
        storage: None,
        family: names.family.clone(),
        pull_secret: None,
        clean_up: false,
        capabilities: Capabilities::default(),
    })
}

#[async_trait]
impl LauncherFixture for EcsFixture {
    fn launcher(&self) -> &dyn Launcher {
        &self.platform
    }
    fn arch(&self) -> Arch {
        Arch::Amd64
    }
    fn order(&self, behavior: Behavior) -> LaunchOrder {
        self.orders.for_behavior(Arch::Amd64, behavior)
    }
    async fn perform(&self, _run: RunName, _behavior: Behavior) {}
    /// The number of tasks that were started for the run, from the answers of `RunTask`.
    async fn starts(&self, run: RunName) -> usize {
        let started: std::collections::BTreeSet<String> = self
            .aws
            .proxy
            .calls_of("ecs:RunTask")
            .iter()
            .filter(|call| call.request["clientToken"] == run.to_string())
            .filter_map(|call| call.answer["tasks"][0]["taskArn"].as_str().map(str::to_owned))
            .collect();
        started.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ecs_platform_keeps_the_contract() -> Result<()> {
    let fixture = EcsFixture::open("contract").await?;
    let kept = contract::keep(&fixture).await;
    let closed = fixture.close().await;
    kept.map_err(|why| anyhow!(why)).and(closed)
}

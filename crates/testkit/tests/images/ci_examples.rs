//! The CI examples: the script of each runs in a container of the client image, with the variables that the file sets
//! and those that the CI system documents, and no others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Client, Ended, Log, finish};
use bakery_testkit::parts::Parts;
use bakery_testkit::project::numbered;
use bakery_testkit::registry::Registry;
use bakery_testkit::repository;
use bakery_testkit::s3::S3;
use bakery_testkit::server::Server;
use bakery_testkit::skopeo::{self, architectures};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::ci_job::{COMMIT, Job, Ref, Settings, System, Vars};

const USER: &str = "baker";
/// A part of the password that no escaping changes.
const CRUMBS: &str = "crumbs-7f3a9c41e2";
/// A password with special characters of the shell, sed, YAML and JSON.
const PASSWORD: &str = "crumbs-7f3a9c41e2 it's \"50%\" $HOME: #1 \\n {a: [b]} & *x! `id`\r\n\tend";
/// Both as `htpasswd -B` writes them.
const HTPASSWD: &str = "baker:$2b$05$Iri1mfDzUdkALIL52/.7VOYjsCNkYhvNRg0kZKRY5q5ogKPcnUVdm\n";
const TOKEN: &str = "token-of-the-operator-4f1b";

/// A deployment of Bakery, with a registry that needs a login. Fields are dropped in order: the server first.
struct Deployment {
    server: Server,
    registry: Registry,
    s3: S3,
    parts: Parts,
}

impl Deployment {
    async fn start() -> Result<Self> {
        let parts = Parts::required();
        let (registry, s3) = (Registry::with_users(&parts, HTPASSWD).await?, S3::start(&parts).await?);
        let mut vars = s3.vars();
        vars.extend([("ALLOW_EMULATION", "true"), ("BAKERY_TOKEN", TOKEN)]);
        let server = Server::start(&parts, &[&registry.host], &vars).await?;
        Ok(Self { server, registry, s3, parts })
    }

    fn repository(&self) -> String {
        format!("{}/shop/cart", self.registry.host)
    }

    /// The settings of a user of this deployment in the CI system.
    fn settings(&self) -> Settings {
        let s3 = self.s3.vars().into_iter();
        let (mut secrets, mut vars): (Vec<_>, Vec<_>) = s3.partition(|(name, _)| name.ends_with("_KEY"));
        let repository = self.repository();
        vars.extend([("CONTROLLER_URL", self.server.url.as_str()), ("IMAGE", &repository)]);
        vars.extend([("LOG_FORMAT", "json"), ("BUILD_PLATFORM", "docker")]);
        secrets.extend([
            ("BAKERY_TOKEN", TOKEN),
            ("REGISTRY_USERNAME", USER),
            ("REGISTRY_PASSWORD", PASSWORD),
        ]);
        Settings { vars: owned(vars), secrets: owned(secrets) }
    }

    /// Files for a job whose Dockerfile has these steps, with the example's config.
    fn files(&self, steps: &str) -> Result<[(&'static str, String); 3]> {
        let dockerfile = format!("FROM {}\n{steps}\n", self.parts.base_image);
        let config = repository::read("examples/client/bakery.yaml")?;
        Ok([("Dockerfile", dockerfile), ("bakery.yaml", config), ("menu.txt", "rye\n".to_owned())])
    }

    /// The only build of the server.
    async fn build(&self) -> Result<Value> {
        let client = Client::new(&self.parts, self.server.scratch(), &self.server.url);
        let listed = client.with("BAKERY_TOKEN", TOKEN).run(&["ps", "--json"]).await?;
        let list: Value = serde_json::from_str(&listed.out).with_context(|| listed.err)?;
        let builds = list["builds"].as_array().context("no builds")?;
        ensure!(builds.len() == 1, "one build: {builds:?}");
        Ok(builds[0].clone())
    }

    /// Checks that an index of both architectures was pushed, which only the login can read.
    async fn has(&self, tag: &str) -> Result<()> {
        let image = format!("{}:{tag}", self.repository());
        let login = format!("--creds={USER}:{PASSWORD}");
        let index = skopeo::inspect(&self.parts, &image, &["--raw", &login]).await?;
        assert_eq!(architectures(&index)?, [Some("amd64"), Some("arm64")]);
        assert!(skopeo::inspect(&self.parts, &image, &["--raw"]).await.is_err(), "{image} is open to all");
        Ok(())
    }

    fn details(&self, ended: &Ended) -> String {
        format!("{:?}\n{}\n{}\nserver:\n{}", ended.code, ended.out, ended.err, self.server.log())
    }
}

fn owned(vars: Vec<(&str, &str)>) -> Vars {
    vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Checks that the output contains no secret.
fn told_nothing(ended: &Ended, settings: &Settings) {
    let output = format!("{}{}", ended.out, ended.err);
    let login = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let secrets = settings.secrets.iter().filter(|(name, _)| name != "REGISTRY_USERNAME");
    for secret in secrets.map(|(_, value)| value.as_str()).chain([CRUMBS, &login[..24]]) {
        assert!(!output.contains(secret), "{secret:?} is in the output:\n{output}");
    }
}

/// A push of a branch and one of a tag: each gives an image of both architectures, named by commit or release.
async fn bakes(system: System, name: &str) -> Result<()> {
    let deployment = Deployment::start().await?;
    let settings = deployment.settings();
    let steps = "COPY . /src\nRUN echo in the context: $(ls -A /src)";
    let job = Job::new(&deployment.parts, system, name, &deployment.files(steps)?).await?;
    for (to, tag) in [(Ref::Branch("feature/glaze"), COMMIT), (Ref::Tag("+v1.0/rc+1"), "_v1.0-rc-1")] {
        let ended = finish(job.start(to, &settings)?).await?;
        assert_eq!(ended.code, Some(0), "{}", deployment.details(&ended));
        told_nothing(&ended, &settings);
        let lines = ended.lines()?;
        let listed = lines
            .iter()
            .filter(|line| line.message.trim() == "in the context: Dockerfile bakery.yaml menu.txt");
        // The release takes the layer from the cache that the commit has filled.
        let times = if tag == COMMIT { 2 } else { 0 };
        assert_eq!(listed.count(), times, "{}", ended.out);
        deployment.has(tag).await.with_context(|| deployment.details(&ended))?;
        assert_eq!(job.left().await?, [""; 0], "files that the job has left");
        assert_eq!(job.sources()?, ["Dockerfile", "bakery.yaml", "menu.txt"]);
        job.clear().await?;
    }
    Ok(())
}

/// A cancelled job cancels its build. No file has the password.
async fn cancels(system: System, name: &str) -> Result<()> {
    let deployment = Deployment::start().await?;
    let settings = deployment.settings();
    let files = deployment.files(&numbered("tick", 3000, 100))?;
    let job = Job::new(&deployment.parts, system, name, &files).await?;
    let mut script = job.start(Ref::Branch("main"), &settings)?;
    let mut log = Log::of(&mut script)?;
    if let Err(error) = log.until_contains("tick 3", Duration::from_mins(2)).await {
        drop(log);
        let ended = finish(script).await?;
        return Err(error.context(deployment.details(&ended)));
    }
    // Not below /proc, where a search waits for pipes.
    let folders = format!("/tmp /root /etc {}", system.root());
    let found = job.inside(&format!("grep -rl {CRUMBS} {folders} || true")).await?;
    assert_eq!(found.trim(), "", "files with the password");
    job.cancel(&mut script).await?;
    let ended = finish(script).await?;
    told_nothing(&ended, &settings);
    if system == System::GitLab {
        assert_eq!(ended.code, Some(130), "the client was waited for: {}", deployment.details(&ended));
    }
    assert_eq!(deployment.build().await?["state"], "cancelled", "{}", deployment.details(&ended));
    assert_eq!(job.left().await?, [""; 0], "files that the job has left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_github_example_builds_branches_and_tags() -> Result<()> {
    bakes(System::GitHub, "github").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gitlab_example_builds_branches_and_tags() -> Result<()> {
    bakes(System::GitLab, "gitlab").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_github_job_cancels_its_build() -> Result<()> {
    cancels(System::GitHub, "github-cancel").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_gitlab_job_cancels_its_build() -> Result<()> {
    cancels(System::GitLab, "gitlab-cancel").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named() -> Result<()> {
    let parts = Parts::required();
    for (system, name) in [(System::GitHub, "github-bare"), (System::GitLab, "gitlab-bare")] {
        for missing in ["BAKERY_TOKEN", "REGISTRY_USERNAME", "REGISTRY_PASSWORD"] {
            let secrets = ["BAKERY_TOKEN", "REGISTRY_USERNAME", "REGISTRY_PASSWORD"];
            let secrets = secrets.into_iter().filter(|name| *name != missing);
            let secrets = owned(secrets.map(|name| (name, "sugar")).collect());
            let settings = Settings { vars: Vars::new(), secrets };
            let config = repository::read("examples/client/bakery.yaml")?;
            let job = Job::new(&parts, system, name, &[("bakery.yaml", config)]).await?;
            let ended = finish(job.start(Ref::Branch("main"), &settings)?).await?;
            assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
            assert!(ended.err.contains(missing) && ended.err.contains("is not among"), "{ended:?}");
        }
    }
    Ok(())
}

#[test]
fn the_examples_run_in_the_client_image_of_this_version() -> Result<()> {
    for system in [System::GitHub, System::GitLab] {
        let image = concat!("docker.io/rayshoo/bakery-client:", env!("CARGO_PKG_VERSION"));
        assert_eq!(system.image(&system.example()?)?, image, "{}", system.path());
    }
    Ok(())
}

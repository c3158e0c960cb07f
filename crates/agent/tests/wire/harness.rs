//! The parts of complete runs: a fake executor, which is a shell script, and a fake server.

use std::collections::BTreeMap;
use std::time::Duration;

use bakery_agent::{AgentError, Layout, run};
use bakery_core::image::Digest;
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::wire::run::{TaskReport, TaskResult, launch_env};
use tokio::time::timeout;

use crate::fake_server::{FakeServer, LAUNCH_TOKEN, image, run_name};

pub(crate) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// What Kaniko prints and writes when it has pushed the image.
pub(crate) const PUSHES: &str = r#"
    echo 'INFO[0001] Pushing image to reg.test/shop/cart:7_amd64'
    echo '{"name":"reg.test/shop/cart:7_amd64","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}' >"$BUILDER_OUTPUT/images"
"#;
const FILES: &[(&str, &str)] =
    &[("Dockerfile", "FROM scratch\n"), ("a.txt", "a"), ("drop.me", "x"), (".dockerignore", "*.me\n")];

/// A folder with the contents of an agent image, and the server for its agent.
pub(crate) struct Harness {
    pub(crate) server: FakeServer,
    pub(crate) root: tempfile::TempDir,
}

impl Harness {
    pub(crate) async fn new(executor: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        image(root.path(), executor);
        Self { server: FakeServer::start(FILES).await, root }
    }

    pub(crate) async fn run(&self) -> Result<TaskReport, AgentError> {
        self.run_in(Layout::below(self.root.path())).await
    }

    pub(crate) async fn run_in(&self, layout: Layout) -> Result<TaskReport, AgentError> {
        let vars = BTreeMap::from([
            (launch_env::URL.to_owned(), self.server.url.clone()),
            (launch_env::RUN.to_owned(), run_name().to_string()),
            (launch_env::TOKEN.to_owned(), LAUNCH_TOKEN.to_owned()),
        ]);
        timeout(Duration::from_mins(1), run(layout, &vars)).await.unwrap()
    }

    /// Runs until the report, which must be the one that the server received.
    pub(crate) async fn report(&self) -> TaskReport {
        let report = self.run().await.unwrap();
        assert_eq!(self.server.received().reports.first(), Some(&report));
        report
    }

    pub(crate) async fn failure(&self) -> (Reason, Message, Option<i32>, Vec<String>) {
        match self.report().await.result {
            TaskResult::Failed { reason, text, hint, exit_code, tail } => {
                (reason, Message { text, hint }, exit_code, tail)
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn digest() -> Digest {
    DIGEST.parse().unwrap()
}

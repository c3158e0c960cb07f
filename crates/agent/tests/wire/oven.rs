//! What whole runs are made of: a fake executor, which is a shell script, and a fake controller.

use std::collections::BTreeMap;
use std::time::Duration;

use bakery_agent::{AgentError, Layout, run};
use bakery_core::image::Digest;
use bakery_core::reason::Reason;
use bakery_core::wire::run::{TaskReport, TaskResult, launch_env};
use tokio::time::timeout;

use crate::fake::{FakeController, LAUNCH_TOKEN, image, run_name};

pub(crate) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// What Kaniko says and leaves behind when it has pushed our image.
pub(crate) const PUSHES: &str = r#"
    echo 'INFO[0001] Pushing image to reg.test/shop/cart:7_amd64'
    echo '{"name":"reg.test/shop/cart:7_amd64","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}' >"$BUILDER_OUTPUT/images"
"#;
const FILES: &[(&str, &str)] =
    &[("Dockerfile", "FROM scratch\n"), ("a.txt", "a"), ("drop.me", "x"), (".dockerignore", "*.me\n")];

/// An agent image in a folder, and the controller that its agent asks.
pub(crate) struct Oven {
    pub(crate) controller: FakeController,
    pub(crate) root: tempfile::TempDir,
}

impl Oven {
    pub(crate) async fn new(executor: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        image(root.path(), executor);
        Self { controller: FakeController::start(FILES).await, root }
    }

    pub(crate) async fn run(&self) -> Result<TaskReport, AgentError> {
        self.run_in(Layout::below(self.root.path())).await
    }

    pub(crate) async fn run_in(&self, layout: Layout) -> Result<TaskReport, AgentError> {
        let vars = BTreeMap::from([
            (launch_env::URL.to_owned(), self.controller.url.clone()),
            (launch_env::RUN.to_owned(), run_name().to_string()),
            (launch_env::TOKEN.to_owned(), LAUNCH_TOKEN.to_owned()),
        ]);
        timeout(Duration::from_mins(1), run(layout, &vars)).await.unwrap()
    }

    /// Runs to the report; it is the one that the controller has.
    pub(crate) async fn report(&self) -> TaskReport {
        let report = self.run().await.unwrap();
        assert_eq!(self.controller.seen().reports.first(), Some(&report));
        report
    }

    pub(crate) async fn failure(&self) -> (Reason, String, Option<i32>, Vec<String>) {
        match self.report().await.result {
            TaskResult::Failed { reason, text, exit_code, tail, .. } => (reason, text, exit_code, tail),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn digest() -> Digest {
    DIGEST.parse().unwrap()
}

//! What Kaniko prints: its last lines, and the few that mean something to the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bakery_core::image::ImageRef;
use bakery_core::wire::run::Stage;
use tokio::sync::Notify;

use crate::diagnose::{message, without_controls};
use crate::failure::SharedTail;
use crate::stages::Stages;

/// Kaniko prints this when it starts to push the image, and before each layer that it pushes to the cache.
const PUSH_MESSAGE: &str = "Pushing image to ";
/// Kaniko prints this when it skips a file that a Dockerfile copies into Kaniko's own folder.
const SKIP_MESSAGE: &str = "Skipping copy targeting kaniko directory";
/// Kaniko prints this before it tries a request to a registry again.
const RETRY_MESSAGE: &str = "Retrying operation after ";
/// Errors of a registry that another attempt does not change: what is asked for is not there, or may not be overwritten.
const FINAL: [&str; 4] = ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "manifest unknown", "immutable"];

/// What was printed so far.
#[derive(Debug)]
pub(crate) struct KanikoLines {
    pushed: Vec<ImageRef>,
    stages: Arc<Stages>,
    /// Whether the lines are Kaniko's alone, without those of `RUN` steps.
    are_its_own: bool,
    tail: SharedTail,
    skipped: AtomicBool,
    hopeless: Notify,
}

impl KanikoLines {
    /// For a build that pushes these images.
    pub(crate) fn new(pushed: Vec<ImageRef>, stages: Arc<Stages>, are_its_own: bool) -> Self {
        Self {
            pushed,
            stages,
            are_its_own,
            tail: SharedTail::default(),
            skipped: AtomicBool::new(false),
            hopeless: Notify::new(),
        }
    }

    /// Takes the next line.
    pub(crate) fn line(&self, line: &str) {
        let plain = without_controls(line);
        let message = message(&plain);
        if self.pushed.iter().any(|image| starts_push(message, image)) {
            self.stages.enter(Stage::Push);
        }
        let last_error = self.last_error(message);
        self.skipped.fetch_or(message.starts_with(SKIP_MESSAGE), Ordering::Relaxed);
        self.tail.push(line);
        if let Some(error) = last_error {
            self.tail.push(&error);
            self.hopeless.notify_one();
        }
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// Whether files are missing in the image because the Dockerfile copies them into Kaniko's own folder.
    pub(crate) fn has_skipped(&self) -> bool {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Completes when Kaniko would try again what cannot succeed. The error is then the last line, as Kaniko ends with it.
    pub(crate) async fn hopeless(&self) {
        self.hopeless.notified().await;
    }

    /// The error with which Kaniko would end after all attempts, if this message says that another one cannot help.
    fn last_error(&self, message: &str) -> Option<String> {
        let retry = message.strip_prefix(RETRY_MESSAGE).filter(|_| self.are_its_own)?;
        let is_final = FINAL.iter().any(|word| retry.contains(word));
        let (_, error) = retry.split_once(" due to ").filter(|_| is_final)?;
        let doing = if self.stages.current() == Stage::Push { "pushing" } else { "building" };
        Some(format!("error {doing} image: {}", error.trim()))
    }
}

/// Whether Kaniko says in this message that it starts to push the image. Names are compared in their normalized form.
fn starts_push(message: &str, image: &ImageRef) -> bool {
    let name = message.strip_prefix(PUSH_MESSAGE).and_then(|rest| rest.split_whitespace().next());
    name.and_then(|name| name.parse::<ImageRef>().ok()).is_some_and(|it| it.tagged() == image.tagged())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn lines(are_its_own: bool) -> KanikoLines {
        let stages = Arc::new(Stages::new(Instant::now(), watch::channel(Stage::Bake).0));
        KanikoLines::new(vec!["reg.test/a:1".parse().unwrap()], stages, are_its_own)
    }

    async fn ends(lines: &KanikoLines, line: &str) -> Option<String> {
        lines.line(line);
        let ended = timeout(Duration::from_millis(20), lines.hopeless()).await.is_ok();
        ended.then(|| lines.tail().pop().unwrap())
    }

    #[tokio::test]
    async fn a_request_that_cannot_succeed_is_not_tried_again() {
        let retry =
            |error: &str| format!("\u{1b}[33mWARN\u{1b}[0m[0001] Retrying operation after 1s due to {error}");
        let missing =
            "GET https://reg.test/v2/base/manifests/9: MANIFEST_UNKNOWN: manifest unknown; map[Tag:9]";
        let own = lines(true);
        assert_eq!(ends(&own, &retry(missing)).await.unwrap(), format!("error building image: {missing}"));
        assert_eq!(ends(&own, &retry("Get \"https://reg.test/v2/\": i/o timeout")).await, None);
        own.line("INFO[0002] Pushing image to reg.test/a:1");
        let immutable = "PUT https://reg.test/v2/a/manifests/1: TAG_INVALID: the tag is immutable";
        assert_eq!(ends(&own, &retry(immutable)).await.unwrap(), format!("error pushing image: {immutable}"));
        // A command of the Dockerfile is logged, and a `RUN` without an output of its own may print anything.
        let logged = format!("INFO[0003] RUN echo '{}'", retry(missing));
        assert_eq!(ends(&own, &logged).await, None);
        assert_eq!(ends(&lines(false), &retry(missing)).await, None);
    }
}

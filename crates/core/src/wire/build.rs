//! Between client and server: submit, view, cancel.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::{Digest, ImageRef};
use crate::message::Message;
use crate::names::{Arch, BuildId, Platform};
use crate::reason::Reason;
use crate::spec::BuildSpec;
use crate::wire::context::ContextRef;
use crate::wire::cursor::Cursor;

/// `POST /builds`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitBuild {
    /// What to build.
    pub spec: BuildSpec,
    /// What to build it from.
    pub context: ContextRef,
    /// The same key again (same owner) gives the same build again: 16 to 128 printable ASCII characters.
    pub idempotency_key: String,
}

/// 202: the build is stored in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id.
    pub id: BuildId,
    /// The log's beginning.
    pub cursor: Cursor,
    /// The texts of `notice_messages`, for clients of the previous version.
    #[serde(default)]
    pub notices: Vec<String>,
    /// What is worth mentioning and is not a mistake, each with its hint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notice_messages: Vec<Message>,
}

impl Submitted {
    /// The response of this version: each notice as a message, and its text alone.
    pub fn new(id: BuildId, cursor: Cursor, notices: Vec<Message>) -> Self {
        let texts = notices.iter().map(|notice| notice.text.clone()).collect();
        Self { id, cursor, notices: texts, notice_messages: notices }
    }

    /// The notices. A server of the previous version sends texts only.
    pub fn into_notices(self) -> Vec<Message> {
        if self.notice_messages.is_empty() {
            self.notices.into_iter().map(Message::new).collect()
        } else {
            self.notice_messages
        }
    }
}

/// `GET /builds`, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildList {
    /// At most 100 builds.
    pub builds: Vec<BuildView>,
}

/// `GET /builds/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildView {
    /// Its id.
    pub id: BuildId,
    /// Where it stands.
    pub phase: BuildPhase,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its targets in the order of the plan.
    pub targets: Vec<TargetView>,
    /// How it ended.
    pub outcome: Option<BuildOutcome>,
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildPhase {
    /// No task has been launched yet.
    Queued,
    /// Tasks are open.
    Baking,
    /// All tasks are baked; an index is being published.
    Publishing,
    /// The build has ended.
    Ended,
    /// A phase that is unknown to this version.
    #[serde(other)]
    Unknown,
}

/// A service, or a group of config entries with one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetView {
    /// Name for people.
    pub name: String,
    /// Its tasks.
    pub tasks: Vec<TaskView>,
    /// What is published; `None` if nothing is.
    pub publish: Option<PublishView>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its index in the build, from 0.
    pub index: u16,
    /// Architecture.
    pub arch: Arch,
    /// Platform that it was given to.
    pub platform: Platform,
    /// Current or last attempt, from 1.
    pub attempt: u8,
    /// Where it stands.
    pub phase: TaskPhase,
    /// Tasks ahead of it in the platform's queue, while it waits.
    #[serde(default)]
    pub ahead: Option<u32>,
    /// What went wrong, or what it waits for.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// The same as text.
    #[serde(default)]
    pub text: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Digest of what it pushed.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// Where a task stands; the states of the lifecycle as a reader sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskPhase {
    /// Waits for a run slot, or for the targets before it.
    Planned,
    /// The platform was asked to start its container.
    Launching,
    /// Its agent is connected.
    Running,
    /// The container is gone; the report may still come.
    Closing,
    /// Settled: baked.
    Baked,
    /// Settled: the build as described failed.
    Failed,
    /// Settled: Bakery or the platform failed it.
    Lost,
    /// Settled: a time limit was exceeded.
    TimedOut,
    /// Settled: cancelled.
    Cancelled,
    /// A phase that is unknown to this version.
    #[serde(other)]
    Unknown,
}

/// The publishing of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishView {
    /// What is published.
    pub destination: ImageRef,
    /// More names for the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<ImageRef>,
    /// How far it is.
    pub state: PublishState,
}

/// How far publishing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PublishState {
    /// Not published yet.
    Pending,
    /// Published.
    Done {
        /// Digest of the index, or of the one image where there is one.
        digest: Digest,
    },
    /// Publishing failed.
    Failed {
        /// The machine-readable code.
        reason: Reason,
        /// The text.
        text: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A state that is unknown to this version.
    #[serde(other)]
    Unknown,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The first cause, if it did not succeed.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// The same as text, with the task's name.
    #[serde(default)]
    pub text: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The images that are now in registries.
    #[serde(default)]
    pub images: Vec<PublishedImage>,
}

/// How a build ended; decides the client's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything baked and published (exit 0).
    Baked,
    /// The build as described failed (exit 1).
    Failed,
    /// Bakery or the platform failed it (exit 4).
    Lost,
    /// Cancelled (exit 130 where the client asked, else 1).
    Cancelled,
    /// A verdict that is unknown to this version (exit 4).
    #[serde(other)]
    Unknown,
}

/// One image that a build has published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedImage {
    /// Under this name.
    pub destination: ImageRef,
    /// With this digest.
    pub digest: Digest,
    /// Its architectures.
    pub archs: Vec<Arch>,
}

/// `GET /info`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    /// The server's version, with the commit that it was built from where that is known.
    pub version: String,
    /// Protocol versions that it supports.
    pub protocols: Vec<u32>,
    /// The platforms and what each can run.
    pub platforms: BTreeMap<String, Vec<Arch>>,
    /// Bucket for contexts, where one is configured: `None` = the server's own store.
    #[serde(default)]
    pub bucket: Option<String>,
    /// The config keys that it supports, as [`config::keys::paths`](crate::config::keys::paths). Versions before this list
    /// leave it out.
    #[serde(default)]
    pub keys: Vec<String>,
}

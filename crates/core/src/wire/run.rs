//! Between server and agent: the task order, the log's acknowledgement, the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hex;
use crate::image::{Digest, ImageRef};
use crate::names::{Arch, RunName};
use crate::reason::Reason;
use crate::secret::{self, Secret};
use crate::spec::{Credential, KanikoSpec};
use crate::wire::context::ContextRef;

/// The three variables with which every agent is launched. The operator's [`PROXIES`](launch_env::PROXIES) are the only others.
pub mod launch_env {
    use crate::vars::VarDoc;

    /// URL of the server's listener for agents, without a path.
    pub const URL: &str = "BAKERY_URL";
    /// The run's name.
    pub const RUN: &str = "BAKERY_RUN";
    /// The one-use launch token.
    pub const TOKEN: &str = "BAKERY_LAUNCH_TOKEN";

    /// The proxies that the server's operator may set; the server passes them on, without logins.
    pub const PROXIES: [&str; 6] =
        ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

    /// The declarations of the three.
    pub const VARS: [VarDoc; 3] = [
        var(URL, "URL of the server for agents: CONTROLLER_URL, or on Docker the agent listener."),
        var(RUN, "The name of the run: build, task and attempt."),
        var(TOKEN, "The launch token: valid for one agent, which exchanges it for the task order."),
    ];

    const fn var(name: &'static str, meaning: &'static str) -> VarDoc {
        VarDoc { name, default: "none", meaning, required: "always: the server sets it" }
    }
}

/// `POST /runs/{run}/order`, with the launch token as bearer: binds the run to this session.
///
/// All later calls of the agent carry the session secret as bearer. The same request again is answered with the same
/// order (a reply may get lost); another session for the same run is refused and fails the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// 32 random bytes in hex, made by the agent.
    #[serde(with = "secret::on_wire")]
    pub session: Secret,
    /// The agent's version, for the log.
    pub agent_version: String,
}

impl OrderRequest {
    /// Whether the session secret is 32 bytes in hex: anything else may be guessed, or be somebody's password.
    pub fn has_valid_session(&self) -> bool {
        hex::decode(self.session.expose()).is_some_and(|bytes| bytes.len() == 32)
    }
}

/// Everything that an agent needs for its task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOrder {
    /// The run.
    pub run: RunName,
    /// The architecture that was asked for.
    pub arch: Arch,
    /// How to get the context.
    pub source: ContextSource,
    /// What the context is.
    pub context: ContextRef,
    /// Variables for the scripts and Kaniko.
    #[serde(with = "secret::map_on_wire")]
    pub env: BTreeMap<String, Secret>,
    /// Shell text before Kaniko.
    pub pre_script: Option<String>,
    /// Shell text after Kaniko succeeded.
    pub post_script: Option<String>,
    /// Kaniko's options; their `destination` is the user's, see `push_to`.
    pub kaniko: KanikoSpec,
    /// Where this run's image is pushed: the destination itself, or its `tag_<arch>`; `None` with `no_push`.
    pub push_to: Option<ImageRef>,
    /// Where it is pushed besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_push_to: Vec<ImageRef>,
    /// Who pushes.
    pub push: Push,
    /// Logins for base images and the cache.
    pub pull_credentials: Vec<Credential>,
    /// Logins for the push.
    pub push_credentials: Vec<Credential>,
    /// Registries (host and port) that are reached over plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Seconds from the order to the end of the task; the agent ends itself then.
    pub deadline_seconds: u64,
    /// Seconds that the agent keeps trying to deliver its report (`BUILD_RESULT_TIMEOUT`).
    pub result_seconds: u64,
}

impl TaskOrder {
    /// Every name under which this run's image is pushed; none with `no_push`.
    pub fn pushed_names(&self) -> impl Iterator<Item = &ImageRef> {
        let names = self.push_to.iter().chain(&self.also_push_to);
        names.filter(|_| !self.kaniko.no_push)
    }
}

/// Who pushes the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Kaniko itself, at the end of its run.
    ByKaniko,
    /// The agent, after the last `RUN`: the push credentials are never on disk while user code runs.
    ByAgent,
}

/// How the agent reads the context.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContextSource {
    /// `GET /runs/{run}/context`.
    Server,
    /// From a bucket with the agent's own credentials (task role).
    S3 {
        /// Endpoint URL; `None` = AWS's own of the region.
        endpoint: Option<String>,
        /// Region.
        region: String,
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
    },
    /// By a URL for this one object.
    Url {
        /// The presigned URL.
        #[serde(with = "secret::on_wire")]
        url: Secret,
    },
}

/// How far a run has come. Sent with every log segment in [`STAGE_HEADER`] and with the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Order, download, unpack.
    Prepare,
    /// The pre-script runs.
    PreScript,
    /// Kaniko builds.
    Bake,
    /// The image is being pushed: from here on a registry may have it.
    Push,
    /// The post-script runs.
    PostScript,
    /// Only the report is missing.
    Report,
}

impl Stage {
    /// Every stage in order.
    pub const ALL: [Self; 6] =
        [Self::Prepare, Self::PreScript, Self::Bake, Self::Push, Self::PostScript, Self::Report];

    /// Its name on the wire and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::PreScript => "pre-script",
            Self::Bake => "bake",
            Self::Push => "push",
            Self::PostScript => "post-script",
            Self::Report => "report",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Stage {
    type Err = crate::names::BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| crate::names::BadName { text: text.to_owned(), expected: "a stage" })
    }
}

/// The header that carries the [`Stage`] of a log segment.
pub const STAGE_HEADER: &str = "bakery-stage";

/// The answer to a log segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentAck {
    /// The number of the line that the server wants next; may go back after a restart.
    pub next: u64,
    /// True once the run is to end: the agent ends Kaniko's process tree, reports and exits.
    pub cancel: bool,
}

/// `POST /runs/{run}/report`: how the run ended. Sent once the whole log has been acknowledged, or cannot be
/// delivered in time, and repeated until there is a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// How it ended.
    pub result: TaskResult,
    /// The stage in which it ended.
    pub stage: Stage,
    /// Lines that the agent has written in all; unless the log is `cut`, the server has them all before it settles.
    pub lines: u64,
    /// True where the agent has given up delivering the lines that the server does not have yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Milliseconds spent in each stage.
    pub millis: BTreeMap<Stage, u64>,
}

/// How a run ended, as the agent saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskResult {
    /// Kaniko exited with 0, and the digest is proven.
    Baked {
        /// Digest of the image's manifest.
        digest: Digest,
    },
    /// Something failed.
    Failed {
        /// The machine-readable code.
        reason: Reason,
        /// One sentence for people.
        text: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// Exit code of the process that failed; `None` where none ran.
        exit_code: Option<i32>,
        /// The last lines of output about the error.
        tail: Vec<String>,
    },
    /// Ended because the server requested it.
    Cancelled,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAck {
    /// False where the run had been settled before: the report changes nothing.
    pub accepted: bool,
}

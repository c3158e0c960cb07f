//! Why something did not succeed: one vocabulary for retries, JSON and exit codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose fault an outcome is, and hence the client's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The build as described cannot succeed (exit 1).
    Build,
    /// Bakery or the platform failed it (exit 4).
    Platform,
    /// Somebody asked for it (exit 130 where the client itself asked).
    Asked,
}

macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident = $text:literal, $fault:ident, retry: $retry:literal, hint: $hint:literal;
    )*) => {
        /// The machine-readable code of a failure. Unknown codes of a newer peer are read as [`Reason::Unknown`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
            /// A reason that is unknown to this version.
            #[serde(other)]
            Unknown,
        }

        impl Reason {
            /// Every reason but `Unknown`.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The reason as text, to be put into a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown reason" }
            }

            /// What has happened, in whole sentences: the doc comment of its declaration.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                    Self::Unknown => "A reason that is unknown to this version.",
                }
            }

            /// The default hint, in lower case and without a full stop: what to do about it.
            pub const fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)*
                    Self::Unknown => "use a client of the server's version",
                }
            }

            /// Whose fault it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* Self::Unknown => Fault::Platform }
            }

            /// True where a second attempt may help.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* Self::Unknown => false }
            }
        }
    };
}

reasons! {
    /// A process was killed by the kernel: out of memory (OOM).
    OutOfMemory = "out of memory", Build, retry: false,
        hint: "give the task more `memory`; with a layer cache, `kaniko.cache.compressed: false` needs less";
    /// The disk of the task is full.
    DiskFull = "disk full", Build, retry: false,
        hint: "give the task a larger `disk` (ECS, Kubernetes), or let the build write less";
    /// The platform reclaimed the spot capacity that the task ran on.
    SpotReclaimed = "spot capacity was reclaimed", Platform, retry: true,
        hint: "set ECS_CAPACITY=spot-then-fargate to make the second attempt on demand, or `fargate` for long builds";
    /// The agent image cannot be pulled.
    ImagePull = "the agent image cannot be pulled", Platform, retry: false,
        hint: "check AGENT_IMAGE, the login for it, and that the platform can reach its registry";
    /// The platform has no capacity: no machine of this size, or a quota is used up.
    NoCapacity = "the platform has no capacity", Platform, retry: true,
        hint: "request less `cpu` and `memory`, give the platform more capacity, or lower MAX_RUNS to its quota";
    /// The platform removed the task: its node was drained, its host was retired, its machine ran out of memory, or
    /// somebody deleted it.
    Evicted = "evicted by the platform", Platform, retry: true,
        hint: "build again; check why the platform removed the task";
    /// The machine that the task ran on is gone.
    NodeLost = "the machine that the task ran on was lost", Platform, retry: true,
        hint: "build again; check the state of the machine";
    /// The platform has no machine of this architecture, and the operator has not allowed emulation.
    NoSuchArch = "no platform of this server runs this architecture", Build, retry: false,
        hint: "give the platform a machine of this architecture, or name another `arch` or `platform`";
    /// The platform is not configured on this server.
    NoSuchPlatform = "the platform is not configured on this server", Build, retry: false,
        hint: "set `platform` to one of this server's platforms, or configure this one on the server";
    /// The platform refused the launch, and would refuse another attempt.
    LaunchRefused = "the platform refused the launch", Platform, retry: false,
        hint: "check the platform's message in the log (permission, role, subnet, quota); run `bakery-server check`";
    /// The platform did not answer, or failed on its side.
    PlatformUnreachable = "the platform did not answer", Platform, retry: true,
        hint: "check that the server can reach the platform: `bakery-server check`, /readyz";
    /// The agent did not connect in time.
    ProvisionTimeout = "the agent did not start in time", Platform, retry: true,
        hint: "check that tasks can reach CONTROLLER_URL; if the platform is only slow, raise BUILD_PROVISION_TIMEOUT of the server";
    /// The task exceeded its `timeout`, or `BUILD_TASK_TIMEOUT`.
    TaskTimeout = "the task exceeded its time limit", Build, retry: false,
        hint: "raise the task's `timeout` or BUILD_TASK_TIMEOUT of the server, or make the build faster (a bigger `cpu`, a cache)";
    /// The container ended, and its agent sent no report.
    AgentLost = "the agent ended without a report", Platform, retry: true,
        hint: "check how the container ended in the platform's own records, then build again";
    /// A second agent tried to bind to the run; a launch token is valid for one agent.
    SecondBinder = "a second agent tried to bind to the run", Platform, retry: false,
        hint: "build again; if it happens again, check who else can read launch tokens on the platform";
    /// The context could not be read, or its content does not match its digest.
    ContextBroken = "the context cannot be read", Platform, retry: false,
        hint: "check that tasks can read the bucket or reach the server, then build again";
    /// The context, Dockerfile or target that the config names is not in the archive.
    ContextIncomplete = "a path that the config names is not in the context", Build, retry: false,
        hint: "check the path, `kaniko.context-path`, and whether an ignore file excludes it";
    /// The pre-script failed.
    PreScriptFailed = "the pre-script failed", Build, retry: false,
        hint: "the script's output in the log has the cause; it runs under `sh -e` in the source root";
    /// Kaniko failed: a `RUN` step failed, the Dockerfile is not valid, or a base image does not exist.
    ExecutorFailed = "Kaniko failed", Build, retry: false,
        hint: "Kaniko's output in the log has the cause";
    /// The post-script failed.
    PostScriptFailed = "the post-script failed", Build, retry: false,
        hint: "the script's output in the log has the cause; the image may already be pushed";
    /// Kaniko exited with 0, but no digest for the destination was found.
    NoDigest = "Kaniko reported no digest for the destination", Platform, retry: false,
        hint: "check Kaniko's last lines, then build again";
    /// The registry does not have the image that the task reported, neither under its tag nor under its digest.
    DigestMismatch = "the registry does not have the image that the task reported", Build, retry: false,
        hint: "a RUN step must not change files of Kaniko, nor redirect the name of the registry to itself";
    /// A registry refused the credentials.
    CredentialsRefused = "the registry refused the credentials", Build, retry: false,
        hint: "check `kaniko-credentials`: registry, username, and that they may push there";
    /// A registry did not respond, or uses plain HTTP and is not named in `INSECURE_REGISTRIES`.
    RegistryUnreachable = "the registry did not answer", Build, retry: false,
        hint: "check the registry's name, and that tasks can reach it";
    /// A registry refused the push.
    PushRefused = "the registry refused the push", Build, retry: false,
        hint: "the log has the registry's message: a quota, a rule for tags, or a repository that does not exist";
    /// A pushed image does not have the requested architecture.
    WrongArch = "an image has the wrong architecture", Build, retry: false,
        hint: "check `FROM --platform` in the Dockerfile and `kaniko.custom-platform`";
    /// Another task or target of the build failed, and this one was cancelled because of it.
    SiblingFailed = "another part of the build failed", Build, retry: false,
        hint: "check the task that failed first";
    /// Somebody cancelled the build.
    Cancelled = "cancelled", Asked, retry: false,
        hint: "build again if this was not intended";
    /// The server or the agent had an internal error, or the agent image does not match the server.
    Internal = "the server failed", Platform, retry: false,
        hint: "check the server's log, and report the problem";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_meaning_and_a_hint() {
        for reason in Reason::ALL {
            let (meaning, hint) = (reason.meaning(), reason.hint());
            assert!(
                meaning.starts_with(char::is_uppercase) && meaning.ends_with('.'),
                "{reason:?}: {meaning}"
            );
            assert!(!hint.is_empty() && !hint.ends_with('.'), "{reason:?}: {hint}");
        }
    }

    #[test]
    fn a_newer_peers_reason_is_read_as_unknown() {
        let reason: Reason = serde_json::from_str("\"eaten-by-mice\"").unwrap();
        assert_eq!(reason, Reason::Unknown);
    }
}

//! Why something did not end well: one vocabulary for retries, JSON and exit codes.

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
    ($($(#[$doc:meta])* $name:ident = $text:literal, $fault:ident, retry: $retry:literal;)*) => {
        /// A machine's word for what went wrong. Unknown words of a newer peer are read as [`Reason::Unknown`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// A word that this version does not know.
            #[serde(other)]
            Unknown,
        }

        impl Reason {
            /// Every reason but `Unknown`.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The reason in words, as the middle of a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown reason" }
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
    /// The kernel ended a process for want of memory.
    OutOfMemory = "out of memory", Build, retry: false;
    /// The disk of the task is full.
    DiskFull = "disk full", Build, retry: false;
    /// Spot capacity was taken back.
    SpotReclaimed = "spot capacity was reclaimed", Platform, retry: true;
    /// The agent image cannot be pulled.
    ImagePull = "the agent image cannot be pulled", Platform, retry: false;
    /// The platform has no room.
    NoCapacity = "the platform has no capacity", Platform, retry: true;
    /// The platform evicted the task.
    Evicted = "evicted by the platform", Platform, retry: true;
    /// The machine under the task is gone.
    NodeLost = "the machine under the task was lost", Platform, retry: true;
    /// No node or engine of this architecture.
    NoSuchArch = "nothing here runs this architecture", Build, retry: false;
    /// The platform is not configured on this server.
    NoSuchPlatform = "this server has no such platform", Build, retry: false;
    /// The platform refused the launch for good.
    LaunchRefused = "the platform refused the launch", Platform, retry: false;
    /// The platform did not answer, or failed on its side.
    PlatformUnreachable = "the platform did not answer", Platform, retry: true;
    /// The agent did not say its first word in time.
    ProvisionTimeout = "the agent did not start in time", Platform, retry: true;
    /// The task exceeded `BUILD_TASK_TIMEOUT`.
    TaskTimeout = "the task ran into its time limit", Build, retry: false;
    /// The container ended and no report came.
    AgentLost = "the agent ended without a report", Platform, retry: true;
    /// A second agent tried to bind the run.
    SecondBinder = "a second agent tried to take over the run", Platform, retry: false;
    /// The context could not be read, or is not what its name says.
    ContextBroken = "the context cannot be read", Platform, retry: false;
    /// The context, Dockerfile or target that the config names is not in the archive.
    ContextIncomplete = "a path that the config names is not in the context", Build, retry: false;
    /// The pre-script failed.
    PreScriptFailed = "the pre-script failed", Build, retry: false;
    /// Kaniko failed.
    ExecutorFailed = "Kaniko failed", Build, retry: false;
    /// The post-script failed.
    PostScriptFailed = "the post-script failed", Build, retry: false;
    /// Kaniko ended with 0 but no digest for the destination was found.
    NoDigest = "Kaniko reported no digest for the destination", Platform, retry: false;
    /// A registry refused the credentials.
    CredentialsRefused = "the registry refused the credentials", Build, retry: false;
    /// A registry did not answer.
    RegistryUnreachable = "the registry did not answer", Build, retry: false;
    /// A registry refused what was pushed.
    PushRefused = "the registry refused the push", Build, retry: false;
    /// A pushed image is not for the architecture that was asked for.
    WrongArch = "an image has the wrong architecture", Build, retry: false;
    /// Another task or target of the build failed.
    SiblingFailed = "another part of the build failed", Build, retry: false;
    /// Somebody cancelled the build.
    Cancelled = "cancelled", Asked, retry: false;
    /// The server failed on its own side.
    Internal = "the server failed", Platform, retry: false;
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
    fn a_newer_peers_reason_is_read_as_unknown() {
        let reason: Reason = serde_json::from_str("\"eaten-by-mice\"").unwrap();
        assert_eq!(reason, Reason::Unknown);
    }
}

//! File locations. All files of the agent are in one folder together with Kaniko, `/kaniko` in the agent image, because
//! Kaniko deletes everything else between the stages of a Dockerfile.

use std::path::{Path, PathBuf};

use bakery_core::kaniko::{DIR, Paths};

use crate::process_tree::Scope;

/// The name of the program by which Kaniko starts `RUN` steps.
pub const SHIM: &str = "tini";
/// The default `PATH` of a Linux system.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file locations of one agent.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder of Kaniko and the agent.
    pub root: PathBuf,
    /// The Kaniko executor.
    pub executor: PathBuf,
    /// Where the init program tini is once the agent has taken its place.
    pub tini: PathBuf,
    /// `PATH` of every child process; the first `sh` in it runs the scripts.
    pub path: String,
    /// CA certificates.
    pub certs: PathBuf,
    /// Folder of Docker's `config.json`.
    pub docker: PathBuf,
    /// Folder of the agent's own files.
    pub home: PathBuf,
    /// Mount point of the container's cgroups.
    pub cgroups: PathBuf,
    /// Which processes the agent terminates.
    pub scope: Scope,
}

impl Layout {
    /// The layout of the agent image.
    pub fn image() -> Self {
        Self {
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            scope: Scope::All,
            ..Self::with_tools(Path::new(DIR))
        }
    }

    /// The layout after everything was relocated to the folder `to`.
    pub fn relocated(&self, to: &Path) -> Self {
        Self { cgroups: self.cgroups.clone(), scope: self.scope, ..Self::with_tools(to) }
    }

    /// A layout below `root`, with the shell that is installed next to Kaniko.
    fn with_tools(root: &Path) -> Self {
        let root_path = root.display();
        Self { path: format!("{root_path}/bin:{root_path}:{SYSTEM_PATH}"), ..Self::below(root) }
    }

    /// A layout below `root`, with the system's shell, for an agent that does not have its process to itself.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            executor: root.join("executor"),
            tini: root.join("bakery-tini"),
            path: SYSTEM_PATH.to_owned(),
            certs: root.join("ssl/certs"),
            docker: root.join(".docker"),
            home: root.join("bakery"),
            cgroups: root.join("cgroup"),
            scope: Scope::Own,
        }
    }

    /// The agent's own program.
    pub fn agent(&self) -> PathBuf {
        self.root.join("bakery-agent")
    }

    /// The program by which Kaniko starts `RUN` steps: tini, and then the agent. The image may lack it.
    pub fn shim(&self) -> PathBuf {
        self.root.join(SHIM)
    }

    /// The socket at which `RUN` steps get their outputs. Not in the agent's own folder, which other users cannot enter.
    pub fn steps(&self) -> PathBuf {
        self.root.join("steps.sock")
    }

    /// The folder of the unpacked context.
    pub fn source(&self) -> PathBuf {
        self.home.join("ctx")
    }

    /// The Dockerfile whose text the order has.
    pub fn dockerfile_inline(&self) -> PathBuf {
        self.home.join("Dockerfile.inline")
    }

    /// The folder of the build secrets, while Kaniko runs.
    pub fn secrets(&self) -> PathBuf {
        self.home.join("secrets")
    }

    /// The folder to which Kaniko copies them.
    pub fn kanikos_secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The spool file of the log.
    pub fn spool(&self) -> PathBuf {
        self.home.join("spool")
    }

    /// The file to which Kaniko writes the image's digest.
    pub fn digest(&self) -> PathBuf {
        self.home.join("digest")
    }

    /// The folder to which Kaniko writes the list of pushed images.
    pub fn output(&self) -> PathBuf {
        self.home.join("out")
    }

    /// The first file named `program` in [`Layout::path`].
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        self.path.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
    }

    /// The paths for Kaniko's command line.
    pub fn kaniko(&self) -> Paths {
        Paths::below(&self.home.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logins_are_where_scripts_of_version_1_read_them() {
        assert_eq!(Layout::image().docker.join("config.json"), Path::new("/kaniko/.docker/config.json"));
    }
}

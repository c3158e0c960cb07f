//! Where everything lies. All that the agent owns is below `/kaniko`: Kaniko wipes the rest between stages.

use std::path::{Path, PathBuf};

use bakery_core::kaniko::{EXECUTOR, Paths};

use crate::tree::Scope;

/// The places of one agent.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The Kaniko executor.
    pub executor: PathBuf,
    /// tini, where the image has it.
    pub tini: PathBuf,
    /// `PATH` of every child; the first `sh` in it runs the scripts.
    pub path: String,
    /// CA certificates.
    pub certs: PathBuf,
    /// Folder of the docker login file.
    pub docker: PathBuf,
    /// Folder of the agent's own files.
    pub home: PathBuf,
    /// Where the kernel shows the container's cgroups.
    pub cgroups: PathBuf,
    /// Whose processes the agent ends.
    pub scope: Scope,
}

impl Layout {
    /// The agent's image.
    pub fn image() -> Self {
        Self {
            executor: PathBuf::from(EXECUTOR),
            path: "/kaniko/bin:/kaniko:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                .to_owned(),
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            scope: Scope::All,
            ..Self::below(Path::new("/kaniko"))
        }
    }

    /// The same under another root, with the machine's own shell, for an agent that shares its process with others.
    pub fn below(root: &Path) -> Self {
        Self {
            executor: root.join("executor"),
            tini: root.join("tini"),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            certs: root.join("ssl/certs"),
            docker: root.join(".docker"),
            home: root.join("bakery"),
            cgroups: root.join("cgroup"),
            scope: Scope::Own,
        }
    }

    /// The unpacked source root.
    pub fn source(&self) -> PathBuf {
        self.home.join("ctx")
    }

    /// The log.
    pub fn spool(&self) -> PathBuf {
        self.home.join("spool")
    }

    /// The digest that Kaniko writes.
    pub fn digest(&self) -> PathBuf {
        self.home.join("digest")
    }

    /// The folder in which Kaniko says what it has pushed.
    pub fn output(&self) -> PathBuf {
        self.home.join("out")
    }

    /// The first program of that name in [`Layout::path`].
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        self.path.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
    }

    /// The paths as Kaniko's command line names them.
    pub fn kaniko(&self) -> Paths {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Paths {
            source: text(self.source()),
            digest: text(self.digest()),
            oci_layout: text(self.home.join("oci")),
            tar: text(self.home.join("image.tar")),
        }
    }
}

//! Where everything lies. All that the agent owns is in one folder with Kaniko, `/kaniko` in the agent's image: Kaniko
//! wipes the rest between stages.

use std::path::{Path, PathBuf};

use bakery_core::kaniko::{DIR, Paths};

use crate::tree::Scope;

/// The places of one agent.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder that Kaniko and the agent share.
    pub root: PathBuf,
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
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            scope: Scope::All,
            ..Self::with_tools(Path::new(DIR))
        }
    }

    /// The same in another folder, where everything has been moved.
    pub fn moved(&self, to: &Path) -> Self {
        Self { cgroups: self.cgroups.clone(), scope: self.scope, ..Self::with_tools(to) }
    }

    /// With the shell that lies beside Kaniko.
    fn with_tools(root: &Path) -> Self {
        let (here, machine) =
            (root.display(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Self { path: format!("{here}/bin:{here}:{machine}"), ..Self::below(root) }
    }

    /// The same under another root, with the machine's own shell, for an agent that shares its process with others.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
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
        Paths::below(&self.home.to_string_lossy())
    }
}

//! The build script of the three programs, in every kind of source tree.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A program with a database has such a folder.
const MIGRATION: &str = "crates/agent/migrations/0001_first.sql";

/// The compiled script, and a tree like this repository around a program's folder.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../commit.rs");
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "-o"]).arg(folder.path().join("script")).arg(script);
        // The variables that cargo sets.
        run(rustc.env("CARGO_PKG_VERSION", "1.2.3"))?;
        let tree = folder.path().join("tree");
        for name in ["agent", "core", "context", "link"] {
            std::fs::create_dir_all(tree.join("crates").join(name).join("src"))?;
            std::fs::write(tree.join("crates").join(name).join("src/lib.rs"), "")?;
        }
        std::fs::create_dir(tree.join("crates/agent/migrations"))?;
        for name in ["Cargo.toml", "Cargo.lock", "README.md", "crates/agent/Cargo.toml", MIGRATION] {
            std::fs::write(tree.join(name), "")?;
        }
        Ok(Self { folder })
    }

    /// Runs git on the tree, without the user's own settings.
    fn git(&self, args: &[&str]) -> Result<String> {
        let tree = self.folder.path().join("tree");
        run(git(&mut Command::new("git"))
            .args(["-c", "user.name=b", "-c", "user.email=b@b"])
            .arg("-C")
            .arg(tree)
            .args(args))
    }

    /// Runs the script in `tree`; returns what it prints.
    fn output(&self, tree: &str, commit: Option<&str>) -> Result<String> {
        let mut script = Command::new(self.folder.path().join("script"));
        script.current_dir(self.folder.path().join(tree).join("crates/agent")).env_remove("BAKERY_COMMIT");
        run(git(&mut script).envs(commit.map(|commit| ("BAKERY_COMMIT", commit))))
    }
}

fn git(command: &mut Command) -> &mut Command {
    let none = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].map(|name| (name, "/dev/null"));
    command.envs(none).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE")
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn version(printed: &str) -> &str {
    printed.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=BAKERY_VERSION=")).unwrap_or_default()
}

/// The files whose change runs it again. All must exist: for a missing one cargo would run it each time.
fn watched(printed: &str, tree: &Path) -> Result<Vec<String>> {
    let folder = tree.join("crates/agent");
    let paths = printed.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
    // The script itself is elsewhere in this test.
    let paths: Vec<_> = paths.filter(|path| *path != "../commit.rs").map(str::to_owned).collect();
    for path in &paths {
        ensure!(folder.join(path).exists(), "{path}");
    }
    Ok(paths)
}

#[test]
fn without_git_the_version_has_no_commit_unless_the_build_sets_it() -> Result<()> {
    let bench = Bench::new()?;
    assert_eq!(version(&bench.output("tree", None)?), "1.2.3");
    assert_eq!(version(&bench.output("tree", Some(""))?), "1.2.3");
    let full = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(version(&bench.output("tree", Some(full))?), "1.2.3 (commit 0123456789ab)");
    assert_eq!(version(&bench.output("tree", Some("v1.2.3-rc.1"))?), "1.2.3 (commit v1.2.3-rc.1)");
    let printed = bench.output("tree", Some("x\ncargo::rustc-env=PATH=y"))?;
    ensure!(
        printed.contains("cargo::error=BAKERY_COMMIT is no commit") && !printed.contains("PATH=y"),
        "{printed}"
    );
    Ok(())
}

#[test]
fn in_a_repository_it_is_the_commit_and_whether_the_programs_sources_differ() -> Result<()> {
    let bench = Bench::new()?;
    bench.git(&["init", "-q", "-b", "main"])?;
    bench.git(&["add", "."])?;
    bench.git(&["commit", "-q", "-m", "first"])?;
    let head = bench.git(&["rev-parse", "HEAD"])?;
    let (clean, tree) = (format!("1.2.3 (commit {})", &head[..12]), bench.folder.path().join("tree"));
    let printed = bench.output("tree", None)?;
    assert_eq!(version(&printed), clean);
    let paths = watched(&printed, &tree)?;
    for end in ["HEAD", "refs/heads/main", "logs/HEAD", "../core/src"] {
        ensure!(paths.iter().any(|path| path.ends_with(end)), "{end}: {paths:?}");
    }
    assert_eq!(version(&bench.output("tree", Some("named"))?), "1.2.3 (commit named)");

    std::fs::write(tree.join("README.md"), "words")?;
    assert_eq!(version(&bench.output("tree", None)?), clean, "no program is built from it");
    for path in ["crates/core/src/lib.rs", "crates/agent/Cargo.toml", MIGRATION] {
        std::fs::write(tree.join(path), "// x")?;
        assert_eq!(
            version(&bench.output("tree", None)?),
            format!("1.2.3 (commit {}-dirty)", &head[..12]),
            "{path}"
        );
        bench.git(&["checkout", "-q", "--", path])?;
    }
    std::fs::remove_dir_all(tree.join("crates/agent/migrations"))?;
    let printed = bench.output("tree", None)?;
    assert_eq!(version(&printed), format!("1.2.3 (commit {}-dirty)", &head[..12]), "one that is gone");
    watched(&printed, &tree)?;
    bench.git(&["checkout", "-q", "--", "."])?;

    // Another worktree, on a branch whose ref is packed.
    bench.git(&["worktree", "add", "-q", "../other", "-b", "other"])?;
    bench.git(&["pack-refs", "--all"])?;
    let printed = bench.output("other", None)?;
    assert_eq!(version(&printed), clean);
    let paths = watched(&printed, &bench.folder.path().join("other"))?;
    ensure!(paths.iter().any(|path| path.ends_with("worktrees/other/logs/HEAD")), "{paths:?}");
    Ok(())
}

#[test]
fn a_tree_inside_another_repository_has_no_commit() -> Result<()> {
    let bench = Bench::new()?;
    run(git(&mut Command::new("git")).arg("init").arg("-q").arg(bench.folder.path()))?;
    assert_eq!(version(&bench.output("tree", None)?), "1.2.3");
    Ok(())
}

//! `.git` in an archive: complete, without credentials.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use bakery_context::{
    ContextFolder, GitError, PackError, Packed, SourceTree, UnpackLimits, exceptions_for, pack, unpack,
};
use bakery_core::message::Hint as _;
use tempfile::TempDir;

const SECRET: &str = "hunter2";

fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", folder);
    command.args(["-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "protocol.file.allow=always"]);
    command.args(["-c", "init.defaultBranch=main"]).args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn commit(folder: &Path) {
    git(folder, &["add", "."]);
    git(folder, &["commit", "-q", "-m", "one"]);
}

/// A repository with a file and one commit.
fn repository(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    git(folder, &["init", "-q"]);
    fs::write(folder.join("file"), "text").unwrap();
    commit(folder);
}

fn try_pack(root: &Path, contexts: &[ContextFolder], to: &Path) -> Result<Packed, PackError> {
    let mut blob = Vec::new();
    let packed = pack(&SourceTree { git: true, ..SourceTree::new(root, contexts) }, &mut blob, 1)?;
    unpack(blob.as_slice(), to, &UnpackLimits::default()).unwrap();
    Ok(packed)
}

fn packed(root: &Path) -> (TempDir, Vec<String>) {
    let to = tempfile::tempdir().unwrap();
    let packed = try_pack(root, &[], to.path()).unwrap();
    (to, packed.notices.into_iter().map(|notice| notice.text).collect())
}

/// Files below the folder that contain the secret.
fn holding(folder: &Path) -> Vec<String> {
    let output = Command::new("grep").args(["-rlaI", SECRET, "."]).current_dir(folder).output().unwrap();
    let mut found: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn a_repository_with_a_submodule_and_a_worktree_is_complete_and_holds_no_credential() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    let (inner, outer) = (place.join("inner"), place.join("outer"));
    repository(&inner);
    repository(&outer);
    git(&outer, &["submodule", "--quiet", "add", inner.to_str().unwrap(), "libs/inner"]);
    commit(&outer);
    // A branch with the name of a file that is special elsewhere.
    git(&outer, &["branch", "x/config"]);
    git(&outer, &["worktree", "add", "-q", "../beside", "x/config"]);
    git(&outer, &["config", "extensions.worktreeConfig", "true"]);
    let url = format!("https://user:{SECRET}@git.test/a");
    for folder in [outer.clone(), outer.join("libs/inner")] {
        git(&folder, &["config", "remote.origin.url", &url]);
        git(
            &folder,
            &["config", "http.https://git.test/.extraheader", &format!("AUTHORIZATION: basic {SECRET}")],
        );
    }
    git(&place.join("beside"), &["config", "--worktree", "remote.origin.pushurl", &url]);
    git(&outer, &["config", "include.path", "ci.conf"]);
    git(&outer, &["config", "credential.helper", "store --file=.git/store"]);
    for file in ["ci.conf", "credentials", "store"] {
        fs::write(outer.join(".git").join(file), SECRET).unwrap();
    }
    fs::write(outer.join(".git/hooks/post-checkout"), "#!/bin/sh\n").unwrap();
    assert_eq!(holding(&outer).len(), 6, "{:?}", holding(&outer));

    let (to, notices) = packed(&outer);
    assert_eq!(holding(to.path()), [""; 0]);
    let text = "may hold credentials of git: left out";
    let left_out = ["ci.conf", "credentials", "store"].map(|file| format!("`.git/{file}` {text}"));
    assert_eq!(notices, left_out);
    for file in [".git/refs/heads/x/config", ".git/hooks/post-checkout", ".git/logs/HEAD", ".git/index"] {
        assert_eq!(fs::read(to.path().join(file)).unwrap(), fs::read(outer.join(file)).unwrap(), "{file}");
    }
    for folder in ["", "libs/inner"] {
        let (folder, source) = (to.path().join(folder), outer.join(folder));
        git(&folder, &["fsck", "--strict"]);
        for args in [
            &["status", "--short"][..],
            &["log", "--oneline"],
            &["describe", "--always", "--all"],
            &["reflog"],
        ] {
            assert_eq!(git(&folder, args), git(&source, args), "{args:?}");
        }
        assert_eq!(git(&folder, &["config", "remote.origin.url"]), "https://git.test/a\n");
    }
}

#[test]
fn the_identity_does_not_depend_on_a_credential() {
    let place = tempfile::tempdir().unwrap();
    repository(place.path());
    let id = |token: &str| {
        git(place.path(), &["config", "remote.origin.url", &format!("https://{token}@git.test/a")]);
        try_pack(place.path(), &[], &place.path().with_extension(token)).unwrap().id
    };
    assert_eq!(id("one"), id("two"));
}

#[test]
fn a_git_file_is_packed_if_its_repository_is() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    let (main, tree) = (place.join("main"), place.join("tree"));
    repository(&main);
    git(&main, &["worktree", "add", "-q", "../tree"]);
    for (root, path) in [(&tree, ".git"), (&place, "tree/.git")] {
        let refused = try_pack(root, &[], &place.join("to")).unwrap_err();
        let target = main.join(".git/worktrees/tree");
        let expected = format!(
            "`{path}` is a file: the repository is in `{}`, which is not part of the source",
            target.display()
        );
        assert!(matches!(refused, PackError::Git(GitError::Elsewhere { .. })));
        assert_eq!(refused.to_string(), expected);
        assert!(refused.hint().unwrap().contains("git clone"));
    }
    fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/tree\n").unwrap();
    let (to, _) = packed(&place);
    assert_eq!(fs::read(to.path().join("tree/.git")).unwrap(), fs::read(tree.join(".git")).unwrap());
}

#[test]
fn what_makes_a_repository_incomplete_is_said() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    let (main, shared) = (place.join("main"), place.join("shared"));
    repository(&main);
    git(&place, &["clone", "-q", "--shared", "main", "shared"]);
    let (_, notices) = packed(&shared);
    assert!(notices[0].starts_with("`.git/objects/info/alternates` names objects of another"), "{notices:?}");

    fs::write(main.join(".dockerignore"), "*.log\n.git\n").unwrap();
    let contexts = [ContextFolder { path: ".".to_owned(), dockerfile: None }];
    let notices = try_pack(&main, &contexts, &place.join("to")).unwrap().notices;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].text, "`.git` is excluded by .dockerignore:2, although `context.git` is `true`");
    assert!(!place.join("to/.git").exists());
}

#[test]
fn a_config_that_git_cannot_read_is_refused() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join(".git")).unwrap();
    fs::write(place.path().join(".git/config"), "[core]\n= 1\n").unwrap();
    let refused = try_pack(place.path(), &[], &place.path().with_extension("to")).unwrap_err();
    assert!(refused.to_string().starts_with(".git/config:2: "), "{refused}");
    fs::remove_file(place.path().join(".git/config")).unwrap();
    // What it leads to would be packed with its credentials, or is not in a task.
    for target in ["../own", "/dev/zero"] {
        fs::write(place.path().join("own"), "[http]\nextraheader = hunter2\n").unwrap();
        symlink(target, place.path().join(".git/config")).unwrap();
        let refused = try_pack(place.path(), &[], &place.path().with_extension("to")).unwrap_err();
        assert!(refused.to_string().contains("`.git/config` is a link"), "{refused}");
        fs::remove_file(place.path().join(".git/config")).unwrap();
    }
}

#[test]
fn lines_that_want_git_are_found() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("web")).unwrap();
    fs::write(place.path().join(".dockerignore"), "*\n!src\n!.git/HEAD\n").unwrap();
    fs::write(place.path().join("web/Dockerfile.dockerignore"), "!**/.git\n").unwrap();
    let context =
        |path: &str| ContextFolder { path: path.to_owned(), dockerfile: Some("Dockerfile".to_owned()) };
    let lines = exceptions_for(place.path(), &[context("."), context("web")], ".git").unwrap();
    let lines: Vec<_> = lines.iter().map(|line| format!("{line} {}", line.rule.text)).collect();
    assert_eq!(lines, [".dockerignore:3 !.git/HEAD", "web/Dockerfile.dockerignore:1 !**/.git"]);
}

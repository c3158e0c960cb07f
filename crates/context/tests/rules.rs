//! The ignore rules of several contexts, in the packer and in a task.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bakery_context::ignore::IgnoreFile;
use bakery_context::{
    ContextFolder, PackError, SourceTree, UnpackLimits, apply_ignore, find_in_context, pack, unpack,
};
use proptest::prelude::*;

fn context(path: &str, dockerfile: &str) -> ContextFolder {
    ContextFolder { path: path.to_owned(), dockerfile: Some(dockerfile.to_owned()) }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// All paths below a folder; folders end in a slash.
fn list(root: &Path) -> BTreeSet<String> {
    fn add(root: &Path, below: &str, all: &mut BTreeSet<String>) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                add(root, &format!("{path}/"), all);
                all.insert(format!("{path}/"));
            } else {
                all.insert(path);
            }
        }
    }
    let mut all = BTreeSet::new();
    add(root, "", &mut all);
    all
}

/// What a task gets: everything that the packer included, without what the task's own rules exclude.
fn task_files(root: &Path, contexts: &[ContextFolder], own: Option<&ContextFolder>) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut blob = Vec::new();
    let packed = pack(&SourceTree::new(root, contexts), &mut blob, 1).unwrap();
    let unpacked = unpack(blob.as_slice(), folder.path(), &UnpackLimits::default()).unwrap();
    assert_eq!(packed.id, unpacked.id);
    if let Some(own) = own {
        apply_ignore(folder.path(), own).unwrap();
    }
    list(folder.path())
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn git_itself_is_never_packed() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[(".git/HEAD", ""), ("sub/.git", ""), (".gitignore", "a"), ("a", ""), ("x.git/a", "")],
    );
    assert_eq!(task_files(folder.path(), &[], None), set(&[".gitignore", "a", "sub/", "x.git/", "x.git/a"]));
}

#[test]
fn the_dockerfile_and_the_ignore_file_are_always_kept() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[(".dockerignore", "*"), ("Dockerfile", ""), ("a", ""), ("d/a", ""), ("d/Dockerfile", "")],
    );
    let own = context(".", "Dockerfile");
    assert_eq!(
        task_files(folder.path(), std::slice::from_ref(&own), Some(&own)),
        set(&[".dockerignore", "Dockerfile"])
    );
    let own = context("", "d/Dockerfile");
    let kept = set(&[".dockerignore", "d/", "d/Dockerfile"]);
    assert_eq!(task_files(folder.path(), std::slice::from_ref(&own), Some(&own)), kept);
}

#[test]
fn a_dockerfiles_own_ignore_file_replaces_the_shared_one() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (".dockerignore", "a"),
            ("docker/web.Dockerfile", ""),
            ("docker/web.Dockerfile.dockerignore", "b\ndocker"),
            ("a", ""),
            ("b", ""),
            ("docker/c", ""),
        ],
    );
    let own = context(".", "docker/web.Dockerfile");
    let kept =
        [".dockerignore", "a", "docker/", "docker/web.Dockerfile", "docker/web.Dockerfile.dockerignore"];
    assert_eq!(task_files(folder.path(), std::slice::from_ref(&own), Some(&own)), set(&kept));
}

#[test]
fn without_a_file_as_the_dockerfile_the_shared_ignore_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (".dockerignore", "*\n!b"),
            ("Dockerfile", ""),
            ("Dockerfile.dockerignore", "b"),
            ("a", ""),
            ("b", ""),
        ],
    );
    let own = ContextFolder { path: ".".to_owned(), dockerfile: None };
    assert_eq!(
        task_files(folder.path(), std::slice::from_ref(&own), Some(&own)),
        set(&[".dockerignore", "b"])
    );
}

#[test]
fn a_file_is_excluded_only_if_every_context_that_contains_it_excludes_it() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (".dockerignore", "web\nlogs\nonly"),
            ("web/.dockerignore", "dist\nlogs"),
            ("web/dist/x", ""),
            ("web/src/x", ""),
            ("web/logs", ""),
            ("logs", ""),
            ("only", ""),
            ("Dockerfile", ""),
            ("web/Dockerfile", ""),
        ],
    );
    let (all, web) = (context(".", "Dockerfile"), context("web/", "Dockerfile"));
    let both = [all.clone(), web.clone()];
    let kept = [".dockerignore", "Dockerfile", "web/", "web/.dockerignore", "web/Dockerfile"];
    let src = ["web/src/", "web/src/x"];
    let mut packed = set(&kept);
    packed.extend(set(&src));
    assert_eq!(task_files(folder.path(), &both, None), packed);
    assert_eq!(task_files(folder.path(), &both, Some(&web)), packed);
    // The other task applies its own rules, which exclude the other context's Dockerfile.
    assert_eq!(task_files(folder.path(), &both, Some(&all)), set(&[".dockerignore", "Dockerfile"]));
    // What is in no context is kept: scripts may need it.
    let mut alone = packed;
    alone.extend(set(&["logs", "only"]));
    assert_eq!(task_files(folder.path(), std::slice::from_ref(&web), Some(&web)), alone);
}

#[test]
fn links_on_the_way_to_a_context_are_followed_inside_and_refused_outside() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repo");
    write(
        &root,
        &[
            ("real/.dockerignore.shared", "drop"),
            ("real/drop", ""),
            ("real/keep", ""),
            ("real/Dockerfile", ""),
        ],
    );
    symlink("real", root.join("link")).unwrap();
    symlink(".dockerignore.shared", root.join("real/.dockerignore")).unwrap();
    let own = context("link", "Dockerfile");
    let kept =
        ["link", "real/", "real/.dockerignore", "real/.dockerignore.shared", "real/Dockerfile", "real/keep"];
    assert_eq!(task_files(&root, std::slice::from_ref(&own), Some(&own)), set(&kept));

    write(folder.path(), &[("elsewhere/.dockerignore", "*"), ("elsewhere/kept", "")]);
    symlink("../elsewhere", root.join("out")).unwrap();
    for folder in [
        context("out", "Dockerfile"),
        context("..", "Dockerfile"),
        context("/etc", "x"),
        context("real", "../../x"),
    ] {
        let error =
            pack(&SourceTree::new(&root, std::slice::from_ref(&folder)), &mut Vec::new(), 1).unwrap_err();
        assert!(error.to_string().contains("is outside of the source folder"), "{error}");
        assert!(apply_ignore(&root, &folder).is_err());
    }
    assert_eq!(list(&folder.path().join("elsewhere")).len(), 2);
}

#[test]
fn a_context_that_does_not_exist_yet_has_no_rules() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a", "")]);
    let own = context("made/later", "Dockerfile");
    assert_eq!(task_files(folder.path(), std::slice::from_ref(&own), Some(&own)), set(&["a"]));
}

#[test]
fn invalid_rules_are_reported_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("web/.dockerignore", "ok\n[a\n!")]);
    let error = pack(&SourceTree::new(folder.path(), &[context("web", "Dockerfile")]), &mut Vec::new(), 1)
        .unwrap_err();
    assert!(matches!(error, PackError::Rules(_)));
    let text = error.to_string();
    assert!(text.contains("web/.dockerignore: line 2: `[a`") && text.contains("line 3: `!`"), "{text}");
}

/// Short names and rules for them, so that the rules match often.
fn paths() -> impl Strategy<Value = Vec<String>> {
    let path = prop::collection::vec("[abc]", 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec(path, 0..12)
}

fn rules() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => "[abc]", 1 => Just("*".to_owned()), 1 => Just("**".to_owned())];
    let rule = (any::<bool>(), prop::collection::vec(part, 1..4))
        .prop_map(|(keep, parts)| format!("{}{}", if keep { "!" } else { "" }, parts.join("/")));
    prop::collection::vec(rule, 0..5).prop_map(|rules| rules.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Skipping folders, deferring folders and the scopes of two contexts change nothing: the result for every
    /// file is that of the rules applied to this file alone.
    #[test]
    fn the_walk_agrees_with_the_rules_applied_file_by_file(paths in paths(), outer in rules(), inner in rules()) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in &paths {
            let path = root.join(path);
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(path, "").unwrap();
            }
        }
        let _ = fs::create_dir(root.join("a"));
        prop_assume!(root.join("a").is_dir());
        write(root, &[(".dockerignore", &outer), ("a/.dockerignore", &inner)]);
        let before = list(root);
        let (all, a) = (context(".", "Dockerfile"), context("a", "Dockerfile"));
        let outer = IgnoreFile::parse(outer.as_bytes()).unwrap();
        let inner = IgnoreFile::parse(inner.as_bytes()).unwrap();
        let files = |paths: BTreeSet<String>| -> BTreeSet<String> {
            paths.into_iter().filter(|path| !path.ends_with('/')).collect()
        };
        let judged = |dropped: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            let keep = |path: &String| path.ends_with(".dockerignore") || !dropped(path);
            files(before.clone()).into_iter().filter(keep).collect()
        };
        let by_outer = |path: &str| outer.ignores(path.as_bytes());
        let by_inner = |path: &str| path.strip_prefix("a/").is_none_or(|path| inner.ignores(path.as_bytes()));
        let both = [all.clone(), a.clone()];
        let packed = judged(&|path| by_outer(path) && by_inner(path));
        prop_assert_eq!(files(task_files(root, &both, None)), packed);
        let seen_by_a = judged(&|path| path.starts_with("a/") && by_inner(path) || by_outer(path) && by_inner(path));
        prop_assert_eq!(files(task_files(root, &both, Some(&a))), seen_by_a);
        let mut seen_by_all = judged(&|path| by_outer(path));
        if by_outer("a/.dockerignore") {
            seen_by_all.remove("a/.dockerignore");
        }
        prop_assert_eq!(files(task_files(root, &both, Some(&all))), seen_by_all);
    }
}

#[test]
fn a_file_is_found_in_a_context_that_does_not_exclude_it() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (".dockerignore", "config.yaml\nkeep\n!keep/.env\n"),
            ("app/Dockerfile.dockerignore", "*.bak"),
            ("app/.dockerignore", ".env"),
        ],
    );
    symlink("app", folder.path().join("link")).unwrap();
    let found = |path: &str, file: &str| {
        let found = find_in_context(folder.path(), &context(path, "Dockerfile"), file).unwrap();
        found.map(|file| format!("{} {}", file.path, file.ignore_file))
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(found(".", "config.yaml"), None);
    assert_eq!(found(".", ".env"), is(".env .dockerignore"));
    assert_eq!(found(".", "keep/.env"), is("keep/.env .dockerignore"));
    assert_eq!(found(".", "keep/other"), None);
    // The Dockerfile's own ignore file replaces the context's.
    assert_eq!(found("app", "app/.env"), is(".env app/Dockerfile.dockerignore"));
    assert_eq!(found("app", "app/x/a.bak"), is("x/a.bak app/Dockerfile.dockerignore"));
    assert_eq!(found("app", ".env"), None);
    assert_eq!(found("app", "apple/.env"), None);
    assert_eq!(found("./link/", "app/.env"), is(".env link/Dockerfile.dockerignore"));
}

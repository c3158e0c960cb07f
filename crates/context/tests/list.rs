//! What a list says is what is packed.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use bakery_context::{
    ContextFolder, Listed, Listing, PackError, Reason, SourceTree, UnpackLimits, list, pack, unpack,
};

fn context(path: &str) -> ContextFolder {
    ContextFolder { path: path.to_owned(), dockerfile: Some("Dockerfile".to_owned()) }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn listed(source: &SourceTree<'_>) -> (Vec<String>, Listing) {
    let mut lines = Vec::new();
    let listing = list(source, &mut |entry| {
        lines.push(match entry {
            Listed::Folder { path } => path,
            Listed::File { path, bytes } => format!("{path} {bytes}"),
            Listed::Link { path, target } => format!("{path} -> {target}"),
            Listed::LeftOut { path, reason: Reason::Rules(lines) } => {
                let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
                format!("- {path} {}", lines.join(" "))
            }
            Listed::LeftOut { path, reason } => format!("- {path} {reason:?}"),
        });
        Ok(())
    });
    (lines, listing.unwrap())
}

#[test]
fn every_entry_is_listed_with_its_size_or_with_what_excludes_it() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            (".dockerignore", "# not needed\n**/*.log\nnode_modules\nweb\n!web/Dockerfile\n"),
            ("web/.dockerignore", "dist\n*.log"),
            ("web/Dockerfile", "FROM scratch"),
            ("web/dist/x", "1"),
            ("web/a.log", "1"),
            ("web/src/main", "12345"),
            ("node_modules/a/b", "1"),
            (".git/HEAD", "1"),
            ("sub/.git", "1"),
            ("Dockerfile", ""),
        ],
    );
    symlink(folder.path().join("web/src"), folder.path().join("sub/link")).unwrap();
    let (lines, listing) = listed(&SourceTree::new(folder.path(), &[context("."), context("web")]));
    assert_eq!(
        lines,
        [
            ".dockerignore 55",
            "- .git/ Git",
            "Dockerfile 0",
            "- node_modules/ .dockerignore:3",
            "sub/",
            "- sub/.git Git",
            "sub/link -> ../web/src",
            "web/",
            "web/.dockerignore 10",
            "web/Dockerfile 12",
            "- web/a.log .dockerignore:4 web/.dockerignore:2",
            "- web/dist/ .dockerignore:4 web/.dockerignore:1",
            "web/src/",
            "web/src/main 5",
        ]
    );
    assert_eq!(listing.bytes, 82);
    let largest: Vec<_> = listing.largest.iter().map(|folder| (folder.path.as_str(), folder.bytes)).collect();
    assert_eq!(largest, [("web", 27), ("sub", 0)]);
    let notices: Vec<_> = listing.notices.iter().map(|notice| notice.text.as_str()).collect();
    let absolute =
        "`sub/link` is a link with an absolute path of this machine: packed as a link to `../web/src`";
    assert_eq!(notices, [absolute]);
}

#[test]
fn a_link_with_an_absolute_path_leads_to_the_same_file_after_unpacking() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repo");
    write(
        &root,
        &[("releases/42/Dockerfile", ""), ("releases/42/.dockerignore", "drop"), ("releases/42/drop", "")],
    );
    symlink(root.join("releases/42"), root.join("current")).unwrap();
    symlink("/etc/passwd", root.join("out")).unwrap();
    let contexts = [context("current")];
    let mut blob = Vec::new();
    pack(&SourceTree::new(&root, &contexts), &mut blob, 1).unwrap();
    let to = folder.path().join("to");
    unpack(blob.as_slice(), &to, &UnpackLimits::default()).unwrap();
    assert_eq!(fs::read_link(to.join("current")).unwrap(), Path::new("releases/42"));
    assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("/etc/passwd"));
    assert!(to.join("current/Dockerfile").exists() && !to.join("current/drop").exists());
}

#[test]
fn a_failed_write_ends_the_list() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a", ""), ("b", "")]);
    let mut shown = 0;
    let failed = list(&SourceTree::new(folder.path(), &[]), &mut |_| {
        shown += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert!(
        shown == 1
            && matches!(failed, Err(PackError::Write(cause)) if cause.kind() == io::ErrorKind::BrokenPipe)
    );
}

//! The build script of the three programs: which commit a program is made of.
//!
//! `BAKERY_COMMIT` of the build's environment wins over git, for builds that have no `.git` folder (images). Without either the
//! version stands alone. The crates below the programs have no such script: a new commit builds none of them anew.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hexadecimal digits of a commit that are shown.
const SHOWN: usize = 12;

/// What a program is made of, seen from its folder; not every program has all of it. A change there has the program built anew
/// anyhow.
const SOURCES: [&str; 8] = [
    "src",
    "migrations",
    "Cargo.toml",
    "../core/src",
    "../context/src",
    "../link/src",
    "../../Cargo.toml",
    "../../Cargo.lock",
];

fn main() {
    println!("cargo::rerun-if-env-changed=BAKERY_COMMIT");
    println!("cargo::rerun-if-changed=../commit.rs");
    let named = env::var_os("BAKERY_COMMIT").map(|named| named.to_string_lossy().trim().to_owned());
    let commit = match named.filter(|named| !named.is_empty()) {
        Some(named) if named.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) => short(&named),
        Some(_) => {
            println!(
                "cargo::error=BAKERY_COMMIT is no commit: letters, digits, `-`, `.` and `_` are expected"
            );
            return;
        }
        None => of_git().unwrap_or_default(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let shown = if commit.is_empty() { version.to_owned() } else { format!("{version} (commit {commit})") };
    println!("cargo::rustc-env=BAKERY_COMMIT={commit}");
    println!("cargo::rustc-env=BAKERY_VERSION={shown}");
}

/// A full name is cut, anything else is as it was given.
fn short(commit: &str) -> String {
    let full = commit.len() >= 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
    commit[..if full { SHOWN } else { commit.len() }].to_owned()
}

/// The commit that is checked out, with `-dirty` where the program's sources differ from it; `None` without git.
fn of_git() -> Option<String> {
    let root = Path::new("../..").canonicalize().ok()?;
    // A tree without `.git` may lie inside of somebody else's.
    if PathBuf::from(git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root {
        return None;
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    // The log of HEAD also tells of a commit whose branch lies packed.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name])?;
        // What is not there would have the script run each time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // What is not there would have the script run each time.
    for path in SOURCES.into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    let changes = [&["status", "--porcelain", "--untracked-files=no", "--"][..], &SOURCES].concat();
    let dirty = if git(&changes)?.is_empty() { "" } else { "-dirty" };
    Some(short(&commit) + dirty)
}

fn git(args: &[&str]) -> Option<String> {
    let done = Command::new("git").arg("--no-optional-locks").args(args).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

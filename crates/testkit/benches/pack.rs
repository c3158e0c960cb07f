//! Packs 500 MB of real source at level 6, with a warm page cache, compared with `tar c | gzip -6`, and 100,000 small files,
//! compared with `tar c | gzip -1`.
//!
//! The first corpus is the sources of our dependencies that cargo has unpacked, in the order of their names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::bench::{interleave, pairs};

const BYTES: u64 = 500_000_000;

/// How many small files there are.
const SMALL_FILES: usize = 100_000;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("corpus");
    let files = gather(&corpus)?;
    println!("corpus: {files} files, {BYTES} bytes or a little more");
    let bar = "<= 0.667 (1.5 times as fast)";
    let sizes = compare(folder.path(), &corpus, "packing 500 MB of source at level 6", 6, bar).await?;
    println!("  size: {sizes}   bar: within 10 %");
    fs::remove_dir_all(&corpus)?;

    let corpus = folder.path().join("small");
    for nth in 0..SMALL_FILES {
        let inside = corpus.join(format!("package{:03}/src", nth / 100));
        fs::create_dir_all(&inside)?;
        fs::write(
            inside.join(format!("file{nth}.js")),
            format!("module.exports = {nth};\n").repeat(1 + nth % 20),
        )?;
    }
    let sizes = compare(folder.path(), &corpus, "packing 100,000 small files", 1, "<= 1.0").await?;
    println!("  size: {sizes}");
    Ok(())
}

/// Packs a folder at the client's level, and with `tar c | gzip` at another. Returns both sizes as text.
async fn compare(to: &Path, corpus: &Path, what: &str, level: u32, bar: &str) -> Result<String> {
    let (packed, zipped) = (to.join("packed.tar.gz"), to.join("zipped.tar.gz"));
    let ours = async || {
        let begin = Instant::now();
        let mut out = File::create(&packed)?;
        bakery_context::pack(&bakery_context::SourceTree::new(corpus, &[]), &mut out, 6)?;
        Ok(begin.elapsed())
    };
    let peer_name = format!("tar c | gzip -{level}");
    let peer = async || {
        let begin = Instant::now();
        let pipe = format!("tar c . | gzip -{level} > {}", zipped.display());
        let status = Command::new("sh").args(["-c", &pipe]).current_dir(corpus).status()?;
        ensure!(status.success(), "{pipe}");
        Ok(begin.elapsed())
    };
    let found = interleave(pairs(), ours, peer).await?;
    found.print(what, &peer_name, "s", bar);
    let (a, b) = (fs::metadata(&packed)?.len(), fs::metadata(&zipped)?.len());
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    let ratio = a as f64 / b as f64;
    Ok(format!("bakery {a} bytes, {peer_name} {b} bytes, ratio {ratio:.3}"))
}

/// Copies source files into `to` until there are [`BYTES`] of them.
fn gather(to: &Path) -> Result<usize> {
    let from = sources().context("no unpacked crate sources; run `cargo fetch` first")?;
    let (mut bytes, mut files) = (0, 0);
    let mut open = vec![from.clone()];
    while let Some(path) = open.pop() {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            let mut inside: Vec<PathBuf> =
                fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            inside.sort_by(|a, b| b.cmp(a));
            open.extend(inside);
        } else if kind.is_file() && bytes < BYTES {
            let target = to.join(path.strip_prefix(&from)?);
            fs::create_dir_all(target.parent().context("a folder")?)?;
            bytes += fs::copy(&path, target)?;
            files += 1;
        }
    }
    ensure!(bytes >= BYTES, "only {bytes} bytes of crate sources are here");
    Ok(files)
}

#[expect(clippy::disallowed_methods, reason = "cargo's own variable, for the benchmark's corpus")]
fn sources() -> Option<PathBuf> {
    let home = std::env::var("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|_| std::env::var("HOME").map(|home| Path::new(&home).join(".cargo"))).ok()?;
    fs::read_dir(home.join("registry/src")).ok()?.flatten().map(|entry| entry.path()).next()
}

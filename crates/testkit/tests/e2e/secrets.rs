//! A build's password is used and is found nowhere. A harmless canary in every location is found, so the
//! search is known to work.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::{Client, finish};
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::registry::{LOGIN, Registry};
use bakery_testkit::server::Server;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::world::Log;

/// A harmless text in the image's name, which is in every location where a build leaves traces.
const CANARY: &str = "canary4711";

/// Every form in which a secret could appear.
fn forms(secret: &str) -> Vec<String> {
    let (user, _) = LOGIN;
    let url = secret.bytes().fold(String::new(), |url, b| url + &format!("%{b:02X}"));
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut forms = vec![secret.to_owned(), url, json.trim_matches('"').to_owned()];
    for text in [secret.to_owned(), format!("{user}:{secret}")] {
        forms.push(STANDARD.encode(&text));
        forms.push(URL_SAFE_NO_PAD.encode(&text));
    }
    // Base64 of a text that contains the secret: its inner characters at each of the three alignments.
    for skip in 0..3 {
        let padded = format!("{}{secret}", "x".repeat(skip));
        let code = STANDARD.encode(padded);
        let from = if skip == 0 { 0 } else { 4 };
        forms.push(code[from..code.len() - 4].to_owned());
    }
    forms
}

fn hits(haystack: &[u8], needles: &[String]) -> bool {
    needles.iter().any(|needle| haystack.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

fn files(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, into)?;
        } else if path.is_file() {
            into.insert(path.display().to_string(), fs::read(&path)?);
        }
    }
    Ok(())
}

/// Command lines and environments of all processes on this machine.
fn processes() -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        all.extend(fs::read(entry.path().join("cmdline")).unwrap_or_default());
        all.push(b'\n');
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_builds_password_is_used_and_found_nowhere() -> Result<()> {
    let parts = Parts::required();
    let (user, password) = LOGIN;
    let registry = Registry::with_login(&parts).await?;
    let vars = [("ALLOW_EMULATION", "true")];
    let mut server = Server::start(&parts, &[&registry.host], &vars).await?;
    let image = format!("{}/{CANARY}/app:1", registry.host);
    let config = format!(
        "global:\n  kaniko-credentials: [{{ registry: \"{}\", username: {user}, password: {password} }}]\n  \
         env: {{ NOTE: {CANARY} }}\n  pre-script: echo \"$NOTE {password}\"\n  \
         kaniko: {{ destination: \"{image}\" }}\nbake: [{{ arch: amd64 }}, {{ arch: arm64 }}]\n",
        registry.host
    );
    let project = Project::new(&parts, &numbered("tick", 20, 100), "global: {}")?;
    let secret = tempfile::tempdir()?;
    let file = secret.path().join("config.yaml").display().to_string();
    fs::write(&file, config)?;
    let client = Client::new(&parts, project.path(), &server.url);
    let mut child = client.spawn(&["--config", &file])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 5").await?.build.context("build")?;

    // In the middle of the build: the engine, the process list and the data folder.
    let engine = Engine::new(&parts);
    let mut locations = BTreeMap::new();
    for name in engine.containers(&build).await? {
        locations.insert(format!("inspect {name}"), engine.docker(&["inspect", &name]).await?.into_bytes());
        locations.insert(
            format!("logs {name}"),
            engine.docker(&["logs", &name]).await.unwrap_or_default().into_bytes(),
        );
    }
    ensure!(locations.len() == 4, "two containers are running: {:?}", locations.keys());
    for sample in 0..20 {
        locations.insert(format!("processes {sample}"), processes());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    files(&server.data, &mut locations)?;
    log.until("tick 20").await?;
    let rest = finish(child).await?;
    let whole = client.run(&["logs", &build]).await?;
    ensure!(whole.code == Some(0), "{}\n{}\n{}", whole.out, whole.err, server.log());
    locations.insert(
        "client output".to_owned(),
        format!("{}{}{}{}", rest.err, whole.out, whole.err, rest.out).into_bytes(),
    );
    let plan = client.run(&["plan", "--config", &file]).await?;
    locations.insert("plan".to_owned(), format!("{}{}", plan.out, plan.err).into_bytes());
    server.kill().await?;
    let mut after = BTreeMap::new();
    files(server.scratch(), &mut after)?;
    locations.extend(after.into_iter().map(|(name, bytes)| (format!("{name} at the end"), bytes)));

    // The search works: it finds the canary in each kind of location.
    for (kind, canary) in [
        ("inspect", build.as_str()),
        ("processes", CANARY),
        ("client output", CANARY),
        ("plan", CANARY),
        ("ledger.sqlite", CANARY),
        (".log", CANARY),
    ] {
        let found =
            locations.iter().any(|(name, bytes)| name.contains(kind) && hits(bytes, &[canary.to_owned()]));
        ensure!(found, "the canary is not found in {kind}: {:?}", locations.keys());
    }
    let needles = forms(password);
    for (name, bytes) in &locations {
        ensure!(!hits(bytes, &needles), "the password is in {name}");
    }
    // The push succeeded, so the password was used: the registry refuses everything else.
    let url = format!("http://{}/v2/{CANARY}/app/manifests/1", registry.host);
    let refused = reqwest::get(&url).await?;
    assert_eq!(refused.status().as_u16(), 401);
    let index = reqwest::Client::new().get(&url).basic_auth(user, Some(password));
    let index = index.header(
        "accept",
        "application/vnd.oci.image.index.v1+json,application/vnd.docker.distribution.manifest.list.v2+json",
    );
    assert_eq!(index.send().await?.status().as_u16(), 200);
    Ok(())
}

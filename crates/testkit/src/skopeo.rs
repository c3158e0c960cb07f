//! skopeo, which reads registries independently of our code.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::parts::Parts;

/// Runs `skopeo ARGS`; returns its output.
pub async fn skopeo(parts: &Parts, args: &[&str]) -> Result<String> {
    let output = Command::new(&parts.skopeo).args(args).output().await.context("skopeo")?;
    ensure!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `skopeo inspect`: with `--raw` it returns the manifest or index, with `--config` the config.
pub async fn inspect(parts: &Parts, image: &str, args: &[&str]) -> Result<Value> {
    let image = format!("docker://{image}");
    let args = [&["inspect"], args, &["--tls-verify=false", &image]].concat();
    Ok(serde_json::from_str(&skopeo(parts, &args).await?)?)
}

/// The architectures of an index, in its order.
pub fn architectures(index: &Value) -> Result<Vec<Option<&str>>> {
    let members = index["manifests"].as_array().with_context(|| format!("no index: {index}"))?;
    Ok(members.iter().map(|member| member["platform"]["architecture"].as_str()).collect())
}

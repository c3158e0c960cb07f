//! `bakery-client plan` of Compose files with many services, compared with limits: a person waits for it, and each CI job pays it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use bakery_testkit::bench::{Pairs, pairs};
use bakery_testkit::vars;

/// The number of services, and the limit in seconds.
const SIZES: [(usize, f64); 2] = [(64, 0.050), (500, 0.300)];

fn main() -> Result<()> {
    let client = Path::new(&vars::BIN_DIR.required()).join("bakery-client");
    for (services, limit) in SIZES {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("compose.yaml"), project(services)?)?;
        std::fs::write(folder.path().join(".env"), "TAG=7\nREGISTRY=registry.example.com/shop\n")?;
        for nth in 0..services {
            let context = folder.path().join(format!("service{nth}"));
            std::fs::create_dir(&context)?;
            std::fs::write(context.join("Dockerfile"), "FROM scratch\n")?;
        }
        let mut found = Pairs::default();
        for _ in 0..=pairs() {
            let begin = Instant::now();
            let mut plan = Command::new(&client);
            plan.args(["plan", "--json"]).current_dir(folder.path()).stdout(Stdio::null());
            ensure!(plan.status()?.success(), "the plan of {services} services failed");
            found.push(begin.elapsed().as_secs_f64(), limit);
        }
        found.print(&format!("the plan of {services} services"), "limit", "s", "<= 1.0");
    }
    Ok(())
}

/// Services that share settings by an anchor and have variables, arguments, labels and two platforms of their own.
fn project(services: usize) -> Result<String> {
    let mut text =
        "x-build: &build\n  args: { VERSION: '${TAG:-1}', LANG: C }\n  labels: { team: shop }\nservices:\n"
            .to_owned();
    for nth in 0..services {
        write!(
            text,
            "  service{nth}:\n    image: ${{REGISTRY}}/service{nth}:${{TAG}}\n    build:\n      <<: *build\n      context: service{nth}\n      \
             target: final\n      x-bake: {{ platforms: [linux/amd64] }}\n    environment: {{ PORT: {nth} }}\n    ports: ['{}:80']\n",
            8000 + nth,
        )?;
    }
    Ok(text)
}

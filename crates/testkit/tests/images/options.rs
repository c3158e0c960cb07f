//! The options of one image beside `docker buildx build` with the same ones: the same config and the same files.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::buildx::Buildx;
use bakery_testkit::client::Client;
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;
use bakery_testkit::skopeo::{inspect, skopeo};
use serde_json::Value;

use crate::images::files;

/// Each line of options is both tools'. `IMAGE` is the name that each pushes to.
const OPTIONS: [&[&str]; 4] = [
    &["-t", "IMAGE", "--platform", "linux/amd64", "app"],
    &[
        "-f",
        "app/Dockerfile.other",
        "--tag",
        "IMAGE",
        "--target",
        "prod",
        "--build-arg",
        "VERSION=1.2",
        "app",
    ],
    &[
        "-t",
        "IMAGE",
        "--build-arg",
        "VERSION",
        "--build-arg=EMPTY=",
        "--build-arg",
        "EQUALS=a=b=c",
        "--label",
        "org.example.team=shop floor",
        "--label=empty=",
        "--no-cache",
        "app",
    ],
    &[
        "-t",
        "IMAGE",
        "--no-cache",
        "--secret",
        "id=npm,env=NPM_TOKEN",
        "--secret",
        "id=file,src=app/secret.txt",
        "app",
    ],
];

const DOCKERFILE: &str = "\
ARG VERSION=none
FROM BASE AS build
ARG VERSION EMPTY=default EQUALS
RUN echo \"version=$VERSION empty=$EMPTY equals=$EQUALS\" > /built
RUN --mount=type=secret,id=npm --mount=type=secret,id=file \
    cat /run/secrets/npm /run/secrets/file 2>/dev/null | wc -c > /secrets
FROM BASE AS dev
COPY --from=build /built /secrets /dev-files/
CMD [\"dev\"]
FROM BASE AS prod
ARG VERSION
ENV APP_VERSION=$VERSION PATH_EXTRA=/opt/app
WORKDIR /opt/app
COPY --from=build /built /secrets ./
COPY --chown=1000:1000 files/ files/
USER 1000:1000
EXPOSE 8080/tcp
ENTRYPOINT [\"/opt/app/start\"]
CMD [\"--serve\"]
";

#[tokio::test(flavor = "multi_thread")]
async fn options_build_what_buildx_builds() -> Result<()> {
    let parts = Parts::required();
    let engine = Engine::new(&parts);
    let registry = Registry::start(&parts).await?;
    let server = Server::start(&parts, &[&registry.host], &[]).await?;
    let buildx = Buildx::start(&[&registry.host, parts.base_registry()]).await?;
    let folder = tempfile::tempdir()?;
    let app = folder.path().join("app");
    fs::create_dir_all(app.join("files/deep"))?;
    fs::write(app.join("files/deep/data.txt"), "data\n")?;
    fs::write(app.join("files/dropped.log"), "log\n")?;
    fs::write(app.join("secret.txt"), "of a file\n")?;
    fs::write(app.join(".dockerignore"), "**/*.log\n")?;
    let dockerfile = DOCKERFILE.replace("BASE", &parts.base_image);
    fs::write(app.join("Dockerfile"), &dockerfile)?;
    fs::write(app.join("Dockerfile.other"), format!("# another\n{dockerfile}"))?;
    for (nth, options) in OPTIONS.iter().enumerate() {
        let image = |by: &str| format!("{}/options/{by}:{nth}", registry.host);
        let of = |by: &str| options.iter().map(|it| it.replace("IMAGE", &image(by))).collect::<Vec<_>>();
        let (ours, theirs) = (of("bakery"), of("buildx"));
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        let client = Client::new(&parts, folder.path(), &server.url);
        let ended = client.with("NPM_TOKEN", "npm-4711").with("VERSION", "of the shell").run(&ours).await?;
        ensure!(ended.code == Some(0), "{options:?}: {}\n{}", ended.out, ended.err);
        let build = ["build", "--push", "--provenance=false"];
        let theirs: Vec<&str> = build.into_iter().chain(theirs.iter().map(String::as_str)).collect();
        let vars = [("NPM_TOKEN", "npm-4711"), ("VERSION", "of the shell")];
        buildx.run(folder.path(), &theirs, &vars).await?;
        let (ours, theirs) =
            (read(&parts, &engine, &image("bakery")).await?, read(&parts, &engine, &image("buildx")).await?);
        ensure!(ours.0 == theirs.0, "{options:?}: {:#}\n{:#}", ours.0, theirs.0);
        ensure!(ours.1 == theirs.1, "{options:?}: {:#?}\n{:#?}", ours.1, theirs.1);
    }
    Ok(())
}

/// The config that a container gets, and every file with type, mode, owner, size and target.
async fn read(parts: &Parts, engine: &Engine, image: &str) -> Result<(Value, Vec<String>)> {
    let mut config = inspect(parts, image, &["--config"]).await?["config"].clone();
    // BuildKit's mark for CMD and ENTRYPOINT on Windows.
    config.as_object_mut().context("a config")?.remove("ArgsEscaped");
    // The engine itself uses plain HTTP for loopback only.
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar").display().to_string();
    let (from, to) = (format!("docker://{image}"), format!("docker-archive:{archive}:{image}"));
    skopeo(parts, &["copy", "-q", "--src-tls-verify=false", &from, &to]).await?;
    engine.docker(&["load", "-q", "-i", &archive]).await?;
    let listed = files(engine, parts, image).await?;
    engine.docker(&["rmi", image]).await?;
    // Without date and time; the size of a folder is its file system's.
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (head, tail) = words.split_at(words.len().min(3));
        [head, tail.get(2..).unwrap_or_default()].concat().join(" ")
    };
    let mut lines: Vec<_> = listed.lines().map(line).collect();
    lines.sort();
    Ok((config, lines))
}

//! One image from options alone.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::files::{client, client_with, folder};

const DOCKERFILE: &str = "FROM scratch AS prod\n";

/// Code, standard output and standard error of `plan`.
fn plan(folder: &Path, args: &str) -> (i32, String, String) {
    plan_with(folder, args, &[])
}

fn plan_with(folder: &Path, args: &str, vars: &[(&str, &str)]) -> (i32, String, String) {
    let args: Vec<_> = ["plan"].into_iter().chain(args.split_whitespace()).collect();
    client_with(folder, &args, vars)
}

/// What `plan` refuses.
fn refused(folder: &Path, args: &str) -> String {
    let (code, out, err) = plan(folder, args);
    assert_eq!((code, out.as_str()), (2, ""), "{args}: {err}");
    err
}

#[test]
fn options_and_the_equal_config_have_the_same_plan() {
    let config = "\
global:
  platform: k8s
  cpu: 2
  memory: 3G
  timeout: 1h
  kaniko:
    context-path: app
    dockerfile: ../docker/Dockerfile
    destination: reg.test/app:1
    tags: [other.test/app:1, reg.test/app:latest]
    build-args: { K: V=W, FROM_ENV: of-the-environment }
    target: prod
    labels: { org.opencontainers.image.title: App, empty: '' }
    annotations: { a: b }
    secrets: [{ id: npm, env: NPM }, { id: netrc, file: netrc }]
    cache: { enable: true, repo: reg.test/cache }
bake:
- arch: amd64
- { arch: arm64, kaniko: { custom-platform: linux/arm64/v9 } }
";
    let files = folder(&[
        ("options/app/x", ""),
        ("options/docker/Dockerfile", DOCKERFILE),
        ("options/netrc", "sesame"),
        ("config/app/x", ""),
        ("config/docker/Dockerfile", DOCKERFILE),
        ("config/netrc", "sesame"),
        ("config/config.yaml", config),
    ]);
    let options = "-t reg.test/app:1 -t other.test/app:1 --tag reg.test/app:latest -f docker/Dockerfile --context app \
                   --platform linux/amd64,linux/arm64/v9 --build-arg K=V=W --build-arg FROM_ENV --build-arg UNSET \
                   --label org.opencontainers.image.title=App --label empty --annotation manifest:a=b --target prod \
                   --secret id=npm,env=NPM --secret id=netrc,src=netrc --cache-repo reg.test/cache --on k8s --cpu 2 \
                   --memory 3G --set global.timeout=1h --push --pull --provenance=false --output type=registry --json";
    let vars = [("FROM_ENV", "of-the-environment"), ("NPM", "hunter2")];
    let document = |folder: &str, args: &str| {
        let (code, out, err) = plan_with(&files.path().join(folder), args, &vars);
        assert_eq!((code, err.as_str()), (0, ""));
        let mut document: serde_json::Value = serde_json::from_str(&out).unwrap();
        let read = document["files"].take();
        (document, read)
    };
    let (of_options, none) = document("options", options);
    let (of_config, one) = document("config", "--json");
    assert_eq!(of_options, of_config);
    assert_eq!((none, one), (serde_json::json!([]), serde_json::json!(["config.yaml"])));
}

#[test]
fn no_file_is_searched_for() {
    let files = folder(&[
        ("config.yaml", "broken: ["),
        ("compose.yaml", "broken: ["),
        (".env", "BAKERY_REGISTRY=evil.test\nK=evil\nDOCKER_DEFAULT_PLATFORM=linux/arm64\n"),
        ("Dockerfile", DOCKERFILE),
    ]);
    let vars = [("COMPOSE_FILE", "gone.yaml"), ("DOCKER_DEFAULT_PLATFORM", "linux/amd64")];
    let (code, out, err) = plan_with(files.path(), "-t reg.test/app --build-arg K", &vars);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("pushes       reg.test/app:latest") && !out.contains("evil"), "{out}");
    assert!(out.contains("arch         amd64"), "{out}");
    // Options whose variables are not set in a job.
    let empty =
        ["plan", "-t", "reg.test/app", "--platform", "", "--target", "", "--cpu", "", "--cache-repo", ""];
    assert_eq!(client_with(files.path(), &empty, &vars), plan_with(files.path(), "-t reg.test/app", &vars));
}

#[test]
fn paths_are_relative_to_the_working_directory_and_the_source_root_holds_them() {
    let files = folder(&[
        ("shop/Dockerfile", DOCKERFILE),
        ("shop/web/Dockerfile", DOCKERFILE),
        ("shop/web/Dockerfile.ci", DOCKERFILE),
        ("other/Dockerfile", "FROM scratch AS other\n"),
    ]);
    let shop = files.path().join("shop");
    let paths = |folder: &Path, args: &str| {
        let (code, out, err) = plan(folder, &format!("-t reg.test/a {args}"));
        assert_eq!((code, err.as_str()), (0, ""), "{args}");
        let of = |flag: &str| {
            let line = out.lines().find_map(|line| line.trim().strip_prefix(flag)).unwrap_or_default();
            line.trim_start_matches("=dir://").trim_start_matches('=').replace("/kaniko/bakery/ctx", "SRC")
        };
        format!("{} {}", of("--context"), of("--dockerfile"))
    };
    for (args, expected) in [
        ("", "SRC SRC/Dockerfile"),
        (".", "SRC SRC/Dockerfile"),
        ("web", "SRC/web SRC/web/Dockerfile"),
        ("--context ./web/", "SRC/web SRC/web/Dockerfile"),
        ("-f web/Dockerfile.ci", "SRC SRC/web/Dockerfile.ci"),
        ("-f web/Dockerfile.ci web", "SRC/web SRC/web/Dockerfile.ci"),
        ("-f Dockerfile web", "SRC/web SRC/Dockerfile"),
    ] {
        assert_eq!(paths(&shop, args), expected, "{args}");
    }
    // Options and context may be before or after the command.
    let (code, _, err) = client(&shop, &["-t", "reg.test/a", "web", "plan"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, _, err) = client(&shop, &["web", "plan", "-t", "reg.test/a", "."]);
    assert!(code == 2 && err.contains("PATH: a second context: `.`"), "{err}");
    assert_eq!(paths(&shop.join("web"), "--repo .. -f Dockerfile.ci"), "SRC SRC/web/Dockerfile.ci");
    let linked = files.path().join("linked");
    std::os::unix::fs::symlink(&shop, &linked).unwrap();
    assert_eq!(paths(&shop, linked.join("web").to_str().unwrap()), "SRC/web SRC/web/Dockerfile");
    // Outside of the source root there is a Dockerfile at most: its text is sent.
    let (code, out, _) = plan(&shop, "-t reg.test/a -f ../other/Dockerfile");
    assert!(code == 0 && out.contains("dockerfile   FROM scratch AS other"), "{out}");
    insta::assert_snapshot!(refused(&shop, "-t reg.test/a ../other"), @r"
    error: one mistake
    PATH: `../other` is outside of the source root FOLDER
      hint: --repo names the folder that is sent: set it to one that holds the context
    ");
    insta::assert_snapshot!(refused(&shop, "-t reg.test/a web --context other"), @r"
    error: one mistake
    PATH: a second context: `web`
      hint: an image has one context: keep one
    ");
    insta::assert_snapshot!(refused(&shop, "-t reg.test/a -f Dockerfile.ci web"), @r"
    error: one mistake
    --file: `Dockerfile.ci`: no such file
      hint: -f is relative to the working directory, as with buildx: -f web/Dockerfile.ci
    ");
}

#[test]
fn a_dockerfile_may_come_from_standard_input() {
    let files = folder(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-client"));
    command.args(["plan", "-t", "reg.test/a", "-f", "-"]).current_dir(files.path()).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM scratch AS piped\n").unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(out.contains("dockerfile   FROM scratch AS piped"), "{out}");
}

#[test]
fn a_secret_that_is_asked_for_by_name_is_passed_and_masked() {
    let files = folder(&[
        ("Dockerfile", DOCKERFILE),
        ("elsewhere/token", "sesame-open"),
        ("src/Dockerfile", DOCKERFILE),
    ]);
    let vars = [("GITHUB_TOKEN", "hunter2"), ("NPM", "hunter2")];
    // The user names it, not a file of the checkout.
    for secret in [
        "id=npm,env=GITHUB_TOKEN",
        "type=env,id=npm,src=NPM",
        "id=GITHUB_TOKEN",
        "id=npm,src=elsewhere/token",
    ] {
        let (code, out, err) =
            plan_with(files.path(), &format!("-t reg.test/a --repo src --secret {secret} src"), &vars);
        assert_eq!((code, err.as_str()), (0, ""), "{secret}");
        assert!(out.contains("--secret=id=") && !out.contains("hunter2") && !out.contains("sesame"), "{out}");
    }
    insta::assert_snapshot!(refused(files.path(), "-t reg.test/a --secret id=npm,env=hunter2 --secret hunter2 --secret id=a,src=gone --secret id=b"), @r"
    error: 4 mistakes
    --secret 2: not a secret of buildx
      hint: id=ID,env=NAME or id=ID,src=FILE
    --secret id=npm: its variable is not set
      hint: `env` is the name of a variable of the environment; id=ID,src=FILE takes a file
    --secret id=a: `gone` cannot be read: No such file or directory (os error 2)
      hint: the file must be readable
    --secret id=b: its variable is not set
      hint: `env` is the name of a variable of the environment; id=ID,src=FILE takes a file
    ");
}

#[test]
fn an_argument_takes_no_secret_of_the_environment() {
    let files = folder(&[("Dockerfile", DOCKERFILE)]);
    let vars = [("BAKERY_TOKEN", "hunter2"), ("NPM_TOKEN", "sesame")];
    let (code, _, err) = plan_with(files.path(), "-t reg.test/a --build-arg BAKERY_TOKEN", &vars);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: one mistake
    --build-arg: the variable BAKERY_TOKEN is a secret of the environment: a build does not get it
      hint: --secret id=ID,env=BAKERY_TOKEN passes it as a secret; if the build needs it, allow it with --allow-env BAKERY_TOKEN
    ");
    let allowed = "-t reg.test/a --build-arg BAKERY_TOKEN --allow-env BAKERY_TOKEN --build-arg NPM_TOKEN";
    let (code, out, err) = plan_with(files.path(), allowed, &vars);
    assert!(code == 0 && out.contains("--build-arg=NPM_TOKEN=***"), "{out}");
    assert!(
        ![&out, &err].iter().any(|text| text.contains("hunter2") || text.contains("sesame")),
        "{out}{err}"
    );
    insta::assert_snapshot!(err, @r"
    notice: --build-arg 1: a build argument can be read in the image's history
      hint: do not pass a secret this way
    notice: --build-arg 2: a build argument can be read in the image's history
      hint: do not pass a secret this way
    ");
}

#[test]
fn names_without_a_registry_are_below_the_one_that_is_set() {
    let files = folder(&[("Dockerfile", DOCKERFILE)]);
    let pushes = |args: &str, vars: &[(&str, &str)]| {
        let (code, out, err) = plan_with(files.path(), args, vars);
        assert_eq!((code, err.as_str()), (0, ""), "{args}");
        out.lines().find_map(|line| line.trim().strip_prefix("pushes       ")).unwrap().to_owned()
    };
    assert_eq!(pushes("-t app:1 --registry reg.test/team", &[]), "reg.test/team/app:1");
    assert_eq!(pushes("-t app --image-tag 7", &[("BAKERY_REGISTRY", "reg.test")]), "reg.test/app:7");
    assert_eq!(pushes("-t shop/app:1", &[]), "docker.io/shop/app:1");
    assert_eq!(pushes("--no-push -f Dockerfile", &[]), "nothing");
    insta::assert_snapshot!(refused(files.path(), "-t app:1 -t reg.test/UPPER -t reg.test/a@b"), @r"
    error: 3 mistakes
    --tag 1: `app:1` names no registry to push to
      hint: write REGISTRY/app:1, or set --registry HOST/PATH (or BAKERY_REGISTRY)
    --tag 2: `reg.test/UPPER` is not an image reference
      hint: image names must be lower case
    --tag 3: `reg.test/a@b` is not an image reference
      hint: REGISTRY/REPOSITORY:TAG
    ");
}

#[test]
fn logins_are_those_of_docker_if_there_are_any() {
    let auth = r#"{ "auths": { "reg.test": { "auth": "Y2k6aHVudGVyMg==" } } }"#;
    let files = folder(&[("Dockerfile", DOCKERFILE), ("home/.docker/config.json", auth)]);
    let home = files.path().join("home");
    let vars = [("HOME", home.to_str().unwrap())];
    let (code, out, err) = plan_with(files.path(), "-t reg.test/a -t other.test/a", &vars);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("login        reg.test as ci, password ***") && !out.contains("hunter2"), "{out}");
    let (_, _, err) = plan_with(files.path(), "-t other.test/a --credentials docker", &vars);
    assert!(err.contains("docker has no login for other.test"), "{err}");
}

#[test]
fn caches_of_buildx_become_kanikos() {
    let files = folder(&[("Dockerfile", DOCKERFILE)]);
    let cache = |args: &str| {
        let (code, out, err) = plan(files.path(), &format!("-t reg.test/a {args}"));
        assert_eq!(code, 0, "{err}");
        let lines = out.lines().filter_map(|line| line.trim().strip_prefix("--cache"));
        (lines.collect::<Vec<_>>().join(" "), err)
    };
    let both = "--cache-to type=registry,ref=reg.test/c,mode=max --cache-from type=registry,ref=reg.test/c";
    let used = ("=true -repo=reg.test/c".to_owned(), String::new());
    assert_eq!(cache(both), used);
    assert_eq!(cache("--cache-repo reg.test/c"), used);
    let (argv, err) = cache(&format!("{both} --no-cache"));
    assert!(argv.is_empty() && err.contains("--cache-to: has no effect: --no-cache is set"), "{argv} {err}");
    let (argv, err) = cache("--cache-to type=gha");
    assert!(argv.is_empty() && err.contains("--cache-to: has no effect here"), "{argv} {err}");
    insta::assert_snapshot!(refused(files.path(), "-t reg.test/a --cache-repo reg.test/d --cache-to type=registry,ref=reg.test/c --cache-from type=registry"), @r"
    error: 2 mistakes
    --cache-from: `ref` is missing
      hint: type=registry,ref=REGISTRY/REPOSITORY
    --cache-to: another repository: Kaniko writes its layers to one
      hint: name one repository in all of them; the first is in --cache-repo
    ");
}

#[test]
fn what_does_not_fit_is_named_at_once() {
    let files = folder(&[
        ("Dockerfile", DOCKERFILE),
        ("compose.yaml", "services: { web: { image: r.test/a, build: . } }\n"),
    ]);
    let both = "-t reg.test/a --config c.yaml --compose compose.yaml --services web --env-file x --set web.image=r.test/b";
    insta::assert_snapshot!(refused(files.path(), both), @r"
    error: 5 mistakes
    --config: does not fit with -t, which builds one image from options alone
      hint: keep one of them; --set changes the values of files, also their images
    --compose: does not fit with -t, which builds one image from options alone
      hint: keep one of them; --set changes the values of files, also their images
    --services: does not fit with -t, which builds one image from options alone
      hint: keep one of them; --set changes the values of files, also their images
    --env-file: does not fit with -t, which builds one image from options alone
      hint: keep one of them; --set changes the values of files, also their images
    --set 1: web.image: there is no service `web`: no Compose file is read
      hint: `global.KEY`, `bake[0].KEY` for an entry, or `*.KEY` for every entry
    ");
    insta::assert_snapshot!(refused(files.path(), "--build-arg A=1 --platform linux/amd64 --label a=b --annotation a=b --secret id=a"), @r"
    error: 5 mistakes
    --platform: is for one image without a file
      hint: -t IMAGE asks for one; --set SERVICE.build.platforms=VALUE is for a Compose file; --set global.arch=VALUE is for a config.yaml
    --build-arg: is for one image without a file
      hint: -t IMAGE asks for one; --set SERVICE.build.args.NAME=VALUE is for a Compose file; --set global.kaniko.build-args.NAME=VALUE is for a config.yaml
    --secret: is for one image without a file
      hint: -t IMAGE asks for one; --set SERVICE.build.x-bake.secret=VALUE is for a Compose file; --set global.kaniko.secrets=VALUE is for a config.yaml
    --label: is for one image without a file
      hint: -t IMAGE asks for one; --set SERVICE.build.labels.NAME=VALUE is for a Compose file; --set global.kaniko.labels.NAME=VALUE is for a config.yaml
    --annotation: is for one image without a file
      hint: -t IMAGE asks for one; --set global.kaniko.annotations.NAME=VALUE is for a config.yaml
    ");
    insta::assert_snapshot!(refused(files.path(), "-f compose.yaml"), @r"
    error: one mistake
    --tag: the image has no name
      hint: --compose compose.yaml reads a Compose file, --config compose.yaml a config.yaml; -t REGISTRY/REPOSITORY:TAG names it; --no-push builds without a name
    ");
    insta::assert_snapshot!(refused(files.path(), "build -t reg.test/a ."), @r"
    error: one mistake
    PATH: a second context: `.`
      hint: bakery-client builds without a command: leave out `build`
    ");
    let (code, _, err) = client(files.path(), &["plna"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @r"
    error: one mistake
    --tag: the image has no name
      hint: did you mean the command `plan`? -t REGISTRY/REPOSITORY:TAG names it; --no-push builds without a name
    ");
}

#[test]
fn options_of_buildx_are_taken_or_refused_with_the_reason() {
    let files = folder(&[("Dockerfile", DOCKERFILE)]);
    let usual = "-t reg.test/a --push --push=true --pull --pull=false --load=false --sbom=false --call build -o type=registry --network default";
    assert_eq!(plan(files.path(), usual).2, "");
    insta::assert_snapshot!(plan(files.path(), "-t reg.test/a --progress plain --builder=x -D --ulimit nofile=1024 --network host").2, @r"
    notice: --builder: has no effect here
      hint: CONTROLLER_URL names the server that builds
    notice: --debug: has no effect here
    notice: --network: has no effect here
    notice: --progress: has no effect here
      hint: LOG_FORMAT is simple, plain or json
    notice: --ulimit: has no effect here
    ");
    insta::assert_snapshot!(refused(files.path(), "-t reg.test/a --load --output type=local,dest=out --ssh default --add-host a:1 --network none --iidfile id -q --provenance mode=max --annotation index:a=b --annotation a --label =a"), @r"
    error: 11 mistakes
    --add-host: RUN steps have the hosts of the task
      hint: remove it; a proxy is set by --set global.env.HTTPS_PROXY
    --iidfile: no file is written about the image
      hint: `bakery-client ps --json` lists the images of a build with their digests
    --load: there is no engine to load the image into
      hint: it is pushed: `docker pull` fetches it where it is needed
    --network: builds without a network are not possible
      hint: a RUN step always has the task's network; remove it if you do not need it
    --output: images are pushed to registries only
      hint: the image is pushed under the names of -t: remove it, or build without pushing by --no-push
    --provenance: attestations are not made
      hint: remove it; another program, such as cosign, attests the image once it is pushed
    --quiet: the ID of the image is not printed
      hint: to hide the log, redirect standard output to /dev/null
    --ssh: Kaniko has no SSH mounts
      hint: fetch in a script: --set global.pre-script='git clone ...'
    --label: has no name
      hint: write NAME=VALUE
    --annotation 1: `index` cannot be annotated
      hint: Kaniko annotates the manifest of each image: NAME=VALUE
    --annotation 2: not of the form NAME=VALUE
      hint: write NAME= for an empty value
    ");
    // They are the same with files.
    let (code, _, err) = client(files.path(), &["--load", "plan", "--set", "x"]);
    assert!(
        code == 2 && err.contains("--load: there is no engine") && err.contains("--set 1: not of the form"),
        "{err}"
    );
}

#[test]
fn remote_contexts_are_refused() {
    let files = folder(&[("Dockerfile", DOCKERFILE)]);
    for context in ["https://example.com/a.git", "git@example.com:a.git", "github.com/a/b", "-"] {
        let err = refused(files.path(), &format!("-t reg.test/a {context}"));
        assert!(err.contains("is not supported"), "{err}");
    }
    let err = refused(files.path(), "-t reg.test/a -f https://example.com/Dockerfile");
    assert!(err.contains("a remote Dockerfile is not supported"), "{err}");
}

//! Files as they were written for version 1.0, the Go original: nothing in them is a mistake.

use crate::files::{client, folder};

/// Every key that version 1.0 documented, in `global` and in two entries of `bake`.
pub(crate) const EVERY_KEY: &str = "\
global:
  platform: k8s
  arch: amd64
  env:
    stage: test
  pre-script: |
    date > built.txt
    test -s /kaniko/.docker/config.json
  post-script: |
    echo pushed
  kaniko-credentials:
  - registry: reg.test
    username: shop
    password: crumbs
  - registry: cache.test
    username: cache
    password: crumbs
  kaniko:
    context-path: .
    dockerfile: Dockerfile
    build-args:
      BASE: alpine
      BASE_TAG: 3.22
    cache:
      enable: true
      repo: cache.test
      ttl: 24h
      copy-layers: true
      run-layers: true
      compressed: false
    snapshot-mode: redo
    use-new-run: true
    cleanup: true
    custom-platform: linux/amd64
    ignore-path: []
    destination: reg.test/shop/cart:1
    no-push: false
    extra-flags: ''
bake:
- arch: amd64
  env:
    oven: left
  kaniko:
    # container-name: kaniko
    build-args:
      FLAVOUR: rye
- arch: arm64
  pre-script: |
    date > again.txt
  post-script: ''
  kaniko-credentials:
  - registry: reg.test
    username: other
    password: crumbs
  kaniko:
    image:
      secret:
      - registry: reg.test
        username: shop
        password: crumbs
    container-name: oven-right
    context-path: /workspace/src
    dockerfile: Dockerfile.arm64
    custom-platform: linux/arm64
    env:
      oven: right
    build-args:
      FLAVOUR: oat
";

/// What a job's here-document wrote, with the CI's variables in it: some of them are empty.
pub(crate) const OF_A_JOB: &str = "\
global:
  platform: ecs
  cpu: 1
  memory: 5G
  kaniko-credentials:
  - registry: reg.test
    username: ci
    password: 0123
  - registry: cache.test
    username: cache
    password: crumbs
  kaniko:
    context-path: .
    dockerfile: Dockerfile
    cache:
      enable: true
      repo: cache.test/shop/cart
      ttl: 24h
    snapshot-mode: redo
    use-new-run: true
    cleanup: true
    ignore-path: ['']
    extra-flags: ''
    destination: reg.test/shop/cart:5f0c1d2e
bake:
- arch: amd64
- arch: arm64
";

const SOURCES: [(&str, &str); 3] = [
    ("Dockerfile", "FROM scratch\n"),
    ("src/Dockerfile.arm64", "FROM scratch\n"),
    ("docker/server.Dockerfile", "FROM scratch\n"),
];

/// The lines of a plan that begin so, without blanks.
fn lines<'a>(plan: &'a str, start: &str) -> Vec<&'a str> {
    plan.lines().map(str::trim).filter(|line| line.starts_with(start)).collect()
}

#[test]
fn a_config_with_every_key_is_planned_and_unused_keys_are_named() {
    let files = folder(&[&SOURCES[..], &[("bakery.yaml", EVERY_KEY)]].concat());
    let (code, out, err) = client(files.path(), &["-config", "bakery.yaml", "-repo", ".", "plan"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(err, @r"
    notice: bakery.yaml:26:13: global.kaniko.cache.repo: is a bare host: completed to cache.test/shop/cart/cache
    notice: bakery.yaml:33:14: global.kaniko.cleanup: Kaniko deletes the container's files at its end: the post-script finds only those below /kaniko
    notice: bakery.yaml:57:7: bake[1].kaniko.image: no effect: the agent's image is pulled with the server's login
      hint: remove it; the server's operator sets AGENT_IMAGE_SECRET_ARN (ECS) or `imagePullSecrets` (Kubernetes), and `kaniko-credentials` has the logins of the build
    notice: bakery.yaml:61:21: bake[1].kaniko.container-name: no effect: the container of a task is named after its build
      hint: remove it; the container's labels have the build and the task
    warning: bakery.yaml: contains credentials and is part of the build context
      hint: add `bakery.yaml` to .dockerignore, else `COPY . .` copies it into the image
    kaniko.use-new-run: warning[BK401]: files of the base image that a RUN deletes stay in the image
      hint: remove it, or set `kaniko.snapshot-mode: redo`, which is fast too
    kaniko.cache.copy-layers: warning[BK404]: a layer of COPY may come from the cache although a build argument or a variable has changed
      hint: remove it: COPY is fast without the cache
    ");
    assert_eq!(
        lines(&out, "--context"),
        ["--context=dir:///kaniko/bakery/ctx", "--context=dir:///kaniko/bakery/ctx/src"]
    );
    assert_eq!(
        lines(&out, "--dockerfile"),
        [
            "--dockerfile=/kaniko/bakery/ctx/Dockerfile",
            "--dockerfile=/kaniko/bakery/ctx/src/Dockerfile.arm64"
        ]
    );
    assert_eq!(lines(&out, "--cache-repo"), ["--cache-repo=cache.test/shop/cart/cache"; 2]);
    assert_eq!(lines(&out, "--use-new-run").len(), 2);
    assert_eq!(lines(&out, "post-script"), ["post-script  echo pushed"]);
    let logins = ["reg.test as shop", "cache.test as cache", "reg.test as other"];
    assert_eq!(lines(&out, "login"), logins.map(|login| format!("login        {login}, password ***")));
    assert_eq!(
        lines(&out, "env"),
        [
            "env          oven=left",
            "env          stage=test",
            "env          oven=right",
            "env          stage=test"
        ]
    );
    assert_eq!(
        lines(&out, "--build-arg"),
        [
            "--build-arg=BASE=alpine",
            "--build-arg=BASE_TAG=3.22",
            "--build-arg=FLAVOUR=rye",
            "--build-arg=BASE=alpine",
            "--build-arg=BASE_TAG=3.22",
            "--build-arg=FLAVOUR=oat"
        ]
    );
}

#[test]
fn the_config_of_a_job_is_planned_as_one_image_of_two_architectures() {
    let files =
        folder(&[&SOURCES[..], &[("config.yaml", OF_A_JOB), (".env", "VERSION=5f0c1d2e\n")]].concat());
    let config = files.path().join("config.yaml");
    let config = config.to_str().unwrap();
    let (code, out, err) = client(files.path(), &["plan", &format!("-config={config}"), "-repo", "."]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("target reg.test/shop/cart:5f0c1d2e (index)\n  task amd64\n"), "{out}");
    assert_eq!(lines(&out, "cpu"), ["cpu          1"; 2]);
    assert_eq!(lines(&out, "memory"), ["memory       5120 MiB"; 2]);
    assert!(lines(&out, "--ignore-path").is_empty(), "{out}");
    assert!(err.contains("global.kaniko.ignore-path[0]: is empty, ignored"), "{err}");
}

#[test]
fn empty_variables_of_a_job_leave_what_they_stand_in_unset() {
    for list in ["[]", "['']", "[\"\"]", "[~]", "[]   # empty", "\n    -\n", "\n    - ''\n"] {
        let config = OF_A_JOB.replace("ignore-path: ['']", &format!("ignore-path: {list}"));
        let files = folder(&[&SOURCES[..], &[("config.yaml", &config)]].concat());
        let (code, out, err) = client(files.path(), &["plan"]);
        assert_eq!(code, 0, "{list}: {err}");
        assert!(lines(&out, "--ignore-path").is_empty(), "{out}");
    }
}

#[test]
fn a_compose_file_with_two_tags_of_one_build_is_built_once_with_a_config_below_it() {
    let compose = "\
version: '3.8'
services:
  server:
    image: ${IMAGE_NAME}-server:${IMAGE_TAG:-latest}
    build: &server
      context: .
      dockerfile: docker/server.Dockerfile
      args:
        VERSION: ${VERSION}
        DEBUG: false
      x-bake:
        platforms:
        - linux/amd64
        - linux/arm64
  server-stable:
    image: ${IMAGE_NAME}-server:stable
    build: *server
  worker:
    image: ${IMAGE_NAME}-worker
    build:
      context: ./src
      dockerfile: Dockerfile.arm64
      x-bake: { platforms: [linux/arm64] }
";
    let files = [
        ("compose.yaml", compose),
        ("bakery.yaml", OF_A_JOB),
        (".env", "IMAGE_NAME=reg.test/shop\nVERSION=1.0.2\n"),
    ];
    let files = folder(&[&SOURCES[..], &files].concat());
    let args = ["plan", "-compose", "compose.yaml", "-config", "bakery.yaml", "-repo", "."];
    let (code, out, err) = client(files.path(), &args);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        lines(&out, "target"),
        [
            "target server -> reg.test/shop-server:latest (index)",
            "target worker -> reg.test/shop-worker:latest"
        ]
    );
    assert!(out.contains("also as reg.test/shop-server:stable"), "{out}");
    assert_eq!(lines(&out, "--build-arg=VERSION"), ["--build-arg=VERSION=1.0.2"; 2]);
    let one = [&args[..], &["-services", "worker", "-async"]].concat();
    let (code, out, err) = client(files.path(), &one);
    assert_eq!(
        (code, lines(&out, "target")),
        (0, vec!["target worker -> reg.test/shop-worker:latest"]),
        "{err}"
    );
}

/// What the first configuration of a user of version 1.0 held: its variables are also the Compose file's.
#[test]
fn a_dotenv_of_version_1_is_read_beside_a_compose_file() {
    let dotenv = "\
# both
S3_ENDPOINT=s3.amazonaws.com
S3_REGION=<region of the bucket>
#S3_ACCESS_KEY=
S3_SSL=true
CONTROLLER_URL=https://<public host of the server>:<port>

# server
ECS_SECURITY_GROUPS=<groups of the agents. several with comma>
ECS_EXEC_ROLE_ARN=arn:aws:iam::<account-id>:role/<name>
K8S_SERVICE_ACCOUNT_NAME=agents
K8S_CONFIG_PATH=
AGENT_TASK_FAMILY=agents
AGENT_IMAGE_SECRET_NAME=<name of the secret>
CLEANUP_ECS_TASK_DEFINITIONS=true

# client
#TMPDIR=
LOG_FORMAT=simple
IMAGE_NAME=reg.test/shop
IMAGE_TAG=v1.0.2
";
    let compose = "services: { web: { image: '${IMAGE_NAME}-web:${IMAGE_TAG:-latest}', build: . } }\n";
    let files = folder(&[&SOURCES[..], &[("compose.yaml", compose), (".env", dotenv)]].concat());
    let (code, out, err) = client(files.path(), &["plan"]);
    assert_eq!((code, lines(&out, "target")), (0, vec!["target web -> reg.test/shop-web:v1.0.2"]), "{err}");
}

#[test]
fn workspace_is_the_source_root_in_paths_and_nothing_else() {
    let plan = |context: &str, dockerfile: &str| {
        let text = format!(
            "global: {{ arch: amd64, kaniko: {{ no-push: true, context-path: {context}, dockerfile: {dockerfile} }} }}\n"
        );
        client(folder(&[("config.yaml", &text)]).path(), &["plan"])
    };
    for (context, dockerfile, read) in [
        ("/workspace", "Dockerfile", "ctx/Dockerfile"),
        ("/workspace/", "/workspace/docker/server.Dockerfile", "ctx/docker/server.Dockerfile"),
        ("/workspace/a/../src", "/workspace/docker/D", "ctx/docker/D"),
        ("a/b", "/workspace/a/D", "ctx/a/D"),
    ] {
        let (code, out, err) = plan(context, dockerfile);
        let argument = format!("--dockerfile=/kaniko/bakery/{read}");
        assert_eq!((code, lines(&out, "--dockerfile")), (0, vec![argument.as_str()]), "{err}");
    }
    for (context, dockerfile, problem) in [
        ("/workspaces/a", "Dockerfile", "context-path: an absolute path is not in the archive"),
        ("/workspace/../etc", "Dockerfile", "context-path: an absolute path is not in the archive"),
        ("workspace", "/etc/Dockerfile", "dockerfile: an absolute path is not in the archive"),
        (".", "/workspace", "dockerfile: names a folder"),
    ] {
        let (code, _, err) = plan(context, dockerfile);
        assert!(code == 2 && err.contains(problem), "{err}");
    }
}

#[test]
fn a_login_of_an_unused_key_makes_the_file_secret() {
    let config = "bake: [{ arch: amd64, kaniko: { destination: reg.test/a, image: { secret: [{ registry: r.test, username: u, password: crumbs }] } } }]\n";
    let files = folder(&[("config.yaml", config), ("Dockerfile", "FROM scratch\n")]);
    let (code, out, err) = client(files.path(), &["plan"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("warning: config.yaml") && !format!("{out}{err}").contains("crumbs"), "{err}");
}

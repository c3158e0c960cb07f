//! The variables by which the ladder (`scripts/test`, `scripts/bench`) passes real parts to test programs. They are declared
//! only here; `tests/variables.rs` compares it with the scripts.

/// A variable that the ladder sets.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The name in the environment.
    pub name: &'static str,
    /// The rungs (and `bench`) that set it.
    pub rungs: &'static [&'static str],
    /// What its value is.
    pub meaning: &'static str,
}

impl Variable {
    /// The value.
    ///
    /// # Panics
    /// If it is not set or empty: a test without its real part fails, it is never skipped.
    pub fn required(&self) -> String {
        let Self { name, .. } = self;
        self.optional().unwrap_or_else(|| {
            panic!("{name} is not set: this test needs a real part; run it with `make test`")
        })
    }

    /// The value; `None` if it is not set or empty.
    #[expect(
        clippy::disallowed_methods,
        reason = "the ladder passes the parts to its tests in the environment"
    )]
    pub fn optional(&self) -> Option<String> {
        std::env::var(self.name).ok().filter(|value| !value.is_empty())
    }
}

/// The rungs with real parts.
const REAL: &[&str] = &["e2e", "docs", "images", "k8s", "ecs", "multi-platform", "bench"];
/// The rungs that run our programs.
const PROGRAMS: &[&str] = &["compose", "e2e", "docs", "images", "k8s", "ecs", "multi-platform", "bench"];
const K8S: &[&str] = &["k8s", "multi-platform", "bench"];
const AWS: &[&str] = &["ecs", "multi-platform", "bench"];

macro_rules! variables {
    ($($constant:ident = $name:literal, $rungs:expr, $meaning:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $meaning, ".")]
            pub const $constant: Variable = Variable { name: $name, rungs: $rungs, meaning: $meaning };
        )*

        /// Every variable.
        pub const ALL: &[Variable] = &[$($constant),*];
    };
}

variables! {
    BIN_DIR = "BAKERY_TEST_BIN_DIR", PROGRAMS, "the folder of `bakery-client` and `bakery-server`";
    DOCKER_HOST = "BAKERY_TEST_DOCKER_HOST", REAL, "the Docker engine, `unix://...`";
    GATEWAY = "BAKERY_TEST_GATEWAY", REAL, "the address at which containers on the default bridge reach this machine";
    REGISTRY_BIN = "BAKERY_TEST_REGISTRY_BIN", REAL, "the program docker-registry; each test starts its own";
    SKOPEO = "BAKERY_TEST_SKOPEO", REAL, "the program skopeo, which reads registries independently of our code";
    WEED = "BAKERY_TEST_WEED", REAL, "the program of SeaweedFS, an S3 server";
    BASE_IMAGE = "BAKERY_TEST_BASE_IMAGE", REAL,
        "a busybox base image for both architectures, `GATEWAY:PORT/...`, which containers and this machine reach";
    AGENT_IMAGE_AMD64 = "BAKERY_TEST_AGENT_IMAGE_AMD64", REAL, "the agent image for amd64 in the engine's store";
    AGENT_IMAGE_ARM64 = "BAKERY_TEST_AGENT_IMAGE_ARM64", REAL,
        "the agent image for arm64 in the engine's store: executor and shell are arm64, the agent is the host's";
    AGENT_INDEX = "BAKERY_TEST_AGENT_INDEX", REAL,
        "the index of both agent images in the ladder's registry, `127.0.0.1:PORT/...`";
    COMPOSE = "BAKERY_TEST_COMPOSE", &["compose"], "a program that loads projects with Compose's own library (scripts/compose)";
    IGNORE = "BAKERY_TEST_IGNORE", &["compose"], "a program that walks folders with ignore files as BuildKit does (scripts/ignore)";
    DOCKERFILE = "BAKERY_TEST_DOCKERFILE", &["dockerfile"],
        "a program that reads Dockerfiles with BuildKit's own parser (scripts/dockerfile)";
    PROMETHEUS = "BAKERY_TEST_PROMETHEUS", &["e2e"], "the program Prometheus, with promtool beside it";

    IMAGES = "BAKERY_TEST_IMAGES", &["images"],
        "the name of the three images that Bakery has just baked, without `-server`, `-client` and `-agent`";
    BUILDX_IMAGES = "BAKERY_TEST_BUILDX_IMAGES", &["images"],
        "the same of the images that buildx has baked from the same files";
    BUILDKIT = "BAKERY_TEST_BUILDKIT", &["images"], "the folder of `buildkitd` and `buildx`";
    IMAGES_TAG = "BAKERY_TEST_IMAGES_TAG", &["images"], "the tag of these six images";
    CLIENT_IMAGE = "BAKERY_TEST_CLIENT_IMAGE", &["images"], "the baked client image in the engine's store";

    KUBECONFIG = "BAKERY_TEST_KUBECONFIG", K8S, "a kubeconfig file with every right in the cluster";
    KUBECTL = "BAKERY_TEST_KUBECTL", K8S, "the program kubectl";
    K8S_HOST = "BAKERY_TEST_K8S_HOST", K8S, "the address at which pods reach this machine";
    K8S_AGENT_IMAGE = "BAKERY_TEST_K8S_AGENT_IMAGE", K8S, "the agent image as the nodes pull it, `GATEWAY:PORT/...`";
    K8S_SERVER_IMAGE = "BAKERY_TEST_K8S_SERVER_IMAGE", &["k8s"], "the server image as the nodes pull it";
    K8S_CLUSTER = "BAKERY_TEST_K8S_CLUSTER", K8S,
        "scripts/kubernetes/cluster if the ladder started the cluster; empty for an existing cluster, whose servers are not stopped";
    K8S_AUDIT_LOG = "BAKERY_TEST_K8S_AUDIT_LOG", K8S,
        "the API server's audit log, one line of JSON for each answered request; empty for an existing cluster";
    KWOK = "BAKERY_TEST_KWOK", &["bench"], "the program kwok, which simulates nodes";
    AWS_CLI = "BAKERY_TEST_AWS_CLI", &["bench"], "the program aws, for comparison";
    NGINX = "BAKERY_TEST_NGINX", &["k8s"], "the program nginx";

    AWS_ENDPOINT = "BAKERY_TEST_AWS_ENDPOINT", AWS,
        "the emulator of ECS and Secrets Manager, `http://IP:PORT`, which this machine and tasks reach";
    AWS_HOST = "BAKERY_TEST_AWS_HOST", AWS, "a second address, besides the gateway, at which tasks reach this machine";
    AWS_ACCOUNT = "BAKERY_TEST_AWS_ACCOUNT", AWS, "the id of the emulated account";
    AWS_REGION = "BAKERY_TEST_AWS_REGION", AWS, "the emulated region";
    AWS_TASK_KEY = "BAKERY_TEST_AWS_TASK_KEY", AWS,
        "the access key id that every task role gets from the emulator; the S3 server accepts it";
    AWS_TASK_SECRET = "BAKERY_TEST_AWS_TASK_SECRET", AWS, "the secret of that access key";
    AWS_TASK_TOKEN = "BAKERY_TEST_AWS_TASK_TOKEN", AWS, "the session token of that access key";
}

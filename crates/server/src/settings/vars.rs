//! The declaration of every variable. `.env.example` and docs/reference/variables.md are generated from these tables.

use bakery_core::message::Message;
use bakery_core::vars::{VarDoc, Vars};

/// The default of `IMAGE_NAME`.
pub const IMAGE_NAME: &str = "docker.io/rayshoo/bakery";

const fn var(
    name: &'static str,
    default: &'static str,
    required: &'static str,
    meaning: &'static str,
) -> VarDoc {
    VarDoc { name, default, meaning, required }
}

/// Read by server and client.
pub const COMMON: &[VarDoc] = &[
    var(
        "CONTROLLER_URL",
        "http://127.0.0.1:3000",
        "client: unless local; server: ecs, k8s",
        "The server's public URL. Client: where to submit builds. Server: where agents on ECS and Kubernetes reach it.",
    ),
    var(
        "BAKERY_TOKEN",
        "none",
        "BAKERY_LISTEN is not loopback",
        "The operator token, which clients send with every request: at least 16 characters, for example from `openssl rand -hex 32`.",
    ),
    var(
        "BAKERY_INSECURE",
        "false",
        "",
        "true = credentials may travel over plain HTTP: the client sends them, and the server gives no warning at start.",
    ),
    var(
        "S3_ENDPOINT",
        "none",
        "the store is not AWS",
        "host[:port] of the S3 server, with or without http:// or https://.",
    ),
    var("S3_REGION", "AWS_REGION, else us-east-1", "AWS", "Region of the bucket."),
    var(
        "S3_BUCKET",
        "none",
        "S3 is used",
        "Bucket for build contexts. If it is not set, they are sent to the server's own store.",
    ),
    var("S3_SSL", "true", "plain-http stores", "true = https, false = http."),
    var(
        "S3_ACCESS_KEY",
        "none",
        "non-AWS stores",
        "Static S3 credentials; if not set, the default AWS credential chain is used.",
    ),
    var("S3_SECRET_KEY", "none", "non-AWS stores", "The secret that belongs to S3_ACCESS_KEY."),
    var("S3_SESSION_TOKEN", "none", "", "Session token of temporary credentials."),
];

/// Read by the server only.
pub const SERVER: &[VarDoc] = &[
    var("BAKERY_LISTEN", "127.0.0.1:3000", "", "Address of the public listener. In the image: 0.0.0.0:3000."),
    var(
        "BAKERY_DATA_DIR",
        "/var/lib/bakery for root, else ~/.local/share/bakery",
        "",
        "The data folder: ledger, logs, contexts and keys.",
    ),
    var(
        "BAKERY_TOKEN_FILE",
        "none",
        "",
        "File that contains only the operator token; blanks and line ends around it do not count. Instead of BAKERY_TOKEN: both are an error. The server reads it at start; the client does not know it.",
    ),
    var(
        "BAKERY_OPEN",
        "false",
        "",
        "true = accept requests from other machines without a token. They reach the server by an address, by a name without a dot, or by the host of CONTROLLER_URL.",
    ),
    var(
        "BAKERY_DATA_KEY",
        "a key file in the data folder",
        "",
        "Encrypts secrets in the ledger: at least 32 characters, for example from `openssl rand -hex 32`.",
    ),
    var("AGENT_IMAGE", "<IMAGE_NAME>-agent:<version>", "ecs, k8s", "The agent image."),
    var(
        "AGENT_CAPABILITIES",
        "none",
        "",
        "Linux capabilities that tasks get beyond the eight that Kaniko needs, separated by commas: AUDIT_WRITE, MKNOD, NET_BIND_SERVICE, NET_RAW, SETPCAP, SYS_CHROOT. NET_RAW (ping) allows a RUN step to read its neighbours' traffic.",
    ),
    var(
        "MAX_RUNS",
        "docker: number of cores; ecs, k8s: 100",
        "",
        "Run slots of each platform: tasks that run at the same time. Further tasks wait in a queue.",
    ),
    var(
        "BUILD_PROVISION_TIMEOUT",
        "5m",
        "",
        "Time from launch to the agent's first request. Time in the queue does not count.",
    ),
    var(
        "BUILD_TASK_TIMEOUT",
        "10m",
        "",
        "Time from launch to the end of one attempt at a task that has no `timeout`.",
    ),
    var(
        "MAX_TASK_TIMEOUT",
        "BUILD_TASK_TIMEOUT",
        "",
        "The longest `timeout` that a task may have, at least BUILD_TASK_TIMEOUT. A build with a longer one is refused.",
    ),
    var(
        "MAX_TASK_DISK",
        "what the platform has",
        "",
        "The largest `disk` that a task may have, for example 100G. A build with a larger one is refused.",
    ),
    var(
        "BUILD_RESULT_TIMEOUT",
        "10m",
        "",
        "How long the server waits for a finished task's report while its container still exists.",
    ),
    var("DEFAULT_BUILD_CPU", "0.5", "", "cpu of tasks that request none: 0.5, 500m, 2."),
    var("DEFAULT_BUILD_MEMORY", "2G", "", "Memory of tasks that request none: 512 (MiB), 2G, 2Gi."),
    var(
        "ALLOW_EMULATION",
        "false",
        "",
        "true = a Docker engine of one architecture also runs tasks of the other, emulated. Kubernetes never emulates: a task runs on a node of its architecture.",
    ),
    var(
        "INSECURE_REGISTRIES",
        "none",
        "",
        "Registries (host[:port], separated by commas) that may be reached over plain HTTP. What REGISTRY_TRUSTED_HOSTS allows a host is allowed to these too.",
    ),
    var(
        "REGISTRY_TRUSTED_HOSTS",
        "none",
        "",
        "Hosts (host[:port], separated by commas) to which registries may lead the server by HTTPS: a token service on another site, or the target of a redirect to a private address. A registry with a loopback or link-local address needs it too.",
    ),
    var(
        "PUBLISH_ALLOW",
        "none",
        "",
        "Prefixes below which images may be published. If it is set, a build with any other destination is refused, also with its own credentials. The server's own docker config is used below these prefixes only, and not at all if none is set. What REGISTRY_TRUSTED_HOSTS allows a host is allowed to these too.",
    ),
    var(
        "REFUSED_KANIKO_FLAGS",
        "none",
        "",
        "Flags of Kaniko that no build may set, separated by commas, with or without dashes: for example insecure,insecure-pull,insecure-registry,skip-tls-verify,skip-tls-verify-pull,skip-tls-verify-registry,registry-map,git,secret. Each name is exactly one flag, and one that Kaniko does not have is not reported. They are refused in `extra-flags`, as the config key that sets the same flag, and as the variable `KANIKO_<FLAG>`. What scripts do is not restricted.",
    ),
    var(
        "HTTP_PROXY",
        "none",
        "",
        "Proxy for plain HTTP, passed on to agents. For their own requests, server and client read it from the process environment only.",
    ),
    var("HTTPS_PROXY", "none", "", "Proxy for HTTPS; passed on to agents like HTTP_PROXY."),
    var(
        "NO_PROXY",
        "none",
        "",
        "Hosts that are reached without a proxy; passed on to agents like HTTP_PROXY.",
    ),
    var(
        "DOCKER_HOST",
        "the first Docker or Podman socket that answers",
        "",
        "The engine of the Docker platform. With ECS_CLUSTER or K8S_NAMESPACE the Docker platform is on only if this is set.",
    ),
    var(
        "BAKERY_AGENT_LISTEN",
        "the gateway of Bakery's bridge, at a port that is kept in the data folder",
        "",
        "Address of the agent listener of the Docker platform.",
    ),
    var(
        "BAKERY_AGENT_URL",
        "from BAKERY_AGENT_LISTEN",
        "",
        "URL at which agents reach that listener (Docker Desktop and the like).",
    ),
    var(
        "RUST_LOG",
        "info",
        "",
        "Level of the server's own log on stderr: error, warn, info, debug; or by module: bakery_server=debug,info. Libraries log at most at info: below it they print requests, secrets included.",
    ),
    var(
        "BAKERY_LOG_FORMAT",
        "text",
        "",
        "text or json. json = one JSON object a line, each with ts (RFC 3339, UTC), level, target, message and the event's own fields. Mistakes in the settings are reported as text, before the log starts.",
    ),
    var("AWS_REGION", "none", "ecs", "Region for ECS and Secrets Manager."),
    var("ECS_CLUSTER", "none", "ecs", "Name of the cluster. Setting it switches ECS on."),
    var("ECS_SUBNETS", "none", "ecs", "Subnets of the tasks, separated by commas."),
    var("ECS_SECURITY_GROUPS", "none", "ecs", "Security groups of the tasks, separated by commas."),
    var("ECS_EXEC_ROLE_ARN", "none", "ecs", "Execution role of the task definitions."),
    var("ECS_TASK_ROLE_ARN", "none", "ecs with S3", "Task role of the agents."),
    var("ECS_LOG_GROUP", "none = off", "", "CloudWatch log group for the agents' own logs."),
    var("ECS_CAPACITY", "fargate", "", "fargate, spot or spot-then-fargate."),
    var("ECS_PUBLIC_IP", "true", "", "true = tasks get a public IP, for subnets without NAT."),
    var("ECS_EPHEMERAL_STORAGE", "Fargate's 20", "", "Disk in GiB, 21 to 200, of a task that has no `disk`."),
    var("CLEANUP_ECS_TASK_DEFINITIONS", "false", "", "true = old task definitions are removed at start."),
    var("AGENT_TASK_FAMILY", "bakery-agent", "", "Prefix of the task definition families."),
    var(
        "AGENT_IMAGE_SECRET_ARN",
        "none",
        "private agent image",
        "ARN of the Secrets Manager secret with which ECS pulls the agent image.",
    ),
    var(
        "AGENT_IMAGE_SECRET_NAME",
        "none",
        "",
        "Name of the secret to create if AGENT_IMAGE_SECRET_ARN is not set.",
    ),
    var("AGENT_IMAGE_SECRET_USERNAME", "none", "", "User name in that secret."),
    var("AGENT_IMAGE_SECRET_PASSWORD", "none", "", "Password in that secret."),
    var("K8S_NAMESPACE", "none", "k8s", "Namespace of the agents' Jobs. Setting it switches Kubernetes on."),
    var(
        "K8S_CONFIG_PATH",
        "none",
        "",
        "File with the settings of the agents' pods; examples/server/k8s/configs/config.yaml has every field.",
    ),
    var(
        "KUBECONFIG",
        "in a pod its service account, else ~/.kube/config",
        "",
        "The kubeconfig file with the cluster of the platform k8s and the server's login to it.",
    ),
];

/// Read by the client only.
pub const CLIENT: &[VarDoc] = &[
    var("LOG_FORMAT", "simple", "", "simple, plain or json."),
    var(
        "BAKERY_REGISTRY",
        "none",
        "",
        "Registry and path below which services of a Compose file without an `image` are pushed; `--registry` wins.",
    ),
    var("NO_COLOR", "none", "", "Any value turns off the colours of LOG_FORMAT=simple."),
];

/// Names of the images.
pub const IMAGES: &[VarDoc] = &[
    var(
        "IMAGE_NAME",
        IMAGE_NAME,
        "",
        "Prefix of the three images: <IMAGE_NAME>-server, <IMAGE_NAME>-client, <IMAGE_NAME>-agent.",
    ),
    var(
        "IMAGE_TAG",
        "the version",
        "",
        "Tag of the images that the scripts build; the programs do not read it.",
    ),
];

/// Variables of version 1.0 that have no effect, each with what replaces it.
const REPLACED: &[(&str, &str)] =
    &[("K8S_SERVICE_ACCOUNT_NAME", "set `k8s.serviceAccountName` in the file of K8S_CONFIG_PATH")];

/// A warning for each variable of version 1.0 that is set and has no effect.
pub fn replaced(vars: &dyn Vars) -> Vec<Message> {
    let set = REPLACED.iter().filter(|(name, _)| vars.setting(name).is_some());
    set.map(|(name, hint)| Message::new(format!("{name} has no effect")).with_hint(*hint)).collect()
}

/// Whether a program of Bakery reads this variable.
pub fn is_declared(name: &str) -> bool {
    GROUPS.iter().any(|(_, table)| table.iter().any(|var| var.name == name))
}

/// The groups in the order in which `.env.example` shows them.
pub const GROUPS: &[(&str, &[VarDoc])] =
    &[("Common (server and client)", COMMON), ("Server", SERVER), ("Client", CLIENT), ("Images", IMAGES)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::read;
    use super::*;

    #[test]
    fn the_variables_of_version_1_are_known_or_named_with_what_replaces_them() {
        let role = "arn:aws:iam::123456789012:role/agents";
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agents-AbCdEf";
        let set = [
            ("S3_ENDPOINT", "s3.amazonaws.com"),
            ("S3_REGION", "eu-west-1"),
            ("S3_BUCKET", "contexts"),
            ("S3_SSL", "true"),
            ("S3_SESSION_TOKEN", ""),
            ("CONTROLLER_URL", "https://bakery.test:443"),
            ("AWS_REGION", "eu-west-1"),
            ("BUILD_TASK_TIMEOUT", "10m"),
            ("BUILD_RESULT_TIMEOUT", "10m"),
            ("DEFAULT_BUILD_CPU", "0.5"),
            ("DEFAULT_BUILD_MEMORY", "2G"),
            ("ECS_CLUSTER", "ovens"),
            ("ECS_SUBNETS", "subnet-1, subnet-2"),
            ("ECS_SECURITY_GROUPS", "sg-1"),
            ("ECS_EXEC_ROLE_ARN", role),
            ("ECS_TASK_ROLE_ARN", role),
            ("ECS_LOG_GROUP", "/bakery"),
            ("K8S_NAMESPACE", "bakery"),
            ("K8S_CONFIG_PATH", ""),
            ("AGENT_TASK_FAMILY", "agents"),
            ("AGENT_IMAGE", "docker.io/rayshoo/bakery-agent:v1.0.2"),
            ("AGENT_IMAGE_SECRET_ARN", secret),
            ("CLEANUP_ECS_TASK_DEFINITIONS", "true"),
            ("LOG_FORMAT", "simple"),
            ("IMAGE_NAME", "docker.io/rayshoo/bakery"),
            ("IMAGE_TAG", "v1.0.2"),
        ];
        let created = [
            ("AGENT_IMAGE_SECRET_NAME", "agents"),
            ("AGENT_IMAGE_SECRET_USERNAME", "puller"),
            ("AGENT_IMAGE_SECRET_PASSWORD", "crumbs"),
        ];
        let unused = [("K8S_SERVICE_ACCOUNT_NAME", "agents")];
        for names in [&set[..], &created] {
            assert!(names.iter().all(|(name, _)| is_declared(name)));
        }
        let settings = read(&[&set[..], &unused].concat()).unwrap();
        assert_eq!(settings.ecs.unwrap().family, "agents");
        assert_eq!(settings.k8s.unwrap().namespace, "bakery");
        let instead: Vec<_> = set
            .iter()
            .filter(|(name, _)| *name != "AGENT_IMAGE_SECRET_ARN")
            .copied()
            .chain(created)
            .collect();
        assert!(read(&instead).is_ok());
        let all = [&set[..], &created, &unused].concat();
        let all: BTreeMap<_, _> =
            all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let hint = "set `k8s.serviceAccountName` in the file of K8S_CONFIG_PATH";
        let message = Message::new("K8S_SERVICE_ACCOUNT_NAME has no effect").with_hint(hint);
        assert_eq!(replaced(&all), [message]);
        assert!(unused.iter().all(|(name, _)| !is_declared(name)));
    }
}

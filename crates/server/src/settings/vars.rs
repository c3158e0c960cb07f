//! The declaration of every variable, once: `.env.example` and docs/reference/variables.md are made of these tables.

use bakery_core::vars::VarDoc;

/// The images' common prefix where none is named.
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
        "The server's public URL. Client: where to submit. Server: handed to agents as the way back.",
    ),
    var(
        "BAKERY_TOKEN",
        "none",
        "the server is reached from outside",
        "The operator token that clients show.",
    ),
    var(
        "BAKERY_INSECURE",
        "false",
        "",
        "true = credentials may go over plain HTTP: the client sends them, the server does not warn at start.",
    ),
    var(
        "S3_ENDPOINT",
        "none",
        "the store is not AWS",
        "host[:port] of the S3 server, with or without scheme.",
    ),
    var("S3_REGION", "AWS_REGION, else us-east-1", "AWS", "Region of the bucket."),
    var(
        "S3_BUCKET",
        "none",
        "S3 is used",
        "Bucket for build contexts. Without one they go to the server's own store.",
    ),
    var("S3_SSL", "true", "plain-http stores", "true = https, false = http."),
    var("S3_ACCESS_KEY", "none", "non-AWS stores", "Static S3 credentials, else AWS's usual chain."),
    var("S3_SECRET_KEY", "none", "non-AWS stores", "The secret half."),
    var("S3_SESSION_TOKEN", "none", "", "For temporary credentials."),
];

/// Read by the server alone.
pub const SERVER: &[VarDoc] = &[
    var("BAKERY_LISTEN", "127.0.0.1:3000", "", "Address of the public door. In the image 0.0.0.0:3000."),
    var(
        "BAKERY_DATA_DIR",
        "/var/lib/bakery for root, else ~/.local/share/bakery",
        "",
        "Ledger, logs, contexts and keys.",
    ),
    var("BAKERY_OPEN", "false", "", "true = listen beyond loopback without a token."),
    var(
        "BAKERY_DATA_KEY",
        "a key file in the data folder",
        "",
        "Seals secrets in the ledger: 32 characters or more, for example of `openssl rand -hex 32`.",
    ),
    var("AGENT_IMAGE", "<IMAGE_NAME>-agent:<version>", "ecs, k8s", "The agent image."),
    var(
        "MAX_RUNS",
        "docker: number of cores; ecs, k8s: 100",
        "",
        "Runs at once on each platform; the rest waits in a queue.",
    ),
    var(
        "BUILD_PROVISION_TIMEOUT",
        "5m",
        "",
        "From launch to the agent's first word; time in the queue counts nowhere.",
    ),
    var("BUILD_TASK_TIMEOUT", "10m", "", "From launch to the end of one attempt at one task."),
    var(
        "BUILD_RESULT_TIMEOUT",
        "10m",
        "",
        "How long a result may still arrive while nobody says that the container is gone.",
    ),
    var("DEFAULT_BUILD_CPU", "0.5", "", "cpu of tasks that name none: 0.5, 500m, 2."),
    var("DEFAULT_BUILD_MEMORY", "2G", "", "Memory of tasks that name none: 512 (MiB), 2G, 2Gi."),
    var(
        "ALLOW_EMULATION",
        "false",
        "",
        "true = an engine of one architecture may take tasks of another; on Kubernetes a task goes to a node of its own.",
    ),
    var("INSECURE_REGISTRIES", "none", "", "host[:port] list that may be spoken to over plain HTTP."),
    var(
        "PUBLISH_ALLOW",
        "none",
        "",
        "Prefixes that the server's own docker config may push to; the build's credentials may push anywhere.",
    ),
    var(
        "HTTP_PROXY",
        "none",
        "",
        "Proxy for plain HTTP, handed to agents. For themselves server and client read it from the process environment alone.",
    ),
    var("HTTPS_PROXY", "none", "", "Proxy for HTTPS, likewise."),
    var("NO_PROXY", "none", "", "Hosts that are reached without a proxy, likewise."),
    var(
        "DOCKER_HOST",
        "a Docker or Podman socket, found by itself",
        "",
        "The engine of the Docker platform. A server with ECS_CLUSTER or K8S_NAMESPACE has that platform only where this is set.",
    ),
    var(
        "BAKERY_AGENT_LISTEN",
        "our bridge's gateway, a port kept in the data folder",
        "",
        "Where the agents' door of the Docker platform listens.",
    ),
    var(
        "BAKERY_AGENT_URL",
        "from BAKERY_AGENT_LISTEN",
        "",
        "That door as agents reach it (Docker Desktop and the like).",
    ),
    var(
        "RUST_LOG",
        "info",
        "",
        "How much the server's own log on stderr says: error, warn, info, debug, or bakery_server=debug,info.",
    ),
    var(
        "BAKERY_LOG_FORMAT",
        "text",
        "",
        "text, or json: that log as one JSON object a line, always with ts (RFC 3339, UTC), level, target and message, and the event's own fields beside them. Mistakes in the settings are said as text before there is a log.",
    ),
    var("AWS_REGION", "none", "ecs", "Region for ECS and Secrets Manager."),
    var("ECS_CLUSTER", "none", "ecs", "Cluster name; its presence switches ECS on."),
    var("ECS_SUBNETS", "none", "ecs", "Subnets, comma-separated."),
    var("ECS_SECURITY_GROUPS", "none", "ecs", "The agents' security groups, comma-separated."),
    var("ECS_EXEC_ROLE_ARN", "none", "ecs", "Execution role of the task definition."),
    var("ECS_TASK_ROLE_ARN", "none", "ecs with S3", "Task role of the agents."),
    var("ECS_LOG_GROUP", "none = off", "", "CloudWatch group for agent logs."),
    var("ECS_CAPACITY", "fargate", "", "fargate, spot or spot-then-fargate."),
    var("ECS_PUBLIC_IP", "true", "", "Assign a public IP (subnets without NAT)."),
    var("ECS_EPHEMERAL_STORAGE", "Fargate's 20", "", "GiB of disk of a task, 21 to 200."),
    var("CLEANUP_ECS_TASK_DEFINITIONS", "false", "", "Remove old task definitions at start."),
    var("AGENT_TASK_FAMILY", "bakery-agent", "", "Prefix of task definition families."),
    var(
        "AGENT_IMAGE_SECRET_ARN",
        "none",
        "private agent image",
        "Secrets Manager secret for pulling the agent image.",
    ),
    var("AGENT_IMAGE_SECRET_NAME", "none", "", "Secret to create where no ARN is given."),
    var("AGENT_IMAGE_SECRET_USERNAME", "none", "", "Its user name."),
    var("AGENT_IMAGE_SECRET_PASSWORD", "none", "", "Its password."),
    var("K8S_NAMESPACE", "none", "k8s", "Namespace of agent Jobs; its presence switches Kubernetes on."),
    var(
        "K8S_CONFIG_PATH",
        "none",
        "",
        "File with the agents' pod settings: examples/server/k8s/configs/config.yaml shows every field.",
    ),
    var(
        "KUBECONFIG",
        "in a pod its own service account, else ~/.kube/config",
        "",
        "The cluster of the platform k8s, and the server's login to it.",
    ),
];

/// Read by the client alone.
pub const CLIENT: &[VarDoc] = &[
    var("LOG_FORMAT", "simple", "", "simple, plain or json."),
    var("NO_COLOR", "none", "", "Any value takes the colour out of simple."),
];

/// Names of the images.
pub const IMAGES: &[VarDoc] = &[
    var("IMAGE_NAME", IMAGE_NAME, "", "Prefix of the three images: <IMAGE_NAME>-server, -client, -agent."),
    var("IMAGE_TAG", "the version", "", "The tag under which they are made; the programs do not read it."),
];

/// The groups in the order in which `.env.example` shows them.
pub const GROUPS: &[(&str, &[VarDoc])] =
    &[("Common (server and client)", COMMON), ("Server", SERVER), ("Client", CLIENT), ("Images", IMAGES)];

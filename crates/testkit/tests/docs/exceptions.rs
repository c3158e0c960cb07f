//! The blocks that are not run here, each with the reason and the test that covers it instead.

/// A block, identified by its page and its first line.
pub(crate) struct Exception {
    pub(crate) page: &'static str,
    pub(crate) first: &'static str,
    pub(crate) why: &'static str,
}

const fn but(page: &'static str, first: &'static str, why: &'static str) -> Exception {
    Exception { page, first, why }
}

const LADDER: &str = "runs the ladder itself or the benchmarks";
const AWS: &str =
    "needs an account of AWS, so it is never run; the rungs examples and crates check the files";
const ON_ECS: &str = "needs a server on ECS with a bucket: rung ecs, tests/ecs/bake.rs";
const CLUSTER: &str = "needs a cluster: rung k8s, tests/k8s/deploy.rs";
const CLUSTER_EYE: &str = "shows an operator's own cluster; the rung k8s checks the same, tests/k8s";

pub(crate) const EXCEPTIONS: &[Exception] = &[
    but(
        "README.md",
        "make demo     # bakes examples/demo with the real Kaniko into a real registry, on this machine",
        "rung demo",
    ),
    but("README.md", "kubectl apply -k examples/server/k8s/", CLUSTER),
    but(
        "README.md",
        "make bake IMAGE_NAME=registry.example.com/bakery IMAGE_TAG=0.1.0",
        "rung images, with the ladder's registry",
    ),
    but(
        "README.md",
        "cargo build --release",
        "compiles everything, which the ladder has done before this rung",
    ),
    but("CONTRIBUTING.md", "make check        # format, lints and examples", LADDER),
    but("CONTRIBUTING.md", "cargo test -p bakery-core", "rung unit"),
    but("docs/aws.md", "cd examples/server/terraform", AWS),
    but("docs/aws.md", "curl https://bakery.example.com/readyz", ON_ECS),
    but("docs/aws.md", "bakery-server check", AWS),
    but("docs/kubernetes.md", "kubectl apply -f examples/server/k8s/namespace.yaml", CLUSTER),
    but("docs/kubernetes.md", "kubectl apply -k examples/server/k8s/", CLUSTER),
    but("docs/kubernetes.md", "curl https://bakery.example.com/readyz", CLUSTER),
    but(
        "docs/kubernetes.md",
        "kubectl -n bakery auth can-i --list --as=system:serviceaccount:bakery:bakery",
        "needs a cluster: rung k8s, tests/k8s/rights.rs checks each right",
    ),
    but("docs/kubernetes.md", "location / {", "rung k8s, tests/k8s/ingress.rs runs nginx with the block"),
    but(
        "docs/kubernetes.md",
        "# newTag in kustomization.yaml and AGENT_IMAGE in .env, both; then",
        "needs a cluster: the rung k8s runs `apply`, tests/k8s/deploy.rs; `diff` is not run",
    ),
    but("docs/kubernetes.md", "kubectl -n bakery logs deploy/bakery", CLUSTER_EYE),
    but(
        "docs/operations.md",
        "promtool test rules examples/server/prometheus/alerts.test.yaml",
        "rung examples",
    ),
    but("examples/server/terraform/README.md", "terraform init", AWS),
    but(
        "examples/server/terraform/README.md",
        "aws secretsmanager get-secret-value --secret-id \"$(terraform output -raw bakery_token_secret_arn)\" --query SecretString --output text",
        AWS,
    ),
    but("examples/server/terraform/README.md", "terraform destroy", AWS),
];

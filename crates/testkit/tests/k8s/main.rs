//! Builds on a real Kubernetes cluster: real pods, the real Kaniko, a real registry, and a server that has exactly the
//! rights of the example deployment.
//!
//! `make test-k8s` starts the parts; see `bakery_testkit::vars` for their variables.

mod bake;
mod contract;
mod deploy;
mod failures;
mod ingress;
mod lost_server;
mod nodes;
mod outage;
mod refused;
mod rights;
mod secrets;

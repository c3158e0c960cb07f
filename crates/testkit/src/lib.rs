//! A test environment for the real programs, and every test that needs two crates.
//!
//! The rung `e2e` (feature `e2e`) runs the built programs against a real Docker engine, the real Kaniko executor, a real
//! registry and a real S3 server. `make test` starts these parts and passes their addresses in variables
//! ([`parts::Parts`]). A test whose part is missing fails; it is never skipped. The rungs above it also have a Kubernetes
//! cluster (feature `k8s`), an emulator of AWS (feature `ecs`), or both (rung `multi-platform`).

pub mod agent;
pub mod aws;
pub mod bench;
pub mod buildx;
pub mod client;
pub mod cluster;
pub mod cuttable_link;
pub mod ecs_env;
pub mod engine;
pub mod fault_proxy;
pub mod hostile;
pub mod issuer;
pub mod k8s_env;
pub mod launcher_fixture;
pub mod pages;
pub mod parts;
pub mod platform;
pub mod process;
pub mod project;
pub mod prometheus;
pub mod reference;
pub mod registry;
pub mod repository;
pub mod s3;
pub mod server;
pub mod skopeo;
mod sync;
pub mod vars;

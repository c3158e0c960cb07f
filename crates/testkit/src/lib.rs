//! A small world around the real programs, and every test that needs two crates.
//!
//! The real rung (feature `real`) runs the built programs against a real Docker engine, the real Kaniko executor, a real
//! registry and a real S3 server. `make test` brings these parts and names them in variables ([`parts::Parts`]); a
//! part that is missing fails the test, it never skips it. The rung above it (feature `k8s`) has a Kubernetes cluster too.

pub mod agent;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod issuer;
pub mod kitchen;
pub mod parts;
pub mod process;
pub mod project;
pub mod registry;
pub mod server;
pub mod stage;
pub mod tap;
pub mod wire;

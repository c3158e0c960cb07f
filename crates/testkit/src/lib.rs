//! A small world around the real programs, and every test that needs two crates.
//!
//! The real rung (feature `real`) runs the built programs against a real Docker engine, the real Kaniko executor, a real
//! registry and a real S3 server. `make test` brings these parts and names them in variables ([`parts::Parts`]); a
//! part that is missing fails the test, it never skips it. The rungs above it have a Kubernetes cluster too (feature
//! `k8s`), or what stands for AWS (feature `ecs`), or both at once.

pub mod agent;
pub mod aws;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod issuer;
pub mod kitchen;
pub mod pages;
pub mod parts;
pub mod process;
pub mod project;
pub mod prometheus;
pub mod reference;
pub mod registry;
pub mod repository;
pub mod s3;
pub mod server;
pub mod shop;
pub mod skopeo;
pub mod stage;
pub mod tap;
pub mod wire;

//! The real world: real programs, a real engine, the real Kaniko, a real registry, a real S3 server.
//!
//! `make test` brings the parts; see `bakery_testkit::parts` for how they are named.

mod bake;
mod context;
mod failures;
mod lost_client;
mod lost_server;
mod metrics;
mod multi_arch;
mod secrets;
mod world;

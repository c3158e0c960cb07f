//! Whole builds with real programs, a real engine, the real Kaniko, a real registry and a real S3 server.
//!
//! `make test` starts the parts; see `bakery_testkit::vars` for their variables.

mod bake;
mod context;
mod failures;
mod full_disk;
mod hostile;
mod lost_client;
mod lost_server;
mod masks;
mod metrics;
mod multi_arch;
mod secrets;
mod world;

//! The server: accepts builds, starts their tasks on a platform, stores and relays their logs, publishes their images.
//!
//! Which module uses which: `http` -> {`builds`, `contexts`, `logs`, `metrics`}; `builds` -> {`platform`, `logs`} and
//! the crate `bakery-registry`; `metrics` -> {`builds`, `logs`}. `platform`, `contexts` and `logs` do not use
//! each other, `http` or `settings`. `wiring` is the only module that names concrete backends.

#![deny(missing_docs)]

pub mod builds;
pub mod check;
pub mod cli;
pub mod clock;
pub mod contexts;
pub mod disk;
pub mod environment;
pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod platform;
pub mod process;
mod random;
pub mod server_log;
pub mod settings;
pub mod spawn;
pub mod wiring;

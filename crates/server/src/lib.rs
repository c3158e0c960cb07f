//! The controller: accepts builds, fans them out, watches them, relays their logs and publishes what they baked.
//!
//! The rooms and who may call whom: `http` -> {`builds`, `logs`, `contexts`}; `builds` -> {`platform`, `logs`,
//! `contexts`} and the crate `bakery-registry`. The three back rooms know the core's words and their own settings, never each other, never
//! HTTP. `metrics` asks `builds` and `logs` for their numbers. `wiring` is the one place that names concrete backends.

#![deny(missing_docs)]

pub mod builds;
pub mod check;
pub mod cli;
pub mod clock;
pub mod contexts;
pub mod environment;
pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod platform;
pub mod settings;
pub mod spawn;
pub mod wiring;

//! Builds on ECS: an emulator that starts real containers, behind a proxy that records and refuses calls and injects faults.
//!
//! `make test-ecs` starts the parts; `bakery_testkit::aws` describes what the emulator does and what the proxy does.

mod bake;
mod contract;
mod emulator;
mod failures;
mod faults;
mod objects;
mod rights;
mod secrets;

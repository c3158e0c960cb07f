//! Builds on ECS: an emulator that starts real containers, behind a proxy that records, refuses and fails.
//!
//! `make test-ecs` brings the parts; see `bakery_testkit::aws` for what is whose.

mod bake;
mod contract;
mod emulator;
mod failures;
mod faults;
mod objects;
mod rights;
mod secrets;

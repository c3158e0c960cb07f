//! One server with ECS and Kubernetes at once, and builds that have an entry on each.
//!
//! `make test-multi-platform` brings the parts: those of the rungs `ecs` and `k8s`. The machine has one architecture, so the half
//! for arm64 runs on ECS, whose emulator starts it under emulation; a node takes what it is labelled with alone.

mod bake;
mod env;
mod failures;
mod lost_server;

//! One server with ECS and Kubernetes at once, and builds with a task on each.
//!
//! `make test-multi-platform` starts the parts: those of the rungs `ecs` and `k8s`. The machine has one architecture, so the task
//! for arm64 runs on ECS, whose emulator starts it with QEMU; a node runs pods of its own architecture only.

mod bake;
mod env;
mod failures;
mod lost_server;

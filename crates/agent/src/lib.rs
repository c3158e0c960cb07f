//! The agent: runs one task of a build inside the Kaniko container.
//!
//! [`run`] exchanges the launch token for the order, fetches the context, runs the scripts and Kaniko, ships every log
//! line and reports. A failing Dockerfile is a *result*, not an error: the agent succeeds if its report is delivered.

#![deny(missing_docs)]

pub mod bake;
mod build_secrets;
pub mod cgroup;
pub mod clock;
pub mod diagnose;
pub mod disk;
pub mod environment;
pub mod failure;
mod fresh;
mod kaniko_lines;
pub mod layout;
pub mod lines;
pub mod log;
pub mod mask;
pub mod output;
pub mod prepare;
pub mod process;
pub mod process_tree;
pub mod push;
pub mod relocate;
pub mod report;
pub mod run_steps;
pub mod script;
mod secrets;
pub mod shipper;
pub mod signals;
mod spawn;
pub mod stages;
pub mod start;
pub mod step_shim;
mod task;
pub mod termination;
pub mod tools;

pub use layout::Layout;
pub use task::{AgentError, run};

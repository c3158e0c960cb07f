//! One task, inside the Kaniko container.
//!
//! [`run`] trades the launch token for the order, prepares, runs the scripts and Kaniko, ships every line and reports. A
//! failing Dockerfile is a *result*: the agent has done its work once the report is delivered, whatever it says.

#![deny(missing_docs)]

pub mod bake;
pub mod cgroup;
pub mod clock;
pub mod diagnose;
pub mod ends;
pub mod failure;
pub mod layout;
pub mod lines;
pub mod log;
pub mod mask;
pub mod moved;
pub mod prepare;
pub mod process;
pub mod push;
pub mod report;
pub mod script;
pub mod shipper;
mod spawn;
pub mod stages;
pub mod start;
mod task;
pub mod tree;

pub use layout::Layout;
pub use task::{AgentError, run};

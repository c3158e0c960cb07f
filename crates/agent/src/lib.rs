//! One task, inside the Kaniko container.

#![deny(missing_docs)]

pub mod clock;
pub mod lines;
pub mod log;
pub mod mask;
pub mod shipper;
mod spawn;

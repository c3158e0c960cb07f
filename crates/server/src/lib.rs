//! placeholder

pub mod platform;
pub mod registry;

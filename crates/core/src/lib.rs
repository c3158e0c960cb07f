//! What Bakery's words mean and which sentences are legal.
//!
//! Everything here is a pure value or a pure function: no async, no sockets, no files and no clock. The three programs
//! share these words, so what one of them says the others understand.

#![deny(missing_docs)]

pub mod image;
pub mod kaniko;
pub mod lifecycle;
pub mod limits;
pub mod names;
pub mod plan;
pub mod reason;
pub mod report;
pub mod secret;
pub mod spec;
pub mod vars;
pub mod wire;
pub mod yaml;

//! A folder becomes one canonical archive with a name, and travels.
//!
//! [`pack`] and [`unpack`] block; call them where blocking is allowed.

#![deny(missing_docs)]

mod apply;
mod header;
mod identity;
pub mod ignore;
mod members;
mod pack;
mod rules;
pub mod s3;
mod unpack;
mod walk;

pub use apply::{ApplyError, apply_ignore};
pub use pack::{PackError, Packed, pack};
pub use rules::{ContextFolder, Held, RulesError, held};
pub use unpack::{UnpackError, UnpackLimits, Unpacked, unpack};

//! Packs a source folder into one canonical archive, unpacks it, and stores it in S3. As the lowest crate that may call
//! the operating system it also has [`random`], [`read_regular_file`] and [`read_user_file`].
//!
//! [`pack`] and [`unpack`] block; call them where a thread may block.

#![deny(missing_docs)]

mod apply;
mod byte_path;
mod gzip;
mod header;
mod identity;
pub mod ignore;
mod pack;
mod pack_error;
pub mod random;
mod regular_file;
mod rules;
pub mod s3;
mod unpack;
mod user_file;
mod walk;

pub use apply::{ApplyError, apply_ignore};
pub use pack::{Packed, pack};
pub use pack_error::PackError;
pub use regular_file::{RegularFileError, read_regular_file};
pub use rules::{ContextFile, ContextFolder, RulesError, find_in_context};
pub use unpack::{UnpackError, UnpackLimits, Unpacked, unpack};
pub use user_file::{read_user_file, read_user_text};

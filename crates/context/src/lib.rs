//! Packs a source folder into one canonical archive, unpacks it, and stores it in S3. As the lowest crate that may call
//! the operating system it also has [`random`], [`read_regular_file`] and [`read_user_file`].
//!
//! [`pack`] and [`unpack`] block; call them where a thread may block.

#![deny(missing_docs)]

mod apply;
mod byte_path;
mod folder_sizes;
mod git_config;
mod git_folder;
mod gzip;
mod header;
mod identity;
pub mod ignore;
mod links;
mod list;
mod notices;
mod pack;
mod pack_error;
pub mod random;
mod regular_file;
mod rules;
pub mod s3;
mod source_tree;
mod unpack;
mod user_file;
mod walk;

pub use apply::{ApplyError, apply_ignore};
pub use folder_sizes::LargeFolder;
pub use git_folder::GitError;
pub use list::{Listed, Listing, Reason, list};
pub use pack::{Packed, pack};
pub use pack_error::PackError;
pub use regular_file::{RegularFileError, read_regular_file};
pub use rules::{ContextFile, ContextFolder, RuleLine, RulesError, exceptions_for, find_in_context};
pub use source_tree::SourceTree;
pub use unpack::{UnpackError, UnpackLimits, Unpacked, unpack};
pub use user_file::{read_user_file, read_user_text};

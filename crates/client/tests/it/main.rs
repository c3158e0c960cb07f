//! The real program, alone and against a fake server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod build;
mod exposed;
mod fake;
mod files;
mod follow;
mod readme;

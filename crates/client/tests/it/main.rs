//! The real program, alone and against a fake server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod build;
mod compose_files;
mod config_variables;
mod fake_server;
mod files;
mod follow;
mod image_names;
mod previous_version;
mod readme;
mod secret_files;
mod untrusted_checkout;

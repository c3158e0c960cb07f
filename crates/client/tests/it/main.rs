//! The real program, alone and against a fake server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod build;
mod build_secrets;
mod check;
mod compose_files;
mod config_variables;
mod context_ls;
mod fake_server;
mod files;
mod follow;
mod help;
mod image_names;
mod one_image;
mod previous_version;
mod readme;
mod schema;
mod secret_files;
mod server_keys;
mod set_options;
mod untrusted_checkout;
mod version_1;

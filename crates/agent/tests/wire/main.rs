//! The agent and a fake server, over real sockets.

#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do fails the test")]

mod fake_server;
mod harness;
mod relocate;
mod runs;
mod shipper;

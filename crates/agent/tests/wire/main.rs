//! The agent against a fake controller, over real sockets.

#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do fails the test")]

mod fake;
mod moves;
mod oven;
mod runs;
mod shipper;

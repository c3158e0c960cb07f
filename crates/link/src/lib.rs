//! Typed HTTP calls to the server, one function for each route.
//!
//! [`ServerApi`] holds the client's calls, [`RunApi`] those of an agent for its run. Nothing here retries: only the
//! caller knows how long an answer is worth waiting for. Nothing here follows redirects, because a token must not travel
//! to an address that nobody configured.

#![deny(missing_docs)]

mod dns;
mod error;
mod http;
mod logs;
mod runs;
mod server;

pub use error::{LinkError, NetworkFailure, ServerAddress};
pub use logs::LogStream;
pub use runs::{ContextBody, RunApi};
pub use server::{Options, ServerApi};

use std::time::Duration;

use bakery_core::limits;

/// A stream on which nothing arrives for this long is broken: three heartbeats.
pub const IDLE_TIMEOUT: Duration = limits::HEARTBEAT.saturating_mul(3);
/// Limit for establishing a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit for a whole call with an ordinary answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

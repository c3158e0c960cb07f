//! How Bakery's programs reach the controller: one typed call for every route.
//!
//! [`Controller`] is the clients' side of the wire, [`Runs`] the agents'. Nothing here retries: only the caller knows
//! how long an answer is worth waiting for. Nothing here follows redirects either, since a token must not travel to a
//! place that nobody named.

#![deny(missing_docs)]

mod controller;
mod door;
mod error;
mod logs;
mod runs;

pub use controller::{Controller, Options};
pub use error::{LinkError, Why};
pub use logs::LogStream;
pub use runs::{ContextBody, Runs};

use std::time::Duration;

use bakery_core::limits;

/// A stream that stays silent for this long is dead: three beats.
pub const SILENCE: Duration = limits::BEAT.saturating_mul(3);
/// How long a connection may take to come about.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How long an ordinary call may take in all.
pub const ANSWER: Duration = Duration::from_secs(30);

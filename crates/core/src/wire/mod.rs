//! The protocol of client, server and agent, one module per subject.
//!
//! Work requests refuse unknown fields; observations tolerate unknown fields and unknown variants, so that a client
//! one version behind still shows what it supports.

pub mod build;
pub mod context;
mod cursor;
mod frame;
pub mod keys;
pub mod log;
pub mod problem;
pub mod route;
pub mod run;

use serde::Serialize;

/// The protocol's version, sent in [`PROTOCOL_HEADER`]; a server supports this one and the one before.
pub const PROTOCOL: u32 = 1;

/// The header that carries the protocol's version, both ways.
pub const PROTOCOL_HEADER: &str = "bakery-protocol";
/// Carries the context reference of a build submitted as YAML: `ID sha256:... LEN` separated by blanks.
pub const CONTEXT_HEADER: &str = "bakery-context";
/// Carries the idempotency key of a build submitted as YAML.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Carries the id of a request, both ways. A server uses the caller's id if it is well-formed, and makes one otherwise.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// Media type of frame streams: log segments and followed logs.
pub const FRAMES_TYPE: &str = "application/vnd.bakery.frames";

/// The name under which a state, verdict or reason is written in JSON; empty for a value that is not a JSON string.
pub fn json_name(of: impl Serialize) -> String {
    let value = serde_json::to_value(of).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

//! Problems as RFC 9457 describes them (`application/problem+json`).

use serde::{Deserialize, Serialize};

use crate::message::Message;

/// Media type of a [`Problem`].
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// Why a request failed. Never holds a secret or a presigned URL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problem {
    /// A stable identifier of the kind of problem, as a relative URI: `unauthorized`, `bad-spec`, `no-such-build`, ...
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The title of the kind, the same for every occurrence.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// This occurrence: what is wrong, where, what was expected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The id of the request, also in the server's log and in the response's header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The texts of `mistakes`, for clients of the previous version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Every mistake of a request that has several, each with its hint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Message>,
}

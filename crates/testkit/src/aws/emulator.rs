//! The emulator of AWS that the ladder starts.

use crate::s3::Keys;
use crate::vars;

/// Where the emulator is and what it is configured with.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// The emulator's URL.
    pub endpoint: String,
    /// The address of this machine in the network that tasks join.
    pub host: String,
    /// The account's id.
    pub account: String,
    /// The region.
    pub region: String,
    /// The access key that a task gets from its credentials endpoint.
    pub task: Keys,
    /// The session token of that access key.
    pub task_token: String,
}

impl Emulator {
    /// Reads it from the environment.
    ///
    /// # Panics
    /// If a variable is missing.
    pub fn required() -> Self {
        Self {
            endpoint: vars::AWS_ENDPOINT.required(),
            host: vars::AWS_HOST.required(),
            account: vars::AWS_ACCOUNT.required(),
            region: vars::AWS_REGION.required(),
            task: Keys::new(&vars::AWS_TASK_KEY.required(), &vars::AWS_TASK_SECRET.required()),
            task_token: vars::AWS_TASK_TOKEN.required(),
        }
    }
}

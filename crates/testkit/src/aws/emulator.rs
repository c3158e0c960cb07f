//! The emulator of AWS that the ladder starts.

use crate::parts::required;
use crate::s3::Keys;

/// Where the emulator is and what it is configured with.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// `BAKERY_TEST_AWS_ENDPOINT`: the emulator's URL.
    pub endpoint: String,
    /// `BAKERY_TEST_AWS_HOST`: the address of this machine in the network that tasks join.
    pub host: String,
    /// `BAKERY_TEST_AWS_ACCOUNT`
    pub account: String,
    /// `BAKERY_TEST_AWS_REGION`
    pub region: String,
    /// `BAKERY_TEST_AWS_TASK_KEY`, `BAKERY_TEST_AWS_TASK_SECRET`: what a task gets from its credentials endpoint.
    pub task: Keys,
    /// `BAKERY_TEST_AWS_TASK_TOKEN`: the token of that session.
    pub task_token: String,
}

impl Emulator {
    /// Reads it.
    ///
    /// # Panics
    /// Names the first variable that is missing.
    pub fn required() -> Self {
        Self {
            endpoint: required("BAKERY_TEST_AWS_ENDPOINT"),
            host: required("BAKERY_TEST_AWS_HOST"),
            account: required("BAKERY_TEST_AWS_ACCOUNT"),
            region: required("BAKERY_TEST_AWS_REGION"),
            task: Keys::new(&required("BAKERY_TEST_AWS_TASK_KEY"), &required("BAKERY_TEST_AWS_TASK_SECRET")),
            task_token: required("BAKERY_TEST_AWS_TASK_TOKEN"),
        }
    }
}

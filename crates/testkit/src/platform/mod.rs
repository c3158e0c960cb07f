//! Tests of the server's platforms: the contract of all launchers, and the fake platform.

pub use bakery_server::platform::{Availability, Exit, LaunchError, LaunchOrder, Launcher, Observation};

pub mod contract;
/// The file belongs to the server, whose own tests use it; its library does not contain it.
#[path = "../../../server/src/platform/fake.rs"]
pub mod fake;

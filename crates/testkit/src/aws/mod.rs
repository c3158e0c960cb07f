//! A proxy between AWS's SDKs and what stands for AWS: an emulator of ECS and Secrets Manager, and a real S3 server.
//!
//! It keeps every call ([`Recorded`]), refuses what no policy grants ([`Policy`]) and does what a test asks for
//! ([`Fault`], [`Ending`]). Two things of the good path are the proxy's and not the emulator's: `clientToken`, which
//! the emulator ignores, and permissions, which are the Terraform example's own policy files with resources and
//! conditions. A third is a guard: the emulator starts tasks of a definition that was deregistered, AWS does not.
//!
//! Who calls is told by the access key alone; signatures are checked by the S3 server and by nobody else. A session's
//! calls of S3 are the exception: that server knows no sessions, so the proxy checks token and signature, and signs the
//! call again without the token.
//!
//! More tasks than a machine can run are a stub's, named as one: [`AwsProxy::stub`].

mod answer;
mod call;
mod emulator;
mod env;
mod fault;
mod listener;
mod policy;
mod proxy;
mod record;
mod rights;
mod serve;
mod signature;
mod state;
mod stub;
mod token;

pub use emulator::Emulator;
pub use env::{AwsEnv, CLIENT, SERVER};
pub use fault::{Ending, Fault};
pub use policy::{Policy, PolicyNames, Right, Verdict};
pub use proxy::AwsProxy;
pub use record::{Outcome, Recorded};
pub use stub::Launch;

//! A proxy between AWS's SDKs and stand-ins for AWS: an emulator of ECS and Secrets Manager, and a real S3 server.
//!
//! It records every call ([`Recorded`]), refuses what no policy grants ([`Policy`]) and injects what a test asks for
//! ([`Fault`], [`Ending`]). It adds two features that the emulator lacks: `clientToken`, which
//! the emulator ignores, and permissions, which are the policy files of the Terraform example with resources and
//! conditions. It also refuses tasks of a deregistered definition, as AWS does and the emulator does not.
//!
//! The access key alone identifies the caller; only the S3 server checks signatures. A session's
//! calls of S3 are an exception: that server does not support sessions, so the proxy checks token and signature, and signs the
//! call again without the token.
//!
//! For more tasks than a machine can run there is a stub: [`AwsProxy::stub`].

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

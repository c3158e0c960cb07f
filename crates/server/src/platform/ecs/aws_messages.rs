//! The meaning of messages to which AWS gives no code, and what to do about them.
//!
//! Source: AWS, "Amazon ECS stopped tasks error messages" and "API failure reasons".

use bakery_core::reason::Reason;

/// A part of a message, the reason that it stands for, and a hint.
struct KnownMessage(&'static str, Reason, Option<&'static str>);

/// What to do where the image lacks an architecture.
pub(super) const ARCH: &str = "AGENT_IMAGE must be an index with both architectures";
const PULL: &str = "check AGENT_IMAGE, the secret that it is pulled with, and that the subnets reach its registry (ECS_PUBLIC_IP, or NAT)";
const QUOTA: &str = "raise the account's Fargate quota (Service Quotas), or keep MAX_RUNS below it";
const CAPACITY: &str = "name subnets of several availability zones in ECS_SUBNETS; ECS_CAPACITY=spot-then-fargate tries on demand \
                    after Spot";
const DISK: &str = "give the task more `disk`, or all tasks: ECS_EPHEMERAL_STORAGE";
const START: &str = "check ECS_EXEC_ROLE_ARN, ECS_LOG_GROUP, the pull secret, and that the subnets reach AWS (ECS_PUBLIC_IP, or NAT)";

/// The first that fits counts.
const KNOWN: [KnownMessage; 16] = [
    KnownMessage("OutOfMemory", Reason::OutOfMemory, Some("request more `memory` in the build's config")),
    KnownMessage("descriptor matching platform", Reason::NoSuchArch, Some(ARCH)),
    KnownMessage("exec format error", Reason::NoSuchArch, Some(ARCH)),
    KnownMessage("CannotPull", Reason::ImagePull, Some(PULL)),
    KnownMessage("pull image", Reason::ImagePull, Some(PULL)),
    KnownMessage("reached the limit on the number of", Reason::NoCapacity, Some(QUOTA)),
    KnownMessage("above your limit", Reason::LaunchRefused, Some(QUOTA)),
    KnownMessage("Capacity is unavailable", Reason::NoCapacity, Some(CAPACITY)),
    KnownMessage("RESOURCE:", Reason::NoCapacity, Some(CAPACITY)),
    KnownMessage("Timeout waiting for network interface", Reason::NoCapacity, Some(CAPACITY)),
    KnownMessage("Spot Task was interrupted", Reason::SpotReclaimed, None),
    KnownMessage("no space left on device", Reason::DiskFull, Some(DISK)),
    KnownMessage("API error (500): devmapper", Reason::DiskFull, Some(DISK)),
    KnownMessage("ResourceInitializationError", Reason::LaunchRefused, Some(START)),
    KnownMessage("InternalError", Reason::PlatformUnreachable, None),
    KnownMessage(
        "unable to assume the role",
        Reason::LaunchRefused,
        Some("check the ECS_ settings: the roles, and that they trust ECS tasks"),
    ),
];

/// The reason and the hint that a message stands for; `None` where it is not listed.
pub(super) fn of(text: &str) -> Option<(Reason, Option<&'static str>)> {
    let KnownMessage(_, reason, hint) = KNOWN.iter().find(|KnownMessage(part, ..)| text.contains(part))?;
    Some((*reason, *hint))
}

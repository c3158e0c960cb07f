//! What AWS gives as sentences only: what they mean, and what to do about it.
//!
//! Source: AWS, "Amazon ECS stopped tasks error messages" and "API failure reasons".

use bakery_core::reason::Reason;

/// A part of a sentence, what it means, and a hint.
struct Meaning(&'static str, Reason, Option<&'static str>);

/// What to do where the image lacks an architecture.
pub(super) const ARCH: &str = "AGENT_IMAGE must be an index with both architectures";
const PULL: &str = "check AGENT_IMAGE, the secret that it is pulled with, and the subnets' way to its registry (ECS_PUBLIC_IP, or NAT)";
const QUOTA: &str = "raise the account's Fargate quota (Service Quotas), or keep MAX_RUNS below it";
const ROOM: &str = "name subnets of several availability zones in ECS_SUBNETS; ECS_CAPACITY=spot-then-fargate tries on demand \
                    after Spot";
const START: &str = "check ECS_EXEC_ROLE_ARN, ECS_LOG_GROUP, the pull secret, and the subnets' way to AWS (ECS_PUBLIC_IP, or NAT)";

/// The first that fits counts.
const MEANINGS: [Meaning; 16] = [
    Meaning("OutOfMemory", Reason::OutOfMemory, Some("ask for more `memory` in the build's config")),
    Meaning("descriptor matching platform", Reason::NoSuchArch, Some(ARCH)),
    Meaning("exec format error", Reason::NoSuchArch, Some(ARCH)),
    Meaning("CannotPull", Reason::ImagePull, Some(PULL)),
    Meaning("pull image", Reason::ImagePull, Some(PULL)),
    Meaning("reached the limit on the number of", Reason::NoCapacity, Some(QUOTA)),
    Meaning("above your limit", Reason::LaunchRefused, Some(QUOTA)),
    Meaning("Capacity is unavailable", Reason::NoCapacity, Some(ROOM)),
    Meaning("RESOURCE:", Reason::NoCapacity, Some(ROOM)),
    Meaning("Timeout waiting for network interface", Reason::NoCapacity, Some(ROOM)),
    Meaning("Spot Task was interrupted", Reason::SpotReclaimed, None),
    Meaning("no space left on device", Reason::DiskFull, Some("give tasks more disk: ECS_EPHEMERAL_STORAGE")),
    Meaning(
        "API error (500): devmapper",
        Reason::DiskFull,
        Some("give tasks more disk: ECS_EPHEMERAL_STORAGE"),
    ),
    Meaning("ResourceInitializationError", Reason::LaunchRefused, Some(START)),
    Meaning("InternalError", Reason::PlatformUnreachable, None),
    Meaning(
        "unable to assume the role",
        Reason::LaunchRefused,
        Some("check the ECS_ settings: roles and whom they trust"),
    ),
];

/// The reason and the hint that a sentence stands for; `None` for a sentence that is not listed.
pub(super) fn of(said: &str) -> Option<(Reason, Option<&'static str>)> {
    let Meaning(_, reason, hint) = MEANINGS.iter().find(|Meaning(words, ..)| said.contains(words))?;
    Some((*reason, *hint))
}

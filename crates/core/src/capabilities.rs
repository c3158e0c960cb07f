//! The Linux capabilities of a task's container: the same on every platform, by the means that each platform has.

/// What Kaniko needs to unpack a base image as root and to run its steps. Pod Security's level `baseline` admits all of
/// them.
pub const REQUIRED: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID"];

/// The other capabilities of a container engine's default set. A task has one of these only if the operator allows it.
pub const OPTIONAL: [&str; 6] =
    ["AUDIT_WRITE", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETPCAP", "SYS_CHROOT"];

/// The optional capability of this name, with or without `CAP_`; `None` if it is not one of [`OPTIONAL`].
pub fn optional(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    OPTIONAL.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_named_as_the_kernel_or_as_an_engine_names_it() {
        assert_eq!(optional("NET_RAW"), Some("NET_RAW"));
        assert_eq!(optional("CAP_NET_RAW"), Some("NET_RAW"));
        for other in ["SYS_ADMIN", "CHOWN", "net_raw", "", "CAP_"] {
            assert_eq!(optional(other), None, "{other}");
        }
    }
}

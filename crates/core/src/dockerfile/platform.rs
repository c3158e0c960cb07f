//! The platforms that FROM may name, and the build arguments that are about them.

/// What stands alone as a platform.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
/// The same for architectures, and their other names.
const ARCHITECTURES: [&str; 30] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
    "i386",
    "x86_64",
    "x86-64",
    "aarch64",
    "armhf",
    "armel",
];

/// Whether a text is a platform: `os/architecture`, with a variant after it, or one of the two alone.
pub(super) fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let is_word = |part: &str, more: &[char]| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    let Some((first, rest)) = parts.split_first() else { return false };
    // A version of the system stands in parentheses.
    let (system, version) = match first.strip_suffix(')').and_then(|first| first.split_once('(')) {
        Some((system, version)) => (system, Some(version)),
        None => (*first, None),
    };
    let is_version = version.is_none_or(|version| version.is_empty() || is_word(version, &['_', '.', '-']));
    if !is_word(system, &['_', '-'])
        || !is_version
        || !rest.iter().all(|part| is_word(part, &['_', '.', '-']))
    {
        return false;
    }
    let is_one_of = |known: &[&str], name: &str| known.contains(&name.to_lowercase().as_str());
    match rest.len() {
        0 => {
            is_one_of(&SYSTEMS, system)
                || system.eq_ignore_ascii_case("macos")
                || is_one_of(&ARCHITECTURES, first)
        }
        1 | 2 => true,
        _ => false,
    }
}

/// The build arguments that every build has.
pub(super) fn platform_arguments(build: &str, target: &str, stage: &str) -> [(&'static str, String); 11] {
    let part = |platform: &str, at| platform.split('/').nth(at).unwrap_or_default().to_owned();
    [
        ("BUILDPLATFORM", build.to_owned()),
        ("BUILDOS", part(build, 0)),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", part(build, 1)),
        ("BUILDVARIANT", part(build, 2)),
        ("TARGETPLATFORM", target.to_owned()),
        ("TARGETOS", part(target, 0)),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", part(target, 1)),
        ("TARGETVARIANT", part(target, 2)),
        ("TARGETSTAGE", stage.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_containerds() {
        for text in
            ["linux/amd64", "linux/arm/v7", "arm64", "linux", "MacOS", "windows(10.0)/amd64", "x/y", "x86_64"]
        {
            assert!(is_platform(text), "{text}");
        }
        for text in
            ["", "/", "linux/", "linux/a/b/c", "linux/a*", "bogus", "a b/c", "linux()x/amd64", "li.nux/amd64"]
        {
            assert!(!is_platform(text), "{text}");
        }
    }
}

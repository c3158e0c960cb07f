//! What a build is given.

use std::collections::BTreeMap;

/// What a build is given.
#[derive(Debug, Clone, Copy)]
pub struct BuildInput<'a> {
    /// The build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The name or the number of the stage that is built; the last one if it is `None`.
    pub target: Option<&'a str>,
    /// The platform of the image, as `linux/arm64`.
    pub target_platform: &'a str,
    /// The platform of the machine.
    pub build_platform: &'a str,
    /// What is known of base images, by their names as FROM has them after variables are replaced.
    pub images: &'a BTreeMap<String, BaseConfig>,
}

/// What a base image gives to a stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseConfig {
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// Its ONBUILD instructions.
    pub onbuild: Vec<String>,
}

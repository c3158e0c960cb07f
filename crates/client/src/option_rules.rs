//! Which options fit together: those of one image, and those for files.

use bakery_core::message::Message;
use bakery_core::preflight::code_list;
use bakery_core::report::{Findings, Mistake};

use crate::buildx_options::PRIVILEGES;
use crate::cli::BuildOptions;

/// What `--allow` of buildx grants to a build.
const ENTITLEMENTS: [&str; 3] = ["network.host", "security.insecure", "device"];

/// What is wrong with options that were given together, and what becomes of those of buildx.
pub(crate) fn check(options: &BuildOptions) -> Findings {
    let mut findings = Findings::default();
    options.buildx.report(&mut findings);
    let misfits = options.image.asks().map_or_else(|| without_image(options), |by| beside_image(options, by));
    findings.mistakes.extend(misfits);
    findings.mistakes.extend(options.allow.iter().filter_map(|codes| not_allowed(codes)));
    findings
}

/// What is wrong with a value of `--allow`.
fn not_allowed(codes: &str) -> Option<Mistake> {
    let message = if ENTITLEMENTS.iter().any(|name| codes.starts_with(name)) {
        Message::new("nothing can be granted").with_hint(PRIVILEGES)
    } else {
        code_list(codes).err()?
    };
    Some(Mistake::of_setting("--allow", message))
}

/// Options for files, where one image is built without any.
fn beside_image(options: &BuildOptions, by: &str) -> Vec<Mistake> {
    let for_files = [
        ("--config", options.config.is_some()),
        ("--compose", !options.compose.is_empty()),
        ("--services", options.services.is_some()),
        ("--env-file", !options.env_file.is_empty()),
    ];
    let hint = "keep one of them; --set changes the values of files, also their images";
    let mistake = |name: &str| {
        let text = format!("does not fit with {by}, which builds one image from options alone");
        Mistake::of_setting(name, Message::new(text).with_hint(hint))
    };
    for_files.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| mistake(name)).collect()
}

/// Options of one image, where nothing asks for one.
fn without_image(options: &BuildOptions) -> Vec<Mistake> {
    let image = &options.image;
    let (args, labels) = ("build.args.NAME", "build.labels.NAME");
    let of_image = [
        ("--platform", !image.platform.is_empty(), "build.platforms", "arch"),
        ("--target", image.target.is_some(), "build.target", "kaniko.target"),
        ("--build-arg", !image.build_arg.is_empty(), args, "kaniko.build-args.NAME"),
        ("--secret", !image.secret.is_empty(), "build.x-bake.secret", "kaniko.secrets"),
        ("--label", !image.label.is_empty(), labels, "kaniko.labels.NAME"),
        ("--annotation", !image.annotation.is_empty(), "", "kaniko.annotations.NAME"),
        ("--cache-repo", image.cache_repo.is_some(), "build.cache_to", "kaniko.cache.repo"),
        ("--cache-to", !image.cache_to.is_empty(), "build.cache_to", "kaniko.cache.repo"),
        ("--cache-from", !image.cache_from.is_empty(), "build.cache_from", "kaniko.cache.repo"),
    ];
    let mistake = |name: &str, compose: &str, config: &str| {
        let service = if compose.is_empty() {
            String::new()
        } else {
            format!("; --set SERVICE.{compose}=VALUE is for a Compose file")
        };
        let hint =
            format!("-t IMAGE asks for one{service}; --set global.{config}=VALUE is for a config.yaml");
        let text = "is for one image without a file";
        Mistake::of_setting(name, Message::new(text).with_hint(hint))
    };
    let given = of_image.iter().filter(|(_, is_given, ..)| *is_given);
    given.map(|(name, _, compose, config)| mistake(name, compose, config)).collect()
}

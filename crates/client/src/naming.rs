//! What options, environment and `.env` say about the names of images.

use std::collections::BTreeMap;

use bakery_core::compose::Withheld;
use bakery_core::config::{ImagePrefix, ImageTag, Naming};
use bakery_core::message::Message;
use bakery_core::report::{Mistake, Report};
use bakery_core::vars::Vars;

use crate::cli::BuildOptions;
use crate::exit::Failure;

/// The variable for `--registry`.
const REGISTRY: &str = "BAKERY_REGISTRY";

/// What options and the environment say; adds the mistakes in them.
pub(crate) fn of(
    options: &BuildOptions,
    environment: &BTreeMap<String, String>,
    mistakes: &mut Vec<Mistake>,
) -> Naming {
    let registry = match &options.registry {
        Some(text) => of_setting("--registry", text, ImagePrefix::parse).map(Some),
        None => registry_in(environment),
    };
    let tag = options.image_tag.as_deref();
    let tag = tag.map(|text| of_setting("--image-tag", text, ImageTag::parse)).transpose();
    Naming {
        registry: registry.unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        }),
        tag: tag.unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        }),
        no_push: options.no_push,
    }
}

/// The same with the registry of the project's `.env`, if options and environment name none. Whoever wrote the file can
/// read what is pushed there, so nothing `withheld` may be a part of the name.
pub(crate) fn with_project(
    naming: &Naming,
    project: &BTreeMap<String, String>,
    withheld: &Withheld,
) -> Result<Naming, Failure> {
    if naming.registry.is_some() {
        return Ok(naming.clone());
    }
    let registry = match withheld.refuses(REGISTRY) {
        Some(message) => Err(Mistake::of_setting(REGISTRY, message)),
        None => registry_in(project),
    };
    let registry = registry.map_err(|mistake| Report { mistakes: vec![mistake] })?;
    Ok(Naming { registry, ..naming.clone() })
}

fn registry_in(vars: &dyn Vars) -> Result<Option<ImagePrefix>, Mistake> {
    vars.setting(REGISTRY).map(|text| of_setting(REGISTRY, &text, ImagePrefix::parse)).transpose()
}

fn of_setting<T>(name: &str, text: &str, parse: impl Fn(&str) -> Result<T, Message>) -> Result<T, Mistake> {
    parse(text).map_err(|message| Mistake::of_setting(name, message))
}

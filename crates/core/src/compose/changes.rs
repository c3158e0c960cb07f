//! Changes of a Compose file by options: each is merged over the files as one more file.

use crate::change::{Change, NewValue};
use crate::compose::attributes::{FOR_RUNNING, SERVICE, fate};
use crate::compose::merge;
use crate::compose::tags::{OVERRIDE, Removals};
use crate::config::keys::TASK;
use crate::message::Message;
use crate::report::{Findings, nearest, shown};
use crate::yaml::{Node, Value};

/// Lists whose values have no commas themselves.
const SEPARATED: [&str; 3] = ["platforms", "profiles", "tags"];
/// Lists whose values do.
const WHOLE: [&str; 6] = ["cache_from", "cache_to", "cache-from", "cache-to", "secret", "secrets"];

/// The files with the changes, in their order.
pub(super) fn apply(mut tree: Node, changes: &[Change], findings: &mut Findings) -> Node {
    for change in changes {
        let selected = select(&tree, change).and_then(|(names, path)| {
            check(path)?;
            Ok(names.into_iter().map(|name| (name.to_owned(), overlay(path, change))).collect::<Vec<_>>())
        });
        let services = match selected {
            Ok(services) => services,
            Err(message) => {
                findings.mistake(change.location(), message);
                continue;
            }
        };
        let services = services.iter().map(|(name, service)| (name.as_str(), service.clone()));
        let mut over = change.mapping([("services", change.mapping(services))]);
        Removals::take(&mut over).apply(&mut tree);
        tree = merge::files(tree, over, findings);
    }
    tree
}

/// The services that a path begins with, and the path below them.
fn select<'t>(tree: &'t Node, change: &'t Change) -> Result<(Vec<&'t str>, &'t str), Message> {
    let services = match tree.get("services").map(|services| &services.value) {
        Some(Value::Map(services)) => services.as_slice(),
        _ => &[],
    };
    let (selector, path) = change.parts();
    if selector == "*" {
        let is_built = |service: &Node| service.get("build").is_some_and(|build| !build.is_null());
        let built = services.iter().filter(|entry| is_built(&entry.value));
        return Ok((built.map(|entry| entry.key.as_str()).collect(), path));
    }
    // Names may have dots: the longest counts.
    let below = |name: &'t str| Some((name, change.path().strip_prefix(name)?.strip_prefix('.')?));
    let found = services.iter().filter_map(|entry| below(&entry.key)).max_by_key(|(name, _)| name.len());
    if let Some((name, path)) = found {
        return Ok((vec![name], path));
    }
    let known: Vec<_> = services.iter().map(|entry| entry.key.as_str()).collect();
    let nearest = nearest(selector, &[&known[..], &["global"]].concat());
    let nearest = nearest.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
    let hint = format!("{nearest}known services: {}; `*` is each that is built", known.join(", "));
    Err(Message::new(format!("there is no service `{}`", shown(selector))).with_hint(hint))
}

/// Refuses what has no effect on a build.
fn check(path: &str) -> Result<(), Message> {
    let key = path.split('.').next().unwrap_or_default();
    if fate(&SERVICE, key).is_some() {
        return Ok(());
    }
    if TASK.iter().any(|it| it.name == key) {
        let hint = format!("`global.{key}` is for all services");
        return Err(
            Message::new(format!("`{key}` is a key of config.yaml, not of a service")).with_hint(hint)
        );
    }
    if FOR_RUNNING.contains(&key) {
        let message = format!("`{key}` is for running a service, and has no effect on its build");
        return Err(Message::new(message).with_hint("set a key below `build`"));
    }
    Ok(())
}

/// What the change says about one service.
fn overlay(path: &str, change: &Change) -> Node {
    let keys = keys(path);
    let mut node = match change.value() {
        NewValue::Text(text) => value(&keys, text, change),
        NewValue::Record(pairs) => {
            change.mapping(pairs.iter().map(|(key, value)| (*key, literal(value, change))))
        }
    };
    if !change.appends() {
        node.tag = Some(OVERRIDE.to_owned());
    }
    keys.iter().rev().fold(node, |node, key| change.mapping([(*key, node)]))
}

/// The keys of a path; names of arguments and labels may have dots.
fn keys(path: &str) -> Vec<&str> {
    for section in ["build.args.", "build.labels."] {
        if let Some(name) = path.strip_prefix(section) {
            return section.split_terminator('.').chain([name]).collect();
        }
    }
    path.split('.').collect()
}

/// The value of the last of these keys.
fn value(keys: &[&str], text: &str, change: &Change) -> Node {
    let list =
        |items: Vec<&str>| change.node(Value::List(items.iter().map(|item| literal(item, change)).collect()));
    match keys.last() {
        Some(key) if SEPARATED.contains(key) => {
            list(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
        }
        Some(key) if WHOLE.contains(key) || change.appends() => {
            list([text].into_iter().filter(|text| !text.is_empty()).collect())
        }
        _ => literal(text, change),
    }
}

/// A text in which no variable is replaced: the shell has done that.
fn literal(text: &str, change: &Change) -> Node {
    change.text(&text.replace('$', "$$"))
}

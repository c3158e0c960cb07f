//! The files of a project as one tree.

use crate::compose::extends::Extender;
use crate::compose::merge;
use crate::compose::tags::Removals;
use crate::decode::Field;
use crate::yaml::{Node, Value};

/// Merges the files, each over those before it. `None` if one is not a Compose file.
pub(super) fn merged(files: &[Node], extender: &mut Extender<'_, '_>) -> Option<Node> {
    let mut all: Option<Node> = None;
    for file in files {
        extender.findings().source(&file.file.name);
    }
    for file in files {
        // An empty file changes nothing.
        if file.is_null() && files.len() > 1 {
            continue;
        }
        let Value::Map(_) = file.value else {
            Field::root(file).expected("a Compose file: a mapping with `services`", extender.findings());
            continue;
        };
        let mut file = file.clone();
        let removals = Removals::take(&mut file);
        let removals = extender.complete(&mut file, removals);
        all = Some(match all.take() {
            None => file,
            Some(mut earlier) => {
                removals.apply(&mut earlier);
                merge::files(earlier, file, extender.findings())
            }
        });
    }
    all
}

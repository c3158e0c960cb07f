//! Whether secrets stand in a config file itself: then the file must not get into an image.

use crate::decode::Field;
use crate::mask::name_suggests_secret;
use crate::yaml::Value;

/// Whether a task of the file holds a password, or a value of a variable whose name suggests a secret. A value that comes
/// from a variable or from another file is not in this one.
pub(super) fn are_in_file(root: &Field<'_>) -> bool {
    let entries = root.get("bake").map(|bake| bake.items()).unwrap_or_default();
    root.get("global").into_iter().chain(entries).any(|task| {
        let logins = task.get("kaniko-credentials").map(|logins| logins.items()).unwrap_or_default();
        let env = task.get("env").map(|env| env.entries()).unwrap_or_default();
        logins.iter().filter_map(|login| login.get("password")).any(|password| is_written(&password))
            || env.iter().any(|(name, value)| name_suggests_secret(name) && is_written(value))
    })
}

fn is_written(field: &Field<'_>) -> bool {
    let has_text = matches!(&field.node.value, Value::Scalar { text, .. } if !text.is_empty());
    has_text && field.written().is_none()
}

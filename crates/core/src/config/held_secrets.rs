//! Whether secrets stand in a config file itself: then the file must not get into an image.

use crate::decode::Field;
use crate::mask::name_suggests_secret;
use crate::yaml::Value;

/// Whether a task of the file holds a password, or a value of a variable whose name suggests a secret. A value that comes
/// from a variable or from another file is not in this one.
pub(super) fn are_in_file(root: &Field<'_>) -> bool {
    let entries = root.get("bake").map(|bake| bake.items()).unwrap_or_default();
    root.get("global").into_iter().chain(entries).any(|task| {
        let kaniko = task.get("kaniko");
        let of_kaniko = |key| kaniko.as_ref().and_then(|kaniko| kaniko.get(key));
        // The second is a key of version 1.0: it has no effect, and its password is one all the same.
        let logins =
            [task.get("kaniko-credentials"), of_kaniko("image").and_then(|image| image.get("secret"))];
        let variables = [task.get("env"), of_kaniko("env")];
        logins.iter().flatten().flat_map(Field::items).any(|login| holds_password(&login))
            || variables
                .iter()
                .flatten()
                .flat_map(Field::entries)
                .any(|(name, value)| name_suggests_secret(name) && is_written(&value))
    })
}

fn holds_password(login: &Field<'_>) -> bool {
    login.get("password").is_some_and(|password| is_written(&password))
}

fn is_written(field: &Field<'_>) -> bool {
    let has_text = matches!(&field.node.value, Value::Scalar { text, .. } if !text.is_empty());
    has_text && field.written().is_none()
}

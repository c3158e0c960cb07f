//! Paths below a source folder as bytes: slashes between the parts, none around them.

/// The path of `name` in `folder`; an empty folder is the source folder itself.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// A path for messages; bytes that are not UTF-8 are replaced.
pub(crate) fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

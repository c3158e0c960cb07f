//! Paths inside a source root, as text: `/` between parts, compared and joined without a file system.

/// `base/path` without `.` and `..`; `.` for the root itself. `None` if it would leave the root.
pub fn join(base: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The shortest spelling of a relative path; `..` stays only at its beginning.
pub fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// `path`, which is relative to the folder of `file`, in its shortest spelling. Absolute paths stay absolute.
pub fn beside(file: &str, path: &str) -> String {
    let full = match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    };
    let tidy = tidy(&full);
    if !full.starts_with('/') {
        return tidy;
    }
    // There is nothing above `/`.
    let mut below = tidy.as_str();
    while let Some(rest) = below.strip_prefix("../") {
        below = rest;
    }
    format!("/{}", if matches!(below, "." | "..") { "" } else { below })
}

/// The path of `inner` relative to `root` (both absolute and free of links); `None` if it is outside.
pub fn below(root: &str, inner: &str) -> Option<String> {
    let (root, inner) = (join("", root)?, join("", inner)?);
    match root.as_str() {
        "." => Some(inner),
        _ if inner == root => Some(".".to_owned()),
        _ => inner.strip_prefix(&root)?.strip_prefix('/').map(str::to_owned),
    }
}

/// The path to `inner` from the folder `from`, both relative to one root and as [`join`] returns them.
pub fn from_folder(from: &str, inner: &str) -> String {
    let from: Vec<_> = from.split('/').filter(|part| *part != ".").collect();
    let inner: Vec<_> = inner.split('/').collect();
    let common = from.iter().zip(&inner).take_while(|(a, b)| a == b).count();
    let up = vec![".."; from.len() - common];
    [&up[..], &inner[common..]].concat().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_paths_stay_inside() {
        for (base, path, joined) in [
            (".", ".", Some(".")),
            ("a/b", "../c", Some("a/c")),
            ("a", "..", Some(".")),
            ("a", "../..", None),
            (".", "../a/..", None),
            ("a//b/", "./c/", Some("a/b/c")),
        ] {
            assert_eq!(join(base, path).as_deref(), joined, "{base} {path}");
        }
    }

    #[test]
    fn tidy_keeps_what_a_path_means() {
        for (path, tidied) in
            [("./a/../b", "b"), ("../a", "../a"), ("a/../../b", "../b"), ("", "."), ("../../x/.", "../../x")]
        {
            assert_eq!(tidy(path), tidied, "{path}");
        }
    }

    #[test]
    fn a_path_from_a_folder_leads_back_to_the_same_place() {
        for (from, inner, path) in
            [(".", "a/D", "a/D"), ("a", "a/D", "D"), ("a/b", "a/c/D", "../c/D"), ("a/b", "D", "../../D")]
        {
            assert_eq!(from_folder(from, inner), path, "{from} {inner}");
            assert_eq!(join(from, &from_folder(from, inner)).as_deref(), Some(inner));
        }
    }

    #[test]
    fn only_paths_inside_the_root_are_below_it() {
        assert_eq!(below("/r", "/r").as_deref(), Some("."));
        assert_eq!(below("/r/", "/r/a/../b").as_deref(), Some("b"));
        assert_eq!(below("/", "/a").as_deref(), Some("a"));
        assert_eq!(below("/r", "/rest"), None);
        assert_eq!(below("/r/a", "/r"), None);
    }
}

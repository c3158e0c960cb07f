//! Which folders of a tree are the largest, while its entries pass by.

use std::mem;

use crate::byte_path::display;

/// How many folders are named.
const NAMED: usize = 3;

/// A folder with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFolder {
    /// Relative to the source folder.
    pub path: String,
    /// Bytes of all files in it.
    pub bytes: u64,
}

/// Adds up the sizes of files, folder by folder. Memory is bounded by the depth of the tree.
#[derive(Debug, Default)]
pub(crate) struct FolderSizes {
    /// From the root, which has the empty path, to the current folder.
    open: Vec<OpenFolder>,
}

#[derive(Debug, Default)]
struct OpenFolder {
    /// With a slash at the end.
    path: Vec<u8>,
    bytes: u64,
    /// The largest below it, none of them in another one, largest first.
    largest: Vec<(Vec<u8>, u64)>,
}

impl FolderSizes {
    /// Adds the next entry in the order of the archive; the path of a folder ends with a slash.
    pub(crate) fn add(&mut self, path: &[u8], bytes: u64) {
        while self.open.last().is_some_and(|folder| !path.starts_with(&folder.path)) {
            self.close();
        }
        if self.open.is_empty() {
            self.open.push(OpenFolder::default());
        }
        if path.ends_with(b"/") {
            self.open.push(OpenFolder { path: path.to_vec(), ..OpenFolder::default() });
        } else if let Some(folder) = self.open.last_mut() {
            folder.bytes += bytes;
        }
    }

    /// The largest folders, none of them in another one.
    pub(crate) fn finish(mut self) -> Vec<LargeFolder> {
        while self.open.len() > 1 {
            self.close();
        }
        let root = self.open.pop().unwrap_or_default();
        let shown = |(path, bytes): (Vec<u8>, u64)| LargeFolder { path: display(&path), bytes };
        root.largest.into_iter().map(shown).collect()
    }

    /// Adds the innermost folder to the one around it: itself, or a few folders below it that have most of its bytes.
    fn close(&mut self) {
        let Some(OpenFolder { mut path, bytes, largest }) = self.open.pop() else { return };
        let Some(parent) = self.open.last_mut() else { return };
        parent.bytes += bytes;
        let named: u64 = largest.iter().map(|(_, bytes)| bytes).sum();
        if named > bytes - bytes / 5 {
            parent.largest.extend(largest);
        } else {
            path.pop();
            parent.largest.push((mem::take(&mut path), bytes));
        }
        // Stable: of equal ones the first stays first.
        parent.largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parent.largest.truncate(NAMED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(entries: &[(&str, u64)]) -> Vec<String> {
        let mut sizes = FolderSizes::default();
        for (path, bytes) in entries {
            sizes.add(path.as_bytes(), *bytes);
        }
        sizes.finish().into_iter().map(|folder| format!("{} {}", folder.path, folder.bytes)).collect()
    }

    #[test]
    fn the_folders_that_explain_the_size_are_named() {
        assert!(largest(&[]).is_empty() && largest(&[("a", 9)]).is_empty());
        let services = [
            ("README", 1),
            ("services/", 0),
            ("services/a/", 0),
            ("services/a/modules/", 0),
            ("services/a/modules/x/", 0),
            ("services/a/modules/x/1", 40),
            ("services/a/modules/y", 60),
            ("services/a/modules/z", 60),
            ("services/b", 1),
            ("tmp/", 0),
            ("tmp/1", 3),
            ("web/", 0),
            ("web/dist/", 0),
            ("web/dist/1", 50),
            ("web/src", 30),
        ];
        // `services` is explained by one folder in it, `web` is not.
        assert_eq!(largest(&services), ["services/a/modules 160", "web 80", "tmp 3"]);
    }
}

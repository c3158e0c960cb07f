//! Says that a context is large, and where its bytes are.

use bakery_context::LargeFolder;
use bakery_core::limits;
use bakery_core::message::Message;
use bakery_core::units::format_bytes;

/// What to say about a context of this size; `None` if it is not large.
pub(crate) fn notice(bytes: u64, largest: &[LargeFolder]) -> Option<Message> {
    if bytes <= limits::LARGE_CONTEXT_BYTES {
        return None;
    }
    let folders: Vec<_> = largest
        .iter()
        .map(|folder| format!("`{}` has {}", folder.path, format_bytes(folder.bytes)))
        .collect();
    let folders = if folders.is_empty() { String::new() } else { format!(": {}", folders.join(", ")) };
    let hint = "exclude what the build does not need in `.dockerignore`; `bakery-client context ls --largest 20` lists the \
                largest files";
    Some(Message::new(format!("the source has {}{folders}", format_bytes(bytes))).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_context_is_explained_by_its_largest_folders() {
        let folder = |path: &str, bytes| LargeFolder { path: path.to_owned(), bytes };
        let largest = [folder("web/node_modules", 90_000_000), folder("data", 12_345_678)];
        assert_eq!(notice(100_000_000, &largest), None);
        let said = notice(104_900_000, &largest).unwrap();
        assert_eq!(said.text, "the source has 104 MB: `web/node_modules` has 90.0 MB, `data` has 12.3 MB");
        assert!(said.hint.unwrap().contains("context ls"));
        assert_eq!(notice(100_000_001, &[]).unwrap().text, "the source has 100 MB");
    }
}

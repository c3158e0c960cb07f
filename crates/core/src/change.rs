//! Values that options set in files: `--set web.build.target=prod`.
//!
//! What a path means is up to the reader of the file: some keys are names that have dots themselves.

use std::sync::Arc;

use crate::message::Message;
use crate::report::{Location, Mistake, shown};
use crate::yaml::{Entry, Node, Replacement, SourceFile, Value};

/// What names `global` of a config file in a path.
const GLOBAL: &str = "global";
/// How a change is written.
const FORM: &str = "SERVICE.KEY=VALUE or global.KEY=VALUE, with dots between nested keys; += adds to a list";

/// A value that an option sets. Displays of its mistakes have the name of the option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    file: Arc<SourceFile>,
    path: String,
    value: NewValue,
    appends: bool,
}

/// What an option sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// A text, which is read as the key's type.
    Text(String),
    /// An entry of a list of mappings.
    Record(Vec<(&'static str, String)>),
}

impl Change {
    /// Parses `PATH=VALUE`, which sets a value, or `PATH+=VALUE`, which adds one to a list. `option` is its name in messages.
    pub fn parse(option: &str, text: &str) -> Result<Self, Mistake> {
        let wrong = |text: String| Mistake::of_setting(option, Message::new(text).with_hint(FORM));
        // The text is not shown: it may be a secret.
        let (path, value) = text.split_once('=').ok_or_else(|| wrong("not of the form PATH=VALUE".into()))?;
        let (path, appends) = path.strip_suffix('+').map_or((path, false), |path| (path, true));
        if !path.contains('.') || path.split('.').any(str::is_empty) {
            return Err(wrong(format!("`{}` is not a path", shown(path))));
        }
        let change = Self::of_option(&format!("{option}: {}", shown(path)), path, value);
        Ok(Self { appends, ..change })
    }

    /// What an option sets that has a path of its own. `option` is its name in messages.
    pub fn of_option(option: &str, path: &str, value: &str) -> Self {
        let file = Arc::new(SourceFile { name: option.into(), is_option: true, ..SourceFile::default() });
        Self { file, path: path.to_owned(), value: NewValue::Text(value.to_owned()), appends: false }
    }

    /// The same, added to a list.
    #[must_use]
    pub fn appended(self) -> Self {
        Self { appends: true, ..self }
    }

    /// The same with another value.
    #[must_use]
    pub fn with(self, value: NewValue) -> Self {
        Self { value, ..self }
    }

    /// Whether it changes `global` of a config file.
    pub fn is_of_global(&self) -> bool {
        self.parts().0 == GLOBAL
    }

    /// The path: what it selects (a service, an entry, `global`), and the keys below.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.path.split_once('.').unwrap_or((&self.path, ""))
    }

    /// The whole path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn value(&self) -> &NewValue {
        &self.value
    }

    /// Whether it adds to a list.
    pub(crate) fn appends(&self) -> bool {
        self.appends
    }

    /// The option.
    pub(crate) fn location(&self) -> Location {
        Location::setting(&self.file.name)
    }

    /// A node whose mistakes are those of the option.
    pub(crate) fn node(&self, value: Value) -> Node {
        Node { value, file: self.file.clone(), line: 0, col: 0, tag: None, replacement: Replacement::None }
    }

    /// A text, whatever YAML would make of it.
    pub(crate) fn text(&self, text: &str) -> Node {
        self.node(Value::Scalar { text: text.to_owned(), plain: false })
    }

    /// A list with the texts between commas; empty for an empty text.
    pub(crate) fn texts(&self, text: &str) -> Node {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        self.node(Value::List(items.map(|item| self.text(item)).collect()))
    }

    /// A mapping.
    pub(crate) fn mapping<'k>(&self, entries: impl IntoIterator<Item = (&'k str, Node)>) -> Node {
        self.node(Value::Map(entries.into_iter().map(|(key, value)| entry(key, value)).collect()))
    }
}

/// A key with its value.
pub(crate) fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), line: 0, col: 0, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_path_and_a_value() {
        let parse = |text| Change::parse("--set 2", text);
        let set = parse("web.build.args.A=b=c").unwrap();
        assert_eq!((set.parts(), set.appends()), (("web", "build.args.A"), false));
        assert_eq!(set.value(), &NewValue::Text("b=c".to_owned()));
        let added = parse("global.kaniko.tags+=r.test/a:1").unwrap();
        assert!(added.appends() && added.is_of_global());
        assert_eq!(added.location().to_string(), "--set 2: global.kaniko.tags");
        for text in ["hunter2", "web=1", ".a=1", "web.=1", "web..a=1", "=1"] {
            let wrong = parse(text).unwrap_err().rendered();
            assert!(wrong.starts_with("--set 2: ") && !wrong.contains("hunter2"), "{wrong}");
        }
    }
}

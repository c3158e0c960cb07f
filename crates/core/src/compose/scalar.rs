//! Values of a Compose file, with their variables replaced. Messages show the text of the file, never the value of a
//! variable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::compose::Withheld;
use crate::compose::rewritten::rewritten;
use crate::config::read_text;
use crate::decode::Field;
use crate::interpolate::{Budget, Filled, Syntax, interpolate};
use crate::message::Message;
use crate::report::{Findings, Location, shown};
use crate::vars::{Layered, Vars};
use crate::yaml::{Folder, Value};

/// Reads the values of the files of a project.
#[derive(Clone, Copy)]
pub(super) struct Scalars<'a> {
    vars: &'a dyn Vars,
    /// What the values may not hold.
    withheld: Option<&'a Withheld>,
    shared: &'a Shared,
}

/// What all readers of one project share.
#[derive(Default)]
pub(super) struct Shared {
    /// How many bytes the values with variables may still have.
    budget: Budget,
    /// The projects that are included, from number 1.
    projects: RefCell<Vec<Rc<IncludedProject>>>,
}

/// A project that is included.
#[derive(Debug, Clone)]
pub(super) struct IncludedProject {
    /// The folder that its paths are relative to.
    pub(super) folder: Arc<Folder>,
    /// What its `.env` sets, and those of the projects that include it. The variables of the whole project win.
    pub(super) values: BTreeMap<String, String>,
    /// What its values may not hold.
    pub(super) withheld: Withheld,
}

/// What an included project adds to the variables of the whole one, which adds nothing itself.
impl Vars for Option<Rc<IncludedProject>> {
    fn get(&self, name: &str) -> Option<String> {
        self.as_ref()?.values.get(name).cloned()
    }
}

/// A value with its variables replaced. Messages show it as it is written in the file.
#[derive(Debug, Clone)]
pub(super) struct Substituted {
    pub(super) value: String,
    written: String,
}

impl Substituted {
    /// A text without variables.
    pub(super) fn plain(text: &str) -> Self {
        Self { value: text.to_owned(), written: text.to_owned() }
    }

    /// Whether a variable was replaced.
    pub(super) fn is_substituted(&self) -> bool {
        self.value != self.written
    }

    /// The text of the file.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// The value as it may appear in a message.
    pub(super) fn shown(&self) -> String {
        shown(&self.written)
    }
}

impl<'a> Scalars<'a> {
    /// Reads values that do not reach a build.
    pub(super) fn new(vars: &'a dyn Vars, shared: &'a Shared) -> Self {
        Self { vars, withheld: None, shared }
    }

    /// The same for values that reach a build.
    pub(super) fn for_build(self, withheld: &'a Withheld) -> Self {
        Self { withheld: Some(withheld), ..self }
    }

    /// Adds a project that is included, and returns its number.
    pub(super) fn add_project(&self, project: IncludedProject) -> usize {
        let mut projects = self.shared.projects.borrow_mut();
        projects.push(Rc::new(project));
        projects.len()
    }

    /// A project that is included; `None` for the whole one.
    pub(super) fn project(&self, number: usize) -> Option<Rc<IncludedProject>> {
        self.shared.projects.borrow().get(number.checked_sub(1)?).cloned()
    }

    /// The variables that the values of a project get.
    pub(super) fn vars_of(&self, project: usize) -> Layered<&'a dyn Vars, Option<Rc<IncludedProject>>> {
        Layered { upper: self.vars, lower: self.project(project) }
    }

    /// The value of a variable that is named without a `$`; `None` if it is not set, or after a mistake. As in Compose, it is
    /// that of the whole project, also in one that is included.
    pub(super) fn variable(&self, name: &str, at: &Field<'_>, findings: &mut Findings) -> Option<String> {
        self.of_whole(name, self.vars.get(name)?, at.location.clone(), findings)
    }

    /// A variable that says how files are read, and whose value reaches the build; empty counts as unset.
    pub(super) fn setting(&self, name: &str, findings: &mut Findings) -> Option<String> {
        self.of_whole(name, self.vars.setting(name)?, Location::setting(name), findings)
    }

    /// The value of a variable of the whole project, unless it is withheld.
    fn of_whole(&self, name: &str, value: String, at: Location, findings: &mut Findings) -> Option<String> {
        let refusal = self.withheld.and_then(|withheld| withheld.refuses(name));
        let Some(message) = refusal else { return Some(value) };
        findings.mistake(at, message);
        None
    }

    /// Reports a variable that the value of `at` may not hold.
    fn allows(&self, name: &str, at: &Field<'_>, findings: &mut Findings) -> bool {
        let refusal = self.withheld.and_then(|whole| match self.project(at.node.file.project) {
            Some(project) => project.withheld.refuses(name),
            None => whole.refuses(name),
        });
        let allowed = refusal.is_none();
        if let Some(message) = refusal {
            findings.mistake(at.location.clone(), message);
        }
        allowed
    }

    /// A single value; `None` after a mistake.
    pub(super) fn text(&self, field: &Field<'_>, findings: &mut Findings) -> Option<String> {
        Some(self.filled(field, findings, how_to_set)?.text)
    }

    /// A single value with what went into it; `unset` is the hint for a variable that is not set.
    pub(super) fn filled(
        &self,
        field: &Field<'_>,
        findings: &mut Findings,
        unset: impl Fn(&str) -> String,
    ) -> Option<Filled> {
        let raw = read_text(field, findings)?;
        if !raw.contains('$') {
            return Some(Filled { text: raw.to_owned(), ..Filled::default() });
        }
        let vars = self.vars_of(field.node.file.project);
        match self.shared.budget.interpolate(Syntax::Compose, raw, &vars) {
            Ok(filled) => {
                // All of them are reported.
                let refused = filled.used.iter().filter(|name| !self.allows(name, field, findings)).count();
                if refused > 0 {
                    return None;
                }
                for name in &filled.unset {
                    let message = format!("the variable {name} is not set: it counts as empty");
                    findings.notice(field.location.clone(), Message::new(message).with_hint(unset(name)));
                }
                if filled.text.contains('\0') {
                    findings.mistake(field.location.clone(), "a variable's value holds a NUL byte");
                    return None;
                }
                Some(filled)
            }
            Err(error) => {
                findings.mistake(field.location.clone(), Message::of(&error));
                None
            }
        }
    }

    /// The hint for a value that is wrong because a variable in it is not set.
    pub(super) fn unset(&self, field: &Field<'_>, raw: &str) -> Option<String> {
        let name = interpolate(raw, &self.vars_of(field.node.file.project)).ok()?.unset.into_iter().next()?;
        Some(format!("the variable {name} is not set: {}", how_to_set(&name)))
    }

    /// A single value of some kind.
    pub(super) fn parse<T>(
        &self,
        field: &Field<'_>,
        findings: &mut Findings,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(field, findings)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let raw = field.text(findings).unwrap_or_default();
                let message = if raw == text {
                    format!("`{}` is not {expected}", shown(raw))
                } else {
                    format!("`{}`, with its variables replaced, is not {expected}", shown(raw))
                };
                findings.mistake(field.location.clone(), message);
                None
            }
        }
    }

    /// A boolean; the other spellings of YAML 1.1 (`yes`, `off`) are accepted with a notice.
    pub(super) fn boolean(&self, field: &Field<'_>, findings: &mut Findings) -> Option<bool> {
        let (value, old) = self.parse(field, findings, |text| match text.to_lowercase().as_str() {
            "true" => Ok((true, false)),
            "false" => Ok((false, false)),
            "y" | "yes" | "on" => Ok((true, true)),
            "n" | "no" | "off" => Ok((false, true)),
            _ => Err("true or false".to_owned()),
        })?;
        if old {
            findings.notice(
                field.location.clone(),
                Message::new(format!("read as {value}")).with_hint("write true or false"),
            );
        }
        Some(value)
    }

    /// A single value and how it is written.
    pub(super) fn substituted(&self, field: &Field<'_>, findings: &mut Findings) -> Option<Substituted> {
        let value = self.text(field, findings)?;
        Some(Substituted { value, written: field.text(findings).unwrap_or_default().to_owned() })
    }

    /// A list of single values; one value alone is split at blanks.
    pub(super) fn list<'n>(
        &self,
        field: &Field<'n>,
        findings: &mut Findings,
    ) -> Vec<(Substituted, Field<'n>)> {
        match &field.node.value {
            Value::List(_) => {
                let item = |item: Field<'n>| Some((self.substituted(&item, findings)?, item));
                field.items().into_iter().filter_map(item).collect()
            }
            Value::Scalar { .. } => {
                let Some(Substituted { value, written }) = self.substituted(field, findings) else {
                    return Vec::new();
                };
                let as_written =
                    |word: &str| if value == written { word.to_owned() } else { written.clone() };
                let word = |word: &str| Substituted { value: word.to_owned(), written: as_written(word) };
                value.split_whitespace().map(|text| (word(text), field.clone())).collect()
            }
            Value::Map(_) => {
                field.expected("a list", findings);
                Vec::new()
            }
        }
    }

    /// A map, or a list of `NAME=value`; a name without a value has `None`.
    pub(super) fn pairs<'n>(
        &self,
        field: &Field<'n>,
        findings: &mut Findings,
    ) -> Vec<(String, Option<String>, Field<'n>)> {
        match &field.node.value {
            Value::Map(_) => {
                let pair = |(name, value): (&'n str, Field<'n>)| {
                    if value.node.is_null() {
                        return Some((name.to_owned(), None, value));
                    }
                    let text = self.text(&value, findings)?;
                    Some((name.to_owned(), Some(as_compose_writes(text, &value, findings)), value))
                };
                field.entries().into_iter().filter_map(pair).collect()
            }
            Value::List(_) => {
                let pair = |item: Field<'n>| {
                    let text = self.text(&item, findings)?;
                    Some(match text.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned()), item),
                        None => (text, None, item),
                    })
                };
                field.items().into_iter().filter_map(pair).collect()
            }
            Value::Scalar { .. } => {
                field.expected("a mapping or a list of NAME=value", findings);
                Vec::new()
            }
        }
    }
}

/// A value of arguments or labels: Compose writes numbers, booleans and dates in its own way.
fn as_compose_writes(text: String, field: &Field<'_>, findings: &mut Findings) -> String {
    let Some(new) = rewritten(&field.node.value) else { return text };
    let message = format!("`{}` without quotes is `{}` to Compose", shown(&text), shown(&new));
    let hint = "it is passed on as Compose does; quote it to keep what is written";
    findings.notice(field.location.clone(), Message::new(message).with_hint(hint));
    new
}

fn how_to_set(name: &str) -> String {
    format!("set it, or write ${{{name}:-default}}")
}

//! Variables in Compose files and in `.env`, with the whole of Compose's grammar, and in config.yaml, in braces only.
//!
//! `$NAME`, `${NAME}`, and `${NAME` followed by an operator, a text and `}`: `:-` and `-` give a default, `:?` and `?`
//! require a value, `:+` and `+` give an alternative; with the colon an empty value counts as unset. The text may hold
//! variables itself. `$$` is a dollar sign; a dollar sign before anything else is itself. In braces only, `$NAME` and
//! `$$` are themselves as well, and `$${` is `${`.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use thiserror::Error;

use crate::limits;
use crate::message::Hint;
use crate::vars::Vars;

/// Maximum nesting depth of variables.
const DEPTH: usize = 32;

/// A text with its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// Variables that are not set and have no default; each was replaced with nothing.
    pub unset: Vec<String>,
    /// Variables whose values are a part of the text.
    pub used: BTreeSet<String>,
}

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// As in Compose.
    Compose,
    /// `${NAME}` alone: shell in the same file keeps its `$NAME`.
    Braces,
}

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InterpolationError {
    /// The syntax after `${` is not valid.
    #[error("`${{` is not followed by a variable's name, an operator or `}}`")]
    Template(Syntax),
    /// `${NAME:?why}`, and the variable has no value.
    #[error("the variable {name} is required and has no value{}{why}", if why.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// The reason given in the file.
        why: String,
    },
    /// Variables are nested deeper than the limit.
    #[error("variables are nested deeper than {DEPTH} levels")]
    Deep,
    /// The values of its variables make the text too long.
    #[error("with its variables replaced, the file has more than {} bytes", limits::INTERPOLATED_BYTES)]
    Long,
}

impl Hint for InterpolationError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Template(Syntax::Compose) => "`$$` is a dollar sign".into(),
            Self::Template(Syntax::Braces) => "`$${` is a literal `${`".into(),
            Self::Required { name, .. } => format!("set {name} in the environment or in .env").into(),
            Self::Deep => "nest fewer defaults".into(),
            Self::Long => "use fewer variables with long values".into(),
        })
    }
}

/// Replaces the variables in a text as Compose does; the result has at most [`limits::INTERPOLATED_BYTES`].
pub fn interpolate(template: &str, vars: &dyn Vars) -> Result<Filled, InterpolationError> {
    interpolate_within(limits::INTERPOLATED_BYTES, Syntax::Compose, template, vars)
}

/// Replaces the variables in a text; the result has at most `limit` bytes.
pub(crate) fn interpolate_within(
    limit: usize,
    syntax: Syntax,
    template: &str,
    vars: &dyn Vars,
) -> Result<Filled, InterpolationError> {
    let mut filled = Filled::default();
    fill(template, &Scope { vars, syntax, limit }, 0, &mut filled)?;
    Ok(filled)
}

/// The bytes that the values with variables of one project, or of one file, may have.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(limits::INTERPOLATED_BYTES))
    }
}

impl Budget {
    /// Replaces the variables in one of the values.
    pub(crate) fn interpolate(
        &self,
        syntax: Syntax,
        template: &str,
        vars: &dyn Vars,
    ) -> Result<Filled, InterpolationError> {
        let filled = interpolate_within(self.0.get(), syntax, template, vars)?;
        self.0.set(self.0.get() - filled.text.len());
        Ok(filled)
    }
}

/// What all parts of one text have in common.
struct Scope<'a> {
    vars: &'a dyn Vars,
    syntax: Syntax,
    limit: usize,
}

impl Scope<'_> {
    /// Appends `text` while the limit allows it.
    fn push(&self, text: &str, out: &mut Filled) -> Result<(), InterpolationError> {
        if out.text.len() + text.len() > self.limit {
            return Err(InterpolationError::Long);
        }
        out.text.push_str(text);
        Ok(())
    }

    /// Appends the value of `name`.
    fn push_value(&self, name: &str, value: &str, out: &mut Filled) -> Result<(), InterpolationError> {
        if !out.used.contains(name) {
            out.used.insert(name.to_owned());
        }
        self.push(value, out)
    }
}

fn fill(template: &str, scope: &Scope<'_>, depth: usize, out: &mut Filled) -> Result<(), InterpolationError> {
    if depth > DEPTH {
        return Err(InterpolationError::Deep);
    }
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        scope.push(&rest[..at], out)?;
        rest = &rest[at + 1..];
        let in_braces_only = scope.syntax == Syntax::Braces;
        if let Some(after) = rest.strip_prefix(if in_braces_only { "${" } else { "$" }) {
            scope.push(if in_braces_only { "${" } else { "$" }, out)?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or(InterpolationError::Template(scope.syntax))?;
            braced(&after[..end], scope, depth, out)?;
            rest = &after[end + 1..];
        } else if in_braces_only {
            scope.push("$", out)?;
        } else {
            let (name, after) = name(rest);
            if name.is_empty() {
                scope.push("$", out)?;
            } else {
                plain(name, scope, out)?;
            }
            rest = after;
        }
    }
    scope.push(rest, out)
}

/// Replaces one `${...}`; `inner` is the text between the braces.
fn braced(inner: &str, scope: &Scope<'_>, depth: usize, out: &mut Filled) -> Result<(), InterpolationError> {
    let (name, rest) = name(inner);
    if name.is_empty() {
        return Err(InterpolationError::Template(scope.syntax));
    }
    if rest.is_empty() {
        return plain(name, scope, out);
    }
    let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let mut chars = rest.chars();
    let operator = chars.next();
    let text = chars.as_str();
    let value = scope.vars.get(name);
    let is_set = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
    match operator {
        Some('-' | '?') if is_set => scope.push_value(name, &value.unwrap_or_default(), out)?,
        Some('+') if !is_set => {}
        Some('-') => {
            let start = out.text.len();
            fill(text, scope, depth + 1, out)?;
            scope.vars.defaulted(name, &out.text[start..]);
        }
        Some('+') => fill(text, scope, depth + 1, out)?,
        Some('?') => {
            // As it is written: the value of a variable may be a secret.
            return Err(InterpolationError::Required { name: name.to_owned(), why: text.to_owned() });
        }
        _ => return Err(InterpolationError::Template(scope.syntax)),
    }
    Ok(())
}

fn plain(name: &str, scope: &Scope<'_>, out: &mut Filled) -> Result<(), InterpolationError> {
    match scope.vars.get(name) {
        Some(value) => scope.push_value(name, &value, out)?,
        // No more than a report lists.
        None if out.unset.len() >= limits::FINDINGS || out.unset.iter().any(|known| known == name) => {}
        None => out.unset.push(name.to_owned()),
    }
    Ok(())
}

/// `[_a-zA-Z][_a-zA-Z0-9]*` at the beginning, and what follows.
fn name(text: &str) -> (&str, &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return ("", text);
    }
    text.split_at(text.find(|c| !word(c)).unwrap_or(text.len()))
}

/// The position of the brace that closes the expression; `None` if the line or the text ends first.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            '\n' => return None,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn vars() -> BTreeMap<String, String> {
        [("FOO", "first"), ("BAR", ""), ("B_1", "x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn every_form_means_what_it_means_to_compose() {
        for (template, text) in [
            ("$FOO ${FOO}", "first first"),
            ("${BAR}|$BAR|${MISSING}|$MISSING", "|||"),
            ("${MISSING:-x} ${BAR:-x} ${FOO:-x}", "x x first"),
            ("${MISSING-x} ${BAR-x} ${FOO-x}", "x  first"),
            ("${MISSING:+x} ${BAR:+x} ${FOO:+x}", "  x"),
            ("${MISSING+x} ${BAR+x} ${FOO+x}", " x x"),
            ("${FOO:?no} ${FOO?no} ${BAR?no}", "first first "),
            ("${MISSING:-${BAR:-$FOO}}-${FOO:+a ${B_1} b}", "first-a x b"),
            ("${MISSING:-{\"a\":{}}}!", "{\"a\":{}}!"),
            ("${MISSING:-/non:-alphanumeric?+}", "/non:-alphanumeric?+"),
            ("$$FOO $${FOO} $$$FOO", "$FOO ${FOO} $first"),
            ("$1 $- $ a$", "$1 $- $ a$"),
            ("$FOO.$FOO-$B_1", "first.first-x"),
            ("${MISSING:-}", ""),
            ("ü${MISSING:-ü}ü", "üüü"),
        ] {
            assert_eq!(interpolate(template, &vars()).unwrap().text, text, "{template}");
        }
    }

    fn in_braces(template: &str) -> Result<Filled, InterpolationError> {
        interpolate_within(limits::INTERPOLATED_BYTES, Syntax::Braces, template, &vars())
    }

    #[test]
    fn in_braces_only_shell_stays_text() {
        for (template, text) in [
            ("${FOO} ${BAR}|${MISSING}", "first |"),
            ("${MISSING:-x} ${BAR:-x} ${FOO:?no} ${FOO:+x}", "x x first x"),
            ("$FOO $$FOO $$ $ $1 $(id) a$", "$FOO $$FOO $$ $ $1 $(id) a$"),
            ("$${FOO} $$${FOO} ${NO:-$}${FOO}", "${FOO} $${FOO} $first"),
            ("${NO:-$FOO ${FOO} $${FOO}}", "$FOO first ${FOO}"),
            ("p$ss$$w0rd$", "p$ss$$w0rd$"),
        ] {
            assert_eq!(in_braces(template).unwrap().text, text, "{template}");
        }
        for template in ["${", "${}", "${1}", "${FOO", "${FOO!x}", "$(${)", "${NO:-$${}"] {
            let error = in_braces(template).unwrap_err();
            assert_eq!(error, InterpolationError::Template(Syntax::Braces), "{template}");
            assert_eq!(error.hint().unwrap(), "`$${` is a literal `${`");
        }
    }

    #[test]
    fn an_unset_variable_is_listed_once() {
        let filled = interpolate("$A ${A} $B ${C:-} ${D+x}", &vars()).unwrap();
        assert_eq!(filled.unset, ["A", "B"]);
    }

    #[test]
    fn errors_are_named() {
        for template in
            ["${", "${}", "${1}", "${a.b}", "${ FOO}", "${FOO", "${FOO!x}", "${FOO:x}", "${A:-\n}"]
        {
            assert_eq!(
                interpolate(template, &vars()),
                Err(InterpolationError::Template(Syntax::Compose)),
                "{template}"
            );
        }
        let error = interpolate("${MISSING:?set ${FOO} too}", &vars()).unwrap_err();
        assert_eq!(error.to_string(), "the variable MISSING is required and has no value: set ${FOO} too");
        let error = interpolate("${BAR:?}", &vars()).unwrap_err();
        assert_eq!(error.to_string(), "the variable BAR is required and has no value");
        let deep = format!("{}{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert_eq!(interpolate(&deep, &vars()), Err(InterpolationError::Deep));
    }

    #[test]
    fn a_long_variable_cannot_be_repeated_without_bound() {
        let vars = BTreeMap::from([("BIG".to_owned(), "x".repeat(100_000))]);
        assert!(interpolate(&"${BIG}".repeat(41), &vars).is_ok());
        for form in ["${BIG}", "$BIG", "${BIG:-x}", "${NO:-$BIG}", "${BIG:+$BIG}"] {
            assert_eq!(interpolate(&form.repeat(42), &vars), Err(InterpolationError::Long), "{form}");
        }
    }

    #[test]
    fn the_variables_of_a_text_are_those_whose_values_are_in_it() {
        let filled = interpolate("$FOO ${NO:-${B_1}} ${BAR:+x}${FOO:+y} ${C?}", &{
            let mut vars = vars();
            vars.insert("C".to_owned(), "c".to_owned());
            vars
        });
        assert_eq!(filled.unwrap().used, ["B_1", "C", "FOO"].map(str::to_owned).into());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(template in r"([$]|[{}]|[A-B]|:-|-|:[?]|[?]|:[+]|[+]|ü|\n){0,40}") {
            let _ = interpolate(&template, &vars());
        }

        /// In braces only is Compose's grammar for a text whose other dollar signs are doubled.
        #[test]
        fn both_ways_to_write_variables_agree(template in r"([$]|[{}]|[$][{]FOO|FOO|:-|:[?]|ü| ){0,30}") {
            let mut doubled = String::new();
            let mut rest = template.as_str();
            while let Some(c) = rest.chars().next() {
                let taken = ["$${", "${"].into_iter().find(|start| rest.starts_with(start));
                match taken {
                    Some(start) => doubled.push_str(start),
                    None if c == '$' => doubled.push_str("$$"),
                    None => doubled.push(c),
                }
                rest = &rest[taken.map_or(c.len_utf8(), str::len)..];
            }
            let both = (in_braces(&template), interpolate(&doubled, &vars()));
            match both {
                (Ok(own), Ok(composes)) => prop_assert_eq!(own, composes),
                (Err(own), Err(composes)) => {
                    let kind = std::mem::discriminant::<InterpolationError>;
                    prop_assert_eq!(kind(&own), kind(&composes));
                }
                (own, composes) => prop_assert!(false, "{own:?} {composes:?}"),
            }
        }

        /// Another implementation of the same grammar reads the same text.
        #[test]
        fn another_implementation_agrees(template in r"(\$FOO|\$BAR|\$\{B_1\}|\$\$|x|\$\{(FOO|BAR|NO)(:-|-|:[+]|[+])(x|\$FOO|\$\{NO:-y\})?\}){1,8}") {
            let peer = serde_saphyr::options! {
                property_syntax: serde_saphyr::PropertySyntax::DockerCompose,
            };
            let map: std::collections::HashMap<String, String> = vars().into_iter().collect();
            let yaml = format!("'{template}'");
            let options = peer.with_properties(map);
            let theirs: Result<String, _> = serde_saphyr::from_str_with_options(&yaml, options);
            prop_assert_eq!(interpolate(&template, &vars()).unwrap().text, theirs.unwrap());
        }
    }
}

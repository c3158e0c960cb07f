//! What is declared about a key of a config file, as data: for the decoder, the reference page and the JSON Schema.
//!
//! A pattern says what an editor can check while somebody writes: what it refuses is a mistake, but the functions of
//! [`super::values`] and [`crate::rules`] decide, and refuse more.

use std::fmt;

use crate::rules;
use crate::units;

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its name in its section.
    pub name: &'static str,
    /// The values that it accepts.
    pub form: ValueForm,
    /// The value if it is not set.
    pub default: &'static str,
    /// What it does, in whole sentences.
    pub meaning: &'static str,
    /// True if an entry of `bake` cannot have it.
    pub global_only: bool,
}

impl KeyDoc {
    /// True if it has an effect; others are keys of version 1.0.
    pub const fn is_used(&self) -> bool {
        !matches!(self.form, ValueForm::Unused { .. })
    }

    /// True if a record must have it.
    pub(super) fn is_required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// The values that a key accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// A mapping with these keys.
    Section(&'static [KeyDoc]),
    /// A list of mappings with these keys.
    Entries(&'static [KeyDoc]),
    /// A list of mappings with more than one form.
    Records(Records),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A single value.
    Text(Text),
    /// A list of single values.
    Texts(Text),
    /// A mapping of texts, with names of this kind.
    Map(Names),
    /// Anything: the key has no effect, and a notice says why and what to do.
    Unused {
        /// Why it has no effect.
        why: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
}

/// Mappings that each have the keys that are required, those of one of some groups, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Records {
    /// All keys.
    pub keys: &'static [KeyDoc],
    /// The groups.
    pub one_of: &'static [&'static [&'static str]],
    /// A word that stands for an entry, or for the whole list.
    pub word: Option<&'static str>,
}

impl Records {
    /// The keys of each form, in their order.
    pub(super) fn forms(&self) -> impl Iterator<Item = Vec<&'static str>> {
        self.one_of.iter().map(|group| {
            let of_form = |key: &&KeyDoc| key.is_required() || group.contains(&key.name);
            self.keys.iter().filter(of_form).map(|key| key.name).collect()
        })
    }
}

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// What it looks like, for people.
    pub written: &'static str,
    /// What it must match if it is a text.
    pub pattern: Pattern,
    /// What else than a text it may be in YAML.
    pub scalar: Scalar,
}

/// The names in a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// What the mapping looks like, for people.
    pub written: &'static str,
    /// What each name must match.
    pub pattern: Pattern,
}

/// Regular expressions over a text, in the common part of the dialects: no look-around, no classes of Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// What it must match.
    pub must: Option<&'static str>,
    /// What it must not match.
    pub not: Option<&'static str>,
}

/// Values of YAML that are not texts, and are read as what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// None of them is valid.
    None,
    /// Numbers in this range, 0 not among them.
    Number(u32, u32),
    /// Whole numbers from 0 to this one.
    Count(u32),
    /// Numbers, `true` and `false`.
    Any,
}

/// The default of a key of a [record](ValueForm::Records) that each must have.
pub(super) const REQUIRED: &str = "none (required)";

const ANY: Pattern = Pattern { must: None, not: None };

const fn text(written: &'static str, must: &'static str) -> Text {
    Text { written, pattern: Pattern { must: Some(must), not: None }, scalar: Scalar::None }
}

pub(super) const CPU: Text =
    Text { scalar: Scalar::Number(0, 1024), ..text("`0.5`, `500m`, `2`", r"^[0-9]+(\.[0-9]+)?m?$") };
pub(super) const MEMORY: Text = Text {
    scalar: Scalar::Number(32, 16 << 20),
    ..text("`2G`, `2Gi`, `512`", r"^[0-9]+(\.[0-9]+)? *([kKmMgGtT][iI]?[bB]?)?$")
};
pub(super) const DISK: Text = Text {
    written: "`40G`, `40Gi`, `40960`",
    scalar: Scalar::Number(units::LEAST_DISK_MIB, 16 << 20),
    ..MEMORY
};
pub(super) const TTL: Text = text("duration: `24h`, `90m`", r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$");
pub(super) const TIMEOUT: Text = Text { written: "duration: `30m`, `1h30m`", ..TTL };
pub(super) const SCRIPT: Text = Text { written: "string", pattern: ANY, scalar: Scalar::Any };
pub(super) const NOT_EMPTY: Text = Text { scalar: Scalar::Any, ..text("string", r"[\s\S]") };
pub(super) const USERNAME: Text =
    Text { scalar: Scalar::Any, ..text("string without `:`", r"^[^:\x00-\x1f\x7f]+$") };
pub(super) const LOGIN_HOST: Text =
    text("`HOST` or `HOST:PORT`", r"^\s*(https?://)?[A-Za-z0-9.\[\]:-]+(/v[12])?/?\s*$");
pub(super) const IMAGE_PREFIX: Text = text(
    "`HOST`, `HOST/PATH`",
    r"^(localhost|[A-Za-z0-9-]*[.:\[][A-Za-z0-9.:\[\]-]*)(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/*$",
);
pub(super) const CONTEXT_PATH: Text = Text {
    written: "path",
    pattern: Pattern { must: Some(r"^([^/]|/workspace(/|$))"), not: Some(r"^(\./+)*\.\.(/|$)") },
    scalar: Scalar::Any,
};
pub(super) const DOCKERFILE: Text = Text { scalar: Scalar::Any, ..text("path", r"^([^/]|/workspace/)") };
pub(super) const DESTINATION: Text = text(
    "image reference without digest",
    r"^([A-Za-z0-9.-]+(:[0-9]+)?/|\[[0-9A-Fa-f:]+\](:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
);
pub(super) const TAG: Text = Text { written: "image references without digest", ..DESTINATION };
pub(super) const CACHE_REPO: Text = text(
    "repository",
    r"^(oci:.*|localhost/?|[A-Za-z0-9-]*[.:\[][A-Za-z0-9.:\[\]-]*/?|[A-Za-z0-9.:\[\]-]+/[a-z0-9._/-]+)$",
);
pub(super) const CUSTOM_PLATFORM: Text =
    text("`linux/ARCH` or `linux/ARCH/VARIANT`", r"^linux/[A-Za-z0-9.]+(/[A-Za-z0-9.]+)?$");
pub(super) const KANIKO_DIR: Text = Text {
    pattern: Pattern {
        must: Some(r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"),
        not: Some(
            r"^/(kaniko/|(proc|sys|dev)(/|$)|(bin|boot|etc|home|lib|opt|root|run|sbin|srv|tmp|usr|var)$)",
        ),
    },
    ..text("absolute path that does not exist in the image", "")
};
pub(super) const IGNORED_PATH: Text = Text { written: "absolute paths", pattern: ANY, scalar: Scalar::Any };
pub(super) const FLAGS: Text = text("string, quoted as in a shell", r#"^\s*(["']?-|$)"#);

pub(super) const STAGE: Text =
    Text { scalar: Scalar::Any, ..text("name or number of a stage", "^[A-Za-z0-9][A-Za-z0-9._-]*$") };
pub(super) const MIRROR: Text =
    text("`HOST`, `HOST/PATH`", r"^\s*[A-Za-z0-9.\[\]:-]+\s*(/[A-Za-z0-9._/-]+)?$");
pub(super) const RETRIES: Text =
    Text { scalar: Scalar::Count(rules::PUSH_RETRIES), ..text("number from 0 to 20", "^[0-9]+$") };
pub(super) const SECRET_ID: Text = Text {
    scalar: Scalar::Any,
    ..text("letters, digits, `.`, `_`, `-`", "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")
};
pub(super) const VARIABLE: Text = text("name of a variable", "^[A-Za-z_][A-Za-z0-9_]*$");
pub(super) const SECRET_FILE: Text = text("path", r"[\s\S]");

const fn strings(must: &'static str) -> Names {
    Names { written: "mapping of strings", pattern: Pattern { must: Some(must), not: None } }
}

pub(super) const ENV_NAMES: Names = Names {
    pattern: Pattern {
        must: Some("^[A-Za-z_][A-Za-z0-9_]*$"),
        not: Some("^(KANIKO_DIR|DOCKER_CONFIG|DOCKER_AUTH_CONFIG|BUILDER_OUTPUT|PATH|LD_.*)$"),
    },
    ..strings("")
};
pub(super) const ARG_NAMES: Names = strings(r"^[^=:\s]+$");
pub(super) const LABEL_NAMES: Names = strings("^[^=]+$");
pub(super) const MIRRORED: Names =
    Names { written: "mapping of `HOST: MIRROR`", pattern: LOGIN_HOST.pattern };
pub(super) const CERTIFIED: Names = Names { written: "mapping of `HOST: PATH`", pattern: LOGIN_HOST.pattern };

impl fmt::Display for ValueForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(_) => f.write_str("section"),
            Self::Entries(_) => f.write_str("list of mappings"),
            Self::Records(records) => {
                let form = |keys: Vec<&str>| format!("`{{{}}}`", keys.join(", "));
                write!(f, "list of {}", records.forms().map(form).collect::<Vec<_>>().join(" or "))?;
                records
                    .word
                    .map_or(Ok(()), |word| write!(f, "; `{word}` for an entry, or for the whole list"))
            }
            Self::Word(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                match quoted.split_last() {
                    Some((last, others)) if !others.is_empty() => {
                        write!(f, "{} or {last}", others.join(", "))
                    }
                    _ => f.write_str(&quoted.concat()),
                }
            }
            Self::Switch => f.write_str("boolean"),
            Self::Text(text) => f.write_str(text.written),
            Self::Texts(text) => write!(f, "list of {}", text.written),
            Self::Map(names) => f.write_str(names.written),
            Self::Unused { .. } => f.write_str("anything"),
        }
    }
}

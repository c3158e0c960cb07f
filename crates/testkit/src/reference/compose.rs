//! The meaning of each attribute of a Compose file.

use std::fmt::Write as _;

use bakery_core::compose::{Attribute, FILES, Fate, NO_NETWORK, OVERRIDES, SECTIONS, WITHHELD};

use super::{code, head, table};

const SEVERAL: &str = "
## Several files

`--compose A --compose B` merges B over A, with Compose's rules. The folder of the first file is the project's: its `.env` is read, and paths in all files are relative to it.

- Mappings are merged key by key, single values are replaced, lists are appended. A key without a value changes nothing.
- `build: FOLDER` counts as `build: { context: FOLDER }`.
- `args`, `labels` and `additional_contexts` are merged by name, in both forms; a name without a value replaces the earlier one.
- `platforms`, `tags` and `profiles` hold each value once. `depends_on` is merged by service, in both forms.
- `!reset` removes an earlier value, `!override` replaces one without merging.
- `extends` is resolved in each file before it is merged: a service can extend those of its own file and of those that it includes, or of the file that it names.
- `include` takes the services of another project: `path` is a file or a list of files that are merged, `project_directory` the folder that their paths are relative to (default: that of
  the first file), `env_file` a file or a list of files with variables (default: `.env` in that folder; the variables of the whole project win). The file that includes is merged over what
  it includes.

A message about a value names the line of the file that the value is from. `plan` lists the files that were read.
";

/// The corpus in `tests/compose` has a case for each.
const REFUSED: &str = "
## Compared with Compose

A corpus of Compose files is planned by Bakery and loaded by Compose's own library in each test run. Bakery builds what Compose builds, except for these.

Plain numbers, `True`, `FALSE` and dates in `args` and `labels` reach the build as they are written; Compose rewrites them (`1.10` becomes `1.1`, `010` becomes `8`). In quotes they are the same for both.

Bakery accepts mistakes that Compose refuses in what it does not read: services that are not built, attributes for running a service or without effect, conditions of dependencies. A key without a
value changes nothing, a number is read as a text, and a text as a list of one.

These are refused although Compose accepts them:

| What | Why |
|---|---|
| A remote context (`https://`, `git@`, `docker-image://`, ..) | only folders of the checkout are packed |
| A `dockerfile` with an absolute path | it is not in the packed source |
| A file with several documents | one file is one document |
| Two builds with one image | one would overwrite the other; equal builds of one image are done once |
| Two repositories of caches to write | Kaniko writes its layers to one; a second one to read has no effect, with a notice; `kaniko.cache.repo` of a config file takes the place of all |
| A cache that buildx cannot read: without a `type` or a `ref` | buildx refuses it too; Compose's library does not read it |
| An `image` with a digest | nothing can be pushed under a digest |
| A service whose name begins with `.`, `_` or `-` | such a name is not a valid target |
| A platform without an architecture (`linux`) | the architecture decides where a task runs |
| `jobs` at the top of a file | their images are not built |
| Nothing to build: no service with a `build` is active, or one without is named | it is a mistake more often than not |
| A misspelt key of `x-bake`, and an unknown key of `extends` or `include` | it would change the result without a message |
| A value of another kind than the one it is merged over, or than Compose's schema has | it would be ignored |
| A tag besides `!reset`, `!override` and YAML's own | it has no meaning in Compose |
| A `.env` or a file whose values become too large once their variables are replaced | nothing is read without a limit |
";

pub(super) fn text() -> String {
    let files = FILES.map(code).join(", ");
    let overrides = OVERRIDES.map(code).join(", ");
    let about = format!(
        "What `bakery-client --compose FILE` makes of a service. Without `--compose`, `--config` and a config.yaml in the working directory, the files of `COMPOSE_FILE` are used \
         (from the environment or from `.env` in the working directory, separated by `COMPOSE_PATH_SEPARATOR`, default `:`; `.env` can only name files of the checkout). \
         Without it the first of {files} is used, in the working directory or in a folder above \
         (up to one that everybody can write to), and the first of {overrides} beside it is merged over it. *Taken* has an effect; *refused* is a mistake, exit code 2, \
         because the attribute changes the result and is not supported; *ignored* has no effect and is reported as a notice. \
         `x-` keys of other tools are skipped. `${{NAME}}`, `${{NAME:-default}}` and the rest of Compose's interpolation work \
         everywhere; the variables are those of the environment, then those of `.env` in the working directory if no option names the files, then those of \
         `.env` in the folder of the first file; the files of `--env-file` or `COMPOSE_ENV_FILES` take the place of both. A key that Compose does not know is a mistake in a service with a `build`. A refused attribute is accepted if it is switched off \
         (`false`, `''`, `[]`, `{{}}`)."
    );
    let mut text = head("Compose files", &about);
    text.push_str(SEVERAL);
    for (path, attributes) in SECTIONS {
        let title = if path.is_empty() { "A service".to_owned() } else { code(path) };
        let mut rows: Vec<_> = attributes.iter().map(|it| row(it.name, it.fate)).collect();
        if attributes.iter().any(|it: &Attribute| it.name == "network") {
            rows.push(row(&format!("network: {}", NO_NETWORK.0), NO_NETWORK.1));
        }
        table(&mut text, &title, ["Attribute", "", "Effect"], &rows);
    }
    text.push_str(REFUSED);
    let names = WITHHELD.map(code).join(", ");
    let _ = write!(
        text,
        "\n## Secrets of the environment\n\nA value of the process environment under one of these names is a mistake in `image` and `build`, because every `RUN` step could \
         read it; `--allow-env NAME` allows one. Values that the project's `.env` has itself are not refused.\n\n{names}\n"
    );
    text
}

fn row(name: &str, fate: Fate) -> [String; 3] {
    let (word, what) = match fate {
        Fate::Taken(becomes) => ("taken", becomes.to_owned()),
        Fate::Refused { message, hint } => ("refused", format!("{message}: {hint}")),
        Fate::Ignored { hint } => ("ignored", hint.unwrap_or("-").to_owned()),
    };
    [code(name), word.to_owned(), what]
}

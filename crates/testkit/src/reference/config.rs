//! Every key of a config file.

use bakery_core::config::forms::KeyDoc;
use bakery_core::config::keys::{CACHE, CONTEXT, CREDENTIAL, KANIKO, SECRET, TASK, TOP};

use super::{code, head, table};

pub(super) fn text() -> String {
    let about = "What `bakery-client --config FILE` reads; without `--config`, `config.yaml` in the working directory. An entry of `bake` \
                 starts from `global`, and its own values take precedence: mappings such as `env`, `build-args` and `labels` are merged key by key, \
                 `kaniko` and `kaniko.cache` are sections whose other keys are kept, all other values and all lists are replaced. `''` or `[]` clears what is \
                 inherited. In values other than scripts `${NAME}` is replaced by a variable of the environment or of `.env`, with the operators of Compose \
                 (`${NAME:-default}`, `${NAME:?text}`), always as a text; `$NAME` stays, `$${` is a literal `${`, and a variable that is not set is a mistake. Unknown keys are mistakes. [client-config.yaml.example](../../client-config.yaml.example) is a complete file.";
    let mut text = head("config.yaml", about);
    for (title, prefix, keys) in [
        ("Top", "", &TOP[..]),
        ("`global`, and each entry of `bake`", "", &TASK),
        ("Each of `kaniko-credentials`", "", &CREDENTIAL),
        ("`context`", "context.", &CONTEXT),
        ("`kaniko`", "kaniko.", &KANIKO),
        ("Each of `kaniko.secrets`", "", &SECRET),
        ("`kaniko.cache`", "kaniko.cache.", &CACHE),
    ] {
        let row = |key: &KeyDoc| {
            let name = code(&format!("{prefix}{}", key.name));
            [name, key.form.to_string(), key.default.to_owned(), key.meaning.to_owned()]
        };
        let rows: Vec<_> = keys.iter().map(row).collect();
        table(&mut text, title, ["Key", "Value", "Default", "Meaning"], &rows);
    }
    text
}

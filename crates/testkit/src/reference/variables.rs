//! Every variable of the programs.

use std::fmt::Write as _;

use bakery_agent::environment::inherited;
use bakery_core::vars::VarDoc;
use bakery_core::wire::run::launch_env;
use bakery_server::settings::vars::GROUPS;

use super::{code, head, table};

const COLUMNS: [&str; 4] = ["Variable", "Default", "Needed when", "Meaning"];

pub(super) fn text() -> String {
    let about = "Server and client read the process environment, and below it `.env` in their working directory (the variables of a Compose file: `.env` in its folder, see the end); an empty value counts as \
                 unset. Durations are `90s`, `10m`, `1h30m`; lists are comma-separated, with or without blanks; switches are `true` or `false`. \
                 Anything else is an error that names the variable, all of them in one report, exit code 2. `.env.example` is the same list as a file to copy.";
    let mut text = head("Variables", about);
    for (group, vars) in GROUPS {
        table(&mut text, group, COLUMNS, &rows(vars));
    }
    table(&mut text, "Agent", COLUMNS, &rows(&launch_env::VARS));
    let inherited: Vec<String> = inherited().map(code).collect();
    let _ = write!(
        text,
        "\nThe agent reads no `.env`. From its container's environment its scripts and Kaniko see these and no others: {}.\n",
        inherited.join(", ")
    );
    text.push_str(
        "\nWhat the AWS SDK reads by itself (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and their like) counts for the \
         server's calls of AWS and for S3 without static keys. In Compose mode `COMPOSE_PROJECT_NAME`, \
         `COMPOSE_PROFILES`, `BAKERY_REGISTRY` and every `${NAME}` of the file are read from the environment and, below it, from `.env` in the \
         Compose file's folder, which need not be the working directory. What a `.env` of a checkout may decide: \
         [security](../security.md#what-a-env-of-the-checkout-decides).\n",
    );
    text
}

fn rows(vars: &[VarDoc]) -> Vec<[String; 4]> {
    let row = |var: &VarDoc| {
        let default = match var.default {
            "none" => "none".to_owned(),
            // A value is formatted as code, a sentence about it is not.
            default if default.contains(' ') => default.to_owned(),
            default => code(default),
        };
        let required = if var.required.is_empty() { "-" } else { var.required };
        [code(var.name), default, required.to_owned(), var.meaning.to_owned()]
    };
    vars.iter().map(row).collect()
}

//! The other options of `docker buildx build` and `docker build`, each with what becomes of it: one that changes the result
//! is refused with its reason, one that does not has no effect.

use bakery_core::compose::{Fate, NO_NETWORK};
use bakery_core::message::Message;
use bakery_core::report::{Findings, Location};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// An option of buildx.
#[derive(Debug, Clone, Copy)]
pub struct BuildxOption {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its letter.
    short: Option<char>,
    /// Whether it needs no value.
    is_switch: bool,
    /// Values that say what Bakery does anyway.
    pub usual: &'static [&'static str],
    /// What becomes of every other value.
    pub fate: Fate,
}

const fn refused(name: &'static str, message: &'static str, hint: &'static str) -> BuildxOption {
    let fate = Fate::Refused { message, hint };
    BuildxOption { name, short: None, is_switch: false, usual: &[], fate }
}

const fn ignored(name: &'static str) -> BuildxOption {
    BuildxOption { name, short: None, is_switch: false, usual: &[], fate: Fate::Ignored { hint: None } }
}

const fn always(name: &'static str, what: &'static str) -> BuildxOption {
    BuildxOption { fate: Fate::Taken(what), ..ignored(name) }
}

const fn replaced(name: &'static str, hint: &'static str) -> BuildxOption {
    BuildxOption { fate: Fate::Ignored { hint: Some(hint) }, ..ignored(name) }
}

const fn switch(option: BuildxOption) -> BuildxOption {
    BuildxOption { is_switch: true, ..option }
}

const fn but(usual: &'static [&'static str], option: BuildxOption) -> BuildxOption {
    BuildxOption { usual, ..option }
}

const fn short(letter: char, option: BuildxOption) -> BuildxOption {
    BuildxOption { short: Some(letter), ..option }
}

const SIZE: &str = "--cpu and --memory are the size of a task";
const CHECKED: &str = "`bakery-client check` checks the Dockerfiles of a build";
/// Why nothing is granted to a build.
pub(crate) const PRIVILEGES: &str = "Kaniko builds without privileges: remove it";
const NO_ATTESTATION: &str =
    "remove it; another program, such as cosign, attests the image once it is pushed";
const PUSHED: &str =
    "the image is pushed under the names of -t: remove it, or build without pushing by --no-push";
const DIGESTS: &str = "`bakery-client ps --json` lists the images of a build with their digests";

/// All of them, by name.
pub const OPTIONS: [BuildxOption; 35] = [
    refused(
        "add-host",
        "RUN steps have the hosts of the task",
        "remove it; a proxy is set by --set global.env.HTTPS_PROXY",
    ),
    refused("attest", "attestations are not made", NO_ATTESTATION),
    refused("build-context", "further contexts are not supported", "put what they hold into the context"),
    replaced("builder", "CONTROLLER_URL names the server that builds"),
    but(&["build"], refused("call", "only builds are supported", CHECKED)),
    ignored("cgroup-parent"),
    switch(but(&["false"], refused("check", "is a command of its own", CHECKED))),
    switch(ignored("compress")),
    replaced("cpu-period", SIZE),
    replaced("cpu-quota", SIZE),
    replaced("cpu-shares", SIZE),
    replaced("cpuset-cpus", SIZE),
    replaced("cpuset-mems", SIZE),
    short('D', switch(ignored("debug"))),
    switch(ignored("force-rm")),
    refused("iidfile", "no file is written about the image", DIGESTS),
    but(&["default"], ignored("isolation")),
    switch(but(
        &["false"],
        refused(
            "load",
            "there is no engine to load the image into",
            "it is pushed: `docker pull` fetches it where it is needed",
        ),
    )),
    replaced("memory-swap", SIZE),
    refused("metadata-file", "no file is written about the image", DIGESTS),
    but(&["default"], ignored("network")),
    ignored("no-cache-filter"),
    short(
        'o',
        but(
            &["type=registry", "type=image,push=true"],
            refused("output", "images are pushed to registries only", PUSHED),
        ),
    ),
    replaced("progress", "LOG_FORMAT is simple, plain or json"),
    but(&["false"], switch(refused("provenance", "attestations are not made", NO_ATTESTATION))),
    switch(but(&["true", "false"], always("pull", "always: every base image is pulled"))),
    switch(but(&["true"], refused("push", "images are pushed", "--no-push only builds"))),
    short(
        'q',
        switch(but(
            &["false"],
            refused(
                "quiet",
                "the ID of the image is not printed",
                "to hide the log, redirect standard output to /dev/null",
            ),
        )),
    ),
    switch(ignored("rm")),
    but(&["false"], switch(refused("sbom", "attestations are not made", NO_ATTESTATION))),
    refused("security-opt", "nothing can be granted", PRIVILEGES),
    ignored("shm-size"),
    switch(but(
        &["false"],
        refused(
            "squash",
            "layers are not squashed",
            "--set global.kaniko.single-snapshot=true makes one layer of each stage",
        ),
    )),
    refused("ssh", "Kaniko has no SSH mounts", "fetch in a script: --set global.pre-script='git clone ...'"),
    ignored("ulimit"),
];

/// Those of them that were given, each with its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildxOptions(Vec<(&'static str, String)>);

impl BuildxOptions {
    /// These and those of `lower`.
    pub fn or(self, lower: Self) -> Self {
        Self([lower.0, self.0].concat())
    }

    /// Reports what becomes of them.
    pub(crate) fn report(&self, findings: &mut Findings) {
        for (name, value) in &self.0 {
            let known = OPTIONS.iter().find(|option| option.name == *name);
            let Some(option) = known.filter(|option| !option.usual.contains(&value.as_str())) else {
                continue;
            };
            let at = Location::setting(&format!("--{name}"));
            let fate =
                if (*name, value.as_str()) == ("network", NO_NETWORK.0) { NO_NETWORK.1 } else { option.fate };
            match fate {
                Fate::Taken(_) => {}
                Fate::Refused { message, hint } => {
                    findings.mistake(at, Message::new(message).with_hint(hint));
                }
                Fate::Ignored { hint } => {
                    let hint = hint.map(str::to_owned);
                    findings.notice(at, Message { text: "has no effect here".to_owned(), hint });
                }
            }
        }
    }
}

impl Args for BuildxOptions {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.iter().map(|option| {
            let arg = Arg::new(option.name).long(option.name).action(ArgAction::Append).hide(true);
            let arg = option.short.map_or_else(|| arg.clone(), |letter| arg.clone().short(letter));
            if option.is_switch {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for BuildxOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let values =
            |option: &BuildxOption| matches.get_many::<String>(option.name).into_iter().flatten().cloned();
        Ok(Self(OPTIONS.iter().flat_map(|it| values(it).map(|value| (it.name, value))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

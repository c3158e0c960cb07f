//! The options of version 1.0, which had one dash: `-config FILE` and its like become `--config FILE`.

use std::ffi::{OsStr, OsString};

/// The options of version 1.0. No other word with one dash is changed: a letter stays an option of its own.
pub const OPTIONS: [&str; 5] = ["config", "compose", "services", "async", "repo"];

/// The arguments of the program, each option of version 1.0 with two dashes: `-repo DIR`, `-config=FILE`. The switch
/// `-async` may have a value there, with one dash or two: `-async=true` is the switch, `-async=false` is left out.
/// What follows `--` is not an option.
pub fn with_two_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut only_values = false;
    let mut all = Vec::new();
    for (nth, arg) in args.into_iter().enumerate() {
        only_values |= nth > 0 && arg == "--";
        // The first is the program's own name.
        if nth == 0 || only_values {
            all.push(arg);
        } else {
            all.extend(option(arg));
        }
    }
    all
}

/// One argument; `None` if it is a switch that is off.
fn option(arg: OsString) -> Option<OsString> {
    let bytes = arg.as_encoded_bytes();
    let dashes = bytes.iter().take_while(|byte| **byte == b'-').count();
    // The names are ASCII, and so is what ends them: the value need not be UTF-8.
    let (word, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (bytes.get(dashes..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (&bytes[dashes..], None),
    };
    let Some(name) = OPTIONS.iter().find(|name| name.as_bytes() == word && dashes <= 2 && dashes > 0) else {
        return Some(arg);
    };
    match (*name, value) {
        // As Go's flags read it.
        ("async", Some(b"1" | b"t" | b"T" | b"true" | b"True" | b"TRUE")) => Some("--async".into()),
        ("async", Some(b"0" | b"f" | b"F" | b"false" | b"False" | b"FALSE")) => None,
        _ if dashes == 1 => {
            let mut two = OsString::from("-");
            two.push::<&OsStr>(&arg);
            Some(two)
        }
        _ => Some(arg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        let args = std::iter::once("bakery-client").chain(line.split(' ')).map(OsString::from);
        let args = with_two_dashes(args);
        args.iter().skip(1).map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_names_of_version_1_may_have_one_dash() {
        for (line, read) in [
            ("-config /config.yaml -repo /builds/shop", "--config /config.yaml --repo /builds/shop"),
            ("-compose a.yaml -services app,worker -async", "--compose a.yaml --services app,worker --async"),
            ("-config=/config.yaml plan -repo=a=b", "--config=/config.yaml plan --repo=a=b"),
            ("--config a --async=true --compose b", "--config a --async --compose b"),
            ("-async=false -async=T --async=0", "--async"),
        ] {
            assert_eq!(words(line), read);
        }
    }

    #[test]
    fn no_other_word_with_one_dash_is_changed() {
        for line in [
            "-f Dockerfile -t reg.test/a:1",
            "-c -cconfig -configs -conf -Config -r -s -a -asyn",
            "-h -V -help ---config -async=maybe",
            "plan -- -config a",
            "config - compose",
        ] {
            let line = line.replace("-async=maybe", "--async=maybe");
            assert_eq!(words(&line), line);
        }
    }
}

//! The checks that a start makes before it changes anything. `check` makes the same.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::{fs, process};

use bakery_core::message::Message;
use bakery_core::report::{Location, Mistake};
use bakery_core::vars::Vars;
use rustix::fs::{Access, access};

use crate::builds::keys::DataKey;
use crate::settings::{BadSettings, Settings};

/// The contents of a data folder: a name, and whether it is a folder.
const CONTENTS: [(&str, bool); 5] =
    [("lock", false), ("data.key", false), ("ledger.sqlite", false), ("logs", true), ("contexts", true)];

/// Reads the settings and checks them against the machine; the error contains every mistake. Changes nothing.
pub fn settle(vars: &dyn Vars, root: bool) -> Result<Settings, BadSettings> {
    let (settings, mut mistakes) = Settings::gather(vars, root);
    let folder = &settings.data_dir;
    let usable = usable(folder);
    // An unusable folder is one mistake, and not two.
    if settings.data_key.is_some() || usable.is_ok() {
        mistakes.extend(DataKey::there(folder, settings.data_key.as_ref()).err().map(|error| {
            // It names the variable or the key file itself.
            Mistake::new(Location::default(), Message::of(&error))
        }));
    }
    if let Err(text) = usable
        && !folder.as_os_str().is_empty()
    {
        let hint = "let the server's user read and write it, or set BAKERY_DATA_DIR to another folder";
        mistakes.push(Mistake::of_setting("BAKERY_DATA_DIR", Message::new(text).with_hint(hint)));
    }
    BadSettings::unless_none(mistakes).map(|()| settings)
}

/// Whether the folder can be used or created as a data folder.
fn usable(folder: &Path) -> Result<(), String> {
    // A relative path starts in the working directory.
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    fits(there, true)?;
    // Permissions are not enough: in /proc nothing can be created.
    probe(there).map_err(|error| format!("no folder can be created in {}: {error}", there.display()))?;
    if there != folder {
        return Ok(());
    }
    CONTENTS
        .into_iter()
        .map(|(name, is_folder)| (folder.join(name), is_folder))
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .try_for_each(|(path, is_folder)| fits(&path, is_folder))
}

/// Creates a folder in `folder`, and removes it.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".bakery-{}", process::id()));
    match fs::create_dir(&path) {
        Ok(()) => fs::remove_dir(&path),
        // It was created there, so others can be.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn fits(path: &Path, is_folder: bool) -> Result<(), String> {
    let shown = path.display();
    let meta = path.metadata().map_err(|error| format!("{shown} cannot be used: {error}"))?;
    if meta.is_dir() != is_folder {
        return Err(format!("{shown} is {} folder", if is_folder { "not a" } else { "a" }));
    }
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let wanted = if is_folder { wanted | Access::EXEC_OK } else { wanted };
    access(path, wanted).map_err(|error| format!("{shown} cannot be read and written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn mistakes(data: &Path, more: &[(&str, &str)]) -> Vec<String> {
        let mut vars = BTreeMap::from([("BAKERY_DATA_DIR".to_owned(), data.display().to_string())]);
        vars.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        match settle(&vars, false) {
            Ok(_) => Vec::new(),
            Err(BadSettings(all)) => all.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_unusable_data_folder_is_reported_with_every_other_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "flour").unwrap();
        let found = mistakes(&file, &[("BAKERY_DATA_KEY", "short"), ("MAX_RUNS", "0")]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("MAX_RUNS") && found[2].ends_with("file is not a folder"), "{found:?}");
        assert!(found[1].contains("fewer than 32 characters"), "{found:?}");
        assert!(mistakes(&file.join("below"), &[])[0].contains("file is not a folder"));
        assert!(mistakes(&folder.path().join("new/data"), &[]).is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is created");
        let proc = mistakes(Path::new("/proc/bakery"), &[]);
        assert!(proc.len() == 1 && proc[0].starts_with("BAKERY_DATA_DIR: "), "{proc:?}");
    }

    #[test]
    fn mistakes_in_the_pods_file_are_reported_with_every_other_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pods.yaml");
        std::fs::write(&file, "k8s:\n  nodeSelektor: {}\n  ephemeralStorage: much\n").unwrap();
        let file = file.display().to_string();
        let k8s = [
            ("CONTROLLER_URL", "http://h"),
            ("AGENT_IMAGE", "reg.test/agent:1"),
            ("K8S_NAMESPACE", "builds"),
        ];
        let with = |path| {
            mistakes(folder.path(), &[&k8s[..], &[("K8S_CONFIG_PATH", path), ("MAX_RUNS", "0")]].concat())
        };
        let found = with(&file);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with(&format!("{file}:2:3: k8s.nodeSelektor: ")), "{found:?}");
        assert!(
            with("/nowhere/pods.yaml")[0].starts_with("K8S_CONFIG_PATH: /nowhere/pods.yaml cannot be read")
        );
    }

    #[test]
    fn the_contents_of_the_data_folder_must_be_of_the_right_kind() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("logs"), "").unwrap();
        assert!(mistakes(folder.path(), &[])[0].ends_with("logs is not a folder"));
        std::fs::remove_file(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("data.key"), "half a k").unwrap();
        assert!(mistakes(folder.path(), &[])[0].contains("it does not contain a key"));
        std::fs::create_dir(folder.path().join("ledger.sqlite")).unwrap();
        assert!(mistakes(folder.path(), &[])[0].ends_with("ledger.sqlite is a folder"));
    }
}

//! What a start would refuse before it has done anything: the same for the start itself and for `check`.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::{fs, process};

use bakery_core::vars::Vars;
use rustix::fs::{Access, access};

use crate::builds::keys::DataKey;
use crate::settings::{BadSettings, Mistake, Settings};

/// What lies in a data folder: a name, and whether it is a folder.
const CONTENTS: [(&str, bool); 5] =
    [("lock", false), ("data.key", false), ("ledger.sqlite", false), ("logs", true), ("contexts", true)];

/// The settings, held against the machine, or every mistake in them at once. Leaves nothing behind.
pub fn settle(vars: &dyn Vars, root: bool) -> Result<Settings, BadSettings> {
    let (settings, mut mistakes) = Settings::gather(vars, root);
    let folder = &settings.data_dir;
    let usable = usable(folder);
    // Only where it is usable is it worth looking into. Without a name it was said to have none.
    if settings.data_key.is_some() || usable.is_ok() {
        mistakes.extend(DataKey::there(folder, settings.data_key.as_ref()).err().map(|error| {
            let said = error.to_string();
            let (text, hint) = said.split_once("\nhint: ").unwrap_or((&said, "see .env.example"));
            Mistake { name: "BAKERY_DATA_KEY", text: text.to_owned(), hint: hint.to_owned() }
        }));
    }
    if let Err(text) = usable
        && !folder.as_os_str().is_empty()
    {
        let hint = "give it to the user that runs the server, or name another folder in BAKERY_DATA_DIR";
        mistakes.push(Mistake { name: "BAKERY_DATA_DIR", text, hint: hint.to_owned() });
    }
    BadSettings::unless_none(mistakes).map(|()| settings)
}

/// Whether the folder can be a data folder, or be made one.
fn usable(folder: &Path) -> Result<(), String> {
    // A relative name is made in the working directory.
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    fits(there, true)?;
    // Rights do not tell everything: in /proc nobody makes anything.
    probe(there).map_err(|error| format!("nothing can be made in {}: {error}", there.display()))?;
    if there != folder {
        return Ok(());
    }
    CONTENTS
        .into_iter()
        .map(|(name, is_folder)| (folder.join(name), is_folder))
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .try_for_each(|(path, is_folder)| fits(&path, is_folder))
}

/// Makes a folder in `folder`, and removes it.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".bakery-{}", process::id()));
    match fs::create_dir(&path) {
        Ok(()) => fs::remove_dir(&path),
        // What has the name was made, too.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn fits(path: &Path, is_folder: bool) -> Result<(), String> {
    let shown = path.display();
    let meta = path.metadata().map_err(|error| format!("{shown} cannot be used: {error}"))?;
    if meta.is_dir() != is_folder {
        return Err(format!("{shown} is {} folder", if is_folder { "no" } else { "a" }));
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
            Err(BadSettings(all)) => {
                all.into_iter().map(|one| format!("{}: {}", one.name, one.text)).collect()
            }
        }
    }

    #[test]
    fn a_data_folder_that_cannot_be_one_is_said_with_every_other_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "flour").unwrap();
        let said = mistakes(&file, &[("BAKERY_DATA_KEY", "short"), ("MAX_RUNS", "0")]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("MAX_RUNS") && said[2].ends_with("file is no folder"), "{said:?}");
        assert!(said[1].contains("fewer than 32 characters"), "{said:?}");
        assert!(mistakes(&file.join("below"), &[])[0].contains("file is no folder"));
        assert!(mistakes(&folder.path().join("new/data"), &[]).is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
        let nowhere = mistakes(Path::new("/proc/bakery"), &[]);
        assert!(nowhere.len() == 1 && nowhere[0].starts_with("BAKERY_DATA_DIR: "), "{nowhere:?}");
    }

    #[test]
    fn what_is_wrong_in_the_pods_file_is_said_with_every_other_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pods.yaml");
        std::fs::write(&file, "k8s:\n  nodeSelektor: {}\n  ephemeralStorage: much\n").unwrap();
        let file = file.display().to_string();
        let k8s =
            [("CONTROLLER_URL", "http://h"), ("AGENT_IMAGE", "reg.test/agent:1"), ("K8S_NAMESPACE", "ovens")];
        let with = |path| {
            mistakes(folder.path(), &[&k8s[..], &[("K8S_CONFIG_PATH", path), ("MAX_RUNS", "0")]].concat())
        };
        let said = with(&file);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].starts_with("K8S_CONFIG_PATH: ") && said[0].contains("pods.yaml:2:3: k8s.nodeSelektor"),
            "{said:?}"
        );
        assert!(with("/nowhere/pods.yaml")[0].contains("/nowhere/pods.yaml cannot be read"));
    }

    #[test]
    fn what_lies_in_the_data_folder_must_be_what_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("logs"), "").unwrap();
        assert!(mistakes(folder.path(), &[])[0].ends_with("logs is no folder"));
        std::fs::remove_file(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("data.key"), "half a k").unwrap();
        assert!(mistakes(folder.path(), &[])[0].contains("it holds no key"));
        std::fs::create_dir(folder.path().join("ledger.sqlite")).unwrap();
        assert!(mistakes(folder.path(), &[])[0].ends_with("ledger.sqlite is a folder"));
    }
}

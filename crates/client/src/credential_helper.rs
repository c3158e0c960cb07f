//! Runs docker's credential helpers (`docker-credential-NAME get`), in bounded time and with bounded output.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bakery_core::message::Message;
use bakery_core::report::shown;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars as _;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

/// How long a helper may run: some ask a cloud.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest output that is read.
const OUTPUT_BYTES: u64 = 1 << 18;

/// A helper program.
pub(crate) struct CredentialHelper {
    program: PathBuf,
    /// Its name without the folder.
    name: String,
    timeout: Duration,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperOutput {
    username: String,
    secret: Secret,
}

impl CredentialHelper {
    /// The program of a helper in the absolute folders of `PATH`: a relative one could be a checkout's.
    pub(crate) fn find(helper: &str, environment: &BTreeMap<String, String>) -> Result<Self, Message> {
        let name = format!("docker-credential-{helper}");
        let legal = helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let path = environment.setting("PATH").unwrap_or_default();
        let programs = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        let program = programs.map(|folder| folder.join(&name)).find(|program| legal && program.is_file());
        let program = program.ok_or_else(|| {
            let text = format!("docker's credential helper `{}` is not installed", shown(&name));
            Message::new(text)
                .with_hint("the docker config of the user names it: install it, or log in without it")
        })?;
        Ok(Self { program, name, timeout: TIMEOUT })
    }

    /// User name and password that the helper has under a name, if any.
    pub(crate) fn get(&self, name: &str) -> Result<Option<(String, Secret)>, Message> {
        let (output, success) = self.run(name)?;
        if !success {
            // Its output is not quoted: it may hold secrets.
            let found = !String::from_utf8_lossy(&output).contains("not found");
            return if found { Err(self.failed("failed")) } else { Ok(None) };
        }
        let output: HelperOutput =
            serde_json::from_slice(&output).map_err(|_| self.failed("did not print a login"))?;
        let complete = !output.username.is_empty() && !output.secret.expose().is_empty();
        Ok(complete.then_some((output.username, output.secret)))
    }

    /// The output, and whether the program succeeded.
    fn run(&self, name: &str) -> Result<(Vec<u8>, bool), Message> {
        let mut child =
            start(&self.program).map_err(|error| self.failed(&format!("cannot be started: {error}")))?;
        // Its number may be another process's by the time that it is killed; this handle is not.
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let (sender, ended) = mpsc::channel();
        let name = name.to_owned();
        std::thread::spawn(move || {
            let output = exchange(&mut child, &name);
            // More than is read: it would wait for a reader.
            if output.len() as u64 > OUTPUT_BYTES {
                let _ = child.kill();
            }
            let success = child.wait().is_ok_and(|status| status.success());
            let _ = sender.send((output, success));
        });
        match ended.recv_timeout(self.timeout) {
            Ok((output, _)) if output.len() as u64 > OUTPUT_BYTES => Err(self.failed("printed too much")),
            Ok(ended) => Ok(ended),
            Err(_) => {
                let _ = process.map(|process| pidfd_send_signal(process, Signal::KILL));
                Err(self.failed(&format!("timed out after {} s", self.timeout.as_secs())))
            }
        }
    }

    fn failed(&self, how: &str) -> Message {
        let text = format!("docker's credential helper `{}` {how}", self.name);
        Message::new(text).with_hint(format!("try `echo REGISTRY | {} get >/dev/null`", self.name))
    }
}

fn start(program: &Path) -> std::io::Result<Child> {
    let piped = Stdio::piped;
    Command::new(program).arg("get").stdin(piped()).stdout(piped()).stderr(Stdio::null()).spawn()
}

/// Sends the name and reads the output.
fn exchange(child: &mut Child, name: &str) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(mut stdin) = child.stdin.take() {
        // A helper may end without reading it.
        let _ = stdin.write_all(name.as_bytes());
    }
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(OUTPUT_BYTES + 1).read_to_end(&mut output);
    }
    output
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use super::*;

    /// What a helper with this script has under `reg.test`.
    fn got(script: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let environment = BTreeMap::from([("PATH".to_owned(), folder.path().to_str().unwrap().to_owned())]);
        let mut helper = CredentialHelper::find("test", &environment).unwrap();
        if script.contains("sleep") {
            helper.timeout = Duration::from_millis(300);
        }
        match helper.get("reg.test") {
            Ok(None) => "none".to_owned(),
            Ok(Some((username, password))) => format!("{username} {}", password.expose()),
            Err(message) => message.text,
        }
    }

    #[test]
    fn a_helper_is_asked_as_docker_asks_it() {
        let script =
            r#"read -r name; echo "{\"ServerURL\":\"$name\",\"Username\":\"$1\",\"Secret\":\"for $name\"}""#;
        assert_eq!(got(script), "get for reg.test");
        assert_eq!(got("echo 'credentials not found in native keychain'; exit 1"), "none");
        assert_eq!(got(r#"echo '{"Username":"","Secret":""}'"#), "none");
    }

    #[test]
    fn a_helper_that_fails_hangs_or_floods_is_a_mistake_without_its_output() {
        let began = Instant::now();
        for (script, said) in [
            ("echo hunter2; exit 1", "failed"),
            ("echo hunter2", "did not print a login"),
            ("exec sleep 60", "timed out after 0 s"),
            ("while :; do echo hunter2; done", "printed too much"),
        ] {
            assert_eq!(got(script), format!("docker's credential helper `docker-credential-test` {said}"));
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_helper_is_a_program_of_an_absolute_folder() {
        for (helper, path) in [("test", "."), ("test", "relative:."), ("../test", "/"), ("x/../sh", "/bin")] {
            let environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
            let refused = CredentialHelper::find(helper, &environment).map(|_| ()).unwrap_err();
            assert!(refused.text.ends_with("is not installed"), "{}", refused.text);
        }
    }
}

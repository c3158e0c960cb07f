//! Checks the Dockerfiles of a build before anything is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bakery_context::{RegularFileError, read_user_file};
use bakery_core::dockerfile::{self, Dockerfile};
use bakery_core::limits;
use bakery_core::mask::Mask;
use bakery_core::message::Message;
use bakery_core::names::ServiceName;
use bakery_core::path;
use bakery_core::preflight::{self, DockerfileFinding, PreflightInput, Severity, code_list};
use bakery_core::secret::Secret;
use bakery_core::spec::{BuildSpec, TaskSpec};

use crate::cli::BuildOptions;
use crate::exit::{Exit, Failure};
use crate::stderr;

/// The source whose Dockerfiles are checked.
pub(crate) struct CheckedSource<'s> {
    /// Its folder.
    pub(crate) root: &'s Path,
    /// How paths with the value of a variable are written: the value may be a secret.
    pub(crate) written: &'s BTreeMap<String, String>,
}

impl CheckedSource<'_> {
    /// What is found, once for all tasks. Dockerfiles that do not exist are left out. Where a pre-script may change the
    /// file, nothing is an error.
    pub(crate) fn findings(
        &self,
        spec: &BuildSpec,
        secrets: &[Secret],
        options: &BuildOptions,
    ) -> Vec<DockerfileFinding> {
        // What is wrong with the codes has been reported.
        let allowed: BTreeSet<_> =
            options.allow.iter().filter_map(|codes| code_list(codes).ok()).flatten().collect();
        let all = || spec.services.iter().flat_map(|service| &service.tasks);
        let mask = Mask::of(all(), secrets);
        let mut files: BTreeMap<(String, Option<&str>), Option<Dockerfile>> = BTreeMap::new();
        let mut checked: Vec<&TaskSpec> = Vec::new();
        let mut found: Vec<DockerfileFinding> = Vec::new();
        for service in &spec.services {
            for task in &service.tasks {
                if checked.iter().any(|other| is_same(other, task)) {
                    continue;
                }
                checked.push(task);
                let name = self.name(service.name.as_ref(), task);
                let key = (name, task.kaniko.dockerfile_inline.as_deref());
                let file = files.entry(key).or_insert_with_key(|(name, _)| {
                    self.read(name, task).unwrap_or_else(|error| {
                        found.push(DockerfileFinding::unreadable(name, Message::of(&error)));
                        None
                    })
                });
                let Some(file) = file else { continue };
                let TaskSpec { arch, kaniko, env, .. } = task;
                let input = PreflightInput { arch: *arch, kaniko, env, allowed: &allowed, mask: &mask };
                for mut finding in preflight::check(file, &input) {
                    if task.pre_script.is_some() {
                        finding.level = Severity::Warning;
                    }
                    if !found.contains(&finding) {
                        found.push(finding);
                    }
                }
            }
        }
        // Another target of the same file is checked later.
        let mut order: Vec<String> = Vec::new();
        for finding in &found {
            if !order.contains(&finding.file) {
                order.push(finding.file.clone());
            }
        }
        let place = |it: &DockerfileFinding| order.iter().position(|file| *file == it.file);
        found.sort_by_key(|finding| (place(finding), finding.line, finding.column));
        found
    }

    /// How the Dockerfile of a task is named.
    fn name(&self, service: Option<&ServiceName>, task: &TaskSpec) -> String {
        let shown = |path: &str| self.written.get(path).cloned().unwrap_or_else(|| path.to_owned());
        match (task.kaniko.dockerfile_in_source(), service) {
            (Some(dockerfile), _) if task.kaniko.context_path == "." => shown(dockerfile),
            (Some(dockerfile), _) => {
                path::tidy(&format!("{}/{}", shown(&task.kaniko.context_path), shown(dockerfile)))
            }
            (None, Some(service)) => format!("inline Dockerfile of {service}"),
            (None, None) => "inline Dockerfile".to_owned(),
        }
    }

    /// The Dockerfile; `None` if it does not exist.
    fn read(&self, name: &str, task: &TaskSpec) -> Result<Option<Dockerfile>, RegularFileError> {
        if let Some(text) = &task.kaniko.dockerfile_inline {
            return Ok(Some(dockerfile::read(name, text.as_bytes())));
        }
        let path = self.root.join(&task.kaniko.context_path).join(&task.kaniko.dockerfile);
        match read_user_file(&path, limits::DOCKERFILE_FILE_BYTES as u64) {
            Ok(bytes) => Ok(Some(dockerfile::read(name, &bytes))),
            // What exists and is not a file is missing too.
            Err(_) if !path.is_file() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether two tasks have the same Dockerfile and all that its check depends on.
fn is_same(one: &TaskSpec, other: &TaskSpec) -> bool {
    let (a, b) = (&one.kaniko, &other.kaniko);
    one.arch == other.arch
        && one.env == other.env
        && one.pre_script.is_some() == other.pre_script.is_some()
        && a.context_path == b.context_path
        && a.dockerfile == b.dockerfile
        && a.dockerfile_inline == b.dockerfile_inline
        && a.build_args == b.build_args
        && a.target == b.target
        && a.custom_platform == b.custom_platform
        && a.cache == b.cache
        && a.secrets == b.secrets
        && (a.use_new_run, a.single_snapshot) == (b.use_new_run, b.single_snapshot)
        && a.extra_flags == b.extra_flags
}

/// Prints findings.
pub(crate) fn say(findings: &[DockerfileFinding]) {
    for finding in findings {
        stderr::print(&finding.message().indented());
    }
}

/// The failure of a build whose Dockerfiles have errors; warnings are shown with them.
pub(crate) fn failure(findings: &[DockerfileFinding]) -> Option<Failure> {
    let head = match findings.iter().filter(|finding| finding.is_error()).count() {
        0 => return None,
        1 => "one error in the Dockerfiles".to_owned(),
        count => format!("{count} errors in the Dockerfiles"),
    };
    let hint = "`--allow CODE`, or a line `# bakery: allow=CODE` in the Dockerfile, lets one pass";
    let head = Message::new(head).with_hint(hint);
    let messages = findings.iter().map(DockerfileFinding::message);
    Some(Failure { exit: Exit::BadInput, messages: [head].into_iter().chain(messages).collect() })
}

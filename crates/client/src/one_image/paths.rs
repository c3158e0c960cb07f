//! Context and Dockerfile of the one image. As with buildx, their paths are relative to the working directory; both are sent
//! with the source root.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::path;
use bakery_core::report::shown;

use super::Reader;
use crate::image_options::ImageOptions;

/// The path that means standard input.
const STDIN: &str = "-";

impl Reader<'_> {
    /// Sets what the options name.
    pub(super) fn paths(&mut self, image: &ImageOptions) {
        let paths = image.path.iter().chain(&image.further).map(|path| ("PATH", path));
        let given: Vec<_> = image.context.iter().map(|path| ("--context", path)).chain(paths).collect();
        let is_of_docker =
            |(_, path): &&(&str, &PathBuf)| path.as_os_str() == "build" || path.as_os_str() == "buildx";
        let hint = match given.iter().find(is_of_docker) {
            Some((_, word)) => {
                format!("bakery-client builds without a command: leave out `{}`", word.display())
            }
            None => "an image has one context: keep one".to_owned(),
        };
        for (option, path) in given.iter().skip(1) {
            let message = Message::new(format!("a second context: `{}`", shown(&path.to_string_lossy())));
            self.mistake(option, message.with_hint(&hint));
        }
        let context = given.first().and_then(|(option, path)| self.context(option, path));
        self.set("--context", "global.kaniko.context-path", context.as_deref());
        if let Some(file) = &image.file {
            self.dockerfile(file, context.as_deref().unwrap_or("."));
        }
    }

    /// The context, relative to the source root; `None` after a mistake.
    fn context(&mut self, option: &str, given: &Path) -> Option<String> {
        let text = given.to_string_lossy();
        let message = if text == STDIN {
            Message::new("a context from standard input is not supported")
                .with_hint("unpack it, and name the folder")
        } else if is_remote(&text) {
            Message::new("a remote context is not supported").with_hint("check it out, and name the folder")
        } else {
            let Some(inner) = self.inside(given) else {
                let root = self.input.root.display().to_string();
                let message = Message::new(format!(
                    "`{}` is outside of the source root {}",
                    shown(&text),
                    shown(&root)
                ));
                self.mistake(
                    option,
                    message.with_hint(
                        "--repo names the folder that is sent: set it to one that holds the context",
                    ),
                );
                return None;
            };
            return Some(inner);
        };
        self.mistake(option, message);
        None
    }

    /// The Dockerfile: its path, or its text if it is not in the source root.
    fn dockerfile(&mut self, file: &Path, context: &str) {
        let option = "--file";
        let shown_path = shown(&file.to_string_lossy());
        if is_remote(&file.to_string_lossy()) {
            let message = Message::new("a remote Dockerfile is not supported");
            return self.mistake(
                option,
                message.with_hint("download it: `curl URL | bakery-client -f - ...` builds it"),
            );
        }
        let text = if file == Path::new(STDIN) {
            stdin()
        } else if let Some(inner) = self.inside(file) {
            let (root, beside) = (self.input.root, Path::new(context).join(file));
            if !root.join(&inner).is_file() && root.join(&beside).is_file() {
                let hint = format!(
                    "-f is relative to the working directory, as with buildx: -f {}",
                    beside.display()
                );
                let message = Message::new(format!("`{shown_path}`: no such file"));
                return self.mistake(option, message.with_hint(hint));
            }
            let relative = path::from_folder(context, &inner);
            return self.set(option, "global.kaniko.dockerfile", Some(&relative));
        } else {
            read_user_text(file, limits::SPEC_BYTES as u64).map_err(|error| {
                let hint = error.hint().map(Into::into);
                Message { hint, ..Message::new(format!("`{shown_path}` {error}")) }
            })
        };
        match text {
            Ok(text) => self.set(option, "global.kaniko.dockerfile-inline", Some(&text)),
            Err(message) => self.mistake(option, message),
        }
    }

    /// A path below the source root; `None` if it is outside.
    fn inside(&self, given: &Path) -> Option<String> {
        let full = std::env::current_dir().ok()?.join(given);
        let root = self.input.root.to_str()?;
        // The root has no links, the path may.
        path::below(root, full.to_str()?).or_else(|| path::below(root, full.canonicalize().ok()?.to_str()?))
    }
}

fn is_remote(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/")
}

fn stdin() -> Result<String, Message> {
    let mut text = String::new();
    // One byte more than a Dockerfile may have: that it is too large is found with the others.
    let read = std::io::stdin().take(limits::DOCKERFILE_BYTES as u64 + 1).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| Message::new(format!("standard input cannot be read: {error}")))
}

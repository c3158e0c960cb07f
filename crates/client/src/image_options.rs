//! The options that describe one image, with the meanings that they have for buildx.

use std::path::PathBuf;

use clap::Args;

/// The options of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "One image without a file, as with buildx")]
pub struct ImageOptions {
    /// Names of images.
    #[arg(
        short,
        long,
        value_name = "IMAGE",
        help = "Build this one image, from options alone: no file is searched for. May be given several times: the others \
                are more names of the same image, in any registry. Logins are those of `docker login`"
    )]
    pub tag: Vec<String>,
    /// Dockerfile, relative to the working directory; `-` is standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Build context: a folder in --repo, relative to the working directory [default: --repo]
    #[arg(long, value_name = "FOLDER")]
    pub context: Option<PathBuf>,
    /// The same as --context
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// What was given after it: a mistake.
    #[arg(hide = true)]
    pub further: Vec<PathBuf>,
    /// Platforms.
    #[arg(
        long,
        value_name = "PLATFORMS",
        value_delimiter = ',',
        help = "Platforms, each built natively: linux/amd64,linux/arm64 [default: DOCKER_DEFAULT_PLATFORM, else that of \
                this machine]"
    )]
    pub platform: Vec<String>,
    /// Stage of the Dockerfile to build
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Value for an ARG of the Dockerfile; without a value, that of the variable, if it is set
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// Build secrets.
    #[arg(
        long,
        value_name = "SECRET",
        help = "Secret for RUN --mount=type=secret: id=ID,env=NAME, id=ID,src=FILE, or id=ID for the variable or the file ID"
    )]
    pub secret: Vec<String>,
    /// Label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Annotation of the manifest of each image
    #[arg(long, value_name = "NAME=VALUE")]
    pub annotation: Vec<String>,
    /// Keep Kaniko's layers in this repository, and reuse them
    #[arg(long, value_name = "REPOSITORY")]
    pub cache_repo: Option<String>,
    /// The same, as buildx has it: type=registry,ref=REPOSITORY; other types have no effect
    #[arg(long, value_name = "CACHE")]
    pub cache_to: Vec<String>,
    /// As --cache-to: Kaniko reads its layers where it writes them
    #[arg(long, value_name = "CACHE")]
    pub cache_from: Vec<String>,
}

impl ImageOptions {
    /// The option that asks for one image without a file; `None` if none does.
    pub fn asks(&self) -> Option<&'static str> {
        let options = [
            ("-t", !self.tag.is_empty()),
            ("-f", self.file.is_some()),
            ("--context", self.context.is_some()),
            ("PATH", self.path.is_some()),
        ];
        options.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// These options, and those of `lower` where they are not given.
    pub fn or(self, lower: Self) -> Self {
        Self {
            tag: [lower.tag, self.tag].concat(),
            file: self.file.or(lower.file),
            context: self.context.or(lower.context),
            further: [
                lower.further,
                self.further,
                self.path.iter().filter(|_| lower.path.is_some()).cloned().collect(),
            ]
            .concat(),
            path: lower.path.or(self.path),
            platform: [lower.platform, self.platform].concat(),
            target: self.target.or(lower.target),
            build_arg: [lower.build_arg, self.build_arg].concat(),
            secret: [lower.secret, self.secret].concat(),
            label: [lower.label, self.label].concat(),
            annotation: [lower.annotation, self.annotation].concat(),
            cache_repo: self.cache_repo.or(lower.cache_repo),
            cache_to: [lower.cache_to, self.cache_to].concat(),
            cache_from: [lower.cache_from, self.cache_from].concat(),
        }
    }
}

//! Mistakes, stages, and secrets.

use super::{Construct, Treatment};

/// A mistake of the Dockerfile itself. Its text and hint are the reader's.
pub(in crate::preflight) const MISTAKE: Construct = Construct {
    code: Some("BK001"),
    written: "a mistake",
    docker: "refuses the file",
    kaniko: "refuses most, after the container has started; takes some",
    treatment: Treatment::Refused,
    text: "",
    hint: "",
    example: "FROM scratch\nCOYP a /\n",
    flags: &[],
};

/// The same for what stops nothing.
pub(in crate::preflight) const REMARK: Construct = Construct {
    code: Some("BK002"),
    written: "what is outdated, or a mistake in a stage that is not built",
    docker: "warns, or takes no notice",
    kaniko: "takes no notice",
    treatment: Treatment::Said,
    text: "",
    hint: "",
    example: "FROM scratch\nLABEL a=b \\\n\n  c=d\n",
    flags: &[],
};

pub(in crate::preflight) const PLATFORM: Construct = Construct {
    code: Some("BK101"),
    written: "`FROM --platform=` with another platform than the task's",
    docker: "takes the image of that platform",
    kaniko: "takes the image of the task's platform",
    treatment: Treatment::Refused,
    text: "this stage is for {}, and its base would be taken for the task's platform",
    hint: "build each architecture by a task of its own (`arch`), and write `$BUILDPLATFORM` or `$TARGETPLATFORM`",
    example: "FROM --platform=linux/s390x busybox\n",
    flags: &[],
};

pub(in crate::preflight) const CUT_ARGUMENT: Construct = Construct {
    code: Some("BK102"),
    written: "a build argument whose value has a `=`, in FROM",
    docker: "takes the whole value",
    kaniko: "cuts the value before its `=`",
    treatment: Treatment::Refused,
    text: "the value of the build argument `{}` has a `=`, and would be cut there",
    hint: "give the value as the default: `ARG NAME=value` above the first FROM",
    example: "ARG BASE=a\nFROM busybox:$BASE\n",
    flags: &["--build-arg=BASE=b=c"],
};

pub(in crate::preflight) const NEARLY_A_STAGE: Construct = Construct {
    code: Some("BK103"),
    written: "`COPY --from=` with an image that is nearly named as a stage",
    docker: "takes the image",
    kaniko: "takes the image",
    treatment: Treatment::Said,
    text: "`{}` is not a stage, so it is taken for an image",
    hint: "write the name of an image with its tag if one is meant",
    example: "FROM busybox AS builder\nFROM busybox\nCOPY --from=bulider /a /a\n",
    flags: &[],
};

pub(in crate::preflight) const SECRET_VALUE: Construct = Construct {
    code: Some("BK104"),
    written: "ARG or ENV with a value, and a name that suggests a secret",
    docker: "warns; the value is readable in the image and its history",
    kaniko: "the same without a warning",
    treatment: Treatment::Said,
    text: "the value of `{}` can be read in the image and its history, and its name suggests a secret",
    hint: "use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret",
    example: "FROM scratch\nENV API_TOKEN=hunter2\n",
    flags: &[],
};

pub(super) const ALL: [Construct; 6] =
    [MISTAKE, REMARK, PLATFORM, CUT_ARGUMENT, NEARLY_A_STAGE, SECRET_VALUE];

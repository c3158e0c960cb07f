//! RUN: heredocs, mounts and flags.

use super::{Construct, Treatment};

pub(in crate::preflight) const SKIPPED_HEREDOC: Construct = Construct {
    code: Some("BK201"),
    written: "`RUN <<'EOF'`, `RUN <<\"EOF\"`, `RUN <<-EOF`",
    docker: "runs the lines",
    kaniko: "runs nothing, and goes on",
    treatment: Treatment::Refused,
    text: "Kaniko runs nothing of the heredoc `{}`",
    hint: "write `RUN sh <<'EOF'`, or the name of another program in place of `sh`",
    example: "FROM busybox\nRUN <<'EOF'\necho a\nEOF\n",
    flags: &[],
};

pub(in crate::preflight) const EXPANDED_HEREDOC: Construct = Construct {
    code: Some("BK202"),
    written: "`RUN <<EOF` with `$`, a backtick, a backslash or `#!` in its lines, or after SHELL",
    docker: "runs the lines by SHELL, or as a program",
    kaniko: "a shell replaces what is in the lines first, then `sh` runs them",
    treatment: Treatment::Refused,
    text: "a shell would replace variables, commands and backslashes in the heredoc `{}` before `sh` runs it",
    hint: "write `RUN sh <<'EOF'`, or the name of another program in place of `sh`",
    example: "FROM busybox\nRUN <<EOF\na=1\necho $a\nEOF\n",
    flags: &[],
};

pub(in crate::preflight) const PIPED_HEREDOC: Construct = Construct {
    code: Some("BK203"),
    written: "`RUN <<EOF` with other lines",
    docker: "runs the lines by SHELL",
    kaniko: "`sh` reads them from its standard input, as every program does that it runs; a SHELL of the base image has no effect",
    treatment: Treatment::Said,
    text: "`sh` reads the heredoc `{}` from standard input, whatever SHELL the base image has",
    hint: "a program in it that reads standard input needs `</dev/null`; `RUN sh <<'EOF'` says that `sh` is meant",
    example: "FROM busybox\nRUN <<EOF\necho a\nEOF\n",
    flags: &[],
};

pub(in crate::preflight) const CACHED_HEREDOC: Construct = Construct {
    code: Some("BK204"),
    written: "RUN with a heredoc, with `kaniko.cache`",
    docker: "runs it again when its lines have changed",
    kaniko: "looks at its first line only, and takes the layer of other lines",
    treatment: Treatment::Refused,
    text: "the cache would take the layer of the heredoc `{}` also when its lines have changed",
    hint: "put the lines into a file and COPY it, write them as one RUN with `&&`, or set `kaniko.cache.run-layers: false`",
    example: "FROM busybox\nRUN sh <<'EOF'\necho a\nEOF\n",
    flags: &["--cache"],
};

pub(in crate::preflight) const BIND_OF_STAGE: Construct = Construct {
    code: Some("BK211"),
    written: "`RUN --mount=type=bind,from=`",
    docker: "mounts files of the stage or the image",
    kaniko: "runs the command without them",
    treatment: Treatment::Refused,
    text: "Kaniko does not mount files of `{}`",
    hint: "copy them by `COPY --from=`",
    example: "FROM busybox AS a\nFROM busybox\nRUN --mount=type=bind,from=a,target=/a true\n",
    flags: &[],
};

pub(in crate::preflight) const BIND: Construct = Construct {
    code: Some("BK212"),
    written: "`RUN --mount=type=bind` of the context",
    docker: "mounts files of the context",
    kaniko: "runs the command without them, unless the variable is set",
    treatment: Treatment::Flag("FF_KANIKO_RUN_MOUNT_BIND=true"),
    text: "Kaniko does not mount files of the context by itself",
    hint: "set `env: { FF_KANIKO_RUN_MOUNT_BIND: \"true\" }`, or copy them by COPY",
    example: "FROM busybox\nRUN --mount=type=bind,target=/src true\n",
    flags: &[],
};

pub(in crate::preflight) const RELATIVE_BIND: Construct = Construct {
    code: Some("BK213"),
    written: "the same with a relative `target`",
    docker: "the target is below WORKDIR",
    kaniko: "the target is below `/`",
    treatment: Treatment::Refused,
    text: "Kaniko does not mount at `{}` in WORKDIR",
    hint: "write the whole path: `target=/src`",
    example: "FROM busybox\nRUN --mount=target=src true\n",
    flags: &[],
};

pub(in crate::preflight) const TMPFS: Construct = Construct {
    code: Some("BK214"),
    written: "`RUN --mount=type=tmpfs`",
    docker: "what is written there is not in the image",
    kaniko: "mounts nothing: what is written there is in the image",
    treatment: Treatment::Refused,
    text: "Kaniko mounts no tmpfs, so what the command writes there would be in the image",
    hint: "remove the files in the same RUN, or use `--mount=type=cache`",
    example: "FROM busybox\nRUN --mount=type=tmpfs,target=/a true\n",
    flags: &[],
};

pub(in crate::preflight) const SSH: Construct = Construct {
    code: Some("BK215"),
    written: "`RUN --mount=type=ssh`",
    docker: "gives the command the SSH agent",
    kaniko: "runs the command without it",
    treatment: Treatment::Refused,
    text: "Kaniko has no SSH mounts",
    hint: "give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`",
    example: "FROM busybox\nRUN --mount=type=ssh true\n",
    flags: &[],
};

pub(in crate::preflight) const REQUIRED_SECRET: Construct = Construct {
    code: Some("BK216"),
    written: "`RUN --mount=type=secret,required` of a secret that nobody supplies",
    docker: "fails",
    kaniko: "fails",
    treatment: Treatment::Refused,
    text: "nobody supplies the secret `{}`",
    hint: "give it by `kaniko.secrets`, `build.secrets` of a Compose file, or --secret",
    example: "FROM busybox\nRUN --mount=type=secret,id=a,required true\n",
    flags: &[],
};

pub(in crate::preflight) const MISSING_SECRET: Construct = Construct {
    code: Some("BK217"),
    written: "the same without `required`",
    docker: "runs the command without it",
    kaniko: "runs the command without it",
    treatment: Treatment::Said,
    text: "nobody supplies the secret `{}`, and the command runs without it",
    hint: "give it by `kaniko.secrets`, `build.secrets` of a Compose file, or --secret",
    example: "FROM busybox\nRUN --mount=type=secret,id=a true\n",
    flags: &[],
};

pub(in crate::preflight) const NETWORK: Construct = Construct {
    code: Some("BK221"),
    written: "`RUN --network=none`, `RUN --network=host`",
    docker: "runs the command in that network",
    kaniko: "runs the command in the network of the task",
    treatment: Treatment::Refused,
    text: "Kaniko runs every command in the network of the task, also with `--network={}`",
    hint: "remove the flag",
    example: "FROM busybox\nRUN --network=none true\n",
    flags: &[],
};

pub(in crate::preflight) const SECURITY: Construct = Construct {
    code: Some("BK222"),
    written: "`RUN --security=insecure`",
    docker: "runs the command with all privileges",
    kaniko: "runs the command with those of the task",
    treatment: Treatment::Refused,
    text: "Kaniko gives a command no more privileges than the task has",
    hint: "remove the flag",
    example: "FROM busybox\nRUN --security=insecure true\n",
    flags: &[],
};

pub(in crate::preflight) const DEVICE: Construct = Construct {
    code: Some("BK223"),
    written: "`RUN --device=`",
    docker: "gives the command the device",
    kaniko: "runs the command without it",
    treatment: Treatment::Refused,
    text: "Kaniko gives a command no devices",
    hint: "remove the flag",
    example: "FROM busybox\nRUN --device=vendor.com/a=b true\n",
    flags: &[],
};

pub(super) const ALL: [Construct; 14] = [
    SKIPPED_HEREDOC,
    EXPANDED_HEREDOC,
    PIPED_HEREDOC,
    CACHED_HEREDOC,
    BIND_OF_STAGE,
    BIND,
    RELATIVE_BIND,
    TMPFS,
    SSH,
    REQUIRED_SECRET,
    MISSING_SECRET,
    NETWORK,
    SECURITY,
    DEVICE,
];

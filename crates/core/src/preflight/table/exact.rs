//! What is exact although one might expect otherwise.

use super::{Construct, Treatment};

const fn exact(written: &'static str, docker: &'static str, example: &'static str) -> Construct {
    Construct {
        code: None,
        written,
        docker,
        kaniko: "the same",
        treatment: Treatment::Exact,
        text: "",
        hint: "",
        example,
        flags: &[],
    }
}

pub(super) const ALL: [Construct; 8] = [
    exact(
        "`FROM --platform=$BUILDPLATFORM`, `$TARGETPLATFORM`, or the task's platform",
        "takes the image of the task's platform: each architecture is built on its own",
        "FROM --platform=$BUILDPLATFORM busybox AS a\nFROM --platform=$TARGETPLATFORM busybox\nCOPY --from=a /a /a\n",
    ),
    exact(
        "`RUN sh <<'EOF'`, `RUN python3 <<EOF`, and other commands with a heredoc, without `kaniko.cache`",
        "the shell gives the lines to the program",
        "FROM busybox\nRUN sh <<'EOF'\necho $HOME\nEOF\n",
    ),
    exact(
        "`COPY <<'EOF'`, and `COPY <<EOF` without variables in the lines",
        "writes the lines",
        "FROM busybox\nCOPY <<'EOF' <<B /etc/\n$a\nEOF\nb\nB\n",
    ),
    exact(
        "`RUN --mount=type=cache`",
        "a folder that is not in the image; here it is empty at the beginning of each build",
        "FROM busybox\nRUN --mount=type=cache,target=/cache true\n",
    ),
    exact(
        "`RUN --network=default`, `RUN --security=sandbox`",
        "runs the command as usual",
        "FROM busybox\nRUN --network=default --security=sandbox true\n",
    ),
    exact(
        "`COPY --link`, `--chmod=`, `--chown=`",
        "copies the files; what `--link` gives the cache is not part of the image",
        "FROM busybox\nUSER 1000\nCOPY --link --chmod=0755 --chown=1000:1000 a /\nADD --chown=0:0 b /\n",
    ),
    exact(
        "`COPY --from=` of a stage, a stage's number or an image",
        "copies the files with their owners",
        "FROM busybox AS a\nFROM busybox\nUSER 1000\nCOPY --from=a /a /a\nCOPY --from=0 /b /b\nCOPY --from=alpine:3 /c /c\n",
    ),
    exact(
        "a stage that the target does not need",
        "is not built, so nothing in it is an error",
        "FROM busybox AS a\nRUN --mount=type=ssh true\nFROM busybox\n",
    ),
];

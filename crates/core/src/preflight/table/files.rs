//! COPY and ADD.

use super::{Construct, Treatment};

pub(in crate::preflight) const HEREDOC_VARIABLE: Construct = Construct {
    code: Some("BK301"),
    written: "`COPY <<EOF`, `ADD <<EOF` with variables in the lines",
    docker: "replaces them",
    kaniko: "writes the lines as they are",
    treatment: Treatment::Refused,
    text: "Kaniko does not replace variables in the heredoc `{}`",
    hint: "quote its name, `<<'EOF'`, if the lines are meant as they are; else write the file by `RUN printf`",
    example: "FROM busybox\nARG A=b\nCOPY <<EOF /a\n$A\nEOF\n",
    flags: &[],
};

pub(in crate::preflight) const EXCLUDE: Construct = Construct {
    code: Some("BK302"),
    written: "`COPY --exclude=`, `ADD --exclude=`",
    docker: "leaves the files out",
    kaniko: "copies them",
    treatment: Treatment::Refused,
    text: "Kaniko copies also what `--exclude` names",
    hint: "exclude the files in `.dockerignore`, or name those that are wanted",
    example: "FROM scratch\nCOPY --exclude=*.log . /\n",
    flags: &[],
};

pub(in crate::preflight) const PARENTS: Construct = Construct {
    code: Some("BK303"),
    written: "`COPY --parents`",
    docker: "keeps the folders of the source",
    kaniko: "copies without them",
    treatment: Treatment::Refused,
    text: "Kaniko does not keep the folders of the source for `--parents`",
    hint: "write one COPY for each folder: `COPY a/b/ /a/b/`",
    example: "FROM scratch\nCOPY --parents a/b /\n",
    flags: &[],
};

pub(in crate::preflight) const CHECKSUM: Construct = Construct {
    code: Some("BK304"),
    written: "`ADD --checksum=`",
    docker: "fails if the file is another one",
    kaniko: "takes any file",
    treatment: Treatment::Refused,
    text: "Kaniko does not compare the file with `--checksum`",
    hint: "fetch the file in a RUN, and compare it there: `echo \"SUM  FILE\" | sha256sum -c`",
    example: "FROM scratch\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://a.test/a /\n",
    flags: &[],
};

pub(in crate::preflight) const KEEP_GIT: Construct = Construct {
    code: Some("BK305"),
    written: "`ADD --keep-git-dir`",
    docker: "keeps `.git` of a repository",
    kaniko: "takes no notice of the flag",
    treatment: Treatment::Refused,
    text: "Kaniko takes no notice of `--keep-git-dir`",
    hint: "fetch the repository in a RUN, or in the `pre-script`",
    example: "FROM scratch\nADD --keep-git-dir=true https://a.test/a.git /\n",
    flags: &[],
};

pub(in crate::preflight) const UNPACK: Construct = Construct {
    code: Some("BK306"),
    written: "`ADD --unpack`",
    docker: "unpacks the archive, or does not",
    kaniko: "unpacks those of the context, and no others",
    treatment: Treatment::Refused,
    text: "Kaniko takes no notice of `--unpack`",
    hint: "COPY an archive that is not to be unpacked; fetch and unpack others in a RUN",
    example: "FROM scratch\nADD --unpack=false a.tar /\n",
    flags: &[],
};

pub(in crate::preflight) const COPY_AFTER_USER: Construct = Construct {
    code: Some("BK307"),
    written: "COPY from the context after a USER that is not root, without `--chown`",
    docker: "the files belong to root",
    kaniko: "the files belong to that USER, unless `FF_KANIKO_COPY_AS_ROOT` is `true` in `env`",
    treatment: Treatment::Said,
    text: "Kaniko gives the files to USER `{}`, Docker to root",
    hint: "write the owner: `--chown=0:0`, or that of USER",
    example: "FROM busybox\nUSER 1000\nCOPY a /\n",
    flags: &[],
};

pub(in crate::preflight) const ADD_AFTER_USER: Construct = Construct {
    code: Some("BK308"),
    written: "the same with ADD",
    docker: "the files belong to root",
    kaniko: "the files belong to that USER; the variable changes it for those of the context, and not for a URL",
    treatment: Treatment::Refused,
    text: "Kaniko gives the files to USER `{}`, Docker to root",
    hint: "write the owner: `--chown=0:0`, or that of USER",
    example: "FROM busybox\nUSER 1000\nADD https://a.test/a /\n",
    flags: &[],
};

pub(super) const ALL: [Construct; 8] =
    [HEREDOC_VARIABLE, EXCLUDE, PARENTS, CHECKSUM, KEEP_GIT, UNPACK, COPY_AFTER_USER, ADD_AFTER_USER];

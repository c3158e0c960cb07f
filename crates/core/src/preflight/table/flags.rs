//! Flags of the executor that change what becomes of a Dockerfile.

use super::{Construct, Treatment};

pub(in crate::preflight) const NEW_RUN: Construct = Construct {
    code: Some("BK401"),
    written: "`kaniko.use-new-run`, `--use-new-run`",
    docker: "what a RUN deletes is gone",
    kaniko: "files of the base image that a RUN deletes are still in the image",
    treatment: Treatment::Said,
    text: "files of the base image that a RUN deletes stay in the image",
    hint: "remove it, or set `kaniko.snapshot-mode: redo`, which is fast too",
    example: "FROM busybox\nRUN true\n",
    flags: &["--use-new-run"],
};

pub(in crate::preflight) const SINGLE_SNAPSHOT: Construct = Construct {
    code: Some("BK402"),
    written: "MAINTAINER as the last instruction of a stage, with `kaniko.single-snapshot`",
    docker: "sets the author",
    kaniko: "the stage has no layers of its own",
    treatment: Treatment::Refused,
    text: "with `single-snapshot`, a stage that ends in MAINTAINER has no layers of its own",
    hint: "write `LABEL maintainer=...`, or move it up",
    example: "FROM busybox\nRUN true\nMAINTAINER a\n",
    flags: &["--single-snapshot"],
};

pub(in crate::preflight) const IMMUTABLE_TAG: Construct = Construct {
    code: Some("BK403"),
    written: "`--push-ignore-immutable-tag-errors`",
    docker: "the push fails",
    kaniko: "ends well although nothing was pushed, with a digest that the registry does not have",
    treatment: Treatment::Said,
    text: "a tag that cannot be changed ends as if it had been pushed",
    hint: "remove it from `extra-flags`, and push under a new tag",
    example: "FROM busybox\n",
    flags: &["--push-ignore-immutable-tag-errors"],
};

pub(in crate::preflight) const COPY_LAYERS: Construct = Construct {
    code: Some("BK404"),
    written: "`kaniko.cache.copy-layers`, `--cache-copy-layers`",
    docker: "compares all that a COPY depends on",
    kaniko: "does not compare build arguments and variables, and a layer from another stage may delete files",
    treatment: Treatment::Said,
    text: "a layer of COPY may come from the cache although a build argument or a variable has changed",
    hint: "remove it: COPY is fast without the cache",
    example: "FROM busybox\n",
    flags: &["--cache", "--cache-copy-layers"],
};

pub(super) const ALL: [Construct; 4] = [NEW_RUN, SINGLE_SNAPSHOT, IMMUTABLE_TAG, COPY_LAYERS];

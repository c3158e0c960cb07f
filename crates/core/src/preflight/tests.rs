//! The table by its examples, and how findings look.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::{dockerfile, limits};

fn found_with(text: &str, kaniko: &KanikoSpec, env: &[(&str, &str)]) -> Vec<DockerfileFinding> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    let file = dockerfile::read("Dockerfile", text.as_bytes());
    let (allowed, mask) = (BTreeSet::new(), Mask::default());
    check(&file, &PreflightInput { arch: Arch::Amd64, kaniko, env: &env, allowed: &allowed, mask: &mask })
}

fn found(text: &str) -> Vec<DockerfileFinding> {
    found_with(text, &KanikoSpec::default(), &[])
}

fn with_flags(flags: &[&str]) -> KanikoSpec {
    let extra_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    KanikoSpec { extra_flags, ..KanikoSpec::default() }
}

fn codes_of(found: &[DockerfileFinding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.code).collect()
}

fn rendered(found: &[DockerfileFinding]) -> String {
    found.iter().fold(String::new(), |mut all, finding| {
        writeln!(all, "{}", finding.message().indented()).unwrap();
        all
    })
}

#[test]
fn each_example_has_exactly_its_code() {
    let mut seen = BTreeSet::new();
    for construct in ALL.into_iter().flatten() {
        let Construct { code, written, example, flags, .. } = construct;
        let found = found_with(example, &with_flags(flags), &[]);
        let expected: Vec<_> = code.iter().copied().collect();
        assert_eq!(codes_of(&found), expected, "{written}:\n{example}{}", rendered(&found));
        for finding in &found {
            assert_eq!(finding.level, construct.severity(), "{written}");
            assert!(finding.hint.is_some() || matches!(*code, Some("BK001" | "BK002")), "{written}");
        }
        assert!(code.is_none_or(|code| seen.insert(code)), "{written}");
        assert_eq!(code.is_none(), construct.treatment == Treatment::Exact, "{written}");
    }
}

#[test]
fn ten_mistakes_are_one_report() {
    let text = "# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM --platform=linux/riscv64 $BASE AS builder
RNU true
RUN <<'EOF'
echo a
EOF
RUN --network=none --mount=type=tmpfs,target=/tmp \\
\t--mount=type=ssh \\
\tmake
ENV NPM_TOKEN=hunter2 A=b
USER app
COPY a /a
ADD --chown=app --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://a.test/a /
FROM busybox
COPY --from=bulider --exclude=*.log /a /a
COPY --from=builder /a /a
COPY <<EOF /etc/a
name=$NAME
EOF
";
    let found = found(text);
    insta::assert_snapshot!(rendered(&found), @r#"
    Dockerfile:3:6: error[BK101]: this stage is for linux/riscv64, and its base would be taken for the task's platform
        FROM --platform=linux/riscv64 $BASE AS builder
             ^^^^^^^^^^^^^^^^^^^^^^^^
      hint: build each architecture by a task of its own (`arch`), and write `$BUILDPLATFORM` or `$TARGETPLATFORM`
    Dockerfile:4:1: error[BK001]: `RNU` is not an instruction
        RNU true
        ^^^
      hint: did you mean `RUN`?
    Dockerfile:5:5: error[BK201]: Kaniko runs nothing of the heredoc `EOF`
        RUN <<'EOF'
            ^^^^^^^
      hint: write `RUN sh <<'EOF'`, or the name of another program in place of `sh`
    Dockerfile:8:5: error[BK221]: Kaniko runs every command in the network of the task, also with `--network=none`
        RUN --network=none --mount=type=tmpfs,target=/tmp \
            ^^^^^^^^^^^^^^
      hint: remove the flag
    Dockerfile:8:20: error[BK214]: Kaniko mounts no tmpfs, so what the command writes there would be in the image
        RUN --network=none --mount=type=tmpfs,target=/tmp \
                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: remove the files in the same RUN, or use `--mount=type=cache`
    Dockerfile:9:2: error[BK215]: Kaniko has no SSH mounts
        	--mount=type=ssh \
        	^^^^^^^^^^^^^^^^
      hint: give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`
    Dockerfile:11:5: warning[BK104]: the value of `NPM_TOKEN` can be read in the image and its history, and its name suggests a secret
        ENV NPM_TOKEN=*** A=b
            ^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    Dockerfile:13:1: warning[BK307]: Kaniko gives the files to USER `app`, Docker to root
        COPY a /a
        ^^^^
      hint: write the owner: `--chown=0:0`, or that of USER
    Dockerfile:14:17: error[BK304]: Kaniko does not compare the file with `--checksum`
        ADD --chown=app --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d h...
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: fetch the file in a RUN, and compare it there: `echo "SUM  FILE" | sha256sum -c`
    Dockerfile:16:13: warning[BK103]: `bulider` is not a stage, so it is taken for an image
        COPY --from=bulider --exclude=*.log /a /a
                    ^^^^^^^
      hint: did you mean `builder`? an image that is meant is written with its tag
    Dockerfile:16:21: error[BK302]: Kaniko copies also what `--exclude` names
        COPY --from=bulider --exclude=*.log /a /a
                            ^^^^^^^^^^^^^^^
      hint: exclude the files in `.dockerignore`, or name those that are wanted
    Dockerfile:18:6: error[BK301]: Kaniko does not replace variables in the heredoc `EOF`
        COPY <<EOF /etc/a
             ^^^^^
      hint: quote its name, `<<'EOF'`, if the lines are meant as they are; else write the file by `RUN printf`
    "#);
}

#[test]
fn a_line_is_shown_without_secrets_and_control_characters() {
    let (long, bidi) = ("x".repeat(200), '\u{202e}');
    let text = format!(
        "FROM a
ENV A=b API_TOKEN=hunter2 DB_PASSWORD=\"correct horse\" \\
  NPM_TOKEN=sesame
EVN MY_PASSWORD battery
RUN\techo \x1b[2J {bidi} {long} --mount
RUN --mount=type=ssh \techo \x1b[2J {bidi} {long}
COPY {long} --from=x https://me:hunter3@a.test/ {long} ${{
USER ${{A?https://me:hunter4@a.test}}
"
    );
    let shown = rendered(&found(&text));
    for secret in ["hunter", "horse", "sesame", "battery", "\x1b", "\u{202e}"] {
        assert!(!shown.contains(secret), "{secret} in\n{shown}");
    }
    insta::assert_snapshot!(shown, @r"
    Dockerfile:2:9: warning[BK104]: the value of `API_TOKEN` can be read in the image and its history, and its name suggests a secret
        ENV A=b API_TOKEN=*** DB_PASSWORD=*** \
                ^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    Dockerfile:2:27: warning[BK104]: the value of `DB_PASSWORD` can be read in the image and its history, and its name suggests a secret
        ENV A=b API_TOKEN=*** DB_PASSWORD=*** \
                              ^^^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    Dockerfile:3:3: warning[BK104]: the value of `NPM_TOKEN` can be read in the image and its history, and its name suggests a secret
          NPM_TOKEN=***
          ^^^^^^^^^
      hint: use `RUN --mount=type=secret,id=NAME`, and give the secret by `kaniko.secrets`, `build.secrets` or --secret
    Dockerfile:4:1: error[BK001]: `EVN` is not an instruction
        EVN MY_PASSWORD ***
        ^^^
      hint: did you mean `ENV`?
    Dockerfile:6:5: error[BK215]: Kaniko has no SSH mounts
        RUN --mount=type=ssh 	echo \u{1b}[2J \u{202e} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
            ^^^^^^^^^^^^^^^^
      hint: give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`
    Dockerfile:7:444: error[BK001]: COPY: `${` has no closing `}`
        ...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ${
                                                   ^^
      hint: write `${NAME}` or `${NAME:-default}`; `\$` is a literal `$`
    ");
}

#[test]
fn findings_are_let_pass_by_their_codes() {
    let text = "# syntax=docker/dockerfile:1
# bakery: allow=BK214, bk215
FROM busybox
#bakery:allow=BK999
# bakery: alow=BK101
# bakery: allow
RUN --mount=type=tmpfs,target=/tmp --mount=type=ssh true
";
    insta::assert_snapshot!(rendered(&found(text)), @r"
    Dockerfile:4:1: error[BK001]: `BK999` is not the code of a finding
        #bakery:allow=BK999
        ^^^^^^^^^^^^^^^^^^^
      hint: docs/reference/dockerfile.md lists all codes
    Dockerfile:5:1: error[BK001]: `alow` is not a key of a `# bakery:` comment
        # bakery: alow=BK101
        ^^^^^^^^^^^^^^^^^^^^
      hint: did you mean `allow`?
    Dockerfile:6:1: error[BK001]: no code follows `allow`
        # bakery: allow
        ^^^^^^^^^^^^^^^
      hint: write `# bakery: allow=CODE`, with commas between several
    ");
    assert_eq!(code_list("BK101,bk102 ,"), Ok(BTreeSet::from(["BK101", "BK102"])));
    insta::assert_snapshot!(code_list("BK1O1").unwrap_err().indented(), @r"
    `BK1O1` is not the code of a finding
      hint: did you mean `BK101`?
    ");
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let text = "FROM $BASE AS a
ARG KIND=tmpfs
USER $APP_USER
COPY a /a
ADD $URL /a
RUN --mount=type=$APP_KIND,target=/a --mount=type=secret,id=$ID true
RUN --mount=type=bind,target=$DIR true
ENV API_TOKEN=$TOKEN
FROM a
COPY b /b
USER root:0
COPY c /c
ADD c /c
";
    let kaniko = KanikoSpec {
        build_args: BTreeMap::from([("BASE".to_owned(), "busybox".to_owned())]),
        ..with_flags(&["--build-arg", "X=a=b"])
    };
    let found = found_with(&format!("ARG BASE\n{text}"), &kaniko, &[]);
    // Whatever its target is, it is not mounted without the variable.
    assert_eq!(codes_of(&found), ["BK212"], "{}", rendered(&found));
}

#[test]
fn settings_decide() {
    let bind = "FROM busybox\nRUN --mount=target=/src true\n";
    let env = [("FF_KANIKO_RUN_MOUNT_BIND", "true")];
    let codes = |text: &str, flags: &[&str], env: &[(&str, &str)]| {
        codes_of(&found_with(text, &with_flags(flags), env))
    };
    assert_eq!(codes(bind, &[], &env), [""; 0]);
    assert_eq!(codes(bind, &[], &[("FF_KANIKO_RUN_MOUNT_BIND", "yes")]), ["BK212"]);
    let copy = "FROM busybox\nUSER a\nCOPY a /\nADD a /\nADD a.tar.gz /\nADD https://a.test/a /\n";
    assert_eq!(codes(copy, &[], &[]), ["BK307", "BK308", "BK308"]);
    assert_eq!(codes(copy, &[], &[("FF_KANIKO_COPY_AS_ROOT", "1")]), ["BK308"]);
    let secret =
        "FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,target=/run/b,required true\n";
    assert_eq!(codes(secret, &[], &[]), ["BK217", "BK216"]);
    assert_eq!(codes(secret, &["--secret", "id=a,env=A", "--secret=id=b"], &[]), [""; 0]);
    let heredoc = "FROM busybox\nRUN sh <<'EOF'\na\nEOF\n";
    assert_eq!(codes(heredoc, &["--cache=true"], &[]), ["BK204"]);
    assert_eq!(codes(heredoc, &["--cache", "--cache-run-layers=false"], &[]), [""; 0]);
    let platform = "FROM --platform=$BUILDPLATFORM busybox\n";
    assert_eq!(codes(platform, &["--custom-platform=linux/arm64"], &[]), ["BK101"]);
    assert_eq!(codes("FROM --platform=linux/x86_64 busybox\n", &[], &[]), [""; 0]);
    let target = "FROM busybox AS a\nRUN --mount=type=ssh true\nFROM busybox AS b\n";
    assert_eq!(codes(target, &["--target=b"], &[]), [""; 0]);
    assert_eq!(codes(target, &["--target", "a"], &[]), ["BK215"]);
    let onbuild = "FROM busybox AS a\nONBUILD RUN --mount=type=ssh true\nFROM a\n";
    assert_eq!(codes(onbuild, &[], &[]), ["BK215"]);
}

#[test]
fn the_dockerfiles_of_this_project_have_no_findings() {
    for text in [
        include_str!("../../../../Dockerfile.agent"),
        include_str!("../../../../Dockerfile.client"),
        include_str!("../../../../Dockerfile.server"),
    ] {
        let found = found(text);
        assert!(found.is_empty(), "{}", rendered(&found));
    }
}

#[test]
fn a_finding_has_a_stable_form_for_programs() {
    let found = found("FROM busybox\nRUN --mount=type=ssh true\n");
    insta::assert_snapshot!(document(&found), @r#"{"findings":[{"code":"BK215","column":5,"file":"Dockerfile","hint":"give a key by `RUN --mount=type=secret`, or fetch in the `pre-script`","level":"error","line":2,"text":"Kaniko has no SSH mounts"}]}"#);
}

#[test]
fn case_12_heredocs() {
    let text = "FROM REG/base/busybox:1
ARG NAME=bakery
RUN <<'SCRIPT'
echo 'literal $HOME' > /quoted
SCRIPT
RUN <<SCRIPT
echo ran > /unquoted
SCRIPT
COPY <<CONF /conf
name=${NAME}
raw=\\${NAME}
CONF
COPY <<'CONF' /conf.raw
name=${NAME}
CONF
";
    assert_eq!(codes_of(&found(text)), ["BK201", "BK203", "BK301"]);
}

#[test]
fn case_16_secret_and_bind_mounts() {
    let secrets = "FROM REG/base/busybox:1 AS one
RUN --mount=type=secret,id=tok --mount=type=secret,id=file sh -c 'test -s /run/secrets/tok' && echo 1 > /one.done
FROM REG/base/busybox:1
COPY --from=one /one.done /one.done
RUN --mount=type=secret,id=tok,target=/root/.token,required=true true
";
    let kaniko = with_flags(&[
        "--secret",
        "id=tok,env=DEPLOY_TOKEN",
        "--secret",
        "id=file,src=/kaniko/bakery-input/s",
    ]);
    assert_eq!(codes_of(&found_with(secrets, &kaniko, &[])), [""; 0]);
    let binds = "FROM REG/base/busybox:1 AS made
FROM REG/base/busybox:1
RUN --mount=type=bind,from=made,source=/out,target=/mnt/out --mount=type=bind,source=input.txt,target=/in.txt \\
    cp /mnt/out/artefact /artefact; cat /in.txt > /input
";
    assert_eq!(codes_of(&found(binds)), ["BK211", "BK212"]);
    let env = [("FF_KANIKO_RUN_MOUNT_BIND", "true")];
    assert_eq!(codes_of(&found_with(binds, &KanikoSpec::default(), &env)), ["BK211"]);
}

#[test]
fn case_kaniko_panics() {
    insta::assert_snapshot!(rendered(&found("ARG foo=bar")), @r"
    Dockerfile:1:1: error[BK001]: there is no FROM
        ARG foo=bar
        ^^^
      hint: begin with `FROM image`
    ");
}

#[test]
fn warnings_take_no_room_from_errors() {
    let many = "COPY a /\n".repeat(500);
    let found = found(&format!("FROM busybox\nUSER 1\n{many}RUN --mount=type=ssh true\n{many}"));
    assert_eq!(found.len(), limits::FINDINGS + 1);
    assert_eq!(found.last().map(|finding| finding.code), Some("BK215"));
}

#[test]
fn a_keyword_of_control_characters_is_escaped() {
    let found = found("FROM busybox\n\x1b[2J\\\n\nx\n");
    assert!(!found.is_empty() && found.iter().all(|finding| !finding.text.contains('\x1b')), "{found:?}");
}

/// Pieces of Dockerfiles, in any order.
const PIECES: &str = r"(FROM a AS b|RUN |COPY --from=B |ADD --checksum=x |ENV A_TOKEN=b |ARG |ONBUILD |USER |--mount=type=ssh |--mount=target=a |--exclude=\xFF |# bakery: alow|=|<<E|E|'|ü|\\|\n|\r\n|\t|\x1b|x|\$\{A:-|\}){0,3}";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_checked(pieces in proptest::collection::vec(PIECES, 0..60), is_spoilt in any::<bool>()) {
        let mut bytes = pieces.concat().into_bytes();
        if is_spoilt {
            bytes.splice(0..0, *b"FROM a\nRUN \xFF\xFE \xC3 --mount=x\n");
        }
        let file = dockerfile::read("Dockerfile", &bytes);
        let (kaniko, mask) = (KanikoSpec::default(), Mask::default());
        let input = PreflightInput {
            arch: Arch::Arm64,
            kaniko: &kaniko,
            env: &BTreeMap::new(),
            allowed: &BTreeSet::new(),
            mask: &mask,
        };
        for finding in check(&file, &input) {
            let shown = finding.message().indented();
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{:?}", shown);
            prop_assert!(finding.line <= file.text.lines());
        }
    }
}

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::dockerfile::lines::continuation;

fn file(text: &str) -> Dockerfile {
    read("Dockerfile", text.as_bytes())
}

fn rendered(findings: &[Mistake]) -> String {
    findings.iter().map(Mistake::rendered).collect::<Vec<_>>().join("\n")
}

/// All mistakes of a file.
fn mistakes(text: &str) -> String {
    rendered(&file(text).mistakes)
}

fn evaluate(file: &Dockerfile, target: Option<&str>) -> Evaluation {
    file.evaluate(&BuildInput {
        args: &BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        target,
        target_platform: "linux/arm64",
        build_platform: "linux/arm64",
        images: &BTreeMap::new(),
    })
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    insta::assert_snapshot!(mistakes(
        "FROM --platfrom=linux/amd64 alpine AS 1st
RNU apt-get update
RUN --mount=type=cache,from=$BASE,target=/c --network=nnoe a
COPY --form=build /a /b
COPY a
COPY a <<EOF
x
EOF
ENV A=1 B
ENV PASSWORD
CMD [\"a\", 1]
HEALTHCHECK --interval=5 CMD a
  ONBUILD FROM x
EXPOSE \\
  # none
SHELL /bin/bash
LABEL ü ü \\
  b\0
FROM alpine AS b
RUN <<EOF
never ended"
    ), @r#"
    Dockerfile:1:6: FROM: `--platfrom` is not a flag of FROM
      hint: did you mean `platform`?
    Dockerfile:1:39: FROM: `1st` is not a valid name of a stage
      hint: begin with a letter, and use letters, digits, `-`, `_` and `.`
    Dockerfile:2:1: `RNU` is not an instruction
      hint: did you mean `RUN`?
    Dockerfile:3:29: RUN: variables are not replaced in `from`
      hint: add a stage `FROM image:$TAG AS name`, and write `from=name`
    Dockerfile:3:55: RUN: `--network=nnoe` is not valid
      hint: did you mean `none`?
    Dockerfile:4:6: COPY: `--form` is not a flag of COPY
      hint: did you mean `from`?
    Dockerfile:5:1: COPY: a source or the destination is missing
      hint: write `COPY SOURCE DESTINATION`
    Dockerfile:6:8: COPY: a heredoc cannot be the destination
      hint: write `COPY <<EOF DESTINATION`
    Dockerfile:9:9: ENV: `B` has no equals sign
      hint: put a value with blanks in quotes: `name="a value"`
    Dockerfile:10:5: ENV: `PASSWORD` has no value
      hint: write `ENV name=value`
    Dockerfile:11:11: CMD: the JSON list has something else than texts
      hint: quote each of them: `["sleep", "5"]`
    Dockerfile:12:24: HEALTHCHECK: `--interval=5` is not a duration
      hint: write `30s` or `1m30s`
    Dockerfile:13:11: ONBUILD: FROM is not allowed after ONBUILD
    Dockerfile:18:4: LABEL: there is a NUL byte
    Dockerfile:20:5: RUN: the heredoc `EOF` has no end
      hint: write a line that is `EOF` and nothing else below its text
    "#);
}

#[test]
fn directives_and_the_first_stage_are_checked() {
    insta::assert_snapshot!(mistakes("# escape=x\n# escape=`\nRUN a\nARG A\nENV A=b\n"), @r"
    Dockerfile:1:1: escape: `x` is not a valid escape character
      hint: a backslash or a backtick
    Dockerfile:1:1: there is no FROM
      hint: begin with `FROM image`
    Dockerfile:2:1: the directive `escape` is there twice
    Dockerfile:3:1: RUN: there is no stage before this instruction
      hint: begin with FROM; only ARG may stand before it
    Dockerfile:5:1: ENV: there is no stage before this instruction
      hint: begin with FROM; only ARG may stand before it
    ");
    insta::assert_snapshot!(mistakes(""), @r"
    Dockerfile:1:1: there is no FROM
      hint: begin with `FROM image`
    ");
    insta::assert_snapshot!(mistakes("FRMO a\nRUN b\n"), @r"
    Dockerfile:1:1: `FRMO` is not an instruction
      hint: did you mean `FROM`?
    ");
    insta::assert_snapshot!(mistakes("FROM a\n\\"), @"Dockerfile:2:1: there is no instruction after the escape character");
    insta::assert_snapshot!(rendered(&read("", b"\xFF\xFEF\0R\0").mistakes), @r"
    :1:1: the file is UTF-16
      hint: save it as UTF-8
    ");
    insta::assert_snapshot!(mistakes("FROM a\nRUN\u{A0}b\n"), @r"
    Dockerfile:2:1: `RUN b` is not an instruction
      hint: the blank in it is not an ordinary one; write it anew
    ");
}

#[test]
fn what_waits_for_another_build_is_a_notice() {
    let file = file("FROM a\nONBUILD COPY x\nONBUILD RUN --bogus y\nRUN a \\\n\n  b\n");
    assert_eq!(rendered(&file.mistakes), "");
    insta::assert_snapshot!(rendered(&file.notices), @r"
    Dockerfile:2:9: COPY: a source or the destination is missing
      hint: write `COPY SOURCE DESTINATION`
    Dockerfile:3:13: RUN: `--bogus` is not a flag of RUN
      hint: one of mount, network, security, device
    Dockerfile:5:1: RUN: an empty line between lines of one instruction will be a mistake in later versions of BuildKit
    ");
}

#[test]
fn builds_are_checked() {
    let file = file(
        "ARG BASE
FROM ${BASE} AS a
FROM alpine AS b
COPY --from=c x y
COPY --from=7 x y
COPY --from=$BASE x y
RUN --mount=type=bind,from=b,target=/x --mount=type=secret y
USER ${TOKEN:?the token $TOKEN is missing}$
ARG TOKEN
USER ${TOKEN:+}${A:+${TOKEN:?}}
WORKDIR ${A
LABEL a=\"b c='$d
FROM --platform=linux/$TOKEN alpine AS c
ENV A=
RUN --mount=type=${A:-tmpfs},size=x,target=/a b
COPY --from=b --chown=${A:=1} x ${}
USER ${A:?the token $TOKEN is missing}
COPY <<EOF /x
${A^^}
EOF
",
    );
    assert_eq!(rendered(&file.mistakes), "");
    let evaluation = evaluate(&file, Some("cc"));
    insta::assert_snapshot!(rendered(&evaluation.mistakes), @r#"
    Dockerfile:1:1: there is no stage `cc`
      hint: did you mean `c`?
    Dockerfile:2:6: FROM: the base image `${BASE}` is empty
      hint: give the build argument, or a default: `ARG NAME=value` above the first FROM
    Dockerfile:4:13: the stages `b` and `c` need each other
    Dockerfile:5:13: COPY: there is no stage 7
      hint: stages are 0 to 2
    Dockerfile:6:13: COPY: variables are not replaced in `--from`
      hint: add a stage `FROM image:$TAG AS name`, and write `--from=name`
    Dockerfile:7:28: the stage `b` uses itself
    Dockerfile:7:40: RUN: the secret has no id
      hint: write `type=secret,id=NAME`
    Dockerfile:11:9: WORKDIR: `${A` is not a valid expression
      hint: write `${NAME}` or `${NAME:-default}`; `\$` is a literal `$`
    Dockerfile:12:9: LABEL: a " has no closing "
      hint: close it, or put the escape character before it
    Dockerfile:13:17: FROM: `linux/$TOKEN` is not a platform
      hint: write `linux/amd64` or `linux/arm64`
    Dockerfile:15:30: RUN: `size=x` is not a size, as `64m`
    Dockerfile:16:23: COPY: `${A:=` is not a valid expression
      hint: write `${NAME}` or `${NAME:-default}`; `\$` is a literal `$`
    Dockerfile:16:33: COPY: `${` is not followed by a variable's name
      hint: write `${NAME}` or `${NAME:-default}`; `\$` is a literal `$`
    Dockerfile:17:6: USER: the variable A is required: the token $TOKEN is missing
    Dockerfile:19:1: COPY: `${A^` is not a valid expression
      hint: write `${NAME}` or `${NAME:-default}`; `\$` is a literal `$`
    "#);
    let needed: Vec<bool> = evaluation.stages.iter().map(|stage| stage.is_needed).collect();
    assert_eq!(needed, [false, true, true]);
}

#[test]
fn what_only_the_base_image_knows_is_unknown() {
    let file = file(
        "FROM alpine AS a
ARG A=1
ENV B=$A C=$HOME D=${A:-$HOME} E=${HOME:-x} F=${A:+y}
LABEL l=\"$B $C\" m=$D$F n=${C#x}
FROM scratch
LABEL o=$HOME p=$PATH
",
    );
    let evaluation = evaluate(&file, None);
    assert_eq!(rendered(&evaluation.mistakes), "");
    let mut shown = String::new();
    for (stage, evaluated) in file.stages.iter().zip(&evaluation.stages) {
        let own = file.instructions_of(stage).iter().skip(1).zip(&evaluated.instructions);
        for (instruction, evaluated) in own {
            let (Kind::Env(pairs) | Kind::Label(pairs)) = &instruction.kind else { continue };
            for pair in pairs {
                let value = evaluated.expansion(pair.value.span);
                writeln!(shown, "{} {value:?}", pair.name.text).unwrap();
            }
        }
    }
    insta::assert_snapshot!(shown, @r#"
    B Some(Known("1"))
    C Some(Unknown({"HOME"}))
    D Some(Known("1"))
    E Some(Unknown({"HOME"}))
    F Some(Known("y"))
    l Some(Unknown({"C"}))
    m Some(Known("1y"))
    n Some(Unknown({"C"}))
    o Some(Known(""))
    p Some(Known("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
    "#);
}

/// Files that are too large, too deep or too much work, each with what it is.
fn bad_input() -> Vec<(&'static str, String)> {
    let values_that_are_thrown_away = || {
        let big = format!("FROM scratch\nENV A={}\nENV A=$A$A$A$A$A$A$A$A\n", "x".repeat(60_000));
        big + &"LABEL l=${A:+}${N+$A}${PATH:-$A}\n".repeat(5000)
    };
    let long_patterns = || {
        let big = format!("FROM scratch\nENV A={}\n", "x".repeat(60_000));
        big + &format!("LABEL l=${{A#{}}}\n", "*a".repeat(30)).repeat(3000)
    };
    let circle = |n: usize| format!("FROM a AS s{n}\nCOPY --from=s{} x y\n", (n + 1) % 4000);
    let nested = |depth: usize| format!("{}{}", "${a:-".repeat(depth), "}".repeat(depth));
    vec![
        ("10 MB", "#".repeat(10 << 20)),
        ("many instructions", format!("FROM a\n{}", "RUN a\n".repeat(100_000))),
        ("an endless heredoc", format!("FROM a\nRUN <<END\n{}", "a\n".repeat(400_000))),
        ("a long line", format!("FROM a\nRUN {}\n", "a".repeat(70_000))),
        ("a NUL byte", "FROM a\nRUN a\0b\n".to_owned()),
        ("deep variables", format!("FROM a\nENV A={}\n", nested(10_000))),
        ("deep variables before a heredoc", format!("FROM a\nRUN {} <<E\n", nested(9000))),
        ("doubled values", format!("FROM scratch\nENV A=0123456789\n{}", "ENV A=$A$A$A$A\n".repeat(30))),
        ("values that are thrown away", values_that_are_thrown_away()),
        ("long patterns", long_patterns()),
        ("a circle of stages", (0..4000).map(circle).collect()),
        (
            "many triggers in many stages",
            format!("FROM scratch AS a\n{}{}", "ONBUILD ENV A=$A\n".repeat(4000), "FROM a\n".repeat(4000)),
        ),
    ]
}

#[test]
fn bad_input_is_one_clear_mistake() {
    let mut shown = String::new();
    for (what, text) in bad_input() {
        let file = file(&text);
        let found = if file.mistakes.is_empty() { evaluate(&file, None).mistakes } else { file.mistakes };
        assert_eq!(found.len(), 1, "{what}: {}", rendered(&found));
        writeln!(shown, "{what}: {}", found[0]).unwrap();
    }
    insta::assert_snapshot!(shown, @r"
    10 MB: Dockerfile:1:1: the file has more than 1048576 bytes
    many instructions: Dockerfile:10001:1: there are more than 10000 instructions
    an endless heredoc: Dockerfile:2:5: RUN: the heredoc `END` has no end
    a long line: Dockerfile:2:1: RUN: the line is longer than 65535 bytes
    a NUL byte: Dockerfile:2:6: RUN: there is a NUL byte
    deep variables: Dockerfile:2:332: ENV: variables are nested deeper than 64 levels
    deep variables before a heredoc: Dockerfile:2:1: RUN: variables are nested deeper than 64 levels
    doubled values: Dockerfile:12:9: ENV: with its variables replaced, the file has more than 4194304 bytes
    values that are thrown away: Dockerfile:6:21: LABEL: with its variables replaced, the file has more than 4194304 bytes
    long patterns: Dockerfile:17:74: LABEL: with its variables replaced, the file has more than 4194304 bytes
    a circle of stages: Dockerfile:2:13: the stages `s0` and `s1` need each other
    many triggers in many stages: Dockerfile:4067:1: FROM: with its variables replaced, the file has more than 4194304 bytes
    ");
}

#[test]
fn a_long_chain_of_stages_is_read() {
    let stage = |n: usize| format!("FROM s{} AS s{n}\nENV A{n}=x\n", n.saturating_sub(1));
    let text = (0..4000).map(stage).collect::<String>() + &"USER $A1$A2\n".repeat(1999);
    let file = file(&text);
    let evaluation = evaluate(&file, None);
    assert_eq!(rendered(&evaluation.mistakes), "");
    let last = evaluation.stages[3999].instructions.last().and_then(|it| it.expansions().next());
    assert_eq!(last.and_then(|(_, expansion)| expansion.known()), Some("xx"));
}

/// The text of a part of the file without its continuations.
fn joined(bytes: &[u8], escape: char) -> String {
    let mut text = String::new();
    for (nth, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = crate::dockerfile::text::lossy(line);
        let is_last = !line.ends_with('\n');
        let line = line.trim_end_matches(['\r', '\n']);
        let start = line.trim_start();
        if nth > 0 && (start.is_empty() || start.starts_with('#')) {
            continue;
        }
        text.push_str(continuation(line, escape).filter(|_| !is_last).unwrap_or(line));
    }
    text
}

fn words(instruction: &Instruction) -> Vec<&Word> {
    let mut words = vec![&instruction.keyword, &instruction.arguments];
    match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            words.extend(pairs.iter().flat_map(|pair| [&pair.name, &pair.value]));
        }
        Kind::Arg(arguments) => {
            words.extend(arguments.iter().flat_map(|it| [Some(&it.name), it.value.as_ref()]).flatten());
        }
        Kind::From { base, name } => words.extend([Some(base), name.as_ref()].into_iter().flatten()),
        Kind::Expose(ports) => words.extend(ports),
        Kind::User(word) | Kind::Workdir(word) | Kind::Cmd(CommandLine::Shell(word)) => words.push(word),
        Kind::Onbuild(trigger) => words.extend([&trigger.keyword, &trigger.arguments]),
        _ => {}
    }
    words
}

/// Pieces of Dockerfiles, in any order.
const PIECES: &str = r"(FROM a AS b|RUN |COPY a |ENV A=b |ARG |EXPOSE |ONBUILD |USER |CMD |# c|# escape=`|<<E|E|--link |'|\[.a.\]| |ü|\\|`|\n|\r\n|\t|\$\{A:-|\}|x){0,3}";

proptest! {
    #[test]
    fn the_parts_put_together_are_the_file(
        pieces in proptest::collection::vec(PIECES, 0..60),
        ends in 0u8..3,
    ) {
        let mut bytes = pieces.concat().into_bytes();
        match ends {
            0 => drop(bytes.splice(0..0, [0xEF, 0xBB, 0xBF])),
            1 => bytes.push(0xFF),
            _ => {}
        }
        let file = read("Dockerfile", &bytes);
        let mut parts: Vec<Span> = file.instructions.iter().map(|it| it.span).collect();
        parts.extend(&file.comments);
        parts.sort_by_key(|span| span.start);
        let (mut at, mut again) = (0, Vec::new());
        for span in parts.into_iter().chain([Span { start: bytes.len(), end: bytes.len() }]) {
            prop_assert!(at <= span.start && span.start <= span.end, "{:?}", span);
            let between = file.text.text(Span { start: at, end: span.start }).into_owned();
            prop_assert!(between.chars().all(|c| c.is_whitespace() || c == '\u{FEFF}'), "{:?}", between);
            again.extend_from_slice(file.text.bytes(Span { start: at, end: span.end }));
            at = span.end;
        }
        prop_assert_eq!(&again, &bytes);
        for instruction in &file.instructions {
            prop_assert_eq!(file.text.position(instruction.span.start).line, instruction.lines.0);
            prop_assert_eq!(file.text.position(instruction.span.end).line, instruction.lines.1);
            for word in words(instruction) {
                prop_assert!(instruction.span.start <= word.span.start);
                prop_assert!(word.span.end <= instruction.span.end);
                prop_assert_eq!(&joined(file.text.bytes(word.span), file.escape), &word.text);
            }
        }
        evaluate(&file, None);
    }
}

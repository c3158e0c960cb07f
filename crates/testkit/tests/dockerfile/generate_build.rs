//! Generated Dockerfiles with few mistakes, whose builds can be compared.

use crate::build::Given;
use crate::generate::{NAMES, Numbers, word};

/// A variable without what is never right.
fn right_variable(numbers: &mut Numbers, depth: usize) -> String {
    let name = numbers.pick(&["A", "B", "PATH", "TARGETARCH", "v_1", "NO", "HTTP_PROXY"]);
    let operator = numbers.pick(&["", ":-", "-", ":+", "+", "#", "##", "%", "%%", "/", "//", ":-", "-"]);
    if operator.is_empty() {
        return format!("${{{name}}}");
    }
    let mut inner = String::new();
    for _ in 0..=numbers.below(2) {
        inner += &match numbers.below(3) {
            0 if depth < 3 => right_variable(numbers, depth + 1),
            1 => numbers.pick(&["$A", "$B", "$NO"]).to_owned(),
            _ => numbers.pick(&["a", "b", "*", "?", "-", ".", "o", "'x y'", "", "bin"]).to_owned(),
        };
    }
    let by = if operator.starts_with('/') { numbers.pick(&["/", "/y", "/$B", "/$$0"]) } else { "" };
    format!("${{{name}{operator}{inner}{by}}}")
}

/// A value that is right more often than a word.
fn value(numbers: &mut Numbers) -> String {
    if numbers.one_in(20) {
        return word(numbers);
    }
    let mut value = String::new();
    for _ in 0..=numbers.below(2) {
        match numbers.below(4) {
            0 => value += &right_variable(numbers, 0),
            1 => value.extend(["$", numbers.pick(NAMES)]),
            2 => value.extend(["${", numbers.pick(NAMES), "}"]),
            _ => value += numbers.pick(&["a", "/b", "c.d", "'e f'", "\"g $A\"", "\\$A"]),
        }
    }
    value
}

/// A Dockerfile with few mistakes, and what its build is given.
pub(crate) fn build(seed: u64) -> (Vec<u8>, Given) {
    let numbers = &mut Numbers::new(seed ^ 0xB1D);
    let mut lines = Vec::new();
    if numbers.one_in(5) {
        lines.push("# escape=`".to_owned());
    }
    for _ in 0..numbers.below(4) {
        let name = numbers.pick(&["A", "B", "BASE", "TARGETARCH", "PLATFORM"]);
        let default = match name {
            _ if numbers.one_in(4) => String::new(),
            "BASE" => format!("={}", numbers.pick(&["alpine", "s1", "$A", "${B:-s0}", "scratch"])),
            "PLATFORM" => format!("={}", numbers.pick(&["linux/amd64", "$TARGETPLATFORM", "bogus/"])),
            _ => format!("={}", value(numbers)),
        };
        lines.push(format!("ARG {name}{default}"));
    }
    let stages = 1 + numbers.below(4);
    for stage in 0..stages {
        let platform = if numbers.one_in(6) {
            numbers.pick(&["--platform=${PLATFORM:-linux/amd64} ", "--platform=linux/${TARGETARCH:-arm64} "])
        } else {
            ""
        };
        let base = match numbers.below(8) {
            0 | 1 if stage > 0 => format!("s{}", numbers.below(stage)),
            0 => "scratch".to_owned(),
            2 => "${BASE:-alpine}".to_owned(),
            3 => format!("s{}", numbers.below(stages + 1)),
            4 => format!("alpine:${{{}:-3}}", numbers.pick(NAMES)),
            _ => "alpine".to_owned(),
        };
        lines.push(format!("FROM {platform}{base} AS s{stage}"));
        for _ in 0..numbers.below(6) {
            lines.push(step(numbers, stage));
        }
    }
    let given = Given {
        args: (0..numbers.below(3))
            .map(|_| {
                (
                    numbers.pick(&["A", "B", "BASE", "NO", "HTTP_PROXY", "TARGETARCH"]),
                    numbers.pick(&["", "x", "a b", "$A", "s0", "a/b=c"]),
                )
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        target: if numbers.one_in(3) { format!("s{}", numbers.below(stages)) } else { String::new() },
        env: ["PATH=/bin:/usr/bin", "B=of-base-o", "v_1="]
            .into_iter()
            .filter(|_| numbers.one_in(2))
            .map(str::to_owned)
            .collect(),
        onbuild: ["ENV A=of-base", "COPY $A /x", "ARG B=1", "USER ${NO:?}"]
            .into_iter()
            .filter(|_| numbers.one_in(12))
            .map(str::to_owned)
            .collect(),
    };
    lines.push(String::new());
    (lines.join("\n").into_bytes(), given)
}

/// A value that is one word.
fn path(numbers: &mut Numbers) -> String {
    value(numbers).replace([' ', '\t', '\u{A0}'], "")
}

/// A name for `--from`, mostly of an earlier stage.
fn earlier(numbers: &mut Numbers, stage: usize) -> String {
    match stage {
        _ if numbers.one_in(20) => format!("s{}", numbers.below(stage + 2)),
        0 => "alpine".to_owned(),
        _ => format!("s{}", numbers.below(stage)),
    }
}

fn step(numbers: &mut Numbers, stage: usize) -> String {
    let prefix = if numbers.one_in(8) { "ONBUILD " } else { "" };
    let name = numbers.pick(NAMES);
    let text = match numbers.below(14) {
        0 | 1 => format!("ENV {name}={} {}={}", value(numbers), numbers.pick(NAMES), value(numbers)),
        2 => format!("ENV {name} {}", value(numbers)),
        3 | 4 => format!("ARG {name}={}", value(numbers)),
        5 => format!("ARG {name}"),
        6 => format!("LABEL {name}={} \"b $A\"={}", value(numbers), value(numbers)),
        7 => format!("USER {}", value(numbers)),
        8 => format!("COPY {} {} /x{}", path(numbers), path(numbers), path(numbers)),
        9 => {
            format!("COPY --chown={} --from={} {} /x", path(numbers), earlier(numbers, stage), path(numbers))
        }
        10 => format!(
            "RUN --mount=type=bind,from={},target=/x{} {}",
            earlier(numbers, stage),
            numbers.pick(&["$A", "", "${B}"]),
            word(numbers)
        ),
        11 => format!("VOLUME {}", path(numbers)),
        12 => format!(
            "RUN --mount=type=${{{name}:-cache}},target=/x,id={} a",
            numbers.pick(&["$A", "", "${B}"])
        ),
        _ => format!("WORKDIR /{}", numbers.pick(&["a", "$A", "${B:-c}"])),
    };
    format!("{prefix}{text}")
}

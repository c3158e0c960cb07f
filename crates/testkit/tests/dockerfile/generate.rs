//! Generated Dockerfiles: from a grammar that also goes wrong, and from cases with pieces changed. The seed is fixed.

/// A generator of numbers (xorshift), the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % end.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

pub(crate) const NAMES: &[&str] = &["A", "B", "PATH", "TARGETARCH", "v_1", "NO", "HTTP_PROXY", "ü"];
const PIECES: &[&str] = &[
    "a",
    "b c",
    "/x",
    ".",
    "*",
    "'q r'",
    "\"q r\"",
    "\\",
    "\\\\",
    "`",
    "``",
    "\\\"",
    "\\'",
    "\\$A",
    "$A",
    "${A}",
    "${B}",
    "$$",
    "$",
    "${",
    "}",
    "'",
    "\"",
    "ü",
    "=",
    "a=b",
    ":",
    "#",
    "-",
    "--",
    "<",
    "<<",
    "1",
    "80",
    "80/udp",
    "~",
    "\t",
    "\u{A0}",
    "/a/b",
    "'$A'",
    "\"${A}\"",
    "\"a\\\"b\"",
    "\"a\\b\"",
    "'a\\'b'",
    "!",
    "@",
    "$1",
    "$12x",
    "${1}",
    "$*",
    ",",
    "&&",
];
const OPERATORS: &[&str] =
    &[":-", "-", ":+", "+", ":?", "?", "#", "##", "%", "%%", "/", "//", ":", "=", ":=", "~", ""];
const STAGES: &[&str] =
    &["base", "build", "Build", "x-1", "0", "1", "2", "scratch", "context", "alpine", "a.b_c", "1x", "é"];
const FLAGS: &[&str] = &[
    "--from=build",
    "--from=0",
    "--from=1",
    "--from=alpine",
    "--from=$A",
    "--chown=1:2",
    "--chown=$A",
    "--chmod=755",
    "--chmod=u+x",
    "--link",
    "--link=true",
    "--link=FALSE",
    "--link=x",
    "--link=",
    "--parents",
    "--exclude=*.md",
    "--exclude=a",
    "--checksum=sha256:a",
    "--keep-git-dir",
    "--unpack=false",
    "--platform=linux/arm64",
    "--platform=$TARGETPLATFORM",
    "--network=none",
    "--network=host",
    "--network=x",
    "--security=insecure",
    "--security=x",
    "--device=v/d=x,required",
    "--device=name=a,name=b",
    "--device=a,b",
    "--mount=type=cache,target=/c",
    "--mount=type=bind,target=/b,from=build",
    "--mount=target=/b,from=$A",
    "--mount=type=secret,id=s",
    "--mount=type=tmpfs,target=/t,size=1m",
    "--mount=type=ssh,required",
    "--mount=\"type=cache,target=/a b\"",
    "--mount=",
    "--mount=type=secret,id=a,source=b",
    "--mount=type=cache,target=/c,mode=0755,uid=1,gid=$A,sharing=locked",
    "--mount=a\\\"b",
    "--mount=type=secret,id=s,env=TOKEN,required=true",
    "--mount",
    "--interval=5s",
    "--interval=x",
    "--timeout=1m30s",
    "--retries=3",
    "--retries=-1",
    "--start-period=0",
    "--start-interval=1us",
    "--bogus",
    "--",
    "--=",
    "---",
    "--\"from\"=build",
    "--from='a b'",
];
const JSON: &[&str] = &[
    "[\"a\", \"b c\"]",
    "[]",
    "[\"a\"]",
    "[ \"\\u00fc\\n\" , \"$A\" ]",
    "[\"a\", 1]",
    "[\"a\", null]",
    "[\"a\"",
    "['a']",
    "[\"a\",]",
    "[\"a\"] x",
    "[[\"a\"]]",
    "[\"\\ud83d\\ude00\", \"\\ud83d\"]",
    "[\"<<EOF\", \"/x\"]",
    "[\"/a\", \"/b\"]",
    "[\"a\\q\"]",
    "[true]",
    "[\"\", \" \"]",
];
const HEREDOCS: &[&str] = &[
    "<<EOF",
    "<<-EOF",
    "<<'EOF'",
    "<<\"EOF\"",
    "<<-\"EOF\"",
    "<< EOF",
    "0<<EOF",
    "3<<-A",
    "<<A",
    "<<E\"O\"F",
    "<<A <<B",
    "<<A<<B",
    "<<<A",
    "<<\\EOF",
    "<<$A",
    "<<EOF|cat",
    "<<EOF;",
    "a<<A",
    "<<'A B'",
];
const BODIES: &[&str] = &[
    "echo $A",
    "\ttab",
    "#!/bin/sh",
    "FROM x",
    "  EOF",
    "EOF ",
    "\\",
    "${A:-x} \\$A 'q' \"$B\"",
    "",
    "# c",
    "ü \\n",
];

/// Something that looks like a word.
pub(crate) fn word(numbers: &mut Numbers) -> String {
    let mut word = String::new();
    for _ in 0..=numbers.below(4) {
        match numbers.below(8) {
            0 => word += &variable(numbers, 0),
            1 => word += numbers.pick(NAMES),
            _ => word += numbers.pick(PIECES),
        }
    }
    word
}

fn variable(numbers: &mut Numbers, depth: usize) -> String {
    let (name, operator) = (numbers.pick(NAMES), numbers.pick(OPERATORS));
    let mut inner = String::new();
    for _ in 0..numbers.below(3) {
        if depth < 3 && numbers.one_in(3) {
            inner += &variable(numbers, depth + 1);
        } else {
            inner += numbers.pick(PIECES);
        }
    }
    let replacement = if operator.starts_with('/') && !numbers.one_in(4) {
        numbers.pick(&["/", "/y", "/$A", "/\\$0"])
    } else {
        ""
    };
    let end = if numbers.one_in(20) { "" } else { "}" };
    format!("${{{name}{operator}{inner}{replacement}{end}")
}

fn keyword(numbers: &mut Numbers) -> String {
    let known = [
        "FROM",
        "RUN",
        "RUN",
        "RUN",
        "COPY",
        "COPY",
        "ADD",
        "ENV",
        "ENV",
        "ARG",
        "LABEL",
        "EXPOSE",
        "CMD",
        "ENTRYPOINT",
        "HEALTHCHECK",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
        "MAINTAINER",
        "ONBUILD",
    ];
    let word = numbers.pick(&known);
    match numbers.below(30) {
        0 => word.to_lowercase(),
        1 => word[1..].to_owned(),
        2 => format!("{}{}", &word[..1], word[1..].to_lowercase()),
        _ => word.to_owned(),
    }
}

fn instruction(numbers: &mut Numbers, heredocs: &mut Vec<String>) -> String {
    let name = keyword(numbers);
    let mut parts = vec![name.clone()];
    let upper = name.to_uppercase();
    if upper == "ONBUILD" && !numbers.one_in(5) {
        parts.push(instruction(numbers, heredocs));
        return parts.join(" ");
    }
    let takes_flags = matches!(upper.as_str(), "COPY" | "ADD" | "RUN" | "FROM" | "HEALTHCHECK");
    for _ in 0..numbers.below(3) {
        if takes_flags || numbers.one_in(12) {
            parts.push(numbers.pick(FLAGS).to_owned());
        }
    }
    match upper.as_str() {
        "FROM" => {
            parts.push(numbers.pick(STAGES).to_owned());
            if numbers.one_in(2) {
                parts.push(numbers.pick(&["AS", "as", "As", "AS", "x"]).to_owned());
                parts.push(numbers.pick(STAGES).to_owned());
            }
        }
        "ENV" | "LABEL" | "ARG" if !numbers.one_in(6) => {
            for _ in 0..=numbers.below(2) {
                parts.push(format!("{}={}", numbers.pick(NAMES), word(numbers)));
            }
        }
        "HEALTHCHECK" => parts.push(numbers.pick(&["CMD", "NONE", "cmd", "x", "CMD\t"]).to_owned()),
        _ => {}
    }
    let json = matches!(
        upper.as_str(),
        "CMD" | "ENTRYPOINT" | "SHELL" | "RUN" | "COPY" | "ADD" | "VOLUME" | "HEALTHCHECK"
    );
    if json && numbers.one_in(3) {
        parts.push(numbers.pick(JSON).to_owned());
    } else if upper != "FROM" && !matches!(upper.as_str(), "ENV" | "LABEL" | "ARG") || numbers.one_in(10) {
        for _ in 0..=numbers.below(3) {
            parts.push(word(numbers));
        }
    }
    if matches!(upper.as_str(), "RUN" | "COPY" | "ADD") && numbers.one_in(3) {
        let heredoc = numbers.pick(HEREDOCS);
        let at = 1 + numbers.below(parts.len());
        parts.insert(at, heredoc.to_owned());
        for name in ["EOF", "A B", "A", "B"] {
            if heredoc.contains(name) {
                heredocs.push(name.to_owned());
                if name == "A B" {
                    break;
                }
            }
        }
    }
    let blanks = numbers.pick(&[
        " ",
        " ",
        " ",
        "  ",
        "\t",
        " \\\n",
        " \\\n  ",
        " \\ \n# comment\n",
        " \\\n\n",
        "\u{B}",
    ]);
    parts.join(blanks)
}

/// A Dockerfile.
pub(crate) fn dockerfile(seed: u64) -> Vec<u8> {
    let numbers = &mut Numbers::new(seed);
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..numbers.below(3) {
        lines.push(
            numbers
                .pick(&[
                    "# escape=`",
                    "# escape=\\",
                    "#syntax=docker/dockerfile:1",
                    "# check = skip=all;error=true",
                    "# x",
                    "",
                    "# ESCAPE = ` ",
                    "# escape=x",
                    "# escape= ",
                    "#!/bin/x",
                    "// syntax=a",
                ])
                .to_owned(),
        );
    }
    if numbers.one_in(3) {
        lines.push(format!("ARG {}={}", numbers.pick(NAMES), word(numbers)));
    }
    if !numbers.one_in(15) {
        lines.push("FROM alpine AS base".to_owned());
    }
    for _ in 0..=numbers.below(6) {
        let mut heredocs = Vec::new();
        lines.push(format!(
            "{}{}",
            numbers.pick(&["", "", "", "  ", "\t"]),
            instruction(numbers, &mut heredocs)
        ));
        for name in heredocs {
            for _ in 0..numbers.below(3) {
                lines.push(numbers.pick(BODIES).to_owned());
            }
            if !numbers.one_in(15) {
                lines.push(name);
            }
        }
        if numbers.one_in(6) {
            lines.push(numbers.pick(&["", "# comment", "  # comment", "\\", "   "]).to_owned());
        }
    }
    let newline = if numbers.one_in(8) { "\r\n" } else { "\n" };
    let text = lines.join("\n").replace('\n', newline);
    let bom = if numbers.one_in(20) { "\u{FEFF}" } else { "" };
    let end = if numbers.one_in(5) { "" } else { newline };
    format!("{bom}{text}{end}").into_bytes()
}

/// A text with some pieces moved, doubled or taken away.
pub(crate) fn changed(text: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let numbers = &mut Numbers::new(seed);
    let mut text = text.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(text.len() + 1);
        let end = (at + numbers.below(12)).min(text.len());
        match numbers.below(4) {
            0 => drop(text.drain(at..end)),
            1 => {
                let piece = text[at..end].to_vec();
                let to = numbers.below(text.len() + 1);
                text.splice(to..to, piece);
            }
            2 => {
                let from = numbers.below(other.len() + 1);
                let piece = other[from..(from + numbers.below(20)).min(other.len())].to_vec();
                text.splice(at..end, piece);
            }
            _ => {
                let piece = numbers.pick(&[
                    "\\", "\n", "'", "\"", "<<", " ", "$", "{", "}", "`", "#", "=", "[", "\r", "\t",
                    "\u{FF}", "--",
                ]);
                text.splice(at..at, piece.bytes());
            }
        }
    }
    text
}

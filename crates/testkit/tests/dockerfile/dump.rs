//! What Bakery reads, in the form of the oracle.

use bakery_core::dockerfile::{
    CommandLine, Dockerfile, DockerfileText, Flag, Instruction, Kind, Pair, Run, Transfer, TransferSource,
    Word,
};
use serde_json::{Value, json};

use crate::oracle::OracleInstruction;

/// An instruction.
pub(crate) fn instruction(file: &Dockerfile, instruction: &Instruction) -> OracleInstruction {
    let heredocs = instruction.heredocs.iter().map(|heredoc| {
        json!({
            "name": heredoc.name, "fd": heredoc.descriptor, "expand": heredoc.expand, "chomp": heredoc.chomp,
            "content": heredoc.raw(&file.text),
        })
    });
    OracleInstruction {
        keyword: instruction.keyword.text.clone(),
        start: instruction.lines.0,
        end: instruction.lines.1,
        flags: flags(&instruction.flags),
        heredocs: heredocs.collect(),
        detail: detail(&file.text, instruction),
    }
}

fn flags(flags: &[Flag]) -> Vec<String> {
    let flag = |flag: &Flag| match &flag.value {
        Some(value) => format!("--{}={}", flag.name, value.text),
        None => format!("--{}", flag.name),
    };
    flags.iter().map(flag).collect()
}

fn texts<'w>(words: impl IntoIterator<Item = &'w Word>) -> Value {
    words.into_iter().map(|word| json!(word.text)).collect()
}

fn value(instruction: &Instruction, flag: &str) -> String {
    instruction
        .flag(flag)
        .and_then(|flag| flag.value.as_ref())
        .map(|word| word.text.clone())
        .unwrap_or_default()
}

fn switch(instruction: &Instruction, flag: &str) -> Value {
    instruction.flag(flag).map_or(Value::Null, |_| json!(instruction.is_on(flag)))
}

fn pairs(pairs: &[Pair]) -> Value {
    pairs.iter().map(|pair| json!([pair.name.text, pair.value.text, pair.is_old])).collect()
}

fn command(command: &CommandLine) -> (Value, bool) {
    match command {
        CommandLine::Exec(words) => (texts(words), false),
        CommandLine::Shell(word) if word.text.is_empty() => (json!([]), true),
        CommandLine::Shell(word) => (json!([word.text]), true),
    }
}

fn transfer(
    text: &DockerfileText,
    instruction: &Instruction,
    transfer: &Transfer,
) -> serde_json::Map<String, Value> {
    let (mut paths, mut contents) = (Vec::new(), Vec::new());
    for source in &transfer.sources {
        match source {
            TransferSource::Path(word) => paths.push(json!(word.text)),
            TransferSource::Inline { name, expand, heredoc, .. } => {
                let data = heredoc.map(|at| instruction.heredocs[at].content(text)).unwrap_or_default();
                contents.push(json!({ "path": name, "data": data, "expand": expand }));
            }
        }
    }
    let mut fields = serde_json::Map::new();
    for (name, value) in [
        ("paths", json!(paths)),
        ("contents", json!(contents)),
        ("dest", json!(transfer.destination.text)),
        ("chown", json!(value(instruction, "chown"))),
        ("chmod", json!(value(instruction, "chmod"))),
        ("link", json!(instruction.is_on("link"))),
        ("exclude", texts(instruction.flag_values("exclude"))),
    ] {
        fields.insert(name.to_owned(), value);
    }
    fields
}

fn run(instruction: &Instruction, run: &Run) -> Value {
    let (words, shell) = command(&run.command);
    let or = |flag: &str, usual: &str| {
        if instruction.flag(flag).is_some() { value(instruction, flag) } else { usual.to_owned() }
    };
    let devices = run.devices.iter().map(|it| json!({ "name": it.name, "required": it.required }));
    json!({
        "command": words, "shell": shell, "network": or("network", "default"), "security": or("security", "sandbox"),
        "devices": devices.collect::<Value>(), "only_heredoc": run.only_heredoc,
    })
}

fn detail(text: &DockerfileText, instruction: &Instruction) -> Value {
    match &instruction.kind {
        Kind::From { base, name } => json!({
            "name": name.as_ref().map(|name| name.text.to_lowercase()).unwrap_or_default(),
            "base": base.text, "platform": value(instruction, "platform"),
        }),
        Kind::Run(it) => run(instruction, it),
        Kind::Copy(it) => {
            let mut fields = transfer(text, instruction, it);
            fields.insert("from".to_owned(), json!(value(instruction, "from")));
            fields.insert("parents".to_owned(), json!(instruction.is_on("parents")));
            Value::Object(fields)
        }
        Kind::Add(it) => {
            let mut fields = transfer(text, instruction, it);
            fields.insert("keep_git_dir".to_owned(), switch(instruction, "keep-git-dir"));
            fields.insert("unpack".to_owned(), switch(instruction, "unpack"));
            fields.insert("checksum".to_owned(), json!(value(instruction, "checksum")));
            Value::Object(fields)
        }
        Kind::Env(it) | Kind::Label(it) => pairs(it),
        Kind::Arg(it) => {
            it.iter().map(|it| json!([it.name.text, it.value.as_ref().map(|value| &value.text)])).collect()
        }
        Kind::Expose(words) => {
            let mut ports: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            ports.sort_unstable();
            json!(ports)
        }
        Kind::Cmd(it) | Kind::Entrypoint(it) => {
            let (words, shell) = command(it);
            json!({ "command": words, "shell": shell })
        }
        Kind::Healthcheck(it) => {
            let words = match it.command.as_ref().map(command) {
                None => json!(["NONE"]),
                Some((list, shell)) => {
                    let kind = if shell { "CMD-SHELL" } else { "CMD" };
                    [json!(kind)].into_iter().chain(list.as_array().into_iter().flatten().cloned()).collect()
                }
            };
            json!({
                "test": words, "interval": it.interval, "timeout": it.timeout, "start_period": it.start_period,
                "start_interval": it.start_interval, "retries": it.retries,
            })
        }
        Kind::Shell(words) | Kind::Volume(words) => texts(words),
        Kind::StopSignal(word) | Kind::User(word) | Kind::Workdir(word) | Kind::Maintainer(word) => {
            json!(word.text)
        }
        Kind::Onbuild(trigger) if trigger.kind == Kind::Broken => Value::Null,
        Kind::Onbuild(trigger) => json!({
            "keyword": trigger.keyword.text, "flags": flags(&trigger.flags), "detail": detail(text, trigger),
        }),
        Kind::Broken => Value::Null,
    }
}

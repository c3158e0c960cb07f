//! The program itself, as far as it can be started outside its image.

use std::process::Command;

#[test]
fn without_its_variables_it_lists_them_and_fails() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bakery-agent"));
    let output = program.env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for expected in ["BAKERY_URL", "BAKERY_RUN", "BAKERY_LAUNCH_TOKEN", "hint: "] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn it_prints_its_help() {
    let program = Command::new(env!("CARGO_BIN_EXE_bakery-agent")).arg("--help").output().unwrap();
    assert!(program.status.success());
    let text = String::from_utf8(program.stdout).unwrap();
    assert!(text.contains("bakery-server starts it") && text.contains("Usage: bakery-agent"), "{text}");
}

#[test]
fn it_prints_its_version() {
    let program = Command::new(env!("CARGO_BIN_EXE_bakery-agent")).arg("--version").output().unwrap();
    let text = String::from_utf8(program.stdout).unwrap();
    assert_eq!(text, concat!("bakery-agent ", env!("BAKERY_VERSION"), "\n"));
}

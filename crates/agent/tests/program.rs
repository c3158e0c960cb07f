//! The program itself, as far as it can be started outside of its image.

use std::process::Command;

#[test]
fn started_by_hand_it_says_what_it_wants_and_fails() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bakery-agent"));
    let ended = program.env_clear().output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    for word in ["BAKERY_URL", "BAKERY_RUN", "BAKERY_LAUNCH_TOKEN", "hint: "] {
        assert!(said.contains(word), "{word} in {said}");
    }
}

#[test]
fn it_says_what_it_is_for() {
    let program = Command::new(env!("CARGO_BIN_EXE_bakery-agent")).arg("--help").output().unwrap();
    assert!(program.status.success());
    let said = String::from_utf8(program.stdout).unwrap();
    assert!(said.contains("bakery-server starts it") && said.contains("Usage: bakery-agent"), "{said}");
}

#[test]
fn it_knows_its_version() {
    let program = Command::new(env!("CARGO_BIN_EXE_bakery-agent")).arg("--version").output().unwrap();
    let said = String::from_utf8(program.stdout).unwrap();
    assert_eq!(said, concat!("bakery-agent ", env!("BAKERY_VERSION"), "\n"));
}

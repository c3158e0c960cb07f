use std::process::Command;

use proptest::prelude::*;

use super::*;

fn clean(text: &str) -> String {
    String::from_utf8(without_credentials(text.as_bytes()).unwrap().text).unwrap()
}

const CLEAN: &str = r#"[core]
	repositoryformatversion = "0"
	bare = "false"
	autocrlf
[remote "origin"]
	url = "https://github.test/a/b.git"
	fetch = "+refs/heads/*:refs/remotes/origin/*"
	pushurl = "ssh://git@git.test:22/a b.git"
	url = "git@git.test:a/b"
	proxy = "http://proxy.test:3128"
[http "https://git.test/"]
	sslVerify = "false"
[sendemail]
	smtpServer = "smtp.test"
[url "https://git.test/"]
	insteadOf = "https://git.test/"
[alias]
	x = "!f() { echo \"a # b\"; }; f"
	y = "one two"
[branch "a\"b\\c"]
	remote = "origin"
[lfs]
	url = "https://lfs.test/x"
[includeif "gitdir:/a/"]
	path = "/tmp/ci.conf"
"#;

#[test]
fn credentials_are_removed_and_everything_else_stays() {
    let config = r#"
; https://alice:hunter2@comment.test
[core]
	repositoryformatversion = 0
	bare = false ; no
	autocrlf
[remote "origin"] url = https://x-access-token:hunter2@github.test/a/b.git
	fetch = +refs/heads/*:refs/remotes/origin/*
	pushurl = "ssh://git:hunter2@git.test:22/a b.git"
	url = git@git.test:a/b
	proxy = http://bob:hunter2@proxy.test:3128
[http "https://carol:hunter2@git.test/"]
	sslVerify = false
	extraHeader = AUTHORIZATION: basic hunter2
[HTTP]
	extraheader = hunter2
[credential]
	helper = store --file=.git/hunter2
[credential "https://git.test"]
	username = hunter2
[credential.https://git.test] helper = hunter2
[sendemail]
	smtpPass = hunter2
	smtpServer = smtp.test
[hub] oauthtoken = hunter2
[url "https://hunter2@git.test/"]
	insteadOf = https://git.test/
[alias]
	x = "!f() { echo \"a # b\"; }; f" # why
	y = one \
two
[branch "a\"b\\c"]
	remote = origin
[lfs] url = https://dave:hun/ter2@lfs.test/x
[includeIf "gitdir:/a/"]
	path = /tmp/ci.conf
"#;
    // A subsection after a dot is read by git in lower case, and has no quotes.
    let config = config.replace("[credential.https://git.test]", "[credential.test]");
    let cleaned = clean(&config);
    assert_eq!(cleaned, CLEAN);
}

#[test]
fn files_with_credentials_are_named() {
    let config = "[include]\npath = ci.conf\n[credential]\nhelper = store --file .git/secret\n[http]\ncookieFile = c\n";
    let found = without_credentials(config.as_bytes()).unwrap().files;
    assert_eq!(found, ["ci.conf", "store", "--file", ".git/secret", "c"]);
}

#[test]
fn a_line_that_git_refuses_is_named() {
    for (text, line) in [
        ("[core\n", 1),
        ("[core]\n1a = b", 2),
        ("[core]\n\na = \"b\nc", 3),
        ("[core]\na b", 2),
        ("[core]\na = \\x", 2),
        ("[core \"a\nb\"]", 1),
    ] {
        assert_eq!(without_credentials(text.as_bytes()), Err(line), "{text}");
    }
}

#[test]
fn user_names_and_passwords_are_cut_from_urls() {
    for (url, expected) in [
        ("https://a:b@c.test/d@e", "https://c.test/d@e"),
        ("https://c.test:8443/d@e", "https://c.test:8443/d@e"),
        ("HTTPS://token@c.test", "HTTPS://c.test"),
        ("https://a:b/c@d.test/e", "https://d.test/e"),
        ("https://a@b@c.test", "https://c.test"),
        ("ssh://git@c.test/d", "ssh://git@c.test/d"),
        ("ssh://git:b@c.test/d", "ssh://git@c.test/d"),
        ("ext::sh -c https://a:b@c.test https://d:e@f.test", "ext::sh -c https://c.test https://f.test"),
        ("git@c.test:a/b", "git@c.test:a/b"),
        ("/srv/a@b", "/srv/a@b"),
    ] {
        assert_eq!(without_userinfo(url), expected);
    }
}

/// What git itself reads; `None` if it refuses the file.
fn listed_by_git(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("git");
    let output = command.args(["config", "--null", "--list", "--file"]).arg(&file).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn git_reads_what_was_kept() {
    let kept = "[a \"B\\\\\\\"c\"]\n\td = \"x \\\"y\\\" \\\\z\" ; e\n\tf\n\tg = 1 \\\n  2\n[H.i] j = \" k \" # l\n[h] m= \n\tn=a\\tb\r\n";
    assert!(listed_by_git(kept).is_some());
    assert_eq!(listed_by_git(kept), listed_by_git(&clean(kept)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing is read otherwise than git reads it, so no credential is overlooked.
    #[test]
    fn git_reads_the_same(parts in prop::collection::vec(part(), 0..16)) {
        let text = format!("[s]\n{}", parts.concat());
        let ours = without_credentials(text.as_bytes()).map(|clean| String::from_utf8(clean.text).unwrap());
        let theirs = listed_by_git(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_some(), "{:?}: {:?}", text, ours);
        if let Ok(ours) = ours {
            prop_assert_eq!(listed_by_git(&ours), theirs, "{:?}", text);
            prop_assert_eq!(clean(&ours), ours);
        }
    }
}

/// Parts of a config without credentials. Versions of git differ in what a tab in a value means.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "[a]",
        "[a.b]\n",
        "[A-1 \"b C\"]",
        "[a \"\\\"\\\\\"]\n",
        "\n[d]\n",
        "[",
        "]",
        "x",
        "y-1 = 2",
        "\nz = ",
        "\nw=",
        "\nv\n",
        "=",
        " ",
        "\n\tt = ",
        "\n",
        "\r\n",
        "\"",
        "\\\"",
        "\\\\",
        "\\n",
        "\\\n",
        "\\x",
        "#",
        "; c\n",
        "é",
        "0",
        "a b",
    ])
}

use super::*;

/// What BuildKit's walk leaves out: one ignore file per line, followed by those of the files that it excludes, or by
/// `ERROR`. The rung `compose` compares the table with the walk itself.
const TABLE: &str = include_str!("buildkit.tsv");
/// Files, and folders that contain some of them.
const PATHS: &str = include_str!("buildkit-paths.txt");

fn check(table: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_file = |path: &&str| !PATHS.lines().any(|other| other.starts_with(&format!("{path}/")));
    for row in table.lines() {
        let (file, ignored) = row.split_once('\t').unwrap();
        let text =
            file.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\u", "\u{feff}");
        let ours: Vec<_> = match IgnoreFile::parse(text.as_bytes()) {
            Ok(rules) => {
                PATHS.lines().filter(is_file).filter(|path| rules.ignores(path.as_bytes())).collect()
            }
            Err(_) => vec!["ERROR"],
        };
        let theirs: Vec<_> = ignored.split('\t').filter(|path| !path.is_empty()).collect();
        if ours != theirs {
            wrong.push(format!("{file}\n  BuildKit: {theirs:?}\n  ours: {ours:?}"));
        }
    }
    wrong
}

#[test]
fn files_are_excluded_as_buildkit_excludes_them() {
    assert!(TABLE.lines().count() > 200 && PATHS.lines().count() > 40);
    let wrong = check(TABLE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_folder_is_skipped_only_if_nothing_below_it_can_be_included() {
    for (file, folder, may_keep) in [
        ("docs", "docs", false),
        ("docs\n!docs/a.md", "docs", true),
        ("docs\n!docs/a.md", "docs/api", false),
        ("docs\n!src", "docs", false),
        ("!docs/a.md\ndocs", "docs", false),
        ("docs\n!**/a.md", "docs", true),
        // The last line is not asked, because `docs` is excluded already; so nothing below inherits it.
        ("docs\n!**/a.md\ndocs", "docs", true),
        ("docs\n!docs/*/**", "docs", true),
        ("docs/api\n!docs/*/**", "docs/api", false),
        ("docs\n!*.md", "docs", false),
        ("docs\n!*/*.md", "docs", true),
        ("docs\n!*/*.md", "docs/api", false),
        ("docs\n!d?cs/api/**", "docs/api", true),
        ("docs\n!do**", "docs/api", true),
        ("*\n!docs", "src", false),
    ] {
        let rules = IgnoreFile::parse(file.as_bytes()).unwrap();
        let mut trail = rules.root();
        for end in (1..=folder.len()).filter(|end| folder.as_bytes().get(*end).is_none_or(|b| *b == b'/')) {
            trail = rules.enter(&trail, &folder.as_bytes()[..end]);
        }
        assert_eq!(rules.may_keep_below(&trail, folder.as_bytes()), may_keep, "{file:?} {folder}");
    }
}

#[test]
fn the_line_that_excludes_an_entry_is_named() {
    let rules = IgnoreFile::parse(b"# logs\n*.log\ndocs\n!docs/a.md\n\ndocs/a.*\n").unwrap();
    let line = |path: &[u8]| {
        let trail = match path.iter().position(|byte| *byte == b'/') {
            Some(end) => rules.enter(&rules.root(), &path[..end]),
            None => rules.root(),
        };
        rules.excluding_line(&trail, path).map(|it| format!("{} {}", it.line, it.text))
    };
    assert_eq!(line(b"x.log").as_deref(), Some("2 *.log"));
    assert_eq!(line(b"docs/b.md").as_deref(), Some("3 docs"));
    assert_eq!(line(b"docs/a.md").as_deref(), Some("6 docs/a.*"));
    assert_eq!(line(b"src"), None);
}

#[test]
fn exceptions_name_a_folder_at_any_depth() {
    let named = |text: &str| IgnoreFile::parse(text.as_bytes()).unwrap().exceptions_for(".git").len();
    for text in ["!.git", "! /.git/", "!.git/HEAD", "!**/.git", "!sub/.git/**"] {
        assert_eq!(named(text), 1, "{text}");
    }
    for text in [".git", "!*", "!**", "!.gitignore", "!x.git/HEAD", "#!.git"] {
        assert_eq!(named(text), 0, "{text}");
    }
}

#[test]
fn names_that_are_not_utf8_are_matched() {
    let rules = IgnoreFile::parse(b"x?z\n\xff*").unwrap();
    assert!(rules.ignores(b"x\xfez") && rules.ignores(b"\xff\xfe") && !rules.ignores(b"x\xfe\xfez"));
}

#[test]
fn every_invalid_line_is_reported_with_its_number() {
    let bad = IgnoreFile::parse(b"ok\n[a\n#[\n!\n  x\\\n").unwrap_err();
    let messages: Vec<_> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 3);
    assert!(
        messages[0].starts_with("line 2: `[a`: ") && messages[1].starts_with("line 4: `!`"),
        "{messages:?}"
    );
    assert!(messages[2].starts_with("line 5: `x\\`"), "{messages:?}");
}

#[test]
fn a_hostile_pattern_costs_no_more_than_its_length_times_the_path() {
    let rules = IgnoreFile::parse(format!("{}b", "*a**/".repeat(300)).as_bytes()).unwrap();
    assert!(!rules.ignores("a".repeat(3000).as_bytes()));
}

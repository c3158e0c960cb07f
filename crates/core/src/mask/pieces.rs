//! The texts that give a secret away.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::mask::name_suggests_secret;

/// Shorter texts are not masked: they would match in half of a log.
pub const SHORTEST: usize = 4;
/// Minimum length of a masked line of a secret of several lines, in bytes: shorter lines are brackets and words.
const SHORTEST_LINE: usize = 8;
/// Minimum length of a text in a JSON document that is masked although its key does not suggest a secret.
const SHORTEST_LEAF: usize = 16;
/// Documents in documents that are read.
const DEPTH: usize = 2;

/// Common values of variables with secret-like names (`USE_TOKEN=true`) that are not secrets.
const COMMON_VALUES: [&str; 6] = ["true", "false", "null", "none", "auto", "default"];

/// Every text that gives `secret` away: the secret, its lines, a private key on one line, and of a JSON document (a key
/// file of a cloud) the texts that may be secret, decoded. Empty for a secret that is too short or a common word.
pub fn pieces(secret: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(secret, 0, &mut found);
    found
}

fn gather(secret: &str, depth: usize, found: &mut BTreeSet<String>) {
    let text = secret.trim();
    if text.len() < SHORTEST || COMMON_VALUES.iter().any(|value| text.eq_ignore_ascii_case(value)) {
        return;
    }
    found.insert(text.to_owned());
    if text.contains('\n') {
        let is_header = |line: &str| line.starts_with("-----") && line.ends_with("-----");
        let lines = || text.lines().map(str::trim).filter(|line| !is_header(line));
        found.extend(lines().filter(|line| line.len() >= SHORTEST_LINE).map(str::to_owned));
        // As it is printed where line ends are removed, and the body of a key.
        found.insert(text.replace(['\r', '\n'], ""));
        found.insert(lines().collect());
        found.retain(|piece| piece.len() >= SHORTEST);
    }
    if depth < DEPTH
        && text.starts_with(['{', '['])
        && let Ok(document) = serde_json::from_str(text)
    {
        leaves("", &document, depth + 1, found);
    }
}

fn leaves(key: &str, value: &Value, depth: usize, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if is_address(text) => {}
        Value::String(text) if name_suggests_secret(key) || may_be_secret(text) => gather(text, depth, found),
        Value::Array(items) => items.iter().for_each(|item| leaves(key, item, depth, found)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| leaves(key, value, depth, found)),
        _ => {}
    }
}

/// True for a URL without a login and parameters, whatever its key is called (`token_uri`).
fn is_address(text: &str) -> bool {
    text.contains("://") && !text.contains(['@', '?'])
}

/// False for words, addresses and sentences: a log has to stay readable.
fn may_be_secret(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
        || text.len() >= SHORTEST_LEAF
            && !text.contains(|c: char| c.is_whitespace() || c == '@')
            && text.contains(|c: char| c.is_ascii_digit())
            && text.contains(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_22_the_texts_of_a_key_file_are_decoded_and_innocent_ones_stay() {
        let key = "-----BEGIN PRIVATE KEY-----\nQmFrZXJ5IHRlc3QgdGV4dCwgbm8ga2V5IGF0\nc2Vjb25kIGxpbmUg\n-----END PRIVATE KEY-----\n";
        let document = serde_json::json!({
            "type": "service_account", "project_id": "demo", "private_key": key, "private_key_id": "0a1b",
            "client_email": "ci@demo.example1.test", "token_uri": "https://oauth2.test/token", "list": [{ "password": "hunter2" }],
        });
        let found = pieces(&format!("{document:#}\n"));
        for piece in [
            "QmFrZXJ5IHRlc3QgdGV4dCwgbm8ga2V5IGF0",
            "c2Vjb25kIGxpbmUg",
            "QmFrZXJ5IHRlc3QgdGV4dCwgbm8ga2V5IGF0c2Vjb25kIGxpbmUg",
            key.trim(),
            "0a1b",
            "hunter2",
        ] {
            assert!(found.contains(piece), "{piece}");
        }
        for innocent in [
            "service_account",
            "demo",
            "ci@demo.example1.test",
            "https://oauth2.test/token",
            "{",
            "}",
            "]",
            "},",
        ] {
            assert!(!found.contains(innocent), "{innocent}");
        }
    }

    #[test]
    fn short_texts_and_common_words_are_no_secrets() {
        for text in ["", "abc", " TRUE ", "default", "{}", "[1, 2]\n"] {
            assert!(pieces(text).iter().all(|piece| piece.starts_with('[')), "{text}");
        }
        assert_eq!(pieces(" hunter2\n"), ["hunter2".to_owned()].into());
    }
}

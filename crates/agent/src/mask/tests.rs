use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

fn masker(secrets: &[&str]) -> Masker {
    let mut all = Secrets::default();
    for secret in secrets {
        all.add(secret);
    }
    Masker::new(&all).unwrap()
}

#[test]
fn a_login_is_masked_in_every_form_that_tools_print() {
    let mut secrets = Secrets::default();
    secrets.add_login("robot", "p/a s+s\"w<ö&rd");
    secrets.add_userinfo_of("http://me:proxy%21pass@proxy:3128/");
    let masker = Masker::new(&secrets).unwrap();
    let auth = STANDARD.encode("robot:p/a s+s\"w<ö&rd");
    for (text, hidden) in [
        ("password p/a s+s\"w<ö&rd.", "password ***."),
        (&format!("Authorization: Basic {auth}"), "Authorization: Basic ***"),
        (r#"{"password":"p/a s+s\"w<ö&rd"}"#, r#"{"password":"***"}"#),
        (r#"{"password":"p/a s+s\"w\u003cö\u0026rd"}"#, r#"{"password":"***"}"#),
        ("https://robot:p%2Fa%20s%2Bs%22w%3C%C3%B6%26rd@reg", "https://robot:***@reg"),
        ("?q=p%2fa+s%2bs%22w%3c%c3%b6%26rd&x", "?q=***&x"),
        ("CONNECT proxy:3128 proxy%21pass", "CONNECT proxy:3128 ***"),
        ("nothing here", "nothing here"),
    ] {
        let padding = |text: &str| text.trim_end_matches('=').to_owned();
        assert_eq!(padding(&masker.text(text)), hidden, "{text}");
    }
}

#[test]
fn a_key_of_several_lines_is_masked_line_by_line() {
    let key =
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\r\n  AASCBKcwggSjAgEAAoIB\n}\n-----END KEY-----\n";
    let masker = masker(&[key]);
    assert_eq!(masker.text("1: MIIEvQIBADANBgkqhkiG9w0BAQEF"), "1: ***");
    assert_eq!(masker.text("  AASCBKcwggSjAgEAAoIB"), "  ***");
    assert_eq!(masker.text("-----BEGIN KEY----- }"), "-----BEGIN KEY----- }");
    for line in STANDARD.encode(key).as_bytes().chunks(76) {
        assert!(masker.text(std::str::from_utf8(line).unwrap()).starts_with(MASK));
    }
}

#[test]
fn common_words_and_very_short_texts_are_not_masked() {
    let masker = masker(&["true", "FALSE", "abc", "", "   "]);
    for text in ["is true", "FALSE", "abc", "   "] {
        assert_eq!(masker.text(text), text);
    }
}

#[test]
fn overlapping_secrets_are_masked_as_one() {
    assert_eq!(masker(&["abcdef", "defghi"]).text("xabcdefghix"), "x***x");
    assert_eq!(masker(&["aXaXa"]).text("aXaXaXaX"), "***X");
}

proptest! {
    #[test]
    fn every_form_of_a_secret_is_masked(
        secret in "[!-)+-~]([ -)+-~ö]{2,40})[!-)+-~]",
        before in "[ -)+-~]{0,12}",
        after in "[ -)+-~]{0,12}",
    ) {
        prop_assume!(secret.len() >= SHORTEST);
        let masker = masker(&[&secret]);
        let json = serde_json::to_string(&secret).unwrap();
        let strict: String = secret
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        for form in [secret.clone(), json[1..json.len() - 1].to_owned()] {
            let text = format!("{before}{form}{after}");
            prop_assert!(!masker.text(&text).contains(&form));
        }
        // At the edges, unescaped characters could be read as part of an encoding.
        if secret.bytes().all(|b| !b"-._~".contains(&b)) {
            let text = format!("<{strict}>");
            prop_assert!(!masker.text(&text).contains(&strict));
        }
        for engine in [STANDARD, URL_SAFE] {
            let text = engine.encode(format!("{before}{secret}{after}"));
            // The characters that depend on the secret's bits alone.
            let core = (before.len() * 8).div_ceil(6)..((before.len() + secret.len()) * 8 / 6);
            prop_assert!(!masker.text(&text).contains(&text[core]));
        }
    }
}

use super::*;
use crate::mask::{MASK, Secrets};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

fn matcher_of(secrets: &[&str]) -> Matcher {
    let mut all = Secrets::default();
    for secret in secrets {
        all.add(secret);
    }
    all.matcher().unwrap()
}

#[test]
fn a_login_is_masked_in_every_form_that_tools_print() {
    let mut secrets = Secrets::default();
    secrets.add_login("robot", "p/a s+s\"w<ö&rd");
    secrets.add_userinfo_of("http://me:proxy%21pass@proxy:3128/");
    let matcher = secrets.matcher().unwrap();
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
        assert_eq!(padding(&matcher.text(text)), hidden, "{text}");
    }
}

#[test]
fn a_key_of_several_lines_is_masked_line_by_line() {
    let key =
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\r\n  AASCBKcwggSjAgEAAoIB\n}\n-----END KEY-----\n";
    let matcher = matcher_of(&[key]);
    assert_eq!(matcher.text("1: MIIEvQIBADANBgkqhkiG9w0BAQEF"), "1: ***");
    assert_eq!(matcher.text("  AASCBKcwggSjAgEAAoIB"), "  ***");
    assert_eq!(matcher.text("-----BEGIN KEY----- }"), "-----BEGIN KEY----- }");
    for line in STANDARD.encode(key).as_bytes().chunks(76) {
        assert!(matcher.text(std::str::from_utf8(line).unwrap()).starts_with(MASK));
    }
}

#[test]
fn common_words_and_very_short_texts_are_not_masked() {
    let matcher = matcher_of(&["true", "FALSE", "abc", "", "   "]);
    for text in ["is true", "FALSE", "abc", "   "] {
        assert_eq!(matcher.text(text), text);
    }
}

#[test]
fn overlapping_secrets_are_masked_as_one() {
    assert_eq!(matcher_of(&["abcdef", "defghi"]).text("xabcdefghix"), "x***x");
    assert_eq!(matcher_of(&["aXaXa"]).text("aXaXaXaX"), "***X");
}

#[test]
fn probe_15_control_characters_inside_a_secret_do_not_hide_it() {
    let matcher = matcher_of(&["hunter2-secret"]);
    for text in [
        "hun\0ter2-secret",
        "hun\rter2-secret",
        "\x1b[31mhunter2\x1b[0m-secret",
        "h\x1b]0;x\x07unter2-secr\u{200b}et",
        "\x1b]0;hunter2-secret",
    ] {
        let shown = matcher.text(text);
        assert!(
            shown.ends_with("***") && !shown.contains("secret") && !shown.contains("hun"),
            "{text:?}: {shown:?}"
        );
    }
    let innocent = "\x1b[31mred\x1b[0m 10%\r20% hunter";
    assert_eq!(matcher.text(innocent), innocent);
    assert_eq!(matcher.text("a\x1b[1mb hunter2-\x1b[0msecret c\x1b[0m"), "a\x1b[1mb *** c\x1b[0m");
}

#[test]
fn probe_15_a_secret_is_masked_in_the_usual_encodings() {
    let secret = "p'a ss\"w<o>r&d,1$x";
    let matcher = matcher_of(&[secret]);
    let hex = crate::hex::encode(secret.as_bytes());
    for text in [
        hex.as_str(),
        &hex.to_uppercase(),
        "p&#39;a ss&#34;w&lt;o&gt;r&amp;d,1$x",
        "p&#x27;a ss&quot;w&lt;o&gt;r&amp;d,1$x",
        "p'a ss&quot;w&lt;o&gt;r&amp;d,1$x",
        r#"p'\''a ss"w<o>r&d,1$x"#,
        r#"p\'a\ ss\"w\<o\>r\&d\,1\$x"#,
        r#"p\'a\ ss\"w\<o\>r\&d,1\$x"#,
        r#"p'a ss\"w<o>r&d,1\$x"#,
    ] {
        assert_eq!(matcher.text(&format!("x: {text} y")), "x: *** y", "{text}");
    }
}

#[test]
fn probe_15_a_secret_is_masked_as_common_encoders_write_it() {
    for (secret, printed) in [
        ("aB3/xY9/kk==Zz", r"aB3\/xY9\/kk==Zz"),
        ("aB3xY9kkZz0011==", r"aB3xY9kkZz0011\u003d\u003d"),
        ("it's-a-secret", r"it\u0027s-a-secret"),
        ("pässwörd-hunter2", r"p\u00e4ssw\u00f6rd-hunter2"),
        ("pässwörd-hunter2", r"p\u00E4ssw\u00F6rd-hunter2"),
        ("key-😀-hunter2", r"key-\ud83d\ude00-hunter2"),
        ("a'b\"hunter2", "a&#039;b&quot;hunter2"),
        ("a+b/c=hunter2", "a&#43;b/c=hunter2"),
        ("a/b=c`hunter2", "a&#x2F;b&#x3D;c&#x60;hunter2"),
        ("hun\u{ad}ter2", "hunter2"),
    ] {
        assert_eq!(matcher_of(&[secret]).text(&format!("x: {printed} y")), "x: *** y", "{secret}");
    }
}

#[test]
fn many_secrets_that_overlap_need_no_memory_for_each_match() {
    let secrets: Vec<_> = (4..104).map(|len| "a".repeat(len)).collect();
    let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
    assert_eq!(matcher_of(&secrets).spans(&[b'a'; 5000]), vec![0..5000]);
}

#[test]
fn probe_15_an_encoding_is_masked_however_it_is_wrapped() {
    let secret = "hunter2-is-the-longest-secret-of-this-test-0123456789";
    let matcher = matcher_of(&[secret]);
    let hex = crate::hex::encode(secret.as_bytes());
    let hidden = |line: &str| matcher.text(line).replace("***", "").trim().trim_end_matches('=').len();
    for lead in ["", "x", "xy"] {
        let inside = STANDARD.encode(format!("{lead}{secret}"));
        let core = &inside[(lead.len() * 8).div_ceil(6)..];
        for width in 4..80 {
            let left: usize =
                core.as_bytes().chunks(width).map(|line| hidden(std::str::from_utf8(line).unwrap())).sum();
            assert!(left < 6, "{width}: {left}");
        }
    }
    for width in [12, 20, 60] {
        let left: usize =
            hex.as_bytes().chunks(width).map(|line| hidden(std::str::from_utf8(line).unwrap())).sum();
        assert!(left < 12, "{width}: {left}");
    }
    for innocent in ["done", "PASS", "cafe1234", "deadbeefdeadbeef", "aGVsbG8gd29ybGQK", "2026", "Installing"]
    {
        assert_eq!(matcher.text(innocent), innocent);
    }
}

#[test]
fn case_22_a_key_file_is_masked_in_every_form_and_json_stays_readable() {
    let key = "-----BEGIN PRIVATE KEY-----\nQmFrZXJ5IHRlc3QgdGV4dCwgbm8ga2V5IGF0IGFsbCAwMTIzNDU2Nzg5QUJDREVG\nc2Vjb25kIGxpbmUgb2YgYSB0ZXh0IHRoYXQgaXMgbm8ga2V5IDk4NzY1NDMyMTA=\n-----END PRIVATE KEY-----\n";
    let document = format!("{:#}", serde_json::json!({ "type": "service_account", "private_key": key }));
    let mut secrets = Secrets::default();
    secrets.add_login("_json_key", &document);
    let matcher = secrets.matcher().unwrap();
    let login = STANDARD.encode(format!("_json_key:{document}"));
    let printed = [
        document.clone(),
        document.replace('\n', ""),
        key.to_owned(),
        key.replace('\n', "\\n"),
        key.replace('\n', ""),
        format!("{{\"auth\": \"{login}\"}}"),
        STANDARD.encode(key),
        STANDARD.encode(&document),
    ];
    for text in printed {
        for line in text.lines() {
            let shown = matcher.text(line);
            for part in ["QmFrZXJ5IHRlc3", "ga2V5IGF0IGFsb", "c2Vjb25kIGxpbm", "DMyMTA", &login[20..40]] {
                assert!(!shown.contains(part), "{part}: {shown}");
            }
        }
    }
    for innocent in
        ["{", "}", "  \"name\": \"innocent\", \"list\": [1, 2]", "{\"status\":\"ok\"}", "a service_account"]
    {
        assert_eq!(matcher.text(innocent), innocent);
    }
}

proptest! {
    #[test]
    fn every_form_of_a_secret_is_masked(
        secret in "[!-)+-~]([ -)+-~ö]{2,40})[!-)+-~]",
        before in "[ -)+-~]{0,12}",
        after in "[ -)+-~]{0,12}",
    ) {
        prop_assume!(secret.len() >= crate::mask::SHORTEST);
        let matcher = matcher_of(&[&secret]);
        let json = serde_json::to_string(&secret).unwrap();
        let strict: String = secret
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        for form in [secret.clone(), json[1..json.len() - 1].to_owned()] {
            let text = format!("{before}{form}{after}");
            prop_assert!(!matcher.text(&text).contains(&form));
        }
        // At the edges, unescaped characters could be read as part of an encoding.
        if secret.bytes().all(|b| !b"-._~".contains(&b)) {
            let text = format!("<{strict}>");
            prop_assert!(!matcher.text(&text).contains(&strict));
        }
        for engine in [STANDARD, URL_SAFE] {
            let text = engine.encode(format!("{before}{secret}{after}"));
            // The characters that depend on the secret's bits alone.
            let core = (before.len() * 8).div_ceil(6)..((before.len() + secret.len()) * 8 / 6);
            prop_assert!(!matcher.text(&text).contains(&text[core]));
        }
    }
}

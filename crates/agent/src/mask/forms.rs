//! The forms in which a secret may be printed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use bakery_core::mask::SHORTEST;

use super::Secrets;

/// Minimum length of a line of base64 that is masked inside other text, in bytes.
const SHORTEST_LINE: usize = 8;
/// Longer secrets are masked in plain text only: their encoded forms would need too much memory.
const LONGEST_ENCODED: usize = 16 << 10;
/// Line lengths of base64 output: MIME and coreutils, PEM.
const COLUMNS: [usize; 2] = [76, 64];

/// Adds every form of `text`, which is a secret or a piece of one.
pub(super) fn of(text: &str, secrets: &mut Secrets) {
    secrets.insert(text.as_bytes().to_vec());
    if text.len() <= LONGEST_ENCODED {
        escaped(text, &mut |form| secrets.insert(form));
        base64_inside(text.as_bytes(), secrets);
        base64_whole(text.as_bytes(), secrets);
        hex(text.as_bytes(), secrets);
    }
}

/// Adds the lines that `base64` prints for `bytes`.
pub(super) fn base64_whole(bytes: &[u8], secrets: &mut Secrets) {
    if bytes.len() > LONGEST_ENCODED {
        return;
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let text = engine.encode(bytes).into_bytes();
        for columns in COLUMNS {
            if text.len() > columns {
                let lines = text.chunks(columns).filter(|line| line.len() >= SHORTEST_LINE);
                lines.for_each(|line| secrets.insert(line.to_vec()));
            }
        }
        secrets.wrapped.add_base64(&text);
        secrets.insert(text);
    }
}

/// Adds the base64 encoding of `bytes` inside a longer text: the characters that depend on `bytes` alone, for each of
/// the three possible offsets in a group.
fn base64_inside(bytes: &[u8], secrets: &mut Secrets) {
    for shift in 0..3_usize {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(bytes);
        let first = (shift * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            if last.saturating_sub(first) >= SHORTEST {
                // With its end, which is this one where nothing follows.
                secrets.wrapped.add_base64(&text[first..]);
                secrets.insert(text[first..last].to_vec());
            }
        }
    }
}

/// Adds `bytes` in hexadecimal digits.
fn hex(bytes: &[u8], secrets: &mut Secrets) {
    let text = bakery_core::hex::encode(bytes);
    secrets.wrapped.add_hex(text.as_bytes());
    secrets.insert(text.to_ascii_uppercase().into_bytes());
    secrets.insert(text.into_bytes());
}

/// Calls `take` with `text` escaped as a JSON string, as a part of a URL, for HTML and for a shell.
fn escaped(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    if let Ok(quoted) = serde_json::to_string(text) {
        let inner = &quoted[1..quoted.len() - 1];
        take(inner.as_bytes().to_vec());
        // Go's encoder, which many build tools use, escapes these too.
        let go = inner.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        take(go.into_bytes());
    }
    // The entities of Go, of Python, of others, and of encoders that leave quotes alone.
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    for (double, single) in [
        ("&#34;", "&#39;"),
        ("&quot;", "&#x27;"),
        ("&quot;", "&#39;"),
        ("&quot;", "'"),
        ("&quot;", "&apos;"),
        ("\"", "'"),
    ] {
        take(html.replace('"', double).replace('\'', single).into_bytes());
    }
    // The quote inside single quotes, of shells, of Python's shlex, and of C; then what is escaped inside double quotes;
    // then `%q`, with and without the comma and the sign for home.
    for quote in ["'\\''", "'\"'\"'", "\\'"] {
        take(text.replace('\'', quote).into_bytes());
    }
    take(backslashed(text, "\\\"$`"));
    take(backslashed(text, " '\"\\|&;()<>!{}*[]?^$`"));
    take(backslashed(text, " '\"\\|&;()<>!{}*[]?^$`,"));
    take(backslashed(text, " '\"\\|&;()<>!{}*[]?^$`,#~="));
    // The characters that each kind of encoder does not escape, besides letters and digits: RFC 3986, JavaScript, Go
    // (paths and userinfo), and forms, where a space is a plus sign.
    for (unescaped, space) in [
        ("-._~", "%20"),
        ("-._~!'()*", "%20"),
        ("-._~$&+=:@", "%20"),
        ("-._~$&+,;=", "%20"),
        ("-._~", "+"),
        ("*-._", "+"),
    ] {
        take(percent_encoded(text, unescaped, space, false));
        take(percent_encoded(text, unescaped, space, true));
    }
}

fn percent_encoded(text: &str, unescaped: &str, space: &str, lower: bool) -> Vec<u8> {
    let digits = if lower { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b' ' {
            out.extend_from_slice(space.as_bytes());
        } else if byte.is_ascii_alphanumeric() || unescaped.as_bytes().contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    out
}

/// `text` with a backslash before each of `special`.
fn backslashed(text: &str, special: &str) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.into_bytes()
}

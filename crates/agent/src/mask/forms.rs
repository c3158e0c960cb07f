//! The forms in which a secret may be printed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::SHORTEST;

/// Minimum length of a masked line of a multi-line secret, in bytes: shorter lines are brackets and words.
const SHORTEST_LINE: usize = 8;
/// Longer secrets are masked in plain text only: their encoded forms would need too much memory.
const LONGEST_ENCODED: usize = 16 << 10;
/// Line lengths of base64 output: MIME and coreutils, PEM.
const COLUMNS: [usize; 2] = [76, 64];

/// Common values of variables with secret-like names (`USE_TOKEN=true`) that are not secrets.
const COMMON_VALUES: [&str; 6] = ["true", "false", "null", "none", "auto", "default"];

/// Calls `take` with every form of `text`.
pub(super) fn of(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    let trimmed = text.trim();
    if trimmed.len() < SHORTEST || COMMON_VALUES.iter().any(|value| trimmed.eq_ignore_ascii_case(value)) {
        return;
    }
    let several = trimmed.contains('\n');
    for line in trimmed.lines().map(str::trim) {
        let header = line.starts_with("-----") && line.ends_with("-----");
        if !header && (!several || line.len() >= SHORTEST_LINE) {
            take(line.as_bytes().to_vec());
            if line.len() <= LONGEST_ENCODED {
                escaped(line, take);
            }
        }
    }
    if trimmed.len() <= LONGEST_ENCODED {
        escaped(trimmed, take);
        base64_inside(trimmed.as_bytes(), take);
        base64_whole(trimmed.as_bytes(), take);
        if trimmed.len() != text.len() {
            base64_whole(text.as_bytes(), take);
        }
    }
}

/// Calls `take` with the lines that `base64` prints for `bytes`.
pub(super) fn base64_whole(bytes: &[u8], take: &mut impl FnMut(Vec<u8>)) {
    if bytes.len() > LONGEST_ENCODED {
        return;
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let text = engine.encode(bytes).into_bytes();
        for columns in COLUMNS {
            if text.len() > columns {
                text.chunks(columns)
                    .filter(|line| line.len() >= SHORTEST_LINE)
                    .for_each(|l| take(l.to_vec()));
            }
        }
        take(text);
    }
}

/// Calls `take` with the base64 encoding of `bytes` inside a longer text: the characters that depend on `bytes` alone,
/// for each of the three possible offsets in a group.
fn base64_inside(bytes: &[u8], take: &mut impl FnMut(Vec<u8>)) {
    for shift in 0..3_usize {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(bytes);
        let first = (shift * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            if last.saturating_sub(first) >= SHORTEST {
                take(text[first..last].to_vec());
            }
        }
    }
}

/// Calls `take` with `text` escaped as a JSON string and as a part of a URL.
fn escaped(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    if let Ok(quoted) = serde_json::to_string(text) {
        let inner = &quoted[1..quoted.len() - 1];
        take(inner.as_bytes().to_vec());
        // Go's encoder, which many build tools use, escapes these too.
        let go = inner.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        take(go.into_bytes());
    }
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

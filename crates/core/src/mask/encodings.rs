//! The encodings in which a secret may be printed.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::hex;
use crate::mask::SHORTEST;

/// Minimum length of a line of base64 that is masked inside other text, in bytes.
const SHORTEST_LINE: usize = 8;
/// Longer secrets are masked in plain text only: their encoded forms would need too much memory.
const LONGEST_ENCODED: usize = 16 << 10;
/// Line lengths of base64 output: MIME and coreutils, PEM.
const COLUMNS: [usize; 2] = [76, 64];

/// Takes the forms of a secret.
pub(super) trait Forms {
    /// As it is printed.
    fn literal(&mut self, text: Vec<u8>);
    /// In base64, which may be wrapped into lines.
    fn base64(&mut self, text: &[u8]);
    /// In hexadecimal digits, which may be wrapped into lines.
    fn hex(&mut self, text: &[u8]);
}

/// Adds every form of `text`, which is a secret or a piece of one.
pub(super) fn of(text: &str, forms: &mut impl Forms) {
    forms.literal(text.as_bytes().to_vec());
    if text.len() <= LONGEST_ENCODED {
        escaped(text, &mut |form| forms.literal(form));
        base64_inside(text.as_bytes(), forms);
        base64_whole(text.as_bytes(), forms);
        hex_digits(text.as_bytes(), forms);
    }
}

/// Adds the lines that `base64` prints for `bytes`.
pub(super) fn base64_whole(bytes: &[u8], forms: &mut impl Forms) {
    if bytes.len() > LONGEST_ENCODED {
        return;
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let text = engine.encode(bytes).into_bytes();
        for columns in COLUMNS {
            if text.len() > columns {
                let lines = text.chunks(columns).filter(|line| line.len() >= SHORTEST_LINE);
                lines.for_each(|line| forms.literal(line.to_vec()));
            }
        }
        forms.base64(&text);
        forms.literal(text);
    }
}

/// Adds the base64 encoding of `bytes` inside a longer text: the characters that depend on `bytes` alone, for each of
/// the three possible offsets in a group.
fn base64_inside(bytes: &[u8], forms: &mut impl Forms) {
    for shift in 0..3_usize {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(bytes);
        let first = (shift * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            if last.saturating_sub(first) >= SHORTEST {
                // With its end, which is this one where nothing follows.
                forms.base64(&text[first..]);
                forms.literal(text[first..last].to_vec());
            }
        }
    }
}

/// Adds `bytes` in hexadecimal digits.
fn hex_digits(bytes: &[u8], forms: &mut impl Forms) {
    let text = hex::encode(bytes);
    forms.hex(text.as_bytes());
    forms.literal(text.to_ascii_uppercase().into_bytes());
    forms.literal(text.into_bytes());
}

/// Calls `take` with `text` escaped as a JSON string, as a part of a URL, for HTML and for a shell.
fn escaped(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    json(text, take);
    html(text, take);
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

/// As the encoders of JSON write it that differ in what they escape: serde, Go, Gson, PHP, and those that write ASCII only.
fn json(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    let Ok(quoted) = serde_json::to_string(text) else { return };
    let inner = &quoted[1..quoted.len() - 1];
    let go = inner.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let gson = go.replace('=', "\\u003d").replace('\'', "\\u0027");
    for form in [inner.to_owned(), inner.replace('/', "\\/"), go, gson] {
        take(ascii(&form, false));
        take(ascii(&form, true));
        take(form.into_bytes());
    }
}

/// `text` with `\uXXXX` for what is not ASCII, in upper or lower case.
fn ascii(text: &str, upper: bool) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
        }
    }
    out.into_bytes()
}

/// The entities of Go, of Python, of PHP, of others, and of encoders that leave quotes alone; then those of templates that
/// escape more.
fn html(text: &str, take: &mut impl FnMut(Vec<u8>)) {
    let basic = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    for (double, single) in [
        ("&#34;", "&#39;"),
        ("&quot;", "&#x27;"),
        ("&quot;", "&#39;"),
        ("&quot;", "&#039;"),
        ("&quot;", "'"),
        ("&quot;", "&apos;"),
        ("\"", "'"),
    ] {
        let quotes = basic.replace('"', double).replace('\'', single);
        take(quotes.replace('+', "&#43;").into_bytes());
        let slashes = quotes.replace('/', "&#x2F;");
        take(slashes.replace('=', "&#x3D;").replace('`', "&#x60;").into_bytes());
        take(slashes.into_bytes());
        take(quotes.into_bytes());
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

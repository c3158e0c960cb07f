//! What Compose makes of a plain value among arguments and labels: YAML reads it as a number, a boolean or a date, and
//! Compose writes that as a text again. `1.10` becomes `1.1`.
//!
//! The rules are those of go-yaml's resolver and of Go's `fmt.Sprint`.

use crate::yaml::Value;

/// The text that Compose has for a value, if that is not what the file has.
pub(super) fn rewritten(value: &Value) -> Option<String> {
    match value {
        Value::Scalar { text, plain: true } => of_plain(text).filter(|new| new != text),
        _ => None,
    }
}

fn of_plain(text: &str) -> Option<String> {
    match text.as_bytes() {
        [b'+' | b'-' | b'.' | b'0'..=b'9', ..] => number_or_date(text),
        _ => match text {
            "True" | "TRUE" => Some("true".to_owned()),
            "False" | "FALSE" => Some("false".to_owned()),
            _ => None,
        },
    }
}

fn number_or_date(text: &str) -> Option<String> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some("+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return Some("-Inf".to_owned()),
        "-0" | "-0.0" => return Some("-0".to_owned()),
        _ => {}
    }
    if let Some(date) = date(text) {
        return Some(date);
    }
    let digits = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    integer(&digits).or_else(|| is_decimal(&digits).then(|| digits.parse().ok()).flatten().and_then(float))
}

/// As Go's `ParseInt` and `ParseUint` with base 0: a prefix or a leading zero says the base.
fn integer(text: &str) -> Option<String> {
    let (sign, digits) = match text.as_bytes()[0] {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = sign * i128::from_str_radix(digits, base).ok()?;
    // With a sign it is never read as an unsigned number.
    let is_signed = text.starts_with(['-', '+']);
    let most = if is_signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=most).contains(&value).then(|| value.to_string())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let unsigned = |text| str::strip_prefix(text, ['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(a, b)| (a, Some(b)));
    let mantissa = unsigned(mantissa);
    let is_number = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    is_number && exponent.is_none_or(|exponent| is_digits(unsigned(exponent)))
}

/// The shortest digits that mean the number, with an exponent if that is below -4 or above 5. `None` if it is too large.
fn float(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if (-4..=5).contains(&exponent) {
        return Some(value.to_string());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(format!("{digits}e{sign}{:02}", exponent.abs()))
}

/// `2024-1-2`, or with a time: as Go prints it, in the same time zone.
fn date(text: &str) -> Option<String> {
    let (year, rest) = text.split_once('-')?;
    let (month, rest) = text_number(rest, '-')?;
    if year.len() != 4 || !year.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let at = rest.find(['T', 't', ' ']).unwrap_or(rest.len());
    let (day, time) = (small_number(&rest[..at])?, &rest[at..]);
    let is_leap = year.parse::<u32>().is_ok_and(|year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let (time, zone) = if time.is_empty() {
        ("00:00:00".to_owned(), UTC.to_owned())
    } else {
        let with_zone = !time.starts_with(' ');
        let at = if with_zone { time.find(['Z', '+', '-'])? } else { time.len() };
        (clock(&time[1..at])?, zone(&time[at..], with_zone)?)
    };
    Some(format!("{year}-{month:02}-{day:02} {time} {zone}"))
}

const UTC: &str = "+0000 UTC";

/// `3:4:5.60` as `03:04:05.6`.
fn clock(text: &str) -> Option<String> {
    let (hour, rest) = text_number(text, ':')?;
    let (minute, rest) = text_number(rest, ':')?;
    let (second, fraction) = rest.split_once(['.', ',']).map_or((rest, None), |(a, b)| (a, Some(b)));
    let second = small_number(second)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match fraction {
        None => String::new(),
        Some(digits) if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) => return None,
        Some(digits) => match digits[..digits.len().min(9)].trim_end_matches('0') {
            "" => String::new(),
            digits => format!(".{digits}"),
        },
    };
    Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// `Z` or `+05:30`, as Go prints it where the machine's own time zone is UTC.
fn zone(text: &str, is_needed: bool) -> Option<String> {
    if text == "Z" || text.is_empty() && !is_needed {
        return Some(UTC.to_owned());
    }
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
    let digits = [h1, h2, m1, m2].map(|c| char::from(*c));
    let digits = digits.iter().all(char::is_ascii_digit).then(|| digits.iter().collect::<String>())?;
    if digits[..2] > *"24" || digits[2..] > *"59" {
        return None;
    }
    let zone = format!("{}{digits}", char::from(*sign));
    Some(if digits == "0000" { UTC.to_owned() } else { format!("{zone} {zone}") })
}

/// A number of one or two digits before `end`, and what follows.
fn text_number(text: &str, end: char) -> Option<(u32, &str)> {
    let (number, rest) = text.split_once(end)?;
    Some((small_number(number)?, rest))
}

fn small_number(text: &str) -> Option<u32> {
    let is_small = (1..=2).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    is_small.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus has the same values, read by Compose's own library.
    #[test]
    fn plain_values_are_written_as_compose_writes_them() {
        for (text, new) in [
            ("1.10", "1.1"),
            ("3.0", "3"),
            ("010", "8"),
            ("08", "8"),
            ("0x1F", "31"),
            ("-0x1F", "-31"),
            ("0o17", "15"),
            ("0b101", "5"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("1e6", "1e+06"),
            ("123456.0", "123456"),
            ("12345678.5", "1.23456785e+07"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0", "-0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775809", "-9.223372036854776e+18"),
            ("True", "true"),
            ("FALSE", "false"),
            (".inf", "+Inf"),
            (".NaN", "NaN"),
            ("2024-01-02", "2024-01-02 00:00:00 +0000 UTC"),
            ("2024-1-2", "2024-01-02 00:00:00 +0000 UTC"),
            ("2024-01-02T03:04:05Z", "2024-01-02 03:04:05 +0000 UTC"),
            ("2024-01-02t3:4:5.600+05:30", "2024-01-02 03:04:05.6 +0530 +0530"),
            ("2024-01-02 03:04:05", "2024-01-02 03:04:05 +0000 UTC"),
        ] {
            assert_eq!(of_plain(text).as_deref(), Some(new), "{text}");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "1.2.3",
            "yes",
            "on",
            "tRue",
            "12:30:45",
            "2024-13-01",
            "2023-02-29",
            "2024-01-02T03:04:05",
            "1e400",
            "0x",
            "+",
            "-",
            ".",
            "._5",
            "-.5.1",
            "v1.10",
            "~",
            "null",
            "2024-01",
            "0b2",
            "1e",
            "09a",
        ] {
            assert_eq!(of_plain(text), None, "{text}");
        }
    }
}

//! Parses sizes and durations into exact numbers, with one meaning on all platforms: `G` is `Gi`, and a bare memory
//! number is MiB.

use std::time::Duration;

/// CPU in thousandths of a core: `0.5`, `2`, `500m`. At least `1m`, at most 1024 cores.
pub fn cpu(text: &str) -> Option<u32> {
    let (number, scale) = match text.strip_suffix('m') {
        Some(number) => (number, 1),
        None => (text, 1000),
    };
    let millis = scaled(number, scale)?;
    (1..=1_024_000).contains(&millis).then(|| u32::try_from(millis).ok())?
}

/// Minimum memory in MiB. No engine starts a container with less, and Kaniko needs far more: `2` is a mistyped `2G`.
pub const LEAST_MIB: u64 = 32;

/// Memory in MiB: `2G`, `2Gi`, `512M`, `1.5G`, `2048`. Rounded up to whole MiB; at least
/// [`LEAST_MIB`], at most 16 TiB.
pub fn memory(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let kib = match unit.trim_start().to_ascii_lowercase().as_str() {
        "k" | "ki" | "kb" | "kib" => 1,
        "" | "m" | "mi" | "mb" | "mib" => 1 << 10,
        "g" | "gi" | "gb" | "gib" => 1 << 20,
        "t" | "ti" | "tb" | "tib" => 1 << 30,
        _ => return None,
    };
    let mib = scaled(number, kib)?.div_ceil(1 << 10);
    (LEAST_MIB..=16 << 20).contains(&mib).then(|| u32::try_from(mib).ok())?
}

/// Minimum disk in MiB: a task unpacks an image, and `40` is a mistyped `40G`.
pub const LEAST_DISK_MIB: u32 = 1 << 10;

/// Disk in MiB, written as [`memory`]; at least [`LEAST_DISK_MIB`], at most 16 TiB.
pub fn disk(text: &str) -> Option<u32> {
    memory(text).filter(|mib| *mib >= LEAST_DISK_MIB)
}

/// A size for people: `40 GiB`, or `1536 MiB` if it is not a whole number of GiB.
pub fn format_mib(mib: u32) -> String {
    if mib > 0 && mib.is_multiple_of(1 << 10) { format!("{} GiB", mib >> 10) } else { format!("{mib} MiB") }
}

/// A size in bytes with a decimal unit and at most one decimal place: `12.3 kB`.
pub fn format_bytes(count: u64) -> String {
    let mut rest = count;
    let mut fraction = 0;
    for unit in ["B", "kB", "MB", "GB"] {
        if rest < 1000 || unit == "GB" {
            return if unit == "B" || rest >= 100 {
                format!("{rest} {unit}")
            } else {
                format!("{rest}.{fraction} {unit}")
            };
        }
        fraction = rest % 1000 / 100;
        rest /= 1000;
    }
    unreachable!("the last unit takes every number")
}

/// `90s`, `10m`, `1h30m`, `24h`: hours, minutes and seconds, each at most once and in this order. At most 10 years.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((number, after)) = rest.split_once(unit)
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty() && seconds <= 10 * 366 * 86_400)
        .then(|| Duration::from_secs(seconds))
}

/// A duration as [`duration`] reads it: `1h30m`, `10m`, `90s` as `1m30s`, `0s`. Below one second in milliseconds:
/// `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

/// A decimal number times `scale`, rounded up; no sign, no exponent.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let unit = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(scale);
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    whole.checked_add(u64::try_from(part.div_ceil(u128::from(unit))).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact() {
        for (text, millis) in [("0.5", 500), ("500m", 500), ("2", 2000), ("1.25", 1250), ("0.0001", 1)] {
            assert_eq!(cpu(text), Some(millis), "{text}");
        }
        for text in ["", "0", "-1", "1e3", "m", "half", "0.5c", ".5", "5000", "NaN", "9999999999999999999"] {
            assert_eq!(cpu(text), None, "{text}");
        }
    }

    #[test]
    fn memory_has_one_meaning() {
        for (text, mib) in [
            ("2G", 2048),
            ("2Gi", 2048),
            ("2g", 2048),
            ("2GB", 2048),
            ("512M", 512),
            ("512", 512),
            ("1.5G", 1536),
            ("1T", 1 << 20),
            ("65537Ki", 65),
            ("2 Gi", 2048),
        ] {
            assert_eq!(memory(text), Some(mib), "{text}");
        }
        for text in ["", "0", "2", "31M", "2X", "-2G", "G", "2Gi2", "99999999999999G", "1..5G"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn a_disk_has_at_least_one_gib() {
        for (text, mib, shown) in [
            ("40G", 40 << 10, "40 GiB"),
            ("1024", 1024, "1 GiB"),
            ("1.5Gi", 1536, "1536 MiB"),
            ("1T", 1 << 20, "1024 GiB"),
        ] {
            assert_eq!(disk(text), Some(mib), "{text}");
            assert_eq!(format_mib(mib), shown);
        }
        for text in ["", "0", "40", "1023", "999M", "17T", "40X"] {
            assert_eq!(disk(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit_and_at_most_one_decimal_place() {
        let shown = [0, 999, 1_000, 12_345, 999_999, 5_368_709_120, u64::MAX].map(format_bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999 kB", "5.3 GB", "18446744073 GB"]);
    }

    #[test]
    fn durations_are_hours_minutes_seconds() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("1h30m", 5400), ("24h", 86_400), ("336h0m0s", 1_209_600)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "m", "5m1h", "1h1h", "-1s", "1.5h", "1d", "10ms", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
    #[test]
    fn durations_are_formatted_as_they_are_set() {
        for (seconds, text) in
            [(90, "1m30s"), (600, "10m"), (3600, "1h"), (5, "5s"), (0, "0s"), (5401, "1h30m1s")]
        {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(format_duration(Duration::from_millis(250)), "250ms");
    }
}

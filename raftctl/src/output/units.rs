//! Numbers, sizes and times for people.

/// Writes a number with separators: `918,240`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a number in at most five characters: `912`, `857k`, `12M`.
pub fn short_count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Writes a size: `0`, `812 B`, `1.4 K`, `38 M`.
pub fn size(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes == 0 {
        return "0".into();
    }
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    let digits = usize::from(amount < 10.0);
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// Writes microseconds: `0.4 ms`, `12 ms`, `2.5 s`.
pub fn micros(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1_000.0),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1_000_000.0),
    }
}

/// Writes an age: `12 ms`, `8 s`, `12 m`, `3d4h`.
pub fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} m"),
        3_600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// Writes bytes that should be text; others are escaped, so that a terminal stays as it is.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (918_240, "918,240")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(short_count(9_999), "9999");
        assert_eq!(short_count(857_123), "857k");
        assert_eq!(short_count(u64::MAX), "18446744073G");
    }

    #[test]
    fn sizes_and_times_read_well() {
        for (bytes, text) in [
            (0, "0"),
            (812, "812 B"),
            (1_434, "1.4 K"),
            (40_000_000, "38 M"),
            (u64::MAX, "16384 P"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!([micros(400), micros(12_000), micros(2_500_000)], ["0.4 ms", "12 ms", "2.5 s"]);
        for (ms, text) in [(12, "12 ms"), (8_000, "8 s"), (720_000, "12 m"), (273_600_000, "3d4h")]
        {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn a_terminal_is_safe_from_bytes() {
        assert_eq!(printable("grün".as_bytes()), "grün");
        assert_eq!(printable(b"a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(printable(&[0xff, b'a']), "\\xffa");
    }
}

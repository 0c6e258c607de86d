//! Numbers, sizes, times and names for people.

use consensus::Configuration;
use state_machine::text;

/// Writes a number with separators: `918,240`.
pub(crate) fn count(number: u64) -> String {
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
pub(crate) fn short_count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Writes a size: `0`, `812 B`, `1.4 K`, `38 M`.
pub(crate) fn size(bytes: u64) -> String {
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
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1_000.0),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1_000_000.0),
    }
}

/// Writes an age: `12 ms`, `8 s`, `12 m`, `3d4h`.
pub(crate) fn age(ms: u64) -> String {
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

/// Writes a sentence that others made on one line, so that a terminal stays as it is. What was
/// escaped in it before stays as it is, too.
pub(crate) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(sentence) => text::inert_line(sentence).into_owned(),
        Err(_) => text::in_quotes(bytes),
    }
}

/// Writes a name or value one to one: what does not show itself stands in `$'..'`.
pub(crate) fn name(bytes: &[u8]) -> String {
    text::quoted(bytes).into_owned()
}

/// Writes a key one to one, so that commands take it back: it is never taken for a flag.
pub(crate) fn key(bytes: &[u8]) -> String {
    if bytes.starts_with(b"-") { text::in_quotes(bytes) } else { name(bytes) }
}

/// Writes a name into a sentence, so that one sees where it begins and ends.
pub(crate) fn cited(bytes: &[u8]) -> String {
    let name = name(bytes);
    if name.starts_with("$'") { name } else { format!("\"{name}\"") }
}

/// Writes a key as it is typed into a shell, whatever is in it. A key that would mean something
/// else when the shell has read it is given as it is printed, in quotes of its own.
pub(crate) fn typed(bytes: &[u8]) -> String {
    if bytes.starts_with(b"$'") || bytes.starts_with(b"-") || bytes.contains(&0) {
        return text::in_quotes(key(bytes).as_bytes());
    }
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    let name = name(bytes);
    if name.starts_with("$'") || name.bytes().all(bare) {
        name
    } else if name.contains('\'') {
        text::in_quotes(bytes)
    } else {
        format!("'{name}'")
    }
}

/// Shortens a cluster's id for people.
pub(crate) fn short_id(cluster: &str) -> String {
    match (cluster.get(..4), cluster.get(cluster.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if cluster.len() > 8 => format!("{head}..{tail}"),
        _ => cluster.to_owned(),
    }
}

/// Writes who votes and who learns.
pub(crate) fn members(configuration: &Configuration) -> String {
    let shown = |id| {
        let member = configuration.member(id).map_or("?", |member| &member.name);
        name(member.as_bytes())
    };
    let list = |ids: &mut dyn Iterator<Item = consensus::NodeId>| -> Vec<String> {
        ids.map(shown).collect()
    };
    let joint = if configuration.voters().is_joint() { "joint " } else { "" };
    let voters = list(&mut configuration.voters().iter()).join(" ");
    let learners = list(&mut configuration.learners().iter().copied()).join(" ");
    match learners.as_str() {
        "" => format!("{joint}voters {voters}"),
        learners => format!("{joint}voters {voters}, learners {learners}"),
    }
}

/// Writes a point in time, to the second.
pub(crate) fn utc(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| {
        let at = jiff::Timestamp::from_millisecond(ms).ok()?;
        at.round(jiff::Unit::Second).ok()
    });
    timestamp.map_or_else(|| "at an impossible time".to_owned(), |at| at.to_string())
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
        assert_eq!(printable(b"a\x1b[2Jb\nc"), "a\\x1b[2Jb\\nc");
        assert_eq!(printable(&[0xff, b'a']), "$'\\xffa'");
        assert_eq!(printable(printable(b"C:\\x\n").as_bytes()), "C:\\x\\n");
    }

    #[test]
    fn names_are_one_to_one_and_words_of_a_shell() {
        assert_eq!([name(b"-5"), key(b"-5")], ["-5", "$'-5'"]);
        assert_eq!([cited(b"a b"), cited(b"a\n")], ["\"a b\"", "$'a\\n'"]);
        for (bytes, shell) in [
            (&b"a/b-1"[..], "a/b-1"),
            (b"a b", "'a b'"),
            (b"$(rm)", "'$(rm)'"),
            (b"it's", "$'it\\'s'"),
            (b"a\nb", "$'a\\nb'"),
            (b"", "$''"),
            ("grün".as_bytes(), "'grün'"),
            (b"-o", "$'$\\'-o\\''"),
            (b"$'", "$'$\\'$\\\\\\'\\''"),
        ] {
            assert_eq!(typed(bytes), shell);
        }
    }
}

//! Points and spans of time, and how they are printed.

use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::time::ASN1Time;

/// The wall clock, in seconds since 1970; zero on a machine whose clock is before that.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An ASN.1 time from seconds since 1970; `None` for a date that X.509 cannot hold.
pub(crate) fn asn1(unix_s: u64) -> Option<ASN1Time> {
    ASN1Time::from_timestamp(i64::try_from(unix_s).ok()?).ok()
}

/// Seconds since 1970 from an ASN.1 time; times before 1970 become zero.
pub(crate) fn unix_s(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// Writes a span of time for people, rounded down: `35 days`, `1 day`, `5 hours`, `40 seconds`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) =
        units.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "second"));
    let count = seconds / length;
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{ending}")
}

/// As [`span`], rounded to the nearest: how far two clocks are apart is never known to the second,
/// and 239 seconds are not 3 minutes.
#[must_use]
pub fn span_nearest(seconds: u64) -> String {
    let half = match seconds {
        0..60 => 0,
        60..3_600 => 30,
        3_600..86_400 => 1_800,
        _ => 43_200,
    };
    span(seconds.saturating_add(half))
}

/// As [`span`], in minutes at least: a reason that is given again and again reads the same.
pub(crate) fn span_coarse(seconds: u64) -> String {
    match seconds {
        0..60 => "less than a minute".to_owned(),
        _ => span(seconds),
    }
}

/// Seconds since 1970 to the minute, such as `2026-11-24T12:00Z`.
pub(crate) fn utc_minute(unix_s: u64) -> String {
    let text = utc(unix_s);
    match text.rsplit_once(':') {
        Some((minute, _)) => format!("{minute}Z"),
        None => text,
    }
}

/// Seconds since 1970 as RFC 3339 prints them, such as `2026-11-24T12:00:00Z`.
#[must_use]
pub fn utc(unix_s: u64) -> String {
    let Some(time) = asn1(unix_s) else {
        return format!("{unix_s} s after 1970");
    };
    let t = time.to_datetime();
    let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
    let (hour, minute, second) = (t.hour(), t.minute(), t.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_rfc_3339_says() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s after 1970");
        assert_eq!(utc_minute(1_709_210_096), "2024-02-29T12:34Z");
        assert_eq!(utc_minute(u64::MAX), "18446744073709551615 s after 1970");
        assert_eq!(span_coarse(59), "less than a minute");
        assert_eq!(span_coarse(7_300), "2 hours");
        assert_eq!(span_nearest(59), "59 seconds");
        assert_eq!(span_nearest(239), "4 minutes");
        assert_eq!(span_nearest(3_599), "1 hour");
        assert_eq!(span_nearest(u64::MAX), span(u64::MAX));
    }
}

//! Windows of time in which a certificate counts.

use std::fmt;
use std::time::Duration;

use x509_parser::time::ASN1Time;

use crate::CertError;
use crate::time::{self, now_unix_s, span, utc};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a cluster's authority counts, unless the operator says otherwise: ten years.
pub const DEFAULT_CA_VALIDITY: Duration = Duration::from_secs(3652 * DAY.as_secs());

/// How long every other certificate counts by default: one year.
pub const DEFAULT_LEAF_VALIDITY: Duration = Duration::from_secs(365 * DAY.as_secs());

/// The longest validity that is issued: a hundred years.
pub(crate) const MAX_VALIDITY: Duration = Duration::from_secs(36525 * DAY.as_secs());

/// How far a certificate's beginning is set back, for machines whose clocks are behind.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How long before its end a certificate should be renewed, and is warned of: thirty days.
pub(crate) const SOON: Duration = Duration::from_secs(30 * DAY.as_secs());

/// The part of a short window that is near its end.
const SOON_PARTS: u64 = 3;

/// From when to when a certificate counts; both ends inclusive, in seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second at which the certificate counts.
    pub not_before: u64,
    /// The last second at which the certificate counts.
    pub not_after: u64,
}

impl Validity {
    /// The window that begins five minutes before now and ends `duration` after now.
    ///
    /// # Errors
    ///
    /// [`CertError::BadValidity`] if `duration` is under a second or over a hundred years.
    pub fn from_now(duration: Duration) -> Result<Validity, CertError> {
        if duration < Duration::from_secs(1) || duration > MAX_VALIDITY {
            return Err(CertError::BadValidity {
                reason: format!(
                    "{} s asked, 1 s to {} s allowed",
                    duration.as_secs(),
                    MAX_VALIDITY.as_secs()
                ),
            });
        }
        let now = now_unix_s();
        Ok(Validity {
            not_before: now.saturating_sub(CLOCK_SKEW.as_secs()),
            not_after: now.saturating_add(duration.as_secs()),
        })
    }

    /// Whether `now` (seconds since 1970) is inside the window.
    #[must_use]
    pub fn contains(self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// How long before its end the window ends soon: thirty days, or a third of a shorter window.
    #[must_use]
    pub fn soon(self) -> Duration {
        Duration::from_secs(self.not_after.saturating_sub(self.not_before) / SOON_PARTS).min(SOON)
    }

    /// Whether the window's end is past, or less than [`Validity::soon`] away.
    #[must_use]
    pub fn ends_soon(self, now: u64) -> bool {
        self.not_after < now.saturating_add(self.soon().as_secs())
    }

    /// Says how the window lies to `now`: `ends in 14 days`, `ended 35 days ago`, or
    /// `begins in 2 hours`.
    #[must_use]
    pub fn tense(self, now: u64) -> String {
        let Validity { not_before, not_after } = self;
        if now < not_before {
            return format!("begins in {}", span(not_before - now));
        }
        match now.checked_sub(not_after) {
            None | Some(0) => format!("ends in {}", span(not_after - now)),
            Some(past) => format!("ended {} ago", span(past)),
        }
    }

    /// The error about the authority's certificate, which `what` names, if `now` is outside the
    /// window.
    pub(crate) fn check(self, what: &str, now: u64) -> Result<(), CertError> {
        let what = || what.to_owned();
        if now < self.not_before {
            return Err(CertError::NotYetValid { what: what(), not_before: self.not_before, now });
        }
        if now > self.not_after {
            return Err(CertError::AuthorityExpired {
                what: what(),
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", utc(self.not_before), utc(self.not_after))
    }
}

/// An ASN.1 time from seconds since 1970.
pub(crate) fn asn1_time(unix_s: u64) -> Result<ASN1Time, CertError> {
    let out_of_range =
        || CertError::BadValidity { reason: format!("{unix_s} s is no date that X.509 can hold") };
    time::asn1(unix_s).ok_or_else(out_of_range)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_window_says_how_long_it_counts_yet() {
        let day = 86_400;
        let window = Validity { not_before: 100 * day, not_after: 200 * day };
        let short = Validity { not_before: 1_000, not_after: 1_600 };
        assert!(short.ends_soon(1_401) && !short.ends_soon(1_400));
        for (now, said) in [
            (90 * day, "begins in 10 days"),
            (100 * day, "ends in 100 days"),
            (199 * day, "ends in 1 day"),
            (200 * day - 7_200, "ends in 2 hours"),
            (200 * day, "ends in 0 seconds"),
            (200 * day + 61, "ended 1 minute ago"),
            (235 * day + 1, "ended 35 days ago"),
        ] {
            assert_eq!(window.tense(now), said);
        }
        assert!(!window.ends_soon(170 * day) && window.ends_soon(170 * day + 1));
        assert!(window.ends_soon(300 * day));
    }

    #[test]
    fn a_window_begins_a_few_minutes_ago_for_clocks_that_are_behind() {
        let now = now_unix_s();
        let window = Validity::from_now(Duration::from_secs(60)).unwrap();
        assert!(window.contains(now) && window.contains(now - 290));
        assert!(!window.contains(now + 120) && !window.contains(now - 600));
    }

    #[test]
    fn a_window_of_nothing_and_of_more_than_a_century_are_refused() {
        for duration in [Duration::ZERO, MAX_VALIDITY + Duration::from_secs(1), Duration::MAX] {
            let error = Validity::from_now(duration).unwrap_err();
            assert!(matches!(error, CertError::BadValidity { .. }), "{error}");
        }
        assert!(Validity::from_now(MAX_VALIDITY).is_ok());
    }

    #[test]
    fn the_ends_of_a_window_belong_to_it() {
        let window = Validity { not_before: 100, not_after: 200 };
        assert!(window.check("x", 100).is_ok() && window.check("x", 200).is_ok());
        let early = window.check("x", 99).unwrap_err();
        assert!(matches!(early, CertError::NotYetValid { not_before: 100, .. }));
        let late = window.check("x", 201).unwrap_err();
        assert!(matches!(late, CertError::AuthorityExpired { not_after: 200, .. }));
    }
}

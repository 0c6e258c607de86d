//! What a node tries and cannot do though it serves: kept here by whoever tries it, until it is
//! done, and told by status and metrics. The log says it once or twice; who looks later must find
//! it too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Trouble, TroubleReport};

/// A snapshot is only tried again while somebody needs one: a failure that has not come again for
/// so long is over.
const SNAPSHOTS_FADE_AFTER: Duration = Duration::from_secs(600);

/// Clients that were refused try again at once, and others come: when nobody was refused for so
/// long, there are places.
const PLACES_FADE_AFTER: Duration = Duration::from_secs(60);

/// What is told of a reason is no longer than so many bytes.
const WHY_BYTES_MAX: usize = 1_000;

/// The troubles of a node; copies share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<BTreeMap<Trouble, Since>>>);

#[derive(Debug)]
struct Since {
    began: Instant,
    last: Instant,
    why: String,
}

impl Troubles {
    /// It could not be done, or still cannot, for this reason.
    pub(crate) fn note(&self, what: Trouble, why: &str) {
        let now = Instant::now();
        let why = why[..why.floor_char_boundary(WHY_BYTES_MAX)].to_owned();
        let mut all = self.all();
        all.retain(|what, since| !is_over(*what, since, now));
        let since =
            all.entry(what).or_insert_with(|| Since { began: now, last: now, why: why.clone() });
        (since.last, since.why) = (now, why);
    }

    /// It is done.
    pub(crate) fn end(&self, what: Trouble) {
        self.all().remove(&what);
    }

    /// Notes how it went.
    pub(crate) fn tell<T, E: ToString>(&self, what: Trouble, result: &Result<T, E>) {
        match result {
            Ok(_) => self.end(what),
            Err(error) => self.note(what, &error.to_string()),
        }
    }

    /// Returns all that cannot be done at present.
    pub(crate) fn told(&self) -> Vec<TroubleReport> {
        let now = Instant::now();
        let report = |(what, since): (&Trouble, &Since)| TroubleReport {
            what: *what,
            why: since.why.clone(),
            for_ms: u64::try_from((now - since.began).as_millis()).unwrap_or(u64::MAX),
        };
        let all = self.all();
        all.iter().filter(|(what, since)| !is_over(**what, since, now)).map(report).collect()
    }

    /// A panic elsewhere leaves it as it was.
    fn all(&self) -> MutexGuard<'_, BTreeMap<Trouble, Since>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(what: Trouble, since: &Since, now: Instant) -> bool {
    let fades_after = match what {
        Trouble::Snapshots => SNAPSHOTS_FADE_AFTER,
        Trouble::Places => PLACES_FADE_AFTER,
        Trouble::Settings
        | Trouble::Certificates
        | Trouble::Promises
        | Trouble::Files
        | Trouble::Reserve
        | Trouble::Metrics
        | Trouble::Directory
        | Trouble::Other => return false,
    };
    now.duration_since(since.last) >= fades_after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_lasts_from_its_first_note_to_its_end_with_the_latest_reason() {
        let troubles = Troubles::default();
        troubles.note(Trouble::Promises, "no room");
        let copy = troubles.clone();
        copy.note(Trouble::Promises, "not permitted");
        copy.note(Trouble::Snapshots, &"\u{e4}".repeat(WHY_BYTES_MAX));
        let told = troubles.told();
        let whats: Vec<Trouble> = told.iter().map(|report| report.what).collect();
        assert_eq!(whats, [Trouble::Snapshots, Trouble::Promises]);
        assert_eq!(told[0].why.len(), WHY_BYTES_MAX);
        assert_eq!(told[1].why, "not permitted");
        troubles.tell(Trouble::Snapshots, &Ok::<_, String>(()));
        troubles.tell(Trouble::Reserve, &Err::<(), _>("no file"));
        troubles.end(Trouble::Promises);
        let left: Vec<Trouble> = copy.told().iter().map(|report| report.what).collect();
        assert_eq!(left, [Trouble::Reserve]);
    }

    #[test]
    fn a_snapshot_that_nobody_needs_any_more_is_no_trouble() {
        let now = Instant::now() + SNAPSHOTS_FADE_AFTER;
        let since = Since { began: Instant::now(), last: Instant::now(), why: String::new() };
        let old = now + Duration::from_secs(1);
        assert!(is_over(Trouble::Snapshots, &since, old));
        assert!(!is_over(Trouble::Snapshots, &since, now - Duration::from_secs(1)));
        let minute = since.last + PLACES_FADE_AFTER;
        assert!(is_over(Trouble::Places, &since, minute));
        assert!(!is_over(Trouble::Places, &since, minute - Duration::from_millis(1)));
        assert!(!is_over(Trouble::Files, &since, old), "it is tried for as long as the node lives");
    }
}

//! What others can cause to be logged: strangers, clients, peers. The first few of a kind are
//! logged one by one, the rest is counted, and the count is said after a minute, ten minutes, and
//! then every hour for as long as it goes on. Memory is bounded by the number of kinds.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::logging::plain::plain;

/// How long is counted before the count is said: at first, then, and from then on.
const WINDOWS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3_600)];

/// The longest text of others that is kept for a summary, in characters.
const KEPT_CHARS_MAX: usize = 200;

/// Kinds of lines that can come at the pace of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A certificate was not accepted, theirs or ours.
    Certificate,
    /// Somebody speaks QUIC, but not our protocol.
    Protocol,
    /// A certificate of ours, for something that it is not for.
    Role,
    /// A request of somebody who may not ask for that.
    Denied,
    /// More connections than there may be.
    Crowd,
    /// A client or peer of another cluster, history or version.
    Greeting,
    /// Bytes that make no sense.
    Nonsense,
    /// Connections to peers come and go.
    Link,
    /// Leaders come and go.
    Leader,
    /// A snapshot is sent or received, or not.
    Transfer,
    /// A snapshot cannot be made or read.
    Snapshot,
    /// A change of the cluster that is refused.
    Change,
    /// A question or a page of the log cannot be answered.
    Answer,
    /// A message is too large to be sent.
    Message,
    /// What the other members have promised cannot be stored.
    Memory,
    /// Room on the disk comes and goes, as data is put and compacted.
    Room,
    /// Room that is held in reserve is given back, and taken again.
    Reserve,
}

impl Kind {
    const COUNT: usize = 17;

    /// Returns how many such lines are logged one by one, and what happened.
    const fn about(self) -> (u32, &'static str) {
        match self {
            Self::Certificate => (3, "connection refused, a certificate was not accepted"),
            Self::Protocol => (3, "connection refused, it is not raftd's"),
            Self::Role => (3, "connection refused for its role"),
            Self::Denied => (3, "a request was refused for its role"),
            Self::Crowd => (3, "connection refused, there are too many"),
            Self::Greeting => (3, "refused"),
            Self::Nonsense => (3, "connection closed, its bytes make no sense"),
            Self::Link => (20, "connections to peers come and go"),
            Self::Leader => (20, "leaders come and go"),
            Self::Transfer => (20, "snapshots between nodes"),
            Self::Snapshot => (3, "a snapshot cannot be made, or is of no use"),
            Self::Change => (3, "a change of the cluster is refused"),
            Self::Answer => (3, "the state or the log cannot be read"),
            Self::Message => (3, "a message is over a limit of the protocol"),
            Self::Memory => (3, "what others have promised cannot be stored"),
            Self::Room => (6, "room on the disk comes and goes"),
            Self::Reserve => (6, "the reserve on the disk comes and goes"),
        }
    }
}

/// Logs what somebody did, or counts it: at most so many lines a time, whatever happens.
pub(crate) fn tell(kind: Kind, from: impl Display, why: impl Display) {
    if may(kind, &from, &why) {
        let (_, what) = kind.about();
        log(kind, what, &from, &why);
    }
}

/// Says whether a line may be logged by the caller; if not, it is counted.
pub(crate) fn may(kind: Kind, from: impl Display, why: impl Display) -> bool {
    let (burst, what) = kind.about();
    let may = lock()[kind as usize].note(Instant::now(), burst, || (plain(&from), plain(&why)));
    if !may {
        tracing::debug!(%from, %why, "{what}");
    }
    may
}

/// Returns when the next count is due.
pub(super) fn due() -> Option<Instant> {
    lock().iter().filter_map(|tally| tally.window.as_ref()).map(|window| window.ends).min()
}

/// Says the counts that are due by `now`, or all.
pub(crate) fn summarise(now: Instant, all: bool) {
    for kind in KINDS {
        // Logged after the lock is released: logging may come back to this module.
        let summary = lock()[kind as usize].turn(now, all);
        if let Some(Summary { more, passed, from, why }) = summary {
            let (_, what) = kind.about();
            let seconds = passed.as_secs().max(1);
            let what = format!("{what}: {more} more in the last {seconds} s, this is the latest");
            log(kind, &what, &from, &why);
        }
    }
}

const KINDS: [Kind; Kind::COUNT] = [
    Kind::Certificate,
    Kind::Protocol,
    Kind::Role,
    Kind::Denied,
    Kind::Crowd,
    Kind::Greeting,
    Kind::Nonsense,
    Kind::Link,
    Kind::Leader,
    Kind::Transfer,
    Kind::Snapshot,
    Kind::Change,
    Kind::Answer,
    Kind::Message,
    Kind::Memory,
    Kind::Room,
    Kind::Reserve,
];

static TALLIES: Mutex<[Tally; Kind::COUNT]> =
    Mutex::new([const { Tally { window: None } }; Kind::COUNT]);

fn lock() -> MutexGuard<'static, [Tally; Kind::COUNT]> {
    TALLIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs a line with the id of its kind.
fn log(kind: Kind, what: &str, from: &dyn Display, why: &dyn Display) {
    match kind {
        Kind::Certificate => tracing::warn!(name: "refused-certificate", %from, %why, "{what}"),
        Kind::Protocol => tracing::warn!(name: "refused-protocol", %from, %why, "{what}"),
        Kind::Role => tracing::warn!(name: "refused-role", %from, %why, "{what}"),
        Kind::Denied => tracing::warn!(name: "refused-request", %from, %why, "{what}"),
        Kind::Crowd => tracing::warn!(name: "refused-crowd", %from, %why, "{what}"),
        Kind::Greeting => tracing::warn!(name: "refused-greeting", %from, %why, "{what}"),
        Kind::Nonsense => tracing::warn!(name: "refused-nonsense", %from, %why, "{what}"),
        Kind::Link => tracing::info!(name: "links-change", %from, %why, "{what}"),
        Kind::Leader => tracing::info!(name: "leaders-change", %from, %why, "{what}"),
        Kind::Transfer => tracing::info!(name: "transfers", %from, %why, "{what}"),
        Kind::Snapshot => tracing::warn!(name: "snapshot-of-no-use", %from, %why, "{what}"),
        Kind::Change => tracing::warn!(name: "change-refused", %from, %why, "{what}"),
        Kind::Answer => tracing::error!(name: "read-fails", %from, %why, "{what}"),
        Kind::Message => tracing::error!(name: "message-too-large", %from, %why, "{what}"),
        Kind::Memory => tracing::warn!(name: "memory-not-kept", %from, %why, "{what}"),
        Kind::Room => tracing::warn!(name: "room-changes", %from, %why, "{what}"),
        Kind::Reserve => tracing::warn!(name: "reserve-changes", %from, %why, "{what}"),
    }
}

/// Lines of one kind.
#[derive(Debug)]
struct Tally {
    window: Option<Window>,
}

/// A time in which a kind is counted.
#[derive(Debug)]
struct Window {
    began: Instant,
    ends: Instant,
    /// Which of [`WINDOWS`] it is.
    step: usize,
    /// Lines that were logged one by one.
    said: u32,
    /// Lines that were not.
    more: u64,
    /// Where the last of them came from, and why.
    latest: (String, String),
}

/// What is said of the lines that were counted.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    more: u64,
    passed: Duration,
    from: String,
    why: String,
}

impl Tally {
    /// Says whether a line is logged by itself.
    fn note(
        &mut self,
        now: Instant,
        burst: u32,
        latest: impl FnOnce() -> (String, String),
    ) -> bool {
        if self.window.as_ref().is_some_and(|window| window.more == 0 && window.ends <= now) {
            self.window = None;
        }
        let window = self.window.get_or_insert_with(|| Window::new(now, 0, 0));
        if window.said < burst {
            window.said += 1;
            return true;
        }
        window.more += 1;
        let (from, why) = latest();
        window.latest = (cut(from), cut(why));
        false
    }

    /// Ends a window whose time is up, or any; the next is longer. One in which nothing was counted
    /// is the last.
    fn turn(&mut self, now: Instant, any: bool) -> Option<Summary> {
        let window = self.window.take_if(|window| any || window.ends <= now)?;
        if window.more == 0 {
            return None;
        }
        let step = (window.step + 1).min(WINDOWS.len() - 1);
        self.window = Some(Window::new(now, step, u32::MAX));
        let (from, why) = window.latest;
        Some(Summary { more: window.more, passed: now - window.began, from, why })
    }
}

impl Window {
    fn new(began: Instant, step: usize, said: u32) -> Self {
        let ends = began + WINDOWS[step];
        Self { began, ends, step, said, more: 0, latest: Default::default() }
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(KEPT_CHARS_MAX) {
        text.truncate(end);
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = 3;

    fn knock(tally: &mut Tally, now: Instant, times: u32) -> u32 {
        let note = |number| tally.note(now, BURST, || (format!("from {number}"), "why".into()));
        (0..times).map(note).map(u32::from).sum()
    }

    #[test]
    fn the_first_are_logged_and_the_others_counted_ever_more_rarely() {
        let (mut tally, mut now) = (Tally { window: None }, Instant::now());
        assert_eq!(knock(&mut tally, now, 240), BURST);
        assert_eq!(tally.turn(now, false), None, "a minute has not passed");
        for (window, wanted) in
            WINDOWS.into_iter().chain([WINDOWS[2]]).zip([240 - BURST, 100, 100, 100])
        {
            now += window;
            let summary = tally.turn(now, false).expect("its time is up");
            assert_eq!((summary.more, summary.passed), (u64::from(wanted), window));
            assert_eq!(summary.why, "why");
            assert!(summary.from.starts_with("from "), "{summary:?}");
            assert_eq!(knock(&mut tally, now, 100), 0, "none by itself while it goes on");
        }
    }

    #[test]
    fn after_a_quiet_time_each_is_logged_again() {
        let (mut tally, mut now) = (Tally { window: None }, Instant::now());
        assert_eq!(knock(&mut tally, now, BURST), BURST);
        now += WINDOWS[0];
        assert_eq!(knock(&mut tally, now, 9), BURST, "the window had ended");
        now += WINDOWS[0];
        assert!(tally.turn(now, false).is_some());
        now += WINDOWS[1];
        assert_eq!(tally.turn(now, false), None);
        assert!(tally.window.is_none());
        assert_eq!(knock(&mut tally, now, 9), BURST);
    }

    #[test]
    fn a_process_that_ends_says_what_it_has_counted() {
        let (mut tally, now) = (Tally { window: None }, Instant::now());
        knock(&mut tally, now, 10);
        assert_eq!(tally.turn(now, true).map(|summary| summary.more), Some(7));
        assert_eq!(tally.turn(now, true), None);
    }

    #[test]
    fn what_is_kept_of_others_is_bounded() {
        let long = "ü".repeat(10_000);
        let mut tally = Tally { window: None };
        let now = Instant::now();
        for _ in 0..=BURST {
            tally.note(now, BURST, || (long.clone(), long.clone()));
        }
        let summary = tally.turn(now, true).expect("one was counted");
        assert_eq!(summary.why.chars().count(), KEPT_CHARS_MAX + 2);
        assert_eq!(cut("short".into()), "short");
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        for (place, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
    }
}

//! The room on the disk in words: the replica decides what is taken while there is little of it.

use replica::{ROOM_STEADY_NS, RoomLevel, Space, room_above};

use crate::gauges::Gauges;
use crate::logging::repeat::{self, Kind};

/// Returns the room as the replica judges it; `None` if it cannot be measured.
pub(crate) fn measured(gauges: &Gauges) -> Option<Space> {
    Some(Space {
        usable_bytes: gauges.space()?.usable_bytes(),
        needed_bytes: gauges.needed_bytes(),
        least_bytes: gauges.least_bytes(),
    })
}

/// Says why nothing is taken that adds data; empty if it is.
pub(crate) fn trouble(level: RoomLevel, gauges: &Gauges) -> String {
    if level < RoomLevel::Short {
        return String::new();
    }
    // So much that it is taken again, and for how long it must be there.
    let needed = room_above(gauges.needed_bytes());
    match gauges.space() {
        Some(space) if space.usable_bytes() >= needed => {
            state(gauges, needed) + &format!(" for {} s", ROOM_STEADY_NS / 1_000_000_000)
        }
        Some(_) | None => state(gauges, needed),
    }
}

/// Says why a leader refuses a command, and whether those that free space are taken.
pub(crate) fn refusal(deletions: bool, gauges: &Gauges) -> String {
    let trouble = trouble(RoomLevel::Short, gauges);
    let rest = match deletions {
        true => "reads and deletions go on",
        false => "reads go on, deletions do not: there is no room for their log entries",
    };
    format!("the leader's disk has no room: {trouble}; {rest}")
}

/// Says why a leader with room refuses a command: these voters have none, and the others are no
/// majority.
pub(crate) fn shortage(names: &[String]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    let names = names.join(", ");
    format!(
        "{names} {verb} no room on disk, and the other voters are no majority; reads and deletions \
         go on"
    )
}

/// Tells the log that a member has an alarm, or no longer.
pub(crate) fn tell_alarm(name: &str, raised: bool) {
    let told = match raised {
        true => format!("alarm: {name} has no room on its disk"),
        false => format!("the alarm of {name} is cleared: it has room on its disk"),
    };
    if repeat::may(Kind::Room, name, &told) {
        match raised {
            true => tracing::warn!(name: "alarm-raised", "{told}"),
            false => tracing::info!(name: "alarm-cleared", "{told}"),
        }
    }
}

/// Tells the log that there is more room than before, or less.
pub(crate) fn tell(before: RoomLevel, level: RoomLevel, gauges: &Gauges) {
    let state = state(gauges, gauges.needed_bytes());
    if repeat::may(Kind::Room, gauges.directory().display(), told(level, &state)) {
        log(before, level, &state);
    }
}

fn state(gauges: &Gauges, needed: u64) -> String {
    let directory = gauges.directory().display();
    match gauges.space() {
        Some(space) => format!("{space} at {directory}, {} in hand", space.needs(needed)),
        None => format!("what is free at {directory} cannot be read"),
    }
}

/// Logs that it is another level than before.
fn log(before: RoomLevel, level: RoomLevel, state: &str) {
    let what = "free space there or enlarge the file system";
    match level {
        RoomLevel::Short => tracing::error!(
            name: "room-none",
            "no room on the disk: {state}; this node refuses new data, and goes on to vote, to \
             lead, to answer and to delete: {what}"
        ),
        RoomLevel::Low if before == RoomLevel::Enough => tracing::warn!(
            name: "room-low",
            "the disk fills up: {state}; with less than that, new data is refused: {what}"
        ),
        RoomLevel::Low => {
            tracing::info!(
                name: "room-little",
                "there is room on the disk again, but little: {state}; data is taken"
            );
        }
        RoomLevel::Enough => {
            tracing::info!(name: "room-enough", "there is room on the disk: {state}");
        }
    }
}

/// Says what a level means, for a summary.
fn told(level: RoomLevel, state: &str) -> String {
    let taken = match level {
        RoomLevel::Short => "new data is refused",
        RoomLevel::Low | RoomLevel::Enough => "new data is taken",
    };
    format!("{taken}: {state}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::troubles::Troubles;

    #[test]
    fn a_refusal_says_what_goes_on() {
        let place = tempfile::tempdir().expect("a directory");
        let gauges = Gauges::at(place.path(), Troubles::default());
        let why = refusal(false, &gauges);
        assert!(why.contains("reads go on, deletions do not"), "{why}");
        // This machine has room for the test, but that must last.
        let why = refusal(true, &gauges);
        assert!(why.contains("in hand for 3 s; reads and deletions go on"), "{why}");
        assert_eq!(trouble(RoomLevel::Low, &gauges), "");
    }

    #[test]
    fn room_that_comes_and_goes_is_counted_after_a_few_lines() {
        let place = tempfile::tempdir().expect("a directory");
        let gauges = Gauges::at(place.path(), Troubles::default());
        let path = place.path().join("log");
        let file = std::fs::File::create(&path).expect("there is room");
        let lines = tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(file)).finish();
        tracing::subscriber::with_default(lines, || {
            for _ in 0..20 {
                tell(RoomLevel::Enough, RoomLevel::Short, &gauges);
                tell(RoomLevel::Short, RoomLevel::Enough, &gauges);
            }
        });
        let said = std::fs::read_to_string(path).expect("it is there");
        assert!(said.contains("no room on the disk"), "{said}");
        assert!(said.lines().count() <= 6, "{said}");
    }
}

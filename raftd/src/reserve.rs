//! Holds room on the disk for the moment when others have filled it, and tells the log of it.

use std::io;
use std::path::Path;
use std::time::Duration;

use protocol::Trouble;
use storage::{Reserve, Sizes, Space, StorageError};

use crate::exit::chain;
use crate::logging::repeat::{self, Kind};
use crate::troubles::Troubles;

/// A disk that fills up is looked at again after so long, as long as it still does, and so often at
/// most: what waits here may be a write.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 10;

/// It fills up no more if nothing was taken between so many looks.
const STILL_LOOKS: u32 = 3;

/// The reserve of this node's data directory.
#[derive(Debug)]
pub(crate) struct Held(Reserve, Troubles);

impl Held {
    /// Looks after a data directory's.
    pub(crate) fn of(directory: &Path, sizes: Sizes, troubles: Troubles) -> Self {
        Self(Reserve::of(directory, sizes), troubles)
    }

    /// Looks at the file system, and gives the reserve back first if the databases need it, or so
    /// many bytes that are about to be written; for that it waits a moment. Not for the loop: a
    /// file system may hang.
    ///
    /// # Errors
    /// If the file system cannot be looked at.
    pub(crate) fn space(&self, bytes: u64) -> io::Result<Space> {
        let mut space = self.0.space()?;
        if !self.0.is_needed(&space, bytes) {
            return Ok(space);
        }
        // Whoever fills the disk is to meet its end first, or would take the reserve as well.
        let mut still = 0;
        for _ in 0..LOOKS_MAX {
            std::thread::sleep(LOOK_AGAIN);
            let before = std::mem::replace(&mut space, self.0.space()?);
            if !self.0.is_needed(&space, bytes) {
                return Ok(space);
            }
            still = if space.free_bytes < before.free_bytes { 0 } else { still + 1 };
            if still == STILL_LOOKS {
                break;
            }
        }
        let given = self.0.give_back();
        let now = self.0.space()?;
        tell_given(&given, &space, &now, &self.0);
        Ok(now)
    }

    /// Says whether there is room for what is not held.
    pub(crate) fn has_room(&self, space: &Space, needed_bytes: u64) -> bool {
        self.0.has_room(space, needed_bytes)
    }

    /// Takes the room. Not for a thread that others wait for: it may take a while.
    pub(crate) fn make(&self) {
        let path = self.0.path().display();
        match self.0.make() {
            Ok(bytes) => {
                self.1.end(Trouble::Reserve);
                let held = format!("{} is held in reserve, for a full disk", mega(bytes));
                if repeat::may(Kind::Reserve, &path, &held) {
                    tracing::info!(name: "reserve-held", "{held}, by {path}");
                }
            }
            Err(error) => {
                let why = format!("no room can be held in reserve: {}", chain(&error));
                self.1.note(Trouble::Reserve, &why);
                if repeat::may(Kind::Reserve, &path, &why) {
                    tracing::warn!(name: "reserve-not-held", "{why}");
                }
            }
        }
    }
}

/// Tells that the reserve was given back, or could not be, when there was so much room.
fn tell_given(given: &Result<(), StorageError>, before: &Space, now: &Space, reserve: &Reserve) {
    let path = reserve.path().display();
    let (free, held) = (mega(before.free_bytes), mega(before.reserve_bytes));
    let told = match given {
        Ok(()) => format!("only {free} were free: the reserve of {held} is given back, {now}"),
        Err(error) => format!("only {free} are free, but the reserve stays: {}", chain(error)),
    };
    if repeat::may(Kind::Reserve, &path, &told) {
        tracing::warn!(
            name: "reserve-used",
            "{told} at {path}: free space there or enlarge the file system"
        );
    }
}

fn mega(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

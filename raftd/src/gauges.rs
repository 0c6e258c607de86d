//! Sizes that are read from the system from time to time, beside the loop, which must not wait for
//! a file system.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use storage::{Sizes, Snapshots, Space};
use tokio::task::AbortHandle;

use crate::reserve::Held;
use crate::scrubs::Scrubs;
use crate::syncs::Syncs;
use crate::troubles::Troubles;

/// How often the sizes are read when nothing is written.
const INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked whether the reserve is needed: others fill a disk fast.
const RESERVE_INTERVAL: Duration = Duration::from_millis(100);

/// For how long there must have been room before it is taken.
const RESERVE_STEADY: Duration = Duration::from_secs(3);

/// Stands for "as many inodes as one likes".
const INODES_UNLIMITED: u64 = u64::MAX;

/// The sizes as they were read last, in bytes.
#[derive(Debug)]
pub(crate) struct Gauges {
    directory: PathBuf,
    sizes: Sizes,
    reserve: Held,
    log: AtomicU64,
    state: AtomicU64,
    disk_total: AtomicU64,
    disk_free: AtomicU64,
    inodes_free: AtomicU64,
    reserved: AtomicU64,
    /// The snapshots, as soon as they are known, and which of them was set aside; empty if none
    /// lies there.
    damage: Mutex<(Option<Snapshots>, String)>,
    scrubs: Scrubs,
    troubles: Troubles,
    syncs: Syncs,
}

/// What measures again and again, for as long as this is held.
pub(crate) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gauges {
    /// Measures for a data directory.
    pub(crate) fn at(directory: &Path, troubles: Troubles) -> Self {
        let sizes = Sizes::at(directory);
        let gauges = Self {
            directory: directory.to_owned(),
            sizes,
            reserve: Held::of(directory, sizes, troubles.clone()),
            log: AtomicU64::new(0),
            state: AtomicU64::new(0),
            disk_total: AtomicU64::new(0),
            disk_free: AtomicU64::new(0),
            inodes_free: AtomicU64::new(INODES_UNLIMITED),
            reserved: AtomicU64::new(0),
            damage: Mutex::new((None, String::new())),
            scrubs: Scrubs::default(),
            troubles,
            syncs: Syncs::default(),
        };
        gauges.measure();
        gauges
    }

    /// Returns what reading everything from the disk has shown.
    pub(crate) fn scrubs(&self) -> &Scrubs {
        &self.scrubs
    }

    /// Returns what cannot be done at present.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Returns whether the disk finishes what it is given.
    pub(crate) fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// Returns where the data is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the log's size on disk.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.load(Ordering::Relaxed)
    }

    /// Returns the state's size on disk.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// Notes the state's size on disk.
    pub(crate) fn set_state_bytes(&self, bytes: u64) {
        self.state.store(bytes, Ordering::Relaxed);
    }

    /// Returns the file system with the data directory as it was last; `None` if it cannot be read.
    pub(crate) fn space(&self) -> Option<Space> {
        let inodes = self.inodes_free.load(Ordering::Relaxed);
        let space = Space {
            total_bytes: self.disk_total.load(Ordering::Relaxed),
            free_bytes: self.disk_free.load(Ordering::Relaxed),
            free_inodes: (inodes != INODES_UNLIMITED).then_some(inodes),
            reserve_bytes: self.reserved.load(Ordering::Relaxed),
        };
        (space.total_bytes > 0).then_some(space)
    }

    /// Returns what is free there, the reserve with it; 0 if it cannot be read.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.space().map_or(0, |space| space.free_bytes.saturating_add(space.reserve_bytes))
    }

    /// Returns what must be free so that everything taken so far can be flushed and compacted.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.sizes.needed_bytes(self.log_bytes(), self.state.load(Ordering::Relaxed))
    }

    /// Returns what must be free so that a node that takes nothing more can go on.
    pub(crate) fn least_bytes(&self) -> u64 {
        self.sizes.least_bytes()
    }

    /// Knows from now on where the snapshots are, and looks at them.
    pub(crate) fn watch_snapshots(&self, snapshots: Snapshots) {
        self.damage().0 = Some(snapshots);
        self.look_for_damage();
    }

    /// Returns the snapshot that is not as it was written, and was set aside; empty if there is
    /// none.
    pub(crate) fn damaged(&self) -> String {
        self.damage().1.clone()
    }

    /// Looks whether a snapshot lies there that was set aside. Not for the loop.
    pub(crate) fn look_for_damage(&self) {
        let snapshots = self.damage().0.clone();
        if let Some(Ok(found)) = snapshots.map(|snapshots| snapshots.damaged()) {
            let path = found.map(|path| path.display().to_string());
            self.damage().1 = path.unwrap_or_default();
        }
    }

    /// A panic elsewhere leaves it as it was.
    fn damage(&self) -> MutexGuard<'_, (Option<Snapshots>, String)> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file system now, and gives back the reserve if it is needed. Not for the loop:
    /// a file system may hang.
    pub(crate) fn measure(&self) -> Option<Space> {
        self.measure_for(0)
    }

    /// The same where so many bytes are to be written.
    fn measure_for(&self, bytes: u64) -> Option<Space> {
        let space = self.reserve.space(bytes).ok()?;
        self.disk_total.store(space.total_bytes, Ordering::Relaxed);
        self.disk_free.store(space.free_bytes, Ordering::Relaxed);
        let inodes = space.free_inodes.unwrap_or(INODES_UNLIMITED);
        self.inodes_free.store(inodes, Ordering::Relaxed);
        self.reserved.store(space.reserve_bytes, Ordering::Relaxed);
        Some(space)
    }

    /// Holds room in reserve, on a thread of its own, for as long as somebody else owns this: gives
    /// it back when it is needed, and takes it again when there has been room for a while.
    ///
    /// # Errors
    /// If there is no thread.
    pub(crate) fn keep_reserve(self: &Arc<Self>) -> std::io::Result<()> {
        let gauges = Arc::downgrade(self);
        let keep = move || {
            let mut room_since = None;
            while let Some(gauges) = gauges.upgrade() {
                let is_roomy =
                    |space: Space| gauges.reserve.has_room(&space, gauges.needed_bytes());
                if !gauges.measure().is_some_and(is_roomy) {
                    room_since = None;
                } else if room_since.get_or_insert_with(Instant::now).elapsed() >= RESERVE_STEADY {
                    room_since = None;
                    gauges.reserve.make();
                    gauges.measure();
                }
                drop(gauges);
                std::thread::sleep(RESERVE_INTERVAL);
            }
        };
        std::thread::Builder::new().name("reserve".into()).spawn(keep).map(drop)
    }

    /// Looks at the file system now, and says why so many bytes more would take what a node needs
    /// to go on, if they would. If not, there is room for them now, the reserve given back if need
    /// be. Not for the loop.
    pub(crate) fn lacks(&self, bytes: u64) -> Option<String> {
        let needed = self.least_bytes().saturating_add(bytes);
        let mut space = self.measure()?;
        if space.usable_bytes() >= needed {
            space = self.measure_for(bytes)?;
        }
        (space.usable_bytes() < needed).then(|| {
            let (directory, needs) = (self.directory.display(), space.needs(needed));
            format!("{space} at {directory}, {needs}")
        })
    }

    /// Reads the sizes now, and again and again until the last other owner drops them.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn watch(
        self: &Arc<Self>,
        log_bytes: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Watch {
        let gauges = Arc::downgrade(self);
        let log_bytes = Arc::new(log_bytes);
        let task = tokio::spawn(async move {
            loop {
                let Some(gauges) = gauges.upgrade() else {
                    return;
                };
                let log_bytes = Arc::clone(&log_bytes);
                let read = move || {
                    gauges.log.store(log_bytes(), Ordering::Relaxed);
                    gauges.measure();
                    gauges.look_for_damage();
                };
                if tokio::task::spawn_blocking(read).await.is_err() {
                    return;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Watch(task.abort_handle())
    }
}

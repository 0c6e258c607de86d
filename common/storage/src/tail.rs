//! The durable tail: where the log ended when it was last written, and term and vote, in a file of
//! their own beside the log's database.
//!
//! A write-ahead log may be cut off anywhere, and what is left looks as if nothing had followed. So
//! the end is written down in another place, which no damage of the database reaches: what is there
//! and not in the log was lost, while what is torn in the log and not there was never promised.
//! Term and vote have their second copy here.
//!
//! ```text
//!   0  magic "rafttail"    24  owner: node u64           56  last entry: term u64
//!   8  format u32, 3       32  owner: incarnation u64    64  last entry: index u64
//!  12  initialised u32     40  writes u64                72  chain value u64
//!  16  count u64           48  term u64 (hard state)     80  vote u64, 0 is none
//!  88  boot u64            96  the boot before, u64     104  the vote's data directory, u64
//! 112  crc32c u32, over generation and all before
//! ```
//!
//! Each start of a node signs the newest slot with the random number that the superblock is about
//! to get, and with the one that it had. So a tail that was put back from the time of another start
//! fits no superblock but its own, however well it fits a log that was put back with it.
//!
//! There are three such slots, 4 KiB apart. Term and vote are synced before a write that changes
//! them counts; so is a truncation. An append alone is written here without a sync of its own: it
//! would double what a write costs. The file is synced at most [`LAG`] later, so a loss of power
//! *and* a disk that loses synced data at the same moment may go unnoticed here for entries younger
//! than that; the peers remember these. One slot is written, in place; one may be on its way to the
//! disk meanwhile; the third is synced, and left alone: what is torn never costs all.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use consensus::{Chain, EntryId, HardState, LogIndex, Term};

use crate::condition::LogEnd;
use crate::error::StorageError;
use crate::files;
use crate::layout::{Owner, hard_state_numbers, hard_state_of};
use crate::names::TAIL;

/// What is written is synced so much later.
pub(crate) const LAG: Duration = Duration::from_millis(100);

const MAGIC: &[u8; 8] = b"rafttail";
const FORMAT: u32 = 3;
const SLOT_BYTES: usize = 4096;
const SLOTS: usize = 3;
const FILE_BYTES: usize = SLOTS * SLOT_BYTES;
const CHECKED: usize = 112;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailRecord {
    /// The newer slot has the higher one.
    count: u64,
    pub(crate) hard_state: HardState,
    pub(crate) end: LogEnd,
    /// The start in which it was written.
    boot: u64,
    /// The start before it.
    boot_before: u64,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TailFound {
    /// The newest slot that is whole.
    pub(crate) newest: Option<TailRecord>,
    /// How many slots are neither whole nor empty.
    pub(crate) damaged: usize,
    place: usize,
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    owner: Owner,
    record: TailRecord,
    syncer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    state: Mutex<Slots>,
    wake: Condvar,
}

#[derive(Debug)]
struct Slots {
    /// Which slot is written.
    place: usize,
    dirty: bool,
    closing: bool,
    failed: Option<std::io::ErrorKind>,
}

impl TailRecord {
    /// Says whether it can be what was last written before a start that finds this number in the
    /// superblock: it was signed in that start, or for the next one, which did not get further.
    pub(crate) fn is_of(&self, boot: u64) -> bool {
        self.boot == boot || self.boot_before == boot
    }
}

impl TailFound {
    /// Reads a data directory's file; nothing is found if there is none.
    pub(crate) fn read(directory: &Path, owner: &Owner) -> Result<Self, StorageError> {
        let bytes = files::read(&directory.join(TAIL), FILE_BYTES as u64)?.unwrap_or_default();
        let mut found = Self::default();
        for (place, slot) in bytes.chunks(SLOT_BYTES).enumerate() {
            let slot = slot.get(..CHECKED + 4).unwrap_or(slot);
            match decode(owner, slot) {
                Some(record) if found.newest.is_none_or(|newest| newest.count < record.count) => {
                    found.newest = Some(record);
                    found.place = place;
                }
                Some(_) => {}
                None if slot.iter().all(|byte| *byte == 0) => {}
                None => match older(slot) {
                    Some(format) => {
                        let what = "the tail file".to_owned();
                        return Err(StorageError::NewerFormat {
                            what,
                            found: format,
                            known: FORMAT,
                        });
                    }
                    None => found.damaged += 1,
                },
            }
        }
        Ok(found)
    }

    /// Signs what was found with the number of a new start, durably, in a slot of its own; nothing
    /// if there is nothing to be signed.
    pub(crate) fn sign(
        self,
        directory: &Path,
        owner: &Owner,
        (boot, boot_before): (u64, u64),
    ) -> Result<(), StorageError> {
        let Some(newest) = self.newest else { return Ok(()) };
        let path = directory.join(TAIL);
        let error = |error| StorageError::io("write", &path, error);
        let file = OpenOptions::new().write(true).open(&path).map_err(error)?;
        let signed = TailRecord { count: newest.count + 1, boot, boot_before, ..newest };
        let at = (next(self.place) * SLOT_BYTES) as u64;
        file.write_all_at(&encode(owner, &signed), at).map_err(error)?;
        file.sync_data().map_err(error)
    }
}

impl Tail {
    /// Opens the file of a data directory, or makes it, and goes on behind what was found there.
    pub(crate) fn open(
        directory: &Path,
        owner: Owner,
        found: TailFound,
        (hard_state, end, boot): (HardState, LogEnd, u64),
    ) -> Result<Self, StorageError> {
        let path = directory.join(TAIL);
        let error = |error| StorageError::io("open", &path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(error)?;
        let size = file.metadata().map_err(error)?.len();
        if size < FILE_BYTES as u64 {
            let missing = vec![0; FILE_BYTES - usize::try_from(size).unwrap_or(0)];
            file.write_all_at(&missing, size).map_err(error)?;
            file.sync_all().map_err(error)?;
            files::sync_parent(&path)?;
        }
        let place = next(found.place);
        let state = Slots { place, dirty: false, closing: false, failed: None };
        let shared = Arc::new(Shared { file, state: Mutex::new(state), wake: Condvar::new() });
        let count = found.newest.map_or(0, |newest| newest.count);
        let record = TailRecord { count, hard_state, end, boot, boot_before: boot };
        let syncing = Arc::clone(&shared);
        let syncer = std::thread::Builder::new()
            .name("tail".to_owned())
            .spawn(move || syncing.run())
            .map_err(|source| StorageError::io("start the thread of", &path, source))?;
        Ok(Self { shared, owner, record, syncer: Some(syncer) })
    }

    /// Notes where the log ends now, which is durable; `hard_state` if it has changed. What must
    /// not wait is on the disk when this returns.
    pub(crate) fn note(
        &mut self,
        end: LogEnd,
        hard_state: Option<HardState>,
        must_not_wait: bool,
    ) -> Result<(), StorageError> {
        let error = |error| StorageError::io("write", Path::new(TAIL), error);
        self.record.count += 1;
        self.record.end = end;
        self.record.hard_state = hard_state.unwrap_or(self.record.hard_state);
        let bytes = encode(&self.owner, &self.record);
        let mut slots = self.shared.lock();
        if let Some(kind) = slots.failed {
            return Err(error(kind.into()));
        }
        let at = (slots.place * SLOT_BYTES) as u64;
        self.shared.file.write_all_at(&bytes, at).map_err(error)?;
        if !must_not_wait && hard_state.is_none() {
            let was_dirty = std::mem::replace(&mut slots.dirty, true);
            drop(slots);
            if !was_dirty {
                self.shared.wake.notify_one();
            }
            return Ok(());
        }
        self.shared.file.sync_data().map_err(error)?;
        slots.dirty = false;
        slots.place = next(slots.place);
        Ok(())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(syncer) = self.syncer.take() {
            // It only syncs; a panic of it was told on the way.
            let _ = syncer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs what was written, a little later, so that many writes share one sync.
    fn run(&self) {
        let mut slots = self.lock();
        loop {
            while !slots.dirty && !slots.closing {
                slots = self.wake.wait(slots).unwrap_or_else(PoisonError::into_inner);
            }
            if !slots.closing {
                let waited = self.wake.wait_timeout_while(slots, LAG, |slots| !slots.closing);
                slots = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if slots.dirty {
                // The next writes go to the next slot, while this one is synced.
                slots.dirty = false;
                slots.place = next(slots.place);
                drop(slots);
                let synced = self.file.sync_data();
                slots = self.lock();
                if let Err(error) = synced {
                    slots.failed = Some(error.kind());
                }
            }
            if slots.closing && !slots.dirty {
                return;
            }
        }
    }
}

fn next(place: usize) -> usize {
    (place + 1) % SLOTS
}

fn encode(owner: &Owner, record: &TailRecord) -> [u8; CHECKED + 4] {
    let mut bytes = [0; CHECKED + 4];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
    let TailRecord { count, hard_state, end, boot, boot_before } = record;
    let [term, candidate, incarnation] = hard_state_numbers(*hard_state);
    let numbers = [
        *count,
        owner.node.get(),
        owner.incarnation.get(),
        end.writes,
        term,
        end.last.term.get(),
        end.last.index.get(),
        end.chain.get(),
        candidate,
        *boot,
        *boot_before,
        incarnation,
    ];
    for (place, number) in numbers.into_iter().enumerate() {
        let at = 16 + 8 * place;
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(owner, &bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(owner: &Owner, bytes: &[u8]) -> Option<TailRecord> {
    let (checked, stored) = bytes.split_last_chunk::<4>()?;
    let whole = checked.len() == CHECKED
        && checked.starts_with(MAGIC)
        && checksum(owner, checked) == u32::from_le_bytes(*stored);
    if !whole {
        return None;
    }
    let number = |place: usize| {
        let at = 16 + 8 * place;
        u64::from_le_bytes(checked[at..at + 8].try_into().expect("eight bytes"))
    };
    (number(1) == owner.node.get() && number(2) == owner.incarnation.get()).then(|| TailRecord {
        count: number(0),
        hard_state: hard_state_of([number(4), number(8), number(11)]),
        end: LogEnd {
            last: EntryId { term: Term::new(number(5)), index: LogIndex::new(number(6)) },
            chain: Chain::new(number(7)),
            writes: number(3),
        },
        boot: number(9),
        boot_before: number(10),
    })
}

/// Returns a slot's format if it is one of before, which nobody reads any more.
fn older(slot: &[u8]) -> Option<u32> {
    let format = slot.strip_prefix(MAGIC)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*format)).filter(|format| (1..FORMAT).contains(format))
}

fn checksum(owner: &Owner, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(owner.generation.bytes()), bytes)
}

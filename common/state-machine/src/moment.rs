//! Questions about the state, on any thread, while commands are applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consensus::{ClusterTime, LogIndex};

use crate::applied::{Applied, stored_digests};
use crate::effects::Effects;
use crate::error::HostError;
use crate::machine::{Response, StoredMachine};
use crate::store::{PrefixView, SYSTEM, StoreError, View};
use crate::system::{self, SystemAnswer, SystemQuery, Tombstone, Viewer};

/// Keys of the machine's part begin with this byte.
pub(crate) const MACHINE: u8 = 1;

/// How many pairs a digest reads at a time.
const DIGEST_PAGE: usize = 1_000;

/// Answers questions at the state of one moment; cheap to copy and to send to other threads.
#[derive(Clone)]
pub struct QueryView {
    pub(crate) view: Arc<dyn View>,
    pub(crate) machine: Arc<dyn StoredMachine>,
    pub(crate) applied: LogIndex,
    /// The last entry of which a question may have seen something, now.
    pub(crate) reached: Arc<AtomicU64>,
    pub(crate) time: ClusterTime,
    pub(crate) effects: Effects,
}

/// Answers questions at one moment of the state: see [`QueryView::at_one_moment`].
pub struct Moment<'a> {
    of: &'a QueryView,
    view: &'a dyn View,
}

impl QueryView {
    /// Returns what is applied in this view, at the least.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Returns cluster time in this view.
    pub fn time(&self) -> ClusterTime {
        self.time
    }

    /// Asks about the system's part, and is told what `viewer` may know.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn system(
        &self,
        viewer: Viewer<'_>,
        query: &SystemQuery,
    ) -> Result<SystemAnswer, HostError> {
        self.at_one_moment(|moment| moment.system(viewer, query))
    }

    /// Reads the state at one moment, which is this view's or a later one: what is applied between
    /// two reads is in both or in neither. A moment has its price, and serves any number of
    /// questions.
    pub fn at_one_moment<T>(&self, read: impl FnOnce(&Moment<'_>) -> T) -> T {
        match self.view.pinned() {
            Some(pinned) => read(&Moment { of: self, view: &*pinned }),
            None => read(&Moment { of: self, view: &*self.view }),
        }
    }

    /// Returns the members that were removed, in order of their ids.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, HostError> {
        self.at_one_moment(|moment| system::tombstones(&moment.part(SYSTEM)))
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&self, query: &[u8]) -> Result<Response, StoreError> {
        self.at_one_moment(|moment| moment.query(query))
    }

    /// Returns a digest of the machine's part: equal states have equal digests (FNV-1a).
    ///
    /// # Errors
    /// If the store fails.
    pub fn digest(&self) -> Result<u64, StoreError> {
        let view = PrefixView::new(&*self.view, MACHINE);
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        let mut fold = |bytes: &[u8]| {
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        let mut from = Vec::new();
        loop {
            let page = view.range(&from, None, DIGEST_PAGE)?;
            for (key, value) in &page {
                fold(key);
                fold(value);
            }
            let Some((last, _)) = page.last().filter(|_| page.len() == DIGEST_PAGE) else {
                return Ok(digest);
            };
            from = [last, &[0][..]].concat();
        }
    }
}

impl Moment<'_> {
    /// Returns an index behind which nothing lies that was seen at this moment so far: who wants
    /// to see no less elsewhere asks there for this one. A machine in memory is ahead of the
    /// store, so this is read behind the question.
    pub fn reached(&self) -> LogIndex {
        LogIndex::new(self.of.reached.load(Ordering::Acquire))
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&self, query: &[u8]) -> Result<Response, StoreError> {
        self.of.machine.query(&self.part(MACHINE), query)
    }

    /// Asks about the system's part, and is told what `viewer` may know.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn system(
        &self,
        viewer: Viewer<'_>,
        query: &SystemQuery,
    ) -> Result<SystemAnswer, HostError> {
        let view = self.part(SYSTEM);
        if let SystemQuery::Effects { index } = query {
            let (first, last) = self.of.effects.known();
            let digest = self.of.effects.at(LogIndex::new(*index));
            let stored = stored_digests(&view, *index)?;
            return Ok(SystemAnswer::Effects { first, last, digest, stored });
        }
        // What is shown is of this moment, which may be later than the view.
        let time = Applied::of(&view)?.time;
        system::answer(&view, time, viewer, query)
    }

    fn part(&self, part: u8) -> PrefixView<'_> {
        PrefixView::new(self.view, part)
    }
}

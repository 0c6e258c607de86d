//! What this node remembers of the other members: noted from their messages, and kept in a file
//! now and then, never on the way of a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use consensus::{EntryId, Incarnation, Message, NodeId, Raft, Term, Timestamp};
use protocol::{Remembered, Trouble};
use storage::{Forgotten, PeerMemory};
use tokio::task::spawn_blocking;
use transport::SharedMemory;

use crate::exit::{Exit, Failure, chain};
use crate::identity::Identity;
use crate::logging::repeat::{self, Kind};
use crate::node::Node;
use crate::troubles::Troubles;

/// How long acknowledgements alone may wait to be kept, in nanoseconds, and what could not be kept
/// until it is tried again. Everything else is kept at once.
const KEPT_EVERY_NS: u64 = 10_000_000_000;

/// Keeps what is remembered.
pub(crate) struct Keeper {
    memory: SharedMemory,
    file: PeerMemory,
    /// What was given to be kept last, and when.
    kept: Vec<Remembered>,
    kept_at: Timestamp,
    /// Whether that is still being written, and whether it could not be.
    writing: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    troubles: Troubles,
    /// The last term whose leader's log was found to be this node's.
    vouched: Term,
}

impl Keeper {
    /// Recalls what was kept. A file that cannot be read is no reason not to start.
    pub(crate) fn new(memory: SharedMemory, file: PeerMemory, troubles: Troubles) -> Self {
        match file.load() {
            Ok(known) => memory.recall(known),
            Err(error) => tracing::warn!(
                name: "memory-not-kept",
                "what the other members have promised is not known any more: {}",
                chain(&error)
            ),
        }
        let (kept, kept_at) = (memory.all(), Timestamp::ZERO);
        let (writing, failed) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        Self { memory, file, kept, kept_at, writing, failed, troubles, vouched: Term::ZERO }
    }

    /// Says whether the log of this term's leader was found to be this node's.
    pub(super) fn is_vouched(&self, term: Term) -> bool {
        self.vouched == term
    }

    /// The log of this term's leader is this node's.
    pub(super) fn vouch(&mut self, term: Term) {
        self.vouched = term;
    }

    /// Keeps what is new.
    fn keep(&mut self, now: Timestamp) {
        let all = self.memory.all();
        let matters = |known: &Remembered| {
            let Remembered { node, incarnation, starts, boot, term, voted, .. } = *known;
            (node, incarnation, starts, boot, term, voted)
        };
        let is_late = now.since(self.kept_at) >= KEPT_EVERY_NS;
        let is_news = !all.iter().map(matters).eq(self.kept.iter().map(matters));
        let is_stored = all == self.kept && !self.failed.load(Ordering::Relaxed);
        if is_stored || !(is_news || is_late) || self.writing.swap(true, Ordering::Relaxed) {
            return;
        }
        (self.kept, self.kept_at) = (all.clone(), now);
        let (file, writing) = (self.file.clone(), Arc::clone(&self.writing));
        let (failed, troubles) = (Arc::clone(&self.failed), self.troubles.clone());
        spawn_blocking(move || {
            let stored = file.store(&all).map_err(|error| chain(&error));
            if let Err(why) = &stored {
                repeat::tell(Kind::Memory, "this node", why);
            }
            troubles.tell(Trouble::Promises, &stored);
            failed.store(stored.is_err(), Ordering::Relaxed);
            writing.store(false, Ordering::Relaxed);
        });
    }
}

impl Node {
    /// Notes what a member promises.
    pub(super) fn note(&self, from: NodeId, incarnation: Incarnation, message: &Message) {
        let raft = self.replica.raft();
        let leads = Some(raft.term()).filter(|_| raft.leads());
        let at = (raft.incarnation(), leads, raft.commit());
        self.keeper.memory.note((from, incarnation), message, at);
    }

    /// Keeps what members have promised. Who was removed is none any more: a node that repairs its
    /// log would count it among those that have to be asked.
    pub(crate) fn remember(&mut self, now: Timestamp) {
        self.keeper.memory.forget(|node| self.network.is_removed(node));
        let Identity { starts, boot, .. } = self.identity;
        self.keeper.memory.keep(own(self.replica.raft(), (starts, boot)));
        self.keeper.keep(now);
    }

    /// A peer knows that this node has promised more than it holds, or runs twice: it goes on only
    /// as one that has forgotten.
    pub(super) fn forgets(&mut self, by: NodeId, runs_twice: bool, reason: &str) {
        let why = if runs_twice { Forgotten::RunsTwice } else { Forgotten::PeerKnowsMore };
        let failure = Failure::new(Exit::Forgotten, format!("node {by} says: {reason}"));
        let hint = "this node gives up its name, and neither votes nor counts until its cluster \
                    has taken it in again: start it again (systemd does)";
        self.fail(failure.forgotten(why).hint(hint));
    }
}

/// Returns what this node tells of itself: it keeps what is committed, and on its disk. What is not
/// committed may be cut off yet, and others would then take the node for one that has forgotten it.
fn own(raft: &Raft, (starts, boot): (u64, u64)) -> Remembered {
    Remembered {
        node: raft.id(),
        incarnation: raft.incarnation(),
        starts,
        boot,
        term: Term::ZERO,
        voted: None,
        acknowledged: EntryId::ZERO,
        kept: raft.durable().min(raft.commit()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use consensus::{
        ClusterTime, Configuration, HardState, LogIndex, LogView, Membership, Restored, TermRun,
    };
    use storage::DataDirectory;
    use tempfile::{TempDir, tempdir};

    use super::*;

    const NOW: Timestamp = Timestamp::new(KEPT_EVERY_NS);

    fn known(term: u64) -> Remembered {
        Remembered {
            node: id(2),
            incarnation: Incarnation::new(7),
            starts: 1,
            boot: 1,
            term: Term::new(term),
            voted: Some(Term::new(term)),
            acknowledged: EntryId::ZERO,
            kept: LogIndex::ZERO,
        }
    }

    fn id(id: u64) -> NodeId {
        NodeId::new(id).expect("not 0")
    }

    /// A keeper of a new directory, and what it keeps there.
    fn keeper() -> (Keeper, SharedMemory, DataDirectory, TempDir) {
        let place = tempdir().expect("a directory");
        let directory = DataDirectory::open_or_create(place.path(), [0; 16], id(1));
        let directory = directory.expect("it is new");
        let memory = SharedMemory::default();
        let keeper = Keeper::new(memory.clone(), directory.peers(), Troubles::default());
        (keeper, memory, directory, place)
    }

    #[test]
    fn nothing_is_told_to_be_kept_that_may_be_cut_off_yet() {
        let (term, first) = (Term::new(1), LogIndex::new(1));
        let log = LogView::restore(EntryId::ZERO, vec![TermRun { term, first }], LogIndex::new(5));
        let nothing = (LogIndex::ZERO, Configuration::unknown());
        let disk = Restored {
            incarnation: Incarnation::new(7),
            hard_state: HardState { term, vote: None },
            log: log.expect("it is a log"),
            membership: Membership::restore(nothing, Vec::new()).expect("nothing is in order"),
            applied: LogIndex::new(3),
            stamp: ClusterTime::ZERO,
        };
        let raft = Raft::restore(id(1), consensus::Config::new(1), disk, Timestamp::ZERO);
        let raft = raft.expect("it is sound");
        assert_eq!((raft.durable(), raft.commit()), (LogIndex::new(5), LogIndex::new(3)));
        assert_eq!(own(&raft, (1, 1)).kept, LogIndex::new(3));
    }

    /// Waits until nothing is being written any more.
    async fn written(keeper: &Keeper) {
        let began = Instant::now();
        while keeper.writing.load(Ordering::Relaxed) {
            assert!(began.elapsed() < Duration::from_secs(60), "it is still being written");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Behind a restart, this node would not notice that a voter was wiped and votes once more.
    #[tokio::test]
    async fn a_vote_is_kept_at_once_and_acknowledgements_now_and_then() {
        let (mut keeper, memory, directory, _place) = keeper();
        for term in [1, 2] {
            memory.recall([known(term)]);
            keeper.keep(NOW);
            written(&keeper).await;
            assert_eq!(directory.peers().load().expect("it is whole"), [known(term)]);
        }
        let acknowledged = EntryId { term: Term::new(2), index: LogIndex::new(9) };
        let more = Remembered { acknowledged, ..known(2) };
        memory.recall([more]);
        keeper.keep(NOW);
        written(&keeper).await;
        assert_eq!(directory.peers().load().expect("it is whole"), [known(2)], "that is no hurry");
        keeper.keep(Timestamp::new(2 * KEPT_EVERY_NS));
        written(&keeper).await;
        assert_eq!(directory.peers().load().expect("it is whole"), [more]);
    }

    #[tokio::test]
    async fn what_could_not_be_kept_is_tried_again() {
        let (mut keeper, memory, directory, place) = keeper();
        memory.recall([known(1)]);
        let file = place.path().join("peers");
        std::fs::create_dir(&file).expect("it is not there");
        keeper.keep(NOW);
        written(&keeper).await;
        assert!(directory.peers().load().is_err(), "a directory is in its place");
        std::fs::remove_dir(&file).expect("it is empty");
        keeper.keep(Timestamp::new(2 * KEPT_EVERY_NS));
        written(&keeper).await;
        assert_eq!(directory.peers().load().expect("it is whole"), [known(1)]);
    }

    #[tokio::test]
    async fn who_was_removed_is_forgotten_in_the_file_as_well() {
        let (mut keeper, memory, directory, _place) = keeper();
        let other = Remembered { node: id(3), ..known(1) };
        memory.recall([known(1), other]);
        keeper.keep(NOW);
        written(&keeper).await;
        memory.forget(|node| node == id(2));
        keeper.keep(NOW);
        written(&keeper).await;
        assert_eq!(directory.peers().load().expect("it is whole"), [other]);
    }
}

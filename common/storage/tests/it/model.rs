//! Random writes, cuts and reopenings of the log, against a vector that cannot be wrong.

use crate::kit::{
    at, command, configuration, found, hard_state, nothing, read, record, reopen, settle, unchained,
};
use consensus::{
    Configuration, Entry, EntryId, HardState, LogIndex, Membership, Payload, SnapshotMeta, Write,
};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config as Runs, TestCaseError};
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use storage::{DataDirectory, LogStore, RestoredLog};
use tempfile::{TempDir, tempdir};

/// One step of a test; numbers are made to fit what the log holds at that time.
#[derive(Clone, Debug)]
enum Step {
    /// One call with these writes.
    Write(Vec<Piece>),
    /// Close and open.
    Reopen,
    /// Close, let the database bring all into tables below its first level, and open.
    Settle,
    /// Forget so many of the entries that are left.
    Compact(usize),
    /// A snapshot that goes so far beyond the end takes the log's place.
    Install(usize),
    /// Read from a place on, with room for so many bytes.
    Read { from: usize, bytes_max: usize },
}

/// One write of a call.
#[derive(Clone, Debug)]
struct Piece {
    /// How many of the last entries are cut off.
    cut: usize,
    /// How many entries come behind, and how large each is, in bytes.
    add: usize,
    bytes: usize,
    /// By how much the term grows.
    term: u64,
    /// Whether the first new entry is a configuration.
    configuration: bool,
    vote: Option<u64>,
}

fn piece() -> impl Strategy<Value = Piece> {
    let cut = prop_oneof![4 => 0_usize..1, 2 => 0_usize..5, 1 => 0_usize..200];
    let add = prop_oneof![3 => 0_usize..4, 1 => 0_usize..120];
    let vote = proptest::option::of(1_u64..4);
    let rest = (0_usize..200, 0_u64..3, any::<bool>(), vote);
    (cut, add, rest).prop_map(|(cut, add, (bytes, term, configuration, vote))| Piece {
        cut,
        add,
        bytes,
        term,
        configuration,
        vote,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => collection::vec(piece(), 1..4).prop_map(Step::Write),
        1 => proptest::strategy::Just(Step::Reopen),
        1 => proptest::strategy::Just(Step::Settle),
        1 => (0_usize..60).prop_map(Step::Compact),
        1 => (1_usize..20).prop_map(Step::Install),
        2 => (0_usize..200, 0_usize..2_000)
            .prop_map(|(from, bytes_max)| Step::Read { from, bytes_max }),
    ]
}

/// What the log must hold.
struct Model {
    /// What the log begins behind.
    base: SnapshotMeta,
    entries: Vec<Entry>,
    hard_state: HardState,
    /// The number of the last write, so that no two entries are alike.
    written: u64,
}

impl Model {
    fn new(directory: &DataDirectory) -> Self {
        let payload = Payload::Configuration(record(directory.incarnation()).configuration);
        let first = Entry { payload, stamp: consensus::ClusterTime::ZERO, ..command(1, 1, "") };
        let base = Membership::default().at(LogIndex::ZERO).clone();
        let base = SnapshotMeta {
            last: EntryId::ZERO,
            configuration: base.1,
            configuration_index: base.0,
            stamp: consensus::ClusterTime::ZERO,
            chain: consensus::Chain::ZERO,
        };
        Self { base, entries: vec![first], hard_state: hard_state(1, None), written: 0 }
    }

    /// Does a piece to the model, and returns it as a write.
    fn take(&mut self, piece: &Piece) -> Write {
        self.written += 1;
        // The first entry is committed from the first: nobody cuts it.
        let least = usize::from(self.base.last == EntryId::ZERO);
        let keep = self.entries.len().saturating_sub(piece.cut).max(least);
        self.entries.truncate(keep);
        let term = self.hard_state.term.get() + piece.term;
        self.hard_state = hard_state(term, piece.vote);
        let first = self.base.last.index.get() + keep as u64 + 1;
        let mut append: Vec<Entry> = (first..first + piece.add as u64)
            .map(|index| {
                let text = format!("{} {}", self.written, "x".repeat(piece.bytes));
                command(term, index, &text)
            })
            .collect();
        if let Some(entry) = append.first_mut().filter(|_| piece.configuration) {
            let incarnation = consensus::Incarnation::new(self.written);
            entry.payload = Payload::Configuration(configuration(incarnation, "host:1"));
        }
        self.entries.extend(append.iter().cloned());
        let truncate_from = (piece.cut > 0).then_some(LogIndex::new(first));
        Write { truncate_from, append, hard_state: Some(self.hard_state), ..nothing() }
    }

    fn end(&self) -> u64 {
        self.base.last.index.get() + self.entries.len() as u64
    }

    fn configurations(&self) -> Vec<(LogIndex, Configuration)> {
        let in_log = self.entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id.index, configuration.clone())),
            Payload::Noop | Payload::Command(_) => None,
        });
        in_log.collect()
    }

    /// Forgets the first entries, and returns that as a write.
    fn compact(&mut self, count: usize) -> Option<Write> {
        let count = count.min(self.entries.len());
        let last = self.entries.get(count.checked_sub(1)?)?.id;
        let latest = self.configurations().into_iter().rev().find(|(at, _)| *at <= last.index);
        if let Some((index, configuration)) = latest {
            (self.base.configuration_index, self.base.configuration) = (index, configuration);
        }
        self.base.last = last;
        self.entries.drain(..count);
        Some(Write { compact_to: Some(self.base.clone()), ..nothing() })
    }

    /// Puts a snapshot in the place of everything, and returns that as a write.
    fn install(&mut self, beyond: usize) -> Write {
        self.written += 1;
        let term = self.hard_state.term.get();
        let last = at(term, self.end() + beyond as u64);
        let incarnation = consensus::Incarnation::new(self.written);
        self.base = SnapshotMeta {
            last,
            configuration: configuration(incarnation, "host:2"),
            configuration_index: last.index,
            stamp: consensus::ClusterTime::new(last.index.get() * 10),
            chain: consensus::Chain::ZERO,
        };
        self.entries.clear();
        Write { compact_to: Some(self.base.clone()), ..nothing() }
    }

    fn check(&self, log: &LogStore, restored: &RestoredLog) -> Result<(), TestCaseError> {
        prop_assert_eq!(restored.hard_state, self.hard_state);
        prop_assert_eq!(restored.log.base(), self.base.last);
        prop_assert_eq!(restored.log.last().index.get(), self.end());
        for entry in &self.entries {
            prop_assert!(restored.log.contains(entry.id), "{}", entry.id);
        }
        let base = (self.base.configuration_index, self.base.configuration.clone());
        let membership = Membership::restore(base, self.configurations()).unwrap();
        prop_assert_eq!(&restored.membership, &membership);
        let highest = self.entries.iter().map(|entry| entry.stamp).max().unwrap_or_default();
        prop_assert!(restored.stamp >= highest.max(self.base.stamp));
        let first = self.base.last.index.get() + 1;
        prop_assert_eq!(&read(log, first, self.end()).unwrap(), &self.entries);
        if first > 1 {
            prop_assert_eq!(&read(log, first - 1, self.end().max(first)).unwrap(), &[]);
        }
        Ok(())
    }
}

struct World {
    place: TempDir,
    model: Model,
    log: Option<LogStore>,
}

impl World {
    fn new() -> Self {
        let place = tempdir().unwrap();
        let directory = found(place.path());
        let (log, _) = LogStore::open(&directory).unwrap();
        let model = Model::new(&directory);
        Self { place, model, log: Some(log) }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let log = self.log.as_mut().expect("the log is open between steps");
        match step {
            Step::Write(pieces) => {
                let writes: Vec<Write> = pieces.iter().map(|p| self.model.take(p)).collect();
                log.write(&writes).unwrap();
            }
            Step::Compact(count) => {
                log.write(&Vec::from_iter(self.model.compact(*count))).unwrap();
            }
            Step::Install(beyond) => {
                log.write(&[self.model.install(*beyond)]).unwrap();
            }
            Step::Reopen => self.reopen()?,
            Step::Settle => {
                drop(self.log.take());
                settle(self.place.path());
                self.reopen()?;
            }
            Step::Read { from, bytes_max } => {
                let entries = &self.model.entries;
                let from = from % (entries.len() + 1);
                let first = self.model.base.last.index.get() + from as u64 + 1;
                let range = LogIndex::new(first)..LogIndex::new(self.model.end() + 1);
                let found = unchained(log.reader().read(range, *bytes_max).unwrap());
                prop_assert_eq!(found.is_empty(), from == entries.len());
                prop_assert_eq!(&found[..], &entries[from..from + found.len()]);
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), TestCaseError> {
        drop(self.log.take());
        let (log, restored) = reopen(self.place.path());
        self.model.check(&log, &restored)?;
        self.log = Some(log);
        Ok(())
    }
}

proptest! {
    #![proptest_config(Runs { cases: 32, failure_persistence: None, ..Runs::default() })]

    #[test]
    fn the_log_holds_what_a_vector_would(steps in collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
        world.reopen()?;
    }
}

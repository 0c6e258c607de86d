//! Random changes, checkpoints, snapshots, restores and reopenings of the state, against a map that
//! cannot be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kit::snapshots::any_header;
use bytes::Bytes;
use proptest::prelude::Strategy;
use proptest::test_runner::{Config, TestCaseError};
use proptest::{collection, prop_assert, prop_assert_eq, prop_oneof, proptest};
use state_machine::{Batch, OrderedStore, View};
use storage::{SnapshotHeader, SnapshotReader, SnapshotWriter, StateCheckpoint, StateStore};
use tempfile::{TempDir, tempdir};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    /// One batch: keys, and their values' sizes or nothing to delete them.
    Write(Vec<(String, Option<usize>)>),
    Persist,
    /// Close, which flushes, and open again.
    Reopen,
    /// Keep this moment.
    Checkpoint,
    /// Write the oldest kept moment to a file.
    Save,
    /// Take over the file, if there is one; cut off by so many bytes, it must not be taken.
    Restore {
        cut: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let change = ("[a-c]{1,3}", proptest::option::weighted(0.8, 0_usize..3_000));
    prop_oneof![
        6 => collection::vec(change, 1..12).prop_map(Step::Write),
        1 => proptest::strategy::Just(Step::Persist),
        1 => proptest::strategy::Just(Step::Reopen),
        2 => proptest::strategy::Just(Step::Checkpoint),
        2 => proptest::strategy::Just(Step::Save),
        2 => prop_oneof![3 => 0_usize..1, 1 => 1_usize..500].prop_map(|cut| Step::Restore { cut }),
    ]
}

struct World {
    place: TempDir,
    state: Option<StateStore>,
    now: Map,
    kept: Vec<(StateCheckpoint, Map)>,
    /// What the file holds.
    saved: Option<Map>,
    /// Makes values differ.
    written: u8,
}

impl World {
    fn new() -> Self {
        let place = tempdir().unwrap();
        let state = Some(StateStore::open(place.path()).unwrap());
        let (now, kept) = (Map::new(), Vec::new());
        Self { place, state, now, kept, saved: None, written: 0 }
    }

    fn state(&mut self) -> &mut StateStore {
        self.state.as_mut().expect("it is open between steps")
    }

    fn file(&self) -> std::path::PathBuf {
        self.place.path().join("model.snap")
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write(changes) => self.write(changes),
            Step::Persist => self.state().persist().unwrap(),
            Step::Reopen => {
                drop(self.state.take());
                // Checkpoints live as long as the process; the next one removes their files.
                self.kept.clear();
                self.state = Some(StateStore::open(self.place.path()).unwrap());
            }
            Step::Checkpoint => {
                let checkpoint = self.state().checkpoint().unwrap();
                self.kept.push((checkpoint, self.now.clone()));
            }
            Step::Save => self.save(),
            Step::Restore { cut } => self.restore(*cut)?,
        }
        for (checkpoint, expected) in &self.kept {
            let mut found = Map::new();
            checkpoint
                .for_each(|key, value| {
                    found.insert(key.to_vec(), value.to_vec());
                    Ok(())
                })
                .unwrap();
            prop_assert_eq!(&found, expected);
        }
        let found = all(&*self.state().view());
        prop_assert_eq!(&found, &self.now);
        Ok(())
    }

    fn write(&mut self, changes: &[(String, Option<usize>)]) {
        let mut batch = Batch::new();
        for (key, size) in changes {
            self.written = self.written.wrapping_add(1);
            let bytes = Bytes::from(key.clone());
            match size {
                Some(size) => {
                    let value = vec![self.written; *size];
                    batch.put(bytes, value.clone().into());
                    self.now.insert(key.clone().into_bytes(), value);
                }
                None => {
                    batch.delete(bytes);
                    self.now.remove(key.as_bytes());
                }
            }
        }
        self.state().write(batch).unwrap();
    }

    fn save(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let (checkpoint, map) = self.kept.remove(0);
        // Nothing was applied here: no entry is the last one.
        let mut header: SnapshotHeader = any_header(0, 0);
        header.meta.configuration_index = consensus::LogIndex::ZERO;
        let writer = SnapshotWriter::create(&self.file(), &header).unwrap();
        checkpoint.save_to(writer, |_| Ok(())).unwrap();
        self.saved = Some(map);
    }

    fn restore(&mut self, cut: usize) -> Result<(), TestCaseError> {
        let Some(saved) = self.saved.clone() else {
            return Ok(());
        };
        let bytes = std::fs::read(self.file()).unwrap();
        let source = &bytes[..bytes.len().saturating_sub(cut)];
        let old = self.state().view();
        let before = self.now.clone();
        let taken = SnapshotReader::new("model.snap".into(), source)
            .and_then(|mut reader| self.state().replace_from(&mut reader));
        prop_assert_eq!(taken.is_ok(), cut == 0);
        if cut == 0 {
            self.now = saved;
        }
        prop_assert_eq!(all(&*old), before, "views of the old state stay good");
        Ok(())
    }
}

fn all(view: &dyn View) -> Map {
    let pairs = view.range(b"", None, usize::MAX).unwrap();
    pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_state_holds_what_a_map_would(steps in collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
        let left = world.place.path().join("checkpoints");
        let count = left.read_dir().map_or(0, Iterator::count);
        prop_assert!(count == world.kept.len(), "{count} checkpoints");
        let view: Arc<dyn View> = world.state().view();
        prop_assert_eq!(all(&*view), world.now);
    }
}

//! The state is photographed while it changes, and replaced as a whole: a crash at any point leaves
//! the old one or the new one.
#![allow(clippy::unwrap_used)]
mod kit;

use std::path::Path;
use std::sync::Arc;

use kit::found;
use kit::snapshots::{apply, header, open};
use state_machine::{Host, Kv, KvQuery, KvResponse, QueryView};
use storage::{DataDirectory, SnapshotFile, SnapshotReader, StateStore};
use tempfile::tempdir;

fn get(view: &QueryView, index: u64) -> Option<String> {
    let key = format!("k{index}").into();
    match KvResponse::decode(&view.query(&KvQuery::Get { key }.encode()).unwrap()).unwrap() {
        KvResponse::Value { value, .. } => Some(String::from_utf8(value.to_vec()).unwrap()),
        _ => None,
    }
}

/// Takes a snapshot of a state in another place that holds `value` up to an index.
fn snapshot(directory: &DataDirectory, to: u64, value: &str) -> SnapshotFile {
    let elsewhere = tempdir().unwrap();
    let mut host = apply(StateStore::open(elsewhere.path()).unwrap(), to, value);
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    checkpoint.save(&open(directory), &header(directory, 1, to), |_| Ok(())).unwrap()
}

fn replace(host: &mut Host<StateStore>, file: &SnapshotFile) {
    let mut reader = SnapshotReader::open(&file.path).unwrap();
    host.with_store(|store| store.replace_from(&mut reader)).unwrap().unwrap();
}

fn states(path: &Path) -> Vec<String> {
    let names = path.read_dir().unwrap().map(|child| child.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("state"));
    names.sort();
    names
}

#[test]
fn a_checkpoint_shows_one_moment_while_the_state_changes() {
    let place = tempdir().unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 100, "old");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    let host = apply_more(host, 300, "new");
    let seen = std::thread::spawn(move || {
        let mut keys = 0;
        checkpoint
            .for_each(|_, _| {
                keys += 1;
                Ok(())
            })
            .unwrap();
        keys
    });
    assert_eq!(seen.join().unwrap(), 100 + 1, "the keys and the record of what is applied");
    assert_eq!(get(&host.view(), 300).as_deref(), Some("new"));
    assert_eq!(place.path().join("checkpoints").read_dir().unwrap().count(), 0, "it is gone");
}

fn apply_more(host: Host<StateStore>, to: u64, value: &str) -> Host<StateStore> {
    let mut host = host;
    let from = host.applied().index.get() + 1;
    for index in from..=to {
        let entry = kit::snapshots::put(1, index, &format!("k{index}"), value);
        host.apply(&[entry]).unwrap();
    }
    host
}

#[test]
fn a_state_is_replaced_as_a_whole_and_old_views_stay_good() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let file = snapshot(&directory, 50, "new");
    let mut host = apply(StateStore::open(place.path()).unwrap(), 20, "old");
    let old = host.view();
    replace(&mut host, &file);
    assert_eq!(host.applied().index.get(), 50);
    assert_eq!(get(&host.view(), 50).as_deref(), Some("new"));
    assert_eq!((get(&old, 20).as_deref(), get(&old, 50)), (Some("old"), None));
    assert_eq!(states(place.path()), ["state", "state-1", "state-current"]);
    drop(old);
    assert_eq!(states(place.path()), ["state-1", "state-current"]);
    drop(host);
    let host = Host::open(StateStore::open(place.path()).unwrap(), Arc::new(Kv)).unwrap();
    assert_eq!(host.applied().index.get(), 50, "it was durable at once");
}

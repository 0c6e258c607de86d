//! A node that repairs its log goes on answering, and follows its configuration.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raftd::certs::Role;
use raftd::log::{
    BootstrapRecord, DataDirectory, Entry, EntryReader, LogProvider, PersistentLog, RestoredLog,
    RocksLogs, StorageError, Write,
};
use raftd::{Config, Exit, Running, Server};

use crate::damage::{flip_in_the_middle, largest};
use crate::embedded::{Fragile, Three, ended, propose, until, without};

/// How long a log of [`SlowLogs`] takes for a repair, as a large one does.
const REPAIR: Duration = Duration::from_secs(4);

struct SlowLogs;

struct SlowLog(Box<dyn PersistentLog>);

impl LogProvider for SlowLogs {
    fn open(
        &self,
        directory: &DataDirectory,
    ) -> Result<(Box<dyn PersistentLog>, RestoredLog), StorageError> {
        let (log, restored) = RocksLogs.open(directory)?;
        Ok((Box::new(SlowLog(log)), restored))
    }

    fn bootstrap(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        RocksLogs.bootstrap(directory, record)
    }

    fn join(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        RocksLogs.join(directory, record)
    }
}

impl PersistentLog for SlowLog {
    fn write(&mut self, writes: &[Write]) -> Result<usize, StorageError> {
        self.0.write(writes)
    }

    fn repair(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        std::thread::sleep(REPAIR);
        self.0.repair(entries)
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        self.0.reader()
    }
}

/// Three nodes, of which the third is stopped and has a damaged log; how that is started, and the
/// last entry.
async fn damaged() -> (Three, Config, u64) {
    let mut three = Three::start().await;
    let client = three.client();
    let mut last = 0;
    for number in 0..100 {
        last = propose(&client, &format!("{number:0200}")).await;
    }
    until(&three.nodes[2], |status| status.applied >= last).await;
    let third = three.nodes.remove(2);
    let address = third.address();
    third.stop().await.unwrap();
    flip_in_the_middle(&largest(&three.data(3), "log"));
    let credentials = three.issue(Role::Node(NonZeroU64::new(3).unwrap()));
    let config = Config::new(three.data(3), credentials).listen(address);
    client.close().await;
    (three, config, last)
}

async fn is_repaired(three: Three, third: Running, last: u64) {
    let whole = |status: &raftd::NodeStatus| {
        status.applied >= last && status.mended.contains("repaired with a copy from")
    };
    until(&third, whole).await;
    third.stop().await.unwrap();
    three.stop().await;
}

/// The last copy makes a whole log anew: nobody was answered meanwhile, and the service manager
/// heard nothing.
#[tokio::test]
async fn a_node_answers_while_its_log_is_made_anew() {
    let (three, config, last) = damaged().await;
    let third = Server::new(Fragile::new(3)).with_log(SlowLogs).start(config).await.unwrap();
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < REPAIR {
        let asked = Instant::now();
        third.status().await.expect("it runs");
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(longest < REPAIR / 2, "it was silent for {longest:?}");
    is_repaired(three, third, last).await;
}

/// The operator says where the others are now, and the node went on where they were.
#[tokio::test]
async fn a_node_that_repairs_its_log_dials_the_others_where_a_reload_says() {
    let (three, config, last) = damaged().await;
    let nowhere = ["1", "2"].map(|id| (id.to_owned(), "127.0.0.1:9".to_owned()));
    let mut elsewhere = config.clone();
    elsewhere.peers = BTreeMap::from(nowhere);
    let third = Server::new(Fragile::new(3)).start(elsewhere).await.unwrap();
    let silent = |status: &raftd::NodeStatus| status.failure.contains("gone for good");
    until(&third, silent).await;
    third.update(config).unwrap();
    is_repaired(three, third, last).await;
}

/// Nobody gives it anything any more: it said for ever that the members do not answer.
#[tokio::test]
async fn a_node_that_is_removed_while_it_repairs_its_log_says_so() {
    let (three, config, _) = damaged().await;
    let nowhere = ["1", "2"].map(|id| (id.to_owned(), "127.0.0.1:9".to_owned()));
    let mut elsewhere = config.clone();
    elsewhere.peers = BTreeMap::from(nowhere);
    let third = Server::new(Fragile::new(3)).start(elsewhere).await.unwrap();
    until(&third, |status| status.failure.contains("gone for good")).await;
    let client = three.client();
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let target = without(&status, third.node());
    client.reconfigure(&target, status.configuration_index).await.unwrap();
    third.update(config).unwrap();
    let failure = ended(&third).await;
    assert_eq!(failure.exit, Exit::Removed, "{failure}");
    client.close().await;
    three.stop().await;
}

//! Values that lie apart from the state's tables, in a node that serves.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixtures::load::get;
use fixtures::{Cluster, Node, PATIENCE, SmallDisk};
use state_machine::{KvCommand, KvResponse};

const MIB: u64 = 1024 * 1024;

/// What compresses badly.
fn noise(seed: u64) -> Bytes {
    let mut state = seed;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 57) as u8
    };
    (0..64 << 10).map(byte).collect()
}

fn key(number: u64) -> String {
    format!("large/{number:04}")
}

/// Returns what lies apart in a node's state, in bytes.
fn apart_bytes(node: &Node) -> u64 {
    let files = fs::read_dir(node.data.join("state")).unwrap().map(|file| file.unwrap());
    let apart = files.filter(|file| file.path().extension().is_some_and(|it| it == "blob"));
    apart.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

/// Nothing is written behind the deletions: nothing else would make the node look.
#[tokio::test]
async fn the_room_of_deleted_values_comes_back_to_a_node_that_has_nothing_else_to_do() {
    let mut cluster = Cluster::prepare(1);
    // Memtables, and with them what is worth collecting, follow the size of the disk.
    let Some(_disk) = SmallDisk::mount(&cluster.nodes[0].data, 1_024) else {
        eprintln!("not shown here: mounting a small file system takes root");
        return;
    };
    cluster.nodes[0].configure("[limits]\npersist_interval_s = 1\n");
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    let (client, node) = (cluster.client(), &cluster.nodes[0]);
    let (count, mut puts) = (4_800, tokio::task::JoinSet::new());
    for number in 0..count {
        let client = client.clone();
        let command = KvCommand::Put { key: key(number).into(), value: noise(number) }.encode();
        puts.spawn(async move { client.propose(command).await });
        if puts.len() >= 32 {
            puts.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    puts.join_all().await.into_iter().for_each(|put| assert!(put.is_ok(), "{put:?}"));
    let within = |bytes: std::ops::Range<u64>| async move {
        let began = Instant::now();
        while !bytes.contains(&apart_bytes(node)) {
            assert!(began.elapsed() < PATIENCE, "{} bytes, not {bytes:?}", apart_bytes(node));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(280 * MIB..320 * MIB).await;
    // Each file keeps a half of what it has.
    for number in (0..count).filter(|number| number % 2 == 0) {
        let command = KvCommand::Delete { key: key(number).into() }.encode();
        let answer = client.propose(command).await.unwrap();
        let done = KvResponse::decode(&answer.response).unwrap();
        assert!(matches!(done, KvResponse::Done { .. }), "{done:?}");
    }
    within(0..240 * MIB).await;
    for number in 0..count {
        let found = get(&client, &key(number)).await.unwrap();
        let is_as_written = found.map(Bytes::from) == (number % 2 == 1).then(|| noise(number));
        assert!(is_as_written, "{number}");
    }
}

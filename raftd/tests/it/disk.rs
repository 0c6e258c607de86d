//! A disk that is full, and bytes that make no sense: the node says what is wrong, and nothing that
//! was acknowledged is lost.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, ClientError, ErrorCode};
use fixtures::load::{Load, get, put};
use fixtures::{Cluster, PATIENCE, SmallDisk};
use protocol::Outcome;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use state_machine::{KvCommand, KvResponse};

use crate::small_disks::{self, put_when_there_is_room};

/// A value that compresses badly, or it would need no disk.
fn noise(seed: u64) -> Bytes {
    let mut state = seed;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 57) as u8
    };
    (0..32 << 10).map(byte).collect()
}

/// Puts values until the leader refuses one for want of room; returns how many it took.
async fn fill(client: &Client, from: u64) -> (u64, String) {
    let began = Instant::now();
    for number in from.. {
        assert!(began.elapsed() < PATIENCE, "the disk does not fill up");
        let key = Bytes::from(format!("large/{number:04}"));
        let command = KvCommand::Put { key, value: noise(number) }.encode();
        match client.propose(command).await {
            Ok(answer) => {
                let done = KvResponse::decode(&answer.response).unwrap();
                assert!(matches!(done, KvResponse::Done { .. }));
            }
            Err(ClientError::Refused(reply)) if reply.code == ErrorCode::NoRoom => {
                assert_eq!(reply.outcome, Outcome::NotApplied);
                return (number, reply.message);
            }
            Err(other) => panic!("value {number}: {other}"),
        }
    }
    unreachable!("numbers do not end")
}

#[tokio::test]
async fn three_full_disks_end_no_node_and_heal_by_deleting_or_enlarging() {
    let Some((mut cluster, disks)) = small_disks::cluster(3).await else { return };
    cluster.leader().await;
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    let (taken, why) = fill(&client, 0).await;
    assert!(taken > 50, "{taken} values of 32 KiB on a disk of 32 MB");
    // Who is full first says so: the leader of its own disk, or of the others that told it.
    let of_its_own = why.contains("are free at") && why.contains("needed in hand");
    let of_others = why.contains("have no room on disk, and the other voters are no majority");
    assert!(of_its_own || of_others, "{why}");
    let mut full = None;
    for (place, node) in cluster.nodes.iter().enumerate() {
        let status = client.status_of(&node.address).await.unwrap();
        if !status.no_room.is_empty() {
            assert!(status.disk_free_bytes < 2 * status.disk_needed_bytes, "{status:?}");
            full = Some(place);
        }
    }
    let log = cluster.nodes[full.expect("one at least")].logged("ERROR no room").await;
    assert!(log.contains("WARN the disk fills up"), "{log}");

    // It goes on to answer and to elect, also after all are killed.
    assert_eq!(get(&client, "before").await.unwrap().as_deref(), Some("1"));
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.leader().await;
    assert_eq!(get(&client, "before").await.unwrap().as_deref(), Some("1"));
    // Whose disks are full is in the state, and known again from there.
    for status in cluster.statuses(&client).await {
        let status = status.expect("it runs");
        assert!(status.alarms.len() >= 2, "{status:?}");
    }

    for number in 0..taken {
        let key = Bytes::from(format!("large/{number:04}"));
        client.propose(KvCommand::Delete { key }.encode()).await.unwrap();
    }
    put_when_there_is_room(&client, "after deleting").await;

    let (again, _) = fill(&client, taken).await;
    for disk in &disks {
        disk.resize(512);
    }
    put_when_there_is_room(&client, "after enlarging").await;
    for number in taken..again {
        assert!(get(&client, &format!("large/{number:04}")).await.unwrap().is_some(), "{number}");
    }
    for node in &cluster.nodes {
        assert!(node.is_running() && !node.log().contains("this node stops"), "{}", node.log());
    }
}

#[tokio::test]
async fn a_follower_whose_disk_is_full_stays_and_catches_up_when_there_is_room() {
    let mut cluster = Cluster::prepare(3);
    let Some(disk) = SmallDisk::mount(&cluster.nodes[0].data, 24) else {
        eprintln!("not shown here: mounting a small file system takes root");
        return;
    };
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    let client = cluster.client();
    if cluster.leader().await == 0 {
        client.transfer(consensus::NodeId::new(2).unwrap()).await.unwrap();
    }
    let load = Load::start(&cluster, 4);
    let began = Instant::now();
    let mut large = 0;
    while !cluster.nodes[0].log().contains("ERROR no room") {
        assert!(began.elapsed() < PATIENCE, "the disk does not fill up");
        let key = Bytes::from(format!("large/{large:04}"));
        let command = KvCommand::Put { key, value: noise(large) }.encode();
        // Another node may take over, and the full one may be it for a moment.
        large += u64::from(client.propose(command).await.is_ok());
    }
    load.progress(&cluster, 50).await;
    assert!(!cluster.nodes[0].log().contains("this node stops"), "{}", cluster.nodes[0].log());

    disk.resize(512);
    load.progress(&cluster, 50).await;
    load.finish().await.verify(&cluster).await;
    cluster.converged().await;
}

/// As `LimitFSIZE=` and `ulimit -f` do it. By itself the system would end the process by a signal.
#[tokio::test]
async fn a_node_whose_files_may_not_grow_says_so_and_ends_in_good_order() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let pid = i32::try_from(cluster.nodes[leader].pid()).unwrap();
    let limit = Rlimit { current: Some(16 << 10), maximum: Some(16 << 10) };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
    let client = cluster.client();
    let mut taken = Vec::new();
    for number in 0..40 {
        match put(&client, &format!("key{number}"), &"x".repeat(4_000)).await {
            Ok(()) => taken.push(number),
            Err(ClientError::Unknown { .. }) => {}
            Err(other) => panic!("{number}: {other}"),
        }
    }
    assert!(taken.len() > 20, "{taken:?}");
    assert_eq!(cluster.nodes[leader].ended().code(), Some(74));
    let log = cluster.nodes[leader].log();
    assert!(log.contains("File too large") && !log.contains("panic"), "{log}");
    cluster.nodes[leader].start();
    for number in taken {
        assert!(get(&client, &format!("key{number}")).await.unwrap().is_some(), "{number}");
    }
    cluster.converged().await;
}

#[tokio::test]
async fn a_disk_without_room_for_a_start_is_left_as_it_was_and_ends_with_74() {
    let mut cluster = Cluster::prepare(1);
    let Some(disk) = SmallDisk::mount(&cluster.nodes[0].data, 24) else {
        eprintln!("not shown here: mounting a small file system takes root");
        return;
    };
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    cluster.nodes[0].kill();
    let data = cluster.nodes[0].data.clone();
    let _ = fs::remove_file(data.join("reserve"));
    // Others may fill the disk to the last byte.
    disk.fill_up();
    let before = files(&data);
    for _ in 0..3 {
        cluster.nodes[0].start();
        assert_eq!(cluster.nodes[0].ended().code(), Some(74));
    }
    assert_eq!(files(&data), before);
    let log = cluster.nodes[0].log();
    assert!(log.contains("the disk is full while starting") && log.contains("needed"), "{log}");
    disk.free();
    cluster.nodes[0].start();
    assert_eq!(get(&client, "before").await.unwrap().as_deref(), Some("1"));
}

#[test]
fn another_users_data_directory_is_told_in_one_line_and_not_retried() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not shown here: running as another user takes root");
        return;
    }
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    // The program and the configuration are anybody's, the credentials nobody's, the data root's.
    let program = cluster.path().join("raftd");
    fs::copy(env!("CARGO_BIN_EXE_raftd"), &program).unwrap();
    for open in [cluster.path(), &node.directory, &program] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    chown(node.directory.join("node.key"), Some(NOBODY), None).unwrap();
    let run = || {
        let mut command = Command::new(&program);
        command.arg("--config").arg(node.directory.join("raftd.toml"));
        let ended = command.uid(NOBODY).gid(NOBODY).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let is_told = |(code, said): (Option<i32>, String), owner: &str, command: &str| {
        assert_eq!(code, Some(78), "rights are not mended by starting again: {said}");
        let line = said.lines().find(|line| line.starts_with("error: ")).unwrap();
        let wanted = [owner, "this process is nobody (uid 65534)", command];
        assert!(wanted.iter().all(|wanted| line.contains(wanted)), "{line}");
    };
    let data = node.data.display();
    is_told(run(), "root:root 0755", &format!("install -d -o nobody -g nogroup -m 0700 {data}"));

    fs::create_dir(&node.data).unwrap();
    fs::set_permissions(&node.data, fs::Permissions::from_mode(0o700)).unwrap();
    let give = format!("chown -R nobody:nogroup {data}");
    is_told(run(), "root:root 0700", &give);

    // Given away, but for a file of the database.
    chown(&node.data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::create_dir(node.data.join("log")).unwrap();
    is_told(run(), "root:root 07", &give);

    fs::remove_dir(node.data.join("log")).unwrap();
    fs::set_permissions(node.directory.join("raftd.toml"), fs::Permissions::from_mode(0o600))
        .unwrap();
    is_told(run(), "root:root 0600", "chgrp -R nogroup ");
}

#[tokio::test]
async fn what_a_node_keeps_is_closed_to_others_whatever_the_umask() {
    let mut cluster = Cluster::prepare(1);
    let node = &mut cluster.nodes[0];
    fs::create_dir(&node.data).unwrap();
    fs::set_permissions(&node.data, fs::Permissions::from_mode(0o755)).unwrap();
    node.start();
    cluster.bootstrap().await;
    cluster.leader().await;
    let data = &cluster.nodes[0].data;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(data), 0o750, "a group may be there on purpose");
    for file in files(data) {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    cluster.nodes[0].logged("was open to every user (mode 0755)").await;
}

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for child in directory.read_dir().unwrap() {
        let path = child.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn bytes_that_make_no_sense_do_not_disturb_a_node() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1_u64;
    for length in (1..1_400).step_by(7) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        socket.send_to(&bytes, &cluster.nodes[0].address).unwrap();
    }
    put(&client, "after", "1").await.unwrap();
    assert_eq!(get(&client, "before").await.unwrap().as_deref(), Some("1"));
    assert!(!cluster.nodes[0].log().contains("panic"));
}

#[tokio::test]
async fn handshakes_that_nobody_finishes_do_not_keep_others_out() {
    let cluster = Cluster::start(1).await;
    let node = cluster.nodes[0].address.clone();
    put(&cluster.client(), "before", "1").await.unwrap();
    // What clients send here goes on to the node, and its answers go nowhere.
    let heard = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let said = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let way = heard.local_addr().unwrap().to_string();
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..120 {
        let operator = certs::Role::Operator("o".parse().unwrap());
        let (client, way) = (cluster.client_as(operator, Duration::from_secs(2)), way.clone());
        dials.spawn(async move { client.status_of(&way).await.is_ok() });
    }
    let mut senders = BTreeSet::new();
    let mut packet = [0; 2_048];
    while senders.len() < 120 {
        let next = tokio::time::timeout(PATIENCE, heard.recv_from(&mut packet));
        let (length, sender) = next.await.unwrap().unwrap();
        said.send_to(&packet[..length], &node).await.unwrap();
        // A first packet is padded to this length: nothing shorter begins a handshake.
        if length >= 1_200 && packet[0] & 0xf0 == 0xc0 {
            senders.insert(sender);
        }
    }
    // Those handshakes are given up after 2 s: who came behind them would be served only then.
    let began = Instant::now();
    put(&cluster.client(), "after", "1").await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1_900), "{took:?}");
    while let Some(done) = dials.join_next().await {
        assert!(!done.unwrap(), "its answers went nowhere");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_raftd_is_told_from_one_that_is_silent() {
    let cluster = Cluster::prepare(1);
    let silent = UdpSocket::bind(&cluster.nodes[0].address).unwrap();
    let operator = certs::Role::Operator("o".parse().unwrap());
    let client = cluster.client_as(operator, Duration::from_secs(1));
    let error = client.status_of(&cluster.nodes[0].address).await.unwrap_err();
    let said = fixtures::reason(&error);
    assert!(said.contains("no answer") || said.contains("deadline"), "{said}");
    drop(silent);
    let error = client.status_of(&cluster.nodes[0].address).await.unwrap_err();
    assert!(fixtures::reason(&error).contains("refused"), "{}", fixtures::reason(&error));
}

//! A disk that is full, and bytes that make no sense: the node says what is wrong, and nothing that
//! was acknowledged is lost.
#![allow(clippy::unwrap_used)]

mod kit;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kit::load::{Load, get, put};
use kit::{Cluster, PATIENCE};
use state_machine::{KvCommand, KvResponse};

/// A small file system in memory at a node's data directory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this may not be done: it takes root.
    fn mount(path: &Path, megabytes: u64) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={megabytes}m,mode=700");
        let mut mount = Command::new("mount");
        let mounted = succeeds(mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path));
        mounted.then(|| Self(path.to_owned()))
    }

    fn resize(&self, megabytes: u64) {
        let size = format!("remount,size={megabytes}m");
        assert!(succeeds(Command::new("mount").args(["-o", &size]).arg(&self.0)));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount: the node may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_ends_its_node_with_74_and_loses_nothing() {
    let mut cluster = Cluster::prepare(3);
    let Some(disk) = SmallDisk::mount(&cluster.nodes[0].data, 24) else {
        eprintln!("not shown here: mounting a small file system takes root");
        return;
    };
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    let load = Load::start(&cluster, 4);
    let client = cluster.client();
    let began = Instant::now();
    let mut large = 0;
    while fs::read_to_string(cluster.nodes[0].directory.join("log")).unwrap().find("full").is_none()
    {
        assert!(began.elapsed() < PATIENCE, "the disk does not fill up");
        let key = Bytes::from(format!("large/{large:04}"));
        let value = Bytes::from(vec![b'x'; 512 << 10]);
        // The node with the full disk may be the leader: then nobody knows, and we go on.
        if let Ok(answer) = client.propose(KvCommand::Put { key, value }.encode()).await {
            let done = KvResponse::decode(&answer.response).unwrap();
            assert!(matches!(done, KvResponse::Done { .. }));
            large += 1;
        }
    }
    assert_eq!(cluster.nodes[0].ended().code(), Some(74));
    let log = cluster.nodes[0].log();
    assert!(log.contains("the disk is full"), "{log}");
    assert!(log.contains(" ERROR "), "an operator must act: {log}");
    assert!(!log.contains("panic"), "{log}");
    load.progress(&cluster, 50).await;

    disk.resize(256);
    cluster.nodes[0].start();
    load.progress(&cluster, 50).await;
    load.finish().await.verify(&cluster).await;
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
async fn an_endpoint_that_is_not_raftd_is_told_from_one_that_is_silent() {
    let cluster = Cluster::prepare(1);
    let silent = UdpSocket::bind(&cluster.nodes[0].address).unwrap();
    let operator = certs::Role::Operator("o".parse().unwrap());
    let client = cluster.client_as(operator, Duration::from_secs(1));
    let error = client.status_of(&cluster.nodes[0].address).await.unwrap_err();
    let said = kit::reason(&error);
    assert!(said.contains("no answer") || said.contains("deadline"), "{said}");
    drop(silent);
    let error = client.status_of(&cluster.nodes[0].address).await.unwrap_err();
    assert!(kit::reason(&error).contains("refused"), "{}", kit::reason(&error));
}

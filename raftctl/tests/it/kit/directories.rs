//! Data directories of stopped nodes that are copied, put back and damaged.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use serde_json::Value;

use crate::kit::{World, free};

/// Runs a program that must succeed.
pub fn must(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

pub fn data(world: &World, name: &str) -> PathBuf {
    world.home().join(format!("data-{name}"))
}

/// Copies a stopped node's data directory, as a backup does.
pub fn back_up(world: &World, name: &str) -> PathBuf {
    back_up_as(world, name, &format!("old-{name}"))
}

pub fn back_up_as(world: &World, name: &str, copy: &str) -> PathBuf {
    let copy = world.home().join(copy);
    must("cp", &["-a", data(world, name).to_str().unwrap(), copy.to_str().unwrap()]);
    copy
}

/// Puts the copy in the place of the directory.
pub fn put_back(world: &World, name: &str) {
    let (place, copy) = (data(world, name), world.home().join(format!("old-{name}")));
    fs::remove_dir_all(&place).unwrap();
    must("cp", &["-a", copy.to_str().unwrap(), place.to_str().unwrap()]);
}

/// Three nodes with a key; n2 was down for a moment, and there is a copy of what it had then.
pub fn three() -> (World, Vec<String>) {
    several(3)
}

/// So many nodes, likewise.
pub fn several(nodes: usize) -> (World, Vec<String>) {
    let mut world = World::new();
    let addresses = free(nodes);
    world.found(&addresses);
    world.ok("kv put before 1");
    world.kill("n2");
    back_up(&world, "n2");
    world.start("n2", &addresses[1]);
    world.await_status(is_healthy);
    (world, addresses)
}

pub fn is_healthy(status: &Value) -> bool {
    status["health"] == "HEALTHY"
}

/// Says whether a remark has this code.
pub fn remarks(status: &Value, code: &str) -> bool {
    status["remarks"].as_array().is_some_and(|all| all.iter().any(|one| one["code"] == code))
}

/// Makes the superblock name its own file, as it does where a disk was put back below the file
/// system, or a whole machine.
pub fn disguise(place: &Path) {
    let path = place.join("superblock");
    let found = fs::metadata(&path).unwrap();
    let born = found.created().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let born_ns = u64::try_from(born.as_nanos()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for at in [0, 4096] {
        bytes[at + 101..at + 109].copy_from_slice(&found.ino().to_le_bytes());
        bytes[at + 109..at + 117].copy_from_slice(&born_ns.to_le_bytes());
        let sum = crc32c(&bytes[at..at + 126]).to_le_bytes();
        bytes[at + 126..at + 130].copy_from_slice(&sum);
    }
    // Into the same file.
    fs::write(&path, bytes).unwrap();
}

fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |sum: u32, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), shift))
}

/// Puts parts of the copy in the place of those of the directory.
pub fn put_back_parts(world: &World, name: &str, parts: &[&str]) {
    let (place, copy) = (data(world, name), world.home().join(format!("old-{name}")));
    for part in parts {
        let (from, to) = (copy.join(part), place.join(part));
        must("rm", &["-rf", to.to_str().unwrap()]);
        must("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    }
}

/// Writes what the files of the copy hold into the files that are there, as rsync --inplace
/// --delete does.
pub fn overwrite(copy: &Path, place: &Path) {
    let names = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).unwrap().map(|child| child.unwrap().file_name().into()).collect()
    };
    for gone in names(place).iter().filter(|name| !copy.join(name).exists()) {
        must("rm", &["-rf", place.join(gone).to_str().unwrap()]);
    }
    for name in names(copy) {
        let (from, to) = (copy.join(&name), place.join(&name));
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            overwrite(&from, &to);
        } else {
            fs::write(to, fs::read(from).unwrap()).unwrap();
        }
    }
}

//! Gauges of the process, by the names that all exporters use.

use crate::observe::catalogue::{Catalogue, Reading};

pub(super) struct ProcessGauges {
    resident: Reading<u64>,
    open_files: Reading<u64>,
    files_max: Reading<u64>,
}

impl ProcessGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        Self {
            resident: all.number("bytes", RESIDENT),
            open_files: all.number("files", OPEN_FILES),
            files_max: all.number("files", FILES_MAX),
        }
    }

    pub(super) fn show(&self) {
        self.resident.set(resident_bytes());
        let open = std::fs::read_dir("/proc/self/fd").ok();
        self.open_files.set(open.map(|files| files.count() as u64));
        self.files_max.set(files_max());
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

const RESIDENT: (&str, &str) =
    ("process_resident_memory_bytes", "Memory that the process has, as the kernel counts it");
const OPEN_FILES: (&str, &str) = ("process_open_fds", "Files and sockets that it has open");
const FILES_MAX: (&str, &str) =
    ("process_max_fds", "The most files and sockets that it may have open");

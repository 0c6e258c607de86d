//! What processes have used so far, as the kernel counts it.

use std::fs;

/// The kernel counts the time of processes in hundredths of a second for all programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What processes have used, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, in seconds.
    pub(crate) cpu_s: f64,
    /// Bytes that were written to disks, or will be.
    pub(crate) written: u64,
    /// Memory of the largest, in bytes.
    pub(crate) resident: u64,
    /// The most memory that one of them ever had, in bytes.
    pub(crate) peak: u64,
}

impl Usage {
    /// Reads the counts of processes; one that is gone counts nothing.
    pub(crate) fn of(processes: &[u32]) -> Self {
        let mut all = Self::default();
        for process in processes {
            let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
            all.cpu_s += read("stat").ok().and_then(|text| cpu_s(&text)).unwrap_or_default();
            let written = read("io").ok().and_then(|text| field(&text, "write_bytes"));
            all.written += written.unwrap_or_default();
            let status = read("status").unwrap_or_default();
            let kib = |name: &str| field(&status, name).unwrap_or_default() * 1024;
            all.resident = all.resident.max(kib("VmRSS"));
            all.peak = all.peak.max(kib("VmHWM"));
        }
        all
    }
}

/// Returns the processor time that the whole machine has used, in seconds.
pub(crate) fn machine_s() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_s(&text).unwrap_or_default()
}

/// Reads what was not idle out of `/proc/stat`: user, nice, system, and both kinds of interrupts.
fn busy_s(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.lines().next()?.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    let busy = [1, 2, 3, 6, 7].into_iter().map(ticks).sum::<Option<f64>>()?;
    Some(busy / TICKS_PER_SECOND)
}

/// Reads the processor time out of `/proc/PID/stat`: the program's name, in brackets, may hold
/// anything.
fn cpu_s(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Reads a number behind its name and a colon.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_whatever_a_program_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 9 0 1";
        assert_eq!(cpu_s(stat), Some(1.75));
        assert_eq!(field("rchar: 1\nwrite_bytes: 4096\n", "write_bytes"), Some(4096));
        assert_eq!(field("VmHWM:\t 9 kB\nVmRSS:\t 7 kB\n", "VmRSS"), Some(7));
        assert_eq!(field("VmRSS:\t 7 kB\n", "write_bytes"), None);
        let machine = "cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_s(machine), Some(1.63));
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_has_none() {
        let own = Usage::of(&[std::process::id()]);
        assert!(own.resident > 0 && own.peak >= own.resident);
        assert_eq!(Usage::of(&[u32::MAX]), Usage::default());
    }
}

//! Sizes that are read from the system from time to time, beside the loop, which must not wait for
//! a file system.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the sizes are read.
const INTERVAL: Duration = Duration::from_secs(2);

/// The sizes as they were read last, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    log: AtomicU64,
    disk_total: AtomicU64,
    disk_free: AtomicU64,
}

impl Gauges {
    /// Returns the log's size on disk.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.load(Ordering::Relaxed)
    }

    /// Returns the size of the file system with the data directory.
    pub(crate) fn disk_total_bytes(&self) -> u64 {
        self.disk_total.load(Ordering::Relaxed)
    }

    /// Returns the bytes that are free there for us.
    pub(crate) fn disk_free_bytes(&self) -> u64 {
        self.disk_free.load(Ordering::Relaxed)
    }

    /// Reads the sizes now, and again and again until nobody else holds them. Before the log is
    /// open, its size is 0.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn watch(
        self: &Arc<Self>,
        data_dir: PathBuf,
        log_bytes: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let gauges = Arc::downgrade(self);
        let read = Arc::new(move || (log_bytes(), disk(&data_dir)));
        tokio::spawn(async move {
            loop {
                let read = Arc::clone(&read);
                let Ok((log, disk)) = tokio::task::spawn_blocking(move || read()).await else {
                    return;
                };
                let Some(gauges) = gauges.upgrade() else {
                    return;
                };
                gauges.log.store(log, Ordering::Relaxed);
                if let Some((total, free)) = disk {
                    gauges.disk_total.store(total, Ordering::Relaxed);
                    gauges.disk_free.store(free, Ordering::Relaxed);
                }
                drop(gauges);
                tokio::time::sleep(INTERVAL).await;
            }
        });
    }
}

/// Returns size and free bytes of a path's file system.
fn disk(path: &PathBuf) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

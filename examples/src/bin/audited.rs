//! A log of one's own: RocksDB's, with a journal beside it in which an auditor reads what was made
//! durable, and in which order.
//!
//! ```text
//! raftctl dev --raftd target/release/audited
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use raftd::log::{
    BootstrapRecord, DataDirectory, Entry, EntryReader, LogProvider, PersistentLog, RestoredLog,
    RocksLogs, StorageError, Write,
};
use raftd::machine::Kv;

/// Logs with a journal.
struct Audited;

/// A log, and its journal: `audit` in the data directory.
struct AuditedLog {
    inner: Box<dyn PersistentLog>,
    journal: File,
    path: PathBuf,
}

impl PersistentLog for AuditedLog {
    /// The journal tells what is durable, so it is written behind the log, and may lack the end.
    fn write(&mut self, writes: &[Write]) -> Result<usize, StorageError> {
        let bytes = self.inner.write(writes)?;
        for write in writes {
            if let Some(state) = write.hard_state {
                self.note(&format!(
                    "term {} vote {:?}",
                    state.term,
                    state.vote.map(|vote| vote.candidate)
                ))?;
            }
            if let (Some(first), Some(last)) = (write.append.first(), write.append.last()) {
                self.note(&format!("entries {} to {}", first.id, last.id))?;
            }
        }
        Ok(bytes)
    }

    fn repair(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        self.inner.repair(entries)?;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.note(&format!("copies of entries {} to {}", first.id, last.id))?;
        }
        Ok(())
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        self.inner.reader()
    }
}

impl AuditedLog {
    fn note(&mut self, line: &str) -> Result<(), StorageError> {
        writeln!(self.journal, "{line}").map_err(|source| StorageError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }
}

impl LogProvider for Audited {
    fn open(
        &self,
        directory: &DataDirectory,
    ) -> Result<(Box<dyn PersistentLog>, RestoredLog), StorageError> {
        let (inner, restored) = RocksLogs.open(directory)?;
        let path = directory.path().join("audit");
        let journal = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| StorageError::Io { doing: "open", path: path.clone(), source })?;
        Ok((Box::new(AuditedLog { inner, journal, path }), restored))
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

fn main() -> ExitCode {
    raftd::Server::new(Kv).with_log(Audited).main()
}

//! Why storage fails; a variant a reaction.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::rights::{self, Want};
use crate::space::Space;

/// What the system says of a file that is gone, or that the disk does not give back.
const UNREADABLE: [Errno; 8] = [
    Errno::NOENT,
    Errno::IO,
    Errno::REMOTEIO,
    Errno::UCLEAN,
    Errno::BADMSG,
    Errno::NODATA,
    Errno::ISDIR,
    Errno::NOTDIR,
];

/// A failure of the data directory, the log or the state's store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process uses the data directory.
    #[error("data directory {path} is in use: {holder}", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Which process holds the lock, as far as that is known.
        holder: String,
    },
    /// The processor cannot do what the database is compiled for.
    #[error("this processor has no {missing}, which this build of raftd needs")]
    Processor {
        /// The instructions.
        missing: &'static str,
    },
    /// The directory belongs to another node or cluster.
    #[error(
        "data directory {path} belongs to {owner}, but the certificate says {claimed}",
        path = path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asks.
        claimed: String,
    },
    /// The snapshot is another cluster's, or of another history of this one.
    #[error(
        "snapshot {path} is of {what} {owner}, not of {wanted}",
        path = path.display()
    )]
    ForeignSnapshot {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        what: &'static str,
        /// Whose it is.
        owner: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The log's database cannot be opened at all.
    #[error("the log is lost: {why}")]
    LogLost {
        /// What is the matter with it.
        why: String,
    },
    /// The state holds what the log does not reach: the log was put back, or lost its end.
    #[error("the state ends at entry {applied}, the log at {last} already: the log is older")]
    LogBehind {
        /// The last entry of the log.
        last: consensus::EntryId,
        /// The last entry in the state.
        applied: consensus::EntryId,
    },
    /// The log begins behind what the state holds, and no snapshot stands in between.
    #[error("the log begins behind entry {base}, the state ends at {applied}: {why}")]
    Gap {
        /// What the log begins behind.
        base: consensus::EntryId,
        /// The last entry in the state.
        applied: consensus::EntryId,
        /// What is the matter with the snapshots.
        why: String,
    },
    /// An operator's word is not enough for a data directory.
    #[error("data directory {path} is not adopted: {why}", path = path.display())]
    NotAdopted {
        /// The directory.
        path: PathBuf,
        /// What speaks against it.
        why: String,
    },
    /// A data directory that must be empty is not.
    #[error("data directory {path} is not empty: {found}", path = path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// The directory has a history already.
    #[error("this node belongs to generation {present} already, not to {offered}")]
    OtherGeneration {
        /// The generation that is stored.
        present: protocol::Generation,
        /// The generation that was offered.
        offered: protocol::Generation,
    },
    /// What is stored is not what was written.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// What is damaged, with its place.
        what: String,
        /// How that shows.
        why: String,
    },
    /// A log takes no copies of its damaged entries, whatever they are.
    #[error("the log takes no copies of what is damaged: {why}")]
    NoRepair {
        /// Why not.
        why: String,
    },
    /// Both copies of the bootstrap record are damaged or gone, and nothing else: all members have
    /// the same one, and so has who founded the cluster.
    #[error("{what} is damaged: {why}")]
    RecordLost {
        /// The first copy, with its place.
        what: String,
        /// How that shows.
        why: String,
    },
    /// An entry does not continue the log that it claims to continue: there are two contents under
    /// one identity, here or where it comes from.
    #[error(
        "two histories under one identity: entry {entry} has chain value {theirs:016x} where it \
         comes from, and {ours:016x} behind this node's log, which ends at {after}: the log here \
         or the one there has other contents at {after} or before",
        theirs = theirs.get(),
        ours = ours.get()
    )]
    Contradiction {
        /// The entry.
        entry: consensus::EntryId,
        /// The last entry of the log.
        after: consensus::EntryId,
        /// The chain value that the entry has behind it.
        ours: consensus::Chain,
        /// The chain value that it came with.
        theirs: consensus::Chain,
    },
    /// What is stored was written by a newer version.
    #[error("{what} has format {found}, this build knows {known}{}", advice(*found, *known))]
    NewerFormat {
        /// What has it.
        what: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A pair of the state is larger than what a snapshot takes.
    #[error("a pair of {bytes} bytes is in the state: snapshots take {limit} bytes a pair")]
    PairTooLarge {
        /// Bytes of key and value.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// The disk is full.
    #[error("the disk is full while {doing}: {why}")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// The system's message.
        why: String,
    },
    /// An earlier write failed: nothing is promised any more until the process starts again.
    #[error("an earlier write failed ({0}); nothing is written any more")]
    Poisoned(String),
    /// This process has not the right to do it.
    #[error("cannot {doing} {path}: {source}: {whose}", path = path.display())]
    Denied {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
        /// The file's owner, this process's user, and what to run.
        whose: String,
    },
    /// A file that this process has open is not at its place any more.
    #[error(
        "{path} {what} while this node was running: its next start would not find what it writes",
        path = path.display()
    )]
    Gone {
        /// The file or directory.
        path: PathBuf,
        /// What was seen.
        what: &'static str,
    },
    /// The operating system refused a file operation.
    #[error("cannot {doing} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the database failed while {doing}: {why}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Its message.
        why: String,
    },
}

impl StorageError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return Self::Full { doing, why: full(path, &source.to_string()) };
        }
        let path = path.to_path_buf();
        match rights::explain(&path, &source, Want::Own) {
            Some(whose) => Self::Denied { doing, path, source, whose },
            None => Self::Io { doing, path, source },
        }
    }

    /// Says whether what was read is damaged or missing, or the disk does not give it back. All
    /// else says nothing about it: no descriptor or memory was to be had, or the call was
    /// interrupted.
    pub fn is_of_the_file(&self) -> bool {
        let unreadable = |source: &std::io::Error| {
            let number = source.raw_os_error().map(Errno::from_raw_os_error);
            number.is_some_and(|number| UNREADABLE.contains(&number))
        };
        matches!(self, Self::Corrupt { .. })
            || matches!(self, Self::Io { source, .. } if unreadable(source))
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }
}

/// Says what to do about a format.
fn advice(found: u32, known: u32) -> &'static str {
    match found > known {
        true => "; start a newer raftd",
        false => {
            ", and reads none of before: make the data directory anew, as a member that lost it"
        }
    }
}

/// Says how full a disk is, behind the system's message, which may also mean a quota.
pub(crate) fn full(path: &Path, why: &str) -> String {
    let there = path.ancestors().find_map(|above| Space::at(above).ok());
    match there {
        Some(space) => format!("{why} ({space} at {})", path.display()),
        None => format!("{why} ({})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole snapshots were set aside for it, or passed over.
    #[test]
    fn what_says_nothing_about_a_file_is_no_damage_of_it() {
        let failed = |number: Errno| {
            StorageError::io("read", Path::new("a.snap"), number.into()).is_of_the_file()
        };
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR] {
            assert!(!failed(passing), "{passing}");
        }
        assert!(failed(Errno::IO) && failed(Errno::NOENT));
        assert!(StorageError::corrupt("a.snap", "wrong checksum").is_of_the_file());
        let full = StorageError::Full { doing: "filling the state", why: String::new() };
        assert!(!full.is_of_the_file());
    }
}

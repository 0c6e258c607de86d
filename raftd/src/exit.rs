//! How a node ends. A daemon turns that into exit codes that an init system can act on; a program
//! that embeds a node reads it as a typed error.

use std::any::Any;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use state_machine::{CommandMissing, HostError, RestoreError, applying};
use storage::rights::{Want, explain};
use storage::{Forgotten, StorageError};

/// Why a node ends, with the exit code of a daemon: those of sysexits.h, and our own 77 and 78.
///
/// The systemd units start raftd again unless it ended with 64, 65, 77 or 78, which no restart can
/// repair. So a cause that may pass by itself, or that is repaired somewhere else (space, network,
/// the clock, a renewed certificate), is 74; one that needs the operator at this machine (rights,
/// configuration) is 78.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 64: a flag, an environment variable or an argument makes no sense.
    Usage,
    /// 65: the data directory is corrupt, or is another node's.
    Data,
    /// 70: a bug of ours, or a panic of the machine.
    Internal,
    /// 74: disk, space, network or clock refuse; it may pass, and a restart may help.
    Io,
    /// 75: a peer knows that this node has forgotten what it promised. It has given up its name,
    /// and goes on as one that neither votes nor counts when it is started again.
    Forgotten,
    /// 77: this node was removed from the cluster.
    Removed,
    /// 78: the configuration or the credentials make no sense, or rights are missing.
    Config,
}

impl Exit {
    /// Returns the code that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Data => 65,
            Self::Internal => 70,
            Self::Io => 74,
            Self::Forgotten => 75,
            Self::Removed => 77,
            Self::Config => 78,
        }
    }

    /// Says whether an operator asked for it, so that there is nothing to repair.
    pub const fn is_wanted(self) -> bool {
        match self {
            Self::Removed => true,
            Self::Usage
            | Self::Data
            | Self::Internal
            | Self::Io
            | Self::Forgotten
            | Self::Config => false,
        }
    }
}

/// What ends a node: its kind, a sentence for people, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, with its exit code.
    pub exit: Exit,
    /// What failed, naming file, key, path or address.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// What the data directory has forgotten, if that is why.
    pub(crate) forgotten: Option<Forgotten>,
    /// The log has it already.
    logged: bool,
    /// The state is damaged; it can be set aside and built anew.
    state_lost: bool,
}

impl Failure {
    /// Makes a failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            forgotten: None,
            logged: false,
            state_lost: false,
        }
    }

    /// Makes a failure from an error and its sources: `what: error: its cause`.
    pub fn from_error(exit: Exit, what: &str, error: &dyn std::error::Error) -> Self {
        Self::new(exit, format!("{what}: {}", chain(error)))
    }

    /// Makes the failure of a node in which something panicked.
    pub(crate) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "it said nothing".to_owned());
        let command = applying().map(|index| format!(", while the machine applied entry {index}"));
        let command = command.unwrap_or_default();
        Self::new(Exit::Internal, format!("{what} panicked{command}: {text}"))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that the data directory has forgotten something.
    #[must_use]
    pub(crate) fn forgotten(mut self, why: Forgotten) -> Self {
        self.forgotten = Some(why);
        self
    }

    /// Adds the circumstances, in brackets.
    #[must_use]
    pub(crate) fn about(mut self, circumstances: &str) -> Self {
        self.message.push_str(&format!(" ({circumstances})"));
        self
    }

    /// Says that it is the state that is damaged, and not the log.
    #[must_use]
    pub(crate) fn of_the_state(mut self) -> Self {
        self.state_lost = self.exit == Exit::Data;
        self
    }

    /// Says whether the node can go on with another state.
    pub(crate) fn is_of_the_state(&self) -> bool {
        self.state_lost
    }

    /// Writes it to the log, once, with what to do about it.
    #[must_use]
    pub(crate) fn log(mut self) -> Self {
        let hint = self.hint.iter().map(|hint| format!("; {hint}")).collect::<String>();
        match (std::mem::replace(&mut self.logged, true), self.exit.is_wanted()) {
            (true, _) => {}
            (false, false) if self.state_lost => {
                tracing::error!(
                    name: "state-unreadable",
                    "{self}; nothing is read from the state any more, it is made anew"
                );
            }
            (false, true) => tracing::info!(name: "ends", "{self}; this node stops"),
            (false, false) => tracing::error!(name: "fails", "{self}; this node stops{hint}"),
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.exit.code())
    }
}

/// Says how the process ends when a file of its configuration cannot be read: for want of rights,
/// whose it is and what to run.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let said = format!("{}: {error}", path.display());
    let message = match explain(path, error, Want::Read) {
        Some(whose) => format!("{said}: {whose}"),
        None => said,
    };
    let exit = match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidData => Exit::Config,
        _ => Exit::Io,
    };
    Failure::new(exit, message)
}

/// Says how the process ends when storage fails.
pub(crate) fn storage_failure(error: &StorageError) -> Failure {
    let exit = match error {
        StorageError::Foreign { .. }
        | StorageError::ForeignSnapshot { .. }
        | StorageError::OtherGeneration { .. }
        | StorageError::NotEmpty { .. }
        | StorageError::NotAdopted { .. }
        | StorageError::Gap { .. }
        | StorageError::LogLost { .. }
        | StorageError::LogBehind { .. }
        | StorageError::Corrupt { .. }
        | StorageError::NoRepair { .. }
        | StorageError::RecordLost { .. }
        | StorageError::Contradiction { .. }
        | StorageError::NewerFormat { .. } => Exit::Data,
        StorageError::Denied { .. } | StorageError::Processor { .. } => Exit::Config,
        StorageError::InUse { .. }
        | StorageError::Full { .. }
        | StorageError::PairTooLarge { .. }
        | StorageError::Poisoned(_)
        | StorageError::Gone { .. }
        | StorageError::Io { .. }
        | StorageError::Database { .. } => Exit::Io,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        StorageError::Full { .. } => failure.hint(
            "free space there or enlarge the file system: nothing that was acknowledged is lost, \
             and the node goes on when it is started again",
        ),
        StorageError::Processor { .. } => failure.hint(
            "all processors for servers since 2011 have it, and some virtual machines hide it: \
             give this one the processor of its host, or x86-64-v2 at least",
        ),
        StorageError::InUse { .. } => {
            failure.hint("stop the other one, or wait for it: two must not use one directory")
        }
        StorageError::Corrupt { .. } | StorageError::NoRepair { .. } => failure.hint(
            "if the cluster has other members that serve, move the data directory away, start \
             raftd, and run: raftctl member heal NAME; a node alone needs a copy of the whole \
             data directory, or a saved snapshot in a new cluster (raftctl snapshot restore)",
        ),
        StorageError::RecordLost { .. } => failure.hint(
            "put there the file of that name from any other member's data directory, or, under \
             that name, bootstrap.record from where raftctl init put its files: nothing else is \
             lost",
        ),
        StorageError::Gone { .. } => failure.hint(
            "nobody may touch the data directory while raftd runs; what is missing at the next \
             start is named by raftctl status, with the command that heals",
        ),
        StorageError::Foreign { .. } => failure.hint(
            "data_dir in raftd.toml names a directory of this node alone: where another one was, \
             removed or not, move its directory away first",
        ),
        StorageError::LogLost { .. } => failure.forgotten(Forgotten::LogLost),
        StorageError::LogBehind { .. } => failure.forgotten(Forgotten::LogEnd),
        StorageError::ForeignSnapshot { .. }
        | StorageError::OtherGeneration { .. }
        | StorageError::NotEmpty { .. }
        | StorageError::NotAdopted { .. }
        | StorageError::Gap { .. }
        | StorageError::Contradiction { .. }
        | StorageError::NewerFormat { .. }
        | StorageError::Denied { .. }
        | StorageError::PairTooLarge { .. }
        | StorageError::Poisoned(_)
        | StorageError::Io { .. }
        | StorageError::Database { .. } => failure,
    }
}

/// Says what it means when the state's files fail: damage there can be mended by another state.
pub(crate) fn state_failure(error: &StorageError) -> Failure {
    storage_failure(error).of_the_state()
}

/// Says what it means when a state cannot be made of a snapshot. If that is damaged, the log begins
/// behind the present state already: another snapshot is needed.
pub(crate) fn install_failure(error: &StorageError) -> Failure {
    let is_damaged = matches!(error, StorageError::Corrupt { .. });
    if is_damaged { state_failure(error) } else { storage_failure(error) }
}

/// Says how the process ends when the log turns out to be damaged while it is read or written: the
/// start that follows reads all of it, fetches what is damaged from another member, and makes new
/// files of what is whole.
pub(crate) fn log_failure(error: &StorageError) -> Failure {
    if matches!(error, StorageError::Corrupt { .. }) {
        return Failure::new(Exit::Io, error.to_string())
            .hint("the next start fetches what is damaged from another member");
    }
    storage_failure(error)
}

/// Says how the process ends when the state cannot be gone on with: damage below the store is
/// damage, and no restart mends it, but another state does.
pub(crate) fn host_failure(what: &str, error: &HostError) -> Failure {
    let exit = match error {
        HostError::Store(store) => match store.source.downcast_ref::<StorageError>() {
            Some(below) => storage_failure(below).exit,
            None if store.source.is::<CommandMissing>() => Exit::Data,
            None => return machine_failure(what, error, store.source.is::<RestoreError>()),
        },
        HostError::Damaged(_) | HostError::Malformed { .. } | HostError::Gap { .. } => Exit::Data,
    };
    let failure = Failure::from_error(exit, what, error);
    match error {
        HostError::Store(_) | HostError::Damaged(_) | HostError::Malformed { .. } => {
            failure.of_the_state()
        }
        HostError::Gap { .. } => failure,
    }
}

/// Says how the process ends when it is the machine that fails, and not the store below it.
fn machine_failure(what: &str, error: &HostError, restoring: bool) -> Failure {
    if restoring {
        return Failure::from_error(Exit::Data, what, error).hint(
            "this program cannot go on from the state that is there: start the one that wrote it",
        );
    }
    Failure::from_error(Exit::Internal, what, error).hint(
        "every node applies the same commands: one that makes the machine fail ends each of them, \
         at each start, until a program is started that can apply it (raftctl log show)",
    )
}

/// Writes an error and its sources on one line, leaving out a source that the text already says.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_units() {
        let codes =
            [Exit::Usage, Exit::Data, Exit::Io, Exit::Forgotten, Exit::Removed, Exit::Config];
        assert_eq!(codes.map(Exit::code), [64, 65, 74, 75, 77, 78]);
    }

    #[test]
    fn what_may_pass_is_retried_and_what_needs_the_operator_is_not() {
        let file = Path::new("/etc/raftd/node.crt");
        let read = |number| unreadable(file, &std::io::Error::from_raw_os_error(number)).exit;
        // ENOENT, EACCES, EROFS; EIO, EMFILE, ESTALE.
        assert_eq!([2, 13, 21].map(read), [Exit::Config; 3]);
        assert_eq!([5, 24, 116].map(read), [Exit::Io; 3]);
    }

    /// It would end at every start, and nobody would heal it.
    #[test]
    fn who_has_lost_its_log_or_the_end_of_it_has_forgotten() {
        let lost = |error| storage_failure(&error).forgotten;
        let (last, applied) = (consensus::EntryId::ZERO, consensus::EntryId::ZERO);
        let behind = StorageError::LogBehind { last, applied };
        assert_eq!(lost(behind), Some(Forgotten::LogEnd));
        assert_eq!(lost(StorageError::Poisoned(String::new())), None);
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = std::io::Error::other("disk on fire");
        let text = chain(&inner);
        assert_eq!(text, "disk on fire");
        let failure = Failure::from_error(Exit::Io, "log", &inner).hint("replace it");
        assert_eq!(failure.to_string(), "log: disk on fire");
        assert_eq!(failure.hint.as_deref(), Some("replace it"));
    }
}

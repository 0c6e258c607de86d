//! Files of stopped nodes: what storage says about them, as errors with codes.

use storage::StorageError;
use storage::rights::{Want, explain};

use crate::codes;
use crate::report::Report;

impl From<StorageError> for Report {
    fn from(error: StorageError) -> Self {
        let message = if let StorageError::Denied { doing, path, source, .. } = &error {
            // Whoever looks at a node's data must not take it from the node.
            let whose = explain(path, source, Want::Look).unwrap_or_default();
            format!("cannot {doing} {}: {source}: {whose}", path.display())
        } else {
            error.to_string()
        };
        let code = match error {
            StorageError::Corrupt { .. }
            | StorageError::NoRepair { .. }
            | StorageError::RecordLost { .. }
            | StorageError::Contradiction { .. }
            | StorageError::LogLost { .. }
            | StorageError::LogBehind { .. }
            | StorageError::Gap { .. } => codes::DAMAGED,
            StorageError::Foreign { .. }
            | StorageError::ForeignSnapshot { .. }
            | StorageError::OtherGeneration { .. } => codes::FOREIGN_FILE,
            StorageError::NotEmpty { .. } => codes::NOT_EMPTY,
            StorageError::NotAdopted { .. } => codes::NOT_ADOPTED,
            StorageError::InUse { .. } => codes::RUNNING,
            StorageError::NewerFormat { .. } => codes::NEWER_FORMAT,
            StorageError::Io { ref source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                codes::NO_FILE
            }
            StorageError::Denied { .. } => codes::NO_RIGHT,
            StorageError::Io { .. }
            | StorageError::Gone { .. }
            | StorageError::Full { .. }
            | StorageError::PairTooLarge { .. }
            | StorageError::Processor { .. }
            | StorageError::Poisoned(_)
            | StorageError::Database { .. } => codes::LOCAL_FILE,
        };
        let report = Self::new(code, message);
        match code {
            codes::RUNNING => report.help("systemctl stop raftd    (then again)"),
            _ => report,
        }
    }
}

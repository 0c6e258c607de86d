//! What a node is made for: the machine that it replicates, and where it keeps its log.

use std::sync::Arc;

use protocol::limits::NAME_BYTES_MAX;
use state_machine::StoredMachine;
use storage::LogProvider;

use crate::exit::{Exit, Failure};

/// What is replicated, shared by the threads that apply commands and that answer questions.
pub(crate) type Machine = Arc<dyn StoredMachine>;

/// A machine and a log.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) machine: Machine,
    pub(crate) logs: Arc<dyn LogProvider>,
}

impl Program {
    /// Refuses a machine whose name no bootstrap record can hold.
    ///
    /// # Errors
    /// With what is wrong with the name.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let name = self.machine.name();
        let wrong = match name.len() {
            0 => "it is empty".to_owned(),
            size if size > NAME_BYTES_MAX => {
                format!("it has {size} bytes, at most {NAME_BYTES_MAX}")
            }
            _ if name.contains(char::is_control) => "it has control characters".to_owned(),
            _ => return Ok(()),
        };
        Err(Failure::new(Exit::Config, format!("the machine cannot be called {name:?}: {wrong}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::{Command, Response, StoreError, Transaction, View};
    use storage::RocksLogs;

    struct Named(&'static str);

    impl StoredMachine for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn version(&self) -> u32 {
            1
        }

        fn apply(&self, _: &Command<'_>, _: &mut Transaction<'_>) -> Result<Response, StoreError> {
            Ok(Response::new())
        }

        fn query(&self, _: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
            Ok(Response::new())
        }
    }

    /// A directory was founded for it, and could not be read afterwards.
    #[test]
    fn a_name_that_no_bootstrap_record_can_hold_is_refused_before_anything_is_written() {
        let check = |name| {
            let program = Program { machine: Arc::new(Named(name)), logs: Arc::new(RocksLogs) };
            program.check().map_err(|failure| failure.message)
        };
        let longest: &str = &*Box::leak("x".repeat(NAME_BYTES_MAX).into_boxed_str());
        let longer: &str = &*Box::leak("x".repeat(NAME_BYTES_MAX + 1).into_boxed_str());
        assert_eq!(check(longest), Ok(()));
        assert!(check(longer).is_err_and(|why| why.ends_with("it has 65 bytes, at most 64")));
        assert!(check("").is_err_and(|why| why.ends_with("it is empty")));
        assert!(check("a\nb").is_err_and(|why| why.ends_with("it has control characters")));
    }
}

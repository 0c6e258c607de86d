//! What a node is made for: the machine that it replicates, and where it keeps its log.

use std::sync::Arc;

use state_machine::StoredMachine;
use storage::LogProvider;

/// What is replicated, shared by the threads that apply commands and that answer questions.
pub(crate) type Machine = Arc<dyn StoredMachine>;

/// A machine and a log.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) machine: Machine,
    pub(crate) logs: Arc<dyn LogProvider>,
}

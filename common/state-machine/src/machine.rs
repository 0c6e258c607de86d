//! The two traits of machines: what a user writes to have it replicated.

use std::io::Read;

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

use crate::store::{StoreError, Transaction, View};

/// What a machine answers.
pub type Response = Bytes;

/// A command, as it comes out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// Where it stands in the log: unique, ascending.
    pub index: LogIndex,
    /// Cluster time: the same on every node, never moving back. The only clock that a machine may
    /// look at.
    pub time: ClusterTime,
    /// What the client said.
    pub data: &'a [u8],
}

/// A deterministic machine with a state of its own, in memory. It is rebuilt from snapshot and log
/// when a node starts.
///
/// The same commands in the same order must give the same answers and the same state on every
/// node: no clock, no randomness, no iteration in hash order, no floating point that differs. That
/// holds for every program that ever runs with a data directory: commands that were acknowledged
/// are applied once more at each start, as many as [`Plain`](crate::Plain) has kept. Another
/// program that treats them in another way changes what was acknowledged, and nobody notices, for
/// of such a machine nodes compare the answers alone.
pub trait StateMachine: Send + 'static {
    /// Applies a command: the only way in which the state changes. An answer has at most 8,388,544
    /// bytes (8 MiB less 64). A longer one never arrives: the command has taken effect, and its
    /// client is told that the outcome is unknown, or in a session that the answer was not kept.
    fn apply(&mut self, command: &Command<'_>) -> Response;

    /// Answers a question without changing anything, with as many bytes as [`StateMachine::apply`]
    /// may. In place of a longer answer the client gets a refusal. No command is applied on this
    /// node meanwhile: a question that takes long holds up its writes, and a leader's hold up
    /// everybody's. A panic is that question's answer, so it must not leave anything half done.
    fn query(&self, query: &[u8]) -> Response;

    /// Returns the present state, to be read as bytes.
    ///
    /// [`Plain`](crate::Plain) reads all of it at once, between two commands, and applies nothing
    /// meanwhile: a pause of all nodes, which do it behind the same command, and several times the
    /// snapshot's size in memory. A state too large for that belongs into the store
    /// ([`StoredMachine`]), which is written out while commands go on.
    fn snapshot(&self) -> Box<dyn SnapshotSource>;

    /// Replaces the state by a snapshot's.
    ///
    /// # Errors
    /// If the bytes are no snapshot of this machine; the state is then undefined.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError>;

    /// Says on a line what a command is, for people who read the log; `None`: nothing but its size.
    /// What clients may take for a secret belongs there only if `values` says so.
    fn describe(_command: &[u8], _values: bool) -> Option<String>
    where
        Self: Sized,
    {
        None
    }

    /// Says whether a command makes the state smaller. Where the disk has no room for more, only
    /// such commands are taken. The node's loop asks this for each command that clients send,
    /// before anything else is known of it: it must be quick, and must not wait. A panic counts as
    /// no.
    fn frees_space(_command: &[u8]) -> bool
    where
        Self: Sized,
    {
        false
    }
}

/// A state that can be read as bytes.
pub trait SnapshotSource: Read + Send {}

impl<T: Read + Send> SnapshotSource for T {}

/// Why a snapshot cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes cannot be read.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The bytes are no snapshot of this machine.
    #[error("the snapshot is not one of this machine: {0}")]
    Malformed(&'static str),
}

/// A deterministic machine whose state is durable: it lives in an ordered store, and changes in one
/// atomic batch with the applied index, so that nothing is ever applied twice.
pub trait StoredMachine: Send + Sync + 'static {
    /// Returns the machine's name, which the bootstrap record holds.
    fn name(&self) -> &'static str;

    /// Returns the version of its behaviour, which the bootstrap record holds for ever: a program
    /// with another one refuses the data directory. So it says which programs are alike, and there
    /// is no way yet to raise it. A program of the same version must answer every command that is
    /// in the log as the one before did; what behaves in another way needs other commands.
    fn version(&self) -> u32;

    /// Looks at the state when a node starts, and when a leader's has taken the place of its own:
    /// before anything is applied or asked. A state that this machine cannot go on from is found
    /// here, where the node says so and serves nothing, and not at the first command.
    ///
    /// # Errors
    /// If the machine cannot go on from it; the node ends then.
    fn open(&self, _view: &dyn View) -> Result<(), StoreError> {
        Ok(())
    }

    /// Applies a command through a transaction; the same demands as on [`StateMachine::apply`], and
    /// the same bound of an answer: 8,388,544 bytes. A key and its value have at most 67,108,863
    /// bytes together, the first byte of the key as it is stored being the node's own: a state with
    /// a larger pair goes into no snapshot. Its node says so and goes on, with a log that grows.
    ///
    /// # Errors
    /// Only the store's: what a client did wrong is an answer. An error ends the node, and since
    /// all nodes apply the same commands, an error or a panic that follows from the command ends
    /// all of them, again at each start: they go on only with a program that can apply it.
    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError>;

    /// Answers a question from a view of the state, with at most 8,388,544 bytes: see
    /// [`StateMachine::query`]. A node answers one question after the other: a long one makes the
    /// others wait, though no command. A panic is that question's answer.
    ///
    /// # Errors
    /// Only the store's.
    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError>;

    /// Says on a line what a command is, for people who read the log; `None`: nothing but its size.
    /// What clients may take for a secret belongs there only if `values` says so.
    fn describe(&self, _command: &[u8], _values: bool) -> Option<String> {
        None
    }

    /// Says whether a command makes the state smaller. Where the disk has no room for more, only
    /// such commands are taken. The node's loop asks this for each command that clients send,
    /// before anything else is known of it: it must be quick, and must not wait. A panic counts as
    /// no.
    fn frees_space(&self, _command: &[u8]) -> bool {
        false
    }
}

//! The replica as a value (under construction).
use crate::*;
/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft { id: NodeId }
impl Raft {
    /// Restores.
    pub fn restore(id: NodeId, config: Config, _disk: Restored, _now: Timestamp) -> Result<Self, ConfigError> { config.check()?; Ok(Self { id }) }
    /// Steps.
    pub fn step(&mut self, _now: Timestamp, _input: Input) {}
    /// Drains.
    pub fn drain(&mut self, _now: Timestamp) -> Actions { Actions::default() }
    /// Deadline.
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> { None }
    /// Status.
    pub fn status(&self) -> Status<'_> { unimplemented!() }
    /// Checks.
    pub fn check_state(&self) {}
    /// Checks.
    pub fn check_transition(&self, _before: &Raft) {}
}

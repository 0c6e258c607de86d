//! What surrounds a node's loop, before and after the node has a history.

use crate::clock::Clock;
use crate::control::Control;
use crate::inbound::Inbound;
use crate::node::audit::Founded;
use crate::program::Program;
use crate::reload::Reload;

/// Everything that the loop waits for or tells, but for lanes and peers.
pub(crate) struct Services {
    pub(crate) clock: Clock,
    pub(crate) inbound: Inbound,
    pub(crate) control: Control,
    pub(crate) reload: Reload,
    /// The machine that a bootstrap record must name, and how its log is made.
    pub(crate) program: Program,
    /// What was done before the node had a history, for the audit.
    pub(crate) founded: Vec<Founded>,
}

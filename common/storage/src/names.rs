//! What lies where in a data directory.

/// Locked by the process that uses the directory; holds its number, for people.
pub(crate) const LOCK: &str = "LOCK";

/// Whose directory it is.
pub(crate) const SUPERBLOCK: &str = "superblock";

/// The bootstrap record of the cluster that the node belongs to.
pub(crate) const BOOTSTRAP: &str = "bootstrap";

/// A copy of it.
pub(crate) const BOOTSTRAP_SECOND: &str = "bootstrap-second";

/// The key of the node's stateless resets.
pub(crate) const RESET_KEY: &str = "reset-key";

/// What the node remembers of the other members.
pub(crate) const PEERS: &str = "peers";

/// Room that is held for a full disk.
pub(crate) const RESERVE: &str = "reserve";

/// The log's database.
pub(crate) const LOG: &str = "log";

/// Where the log ended when it was last written, and the second copy of term and vote.
pub(crate) const TAIL: &str = "tail";

/// A log that takes the place of a damaged one, and the file that says that it is complete.
pub(crate) const REPAIRED: &str = "log-repaired";
pub(crate) const REPAIRED_DONE: &str = "log-repaired-done";

/// Says that something in the log is damaged, and what, for people.
pub(crate) const DAMAGED: &str = "log-damaged";

/// The first directory of the state; later ones have a number behind the name.
pub(crate) const STATE: &str = "state";

/// Names the directory of the state in force.
pub(crate) const STATE_CURRENT: &str = "state-current";

/// Says that the state in force must not be used any more.
pub(crate) const STATE_CONDEMNED: &str = "state-condemned";

/// The state that was set aside last.
pub(crate) const STATE_DAMAGED: &str = "damaged-state";

/// Views of the state that snapshots are made of.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// What a directory that had forgotten held before it began anew.
pub(crate) const SET_ASIDE: &str = "set-aside";

/// The snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots";

//! The sentences of the dissertation that decide something, as pure functions: what goes in is all
//! that the answer depends on.

pub(crate) mod change;
pub(crate) mod commit;
pub(crate) mod log_matching;
pub(crate) mod messages;
pub(crate) mod reads;
pub(crate) mod vote;

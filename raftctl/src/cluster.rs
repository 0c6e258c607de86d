//! The cluster as its nodes tell it: all are asked at once, and one pure function judges.

mod alarms;
mod clocks;
pub(crate) mod former;
pub(crate) mod judge;
pub(crate) mod links;
mod memory;
pub(crate) mod misplaced;
pub(crate) mod pace;
pub(crate) mod quorum;
pub(crate) mod reasons;
pub(crate) mod remarks;
pub(crate) mod survey;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod troubles;
pub(crate) mod verdict;

pub(crate) use survey::{Row, Silence, Survey, Told};
pub(crate) use verdict::{Health, Verdict};

//! The cluster as its nodes tell it: all are asked at once, and one pure function judges.

pub mod links;
pub mod misplaced;
pub mod pace;
pub mod quorum;
pub mod reasons;
pub mod remarks;
pub mod survey;
#[cfg(test)]
pub(crate) mod testing;
pub mod verdict;

pub use survey::{Row, Silence, Survey, Told};
pub use verdict::{Health, Verdict};

//! The cluster as its nodes tell it: all are asked at once, and one pure function judges.

pub mod reasons;
pub mod survey;
pub mod verdict;

pub use survey::{Row, Silence, Survey};
pub use verdict::{Health, Verdict};

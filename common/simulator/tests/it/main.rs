//! The simulator and the explorer find nothing in the core as it is.
#![allow(clippy::unwrap_used)]

mod clocks;
mod explore;
mod history;
mod joint;
mod museum;
mod seeds;

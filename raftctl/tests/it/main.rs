//! The operator's tool as it is typed: files, real clusters, and the manual executed.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod audit;
mod certificates;
mod cmd;
mod configured;
mod data;
mod dev;
mod differing;
mod enrol;
mod faults;
mod forgotten;
mod histories;
mod interrupted;
mod kit;
mod local;
mod members;
mod moved;
mod offline;
mod operate;
mod parts;
mod restored;
mod tail;
mod troubles;

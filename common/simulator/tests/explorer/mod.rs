//! The explorer: the core with every order of events in the hand of a search.
#![allow(missing_docs, unreachable_pub)]

mod key;
mod oracle;
mod search;
mod text;
mod world;

pub use search::{breadth_first, minimise, random_walks, replay};
pub use text::describe;
pub use world::{Budget, World};

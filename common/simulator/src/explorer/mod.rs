//! The explorer: the core with every order of events in the hand of a search.

mod action;
mod choices;
mod digest;
mod exhaust;
mod joint;
mod key;
mod members;
mod node;
mod oracle;
mod request;
mod search;
mod streams;
mod text;
mod world;

pub use action::{Action, Budget, Change, Letter, Stream};
pub use exhaust::exhaust;
pub use search::{Explored, Trace, breadth_first, minimise, random_walks, replay};
pub use text::describe;
pub use world::World;

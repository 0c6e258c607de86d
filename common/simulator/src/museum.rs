//! The museum: bugs that implementations of Raft have had, each a diff in `museum/` that puts it
//! into the sources here, and the searches that must find it.

mod head;
mod hunt;

pub use head::{Bug, HeadError, How, Scope, Search, Start};
pub use hunt::{Hunted, hunt};

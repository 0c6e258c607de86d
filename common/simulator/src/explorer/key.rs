//! A state's identity: everything but times, chance and counts for operators, on which
//! nothing depends here.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use consensus::Write;

use super::digest::{Digest, hash};
use super::world::World;

/// Returns the identity of a state.
pub(super) fn whole(world: &mut World) -> u64 {
    let mut letters: Vec<u64> = world.letters.iter().map(|posted| posted.number).collect();
    letters.sort_unstable();
    hash(&(key(world), letters))
}

/// Returns the identity of a state but for the letters. What is known of a node is kept until it is
/// stepped again.
pub(super) fn key(world: &mut World) -> u64 {
    for node in world.nodes.iter_mut().filter(|node| node.key.is_none()) {
        let node = Arc::make_mut(node);
        let mut text = Digest::new(&node.writes);
        write!(text, "{:?}", node.raft).expect("a digest takes everything");
        let mut hasher = text.into_hasher();
        (node.incarnation, &node.disk, node.hard_state, &node.past).hash(&mut hasher);
        for Write { id: _, hard_state, truncate_from, append, compact_to } in &node.writes {
            (hard_state, truncate_from, append, compact_to).hash(&mut hasher);
        }
        node.key = Some(hasher.finish());
    }
    let mut hasher = DefaultHasher::new();
    world.budget.hash(&mut hasher);
    world.oracle.hash(&mut hasher);
    world.streams.hash(&mut hasher);
    for node in &world.nodes {
        node.key.hash(&mut hasher);
    }
    hasher.finish()
}

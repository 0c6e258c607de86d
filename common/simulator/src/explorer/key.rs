//! A state's identity: everything but times, chance and counts for operators, on which
//! nothing depends here.
//!
//! The derived `Debug` of a replica shows every field, so that none can be forgotten; what it says
//! of instants and of the generator is left out while it is hashed.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use consensus::Write;

use super::world::World;

/// Names of types whose values are left out.
const LEFT_OUT: [&str; 4] = ["Timestamp", "Rng", "Config", "Rounds"];

/// The type whose values count only by their places among the writes under way.
const WRITE: &str = "WriteId";

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
        let mut hasher = text.hasher;
        (&node.disk, node.hard_state).hash(&mut hasher);
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

/// Returns a number for a value.
pub(super) fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes text, but for the values of some types.
struct Digest {
    hasher: DefaultHasher,
    /// The writes under way, oldest first.
    writes: Vec<String>,
    /// What is read and not hashed: the name of its type, open brackets, and digits.
    skipped: Option<(&'static str, u32, String)>,
}

impl Digest {
    fn new<'a>(writes: impl IntoIterator<Item = &'a Write>) -> Self {
        let writes = writes.into_iter().map(|write| write.id.get().to_string()).collect();
        Self { hasher: DefaultHasher::new(), writes, skipped: None }
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some((name, depth, digits)) = &mut self.skipped else {
            let left_out = LEFT_OUT.into_iter().chain([WRITE]).find(|name| *name == text);
            self.skipped = left_out.map(|name| (name, 0, String::new()));
            self.hasher.write(text.as_bytes());
            return Ok(());
        };
        for char in text.chars() {
            match char {
                '(' | '{' | '[' => *depth += 1,
                ')' | '}' | ']' => *depth -= 1,
                '0'..='9' => digits.push(char),
                _ => {}
            }
        }
        if *depth == 0 {
            if *name == WRITE {
                self.writes.iter().position(|id| id == digits).hash(&mut self.hasher);
            }
            self.skipped = None;
        }
        Ok(())
    }
}

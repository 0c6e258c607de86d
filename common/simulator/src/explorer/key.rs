//! A state's identity: everything but times, chance and counts for operators, on which
//! nothing depends here.
//!
//! The derived `Debug` of a replica shows every field, so that none can be forgotten; what it says
//! of instants and of the generator is left out while it is hashed.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::world::World;

/// Names of types whose values are left out.
const LEFT_OUT: [&str; 5] = ["Timestamp", "Rng", "Config", "Rounds", "WriteId"];

/// The last of them counts only where nothing is ever under way to a disk: else promises wait for
/// writes by these numbers.
const ALWAYS_LEFT_OUT: usize = 4;

/// Returns the identity of a state. What is known of a node is kept until it is stepped again.
pub(super) fn key(world: &mut World) -> u64 {
    let left_out = match world.writes_at_once() {
        true => &LEFT_OUT[..],
        false => &LEFT_OUT[..ALWAYS_LEFT_OUT],
    };
    for node in world.nodes.iter_mut().filter(|node| node.key.is_none()) {
        let node = Arc::make_mut(node);
        let mut text = Digest { hasher: DefaultHasher::new(), depth: 0, skips: false, left_out };
        write!(text, "{:?}", node.raft).expect("a digest takes everything");
        let mut hasher = text.hasher;
        (&node.disk, node.hard_state, node.life, &node.writes).hash(&mut hasher);
        node.key = Some(hasher.finish());
    }
    let mut letters: Vec<u64> = world.letters.iter().map(|posted| posted.number).collect();
    letters.sort_unstable();
    let mut hasher = DefaultHasher::new();
    letters.hash(&mut hasher);
    world.budget.hash(&mut hasher);
    world.oracle.hash(&mut hasher);
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
    left_out: &'static [&'static str],
    hasher: DefaultHasher,
    /// Open brackets since a left-out type was named.
    depth: u32,
    skips: bool,
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.skips && self.left_out.contains(&text) {
            (self.skips, self.depth) = (true, 0);
            return Ok(());
        }
        if !self.skips {
            self.hasher.write(text.as_bytes());
            return Ok(());
        }
        for byte in text.bytes() {
            match byte {
                b'(' | b'{' | b'[' => self.depth += 1,
                b')' | b'}' | b']' => {
                    self.depth -= 1;
                    self.skips = self.depth > 0;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

//! A state's identity: everything but times, chance and counts for operators, on which
//! nothing depends here.
//!
//! The derived `Debug` of a replica shows every field, so that none can be forgotten; what it says
//! of instants and of the generator is left out while it is hashed.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::world::World;

/// Names of types whose values are left out.
const LEFT_OUT: [&str; 4] = ["Timestamp", "Rng", "Config", "Rounds"];

/// Returns the identity of a state.
pub(super) fn key(world: &World) -> u64 {
    let mut letters: Vec<u64> = world.letters.iter().map(|letter| hash(&letter)).collect();
    letters.sort_unstable();
    let mut hasher = DefaultHasher::new();
    letters.hash(&mut hasher);
    world.budget.hash(&mut hasher);
    world.oracle.hash(&mut hasher);
    for node in &world.nodes {
        let mut text = Digest { hasher: DefaultHasher::new(), depth: 0, skips: false };
        write!(text, "{:?}", node.raft).expect("a digest takes everything");
        text.hasher.finish().hash(&mut hasher);
        (&node.disk, node.hard_state, node.life, &node.writes).hash(&mut hasher);
    }
    hasher.finish()
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes text, but for the values of some types.
struct Digest {
    hasher: DefaultHasher,
    /// Open brackets since a left-out type was named.
    depth: u32,
    skips: bool,
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.skips && LEFT_OUT.contains(&text) {
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

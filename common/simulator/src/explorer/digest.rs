//! Numbers for values.
//!
//! The derived `Debug` of a replica shows every field, so that none can be forgotten; what it says
//! of instants and of the generator is left out while it is hashed.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use consensus::Write;

/// Names of types whose values are left out.
const LEFT_OUT: [&str; 4] = ["Timestamp", "Rng", "Config", "Rounds"];

/// The type whose values count only by their places among the writes under way.
const WRITE: &str = "WriteId";

/// Returns a number for a value.
pub(super) fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes text, but for the values of some types.
pub(super) struct Digest {
    hasher: DefaultHasher,
    /// The writes under way, oldest first.
    writes: Vec<String>,
    /// What is read and not hashed: the name of its type, open brackets, and digits.
    skipped: Option<(&'static str, u32, String)>,
}

impl Digest {
    pub(super) fn new<'a>(writes: impl IntoIterator<Item = &'a Write>) -> Self {
        let writes = writes.into_iter().map(|write| write.id.get().to_string()).collect();
        Self { hasher: DefaultHasher::new(), writes, skipped: None }
    }

    pub(super) fn into_hasher(self) -> DefaultHasher {
        self.hasher
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

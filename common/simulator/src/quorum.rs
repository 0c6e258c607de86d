//! Majorities as the oracle counts them: by itself, with none of the core's arithmetic.

use std::hash::{Hash, Hasher};

use consensus::{Configuration, Entry, NodeId, Voters};

/// Says whether those of the voters for whom `has` is true decide: more than half of them, and of
/// both halves of a joint configuration (§4.3).
pub(crate) fn decides(voters: &Voters, has: impl Fn(NodeId) -> bool) -> bool {
    let most = |voters: &mut dyn Iterator<Item = NodeId>| {
        let (mut all, mut have) = (0_u64, 0_u64);
        for voter in voters {
            all += 1;
            have += u64::from(has(voter));
        }
        2 * have > all
    };
    match voters {
        Voters::Stable(voters) => most(&mut voters.iter()),
        Voters::Joint { outgoing, incoming } => {
            most(&mut outgoing.iter()) && most(&mut incoming.iter())
        }
    }
}

/// Says whether a node votes in a configuration, in either half of it.
pub(crate) fn votes(configuration: &Configuration, node: NodeId) -> bool {
    match configuration.voters() {
        Voters::Stable(voters) => voters.iter().any(|voter| voter == node),
        Voters::Joint { outgoing, incoming } => {
            outgoing.iter().chain(incoming.iter()).any(|voter| voter == node)
        }
    }
}

/// A number for what an entry holds, configurations too.
pub(crate) fn content(entry: &Entry) -> u64 {
    let mut sum = Sum::default();
    (entry.stamp.get(), &entry.payload).hash(&mut sum);
    sum.finish()
}

/// FNV-1a, eight bytes at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        let mut take = |part: u64| {
            self.0 = (self.0 ^ part).wrapping_mul(0x0100_0000_01b3);
            self.0 ^= self.0 >> 32;
        };
        take(bytes.len() as u64);
        for part in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..part.len()].copy_from_slice(part);
            take(u64::from_le_bytes(eight));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

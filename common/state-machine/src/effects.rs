//! A running digest of what applying entries did: what was written, what was deleted, what was
//! answered, entry after entry. Nodes that applied the same entries must have the same, or their
//! states differ and nobody would notice.
//!
//! It is no checksum against malice. It depends on nothing but the bytes and their order: not on
//! the machine, not on how entries were taken together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use consensus::LogIndex;

/// So many of the last digests are in memory, one for each entry.
const EFFECTS_KEPT: usize = 65_536;

/// A digest is stored with the state behind every so many entries ..
pub const EFFECTS_EVERY: u64 = 1_024;

/// .. and so many of these are kept.
pub(crate) const EFFECTS_STORED: u64 = 4_096;

const MULTIPLIERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// A digest that goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn of(value: u64) -> Self {
        Self(value)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0 = mix(self.0, number, MULTIPLIERS[0]);
    }

    /// Takes bytes and their length, so that what is split otherwise is other.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut state = mix(self.0, bytes.len() as u64, MULTIPLIERS[1]);
        let (words, rest) = bytes.as_chunks::<16>();
        for word in words {
            let (low, high) = halves(word);
            state = mix(state, low, high);
        }
        if !rest.is_empty() {
            let mut word = [0; 16];
            word[..rest.len()].copy_from_slice(rest);
            let (low, high) = halves(&word);
            state = mix(state, low, high);
        }
        self.0 = state;
    }
}

fn halves(word: &[u8; 16]) -> (u64, u64) {
    let all = u128::from_le_bytes(*word);
    (all as u64, (all >> 64) as u64)
}

/// A folded multiplication; the state stays in, whatever the product is.
fn mix(state: u64, low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ MULTIPLIERS[0] ^ state) * u128::from(high ^ MULTIPLIERS[2]);
    (product as u64 ^ (product >> 64) as u64).wrapping_add(state.rotate_left(29))
}

/// The digests behind the last entries that were applied.
#[derive(Clone, Debug, Default)]
pub struct Effects(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// The last entry, and the digests up to it.
    last: LogIndex,
    digests: VecDeque<u64>,
}

impl Effects {
    /// Returns the digest behind an entry, if it is one of the last.
    pub fn at(&self, index: LogIndex) -> Option<u64> {
        let recent = self.recent();
        let back = usize::try_from(recent.last.get().checked_sub(index.get())?).ok()?;
        let place = recent.digests.len().checked_sub(back + 1)?;
        recent.digests.get(place).copied()
    }

    /// Returns the digests behind all entries after this one, as far as they are known.
    pub fn after(&self, index: LogIndex) -> Vec<u64> {
        let recent = self.recent();
        let count = recent.last.get().saturating_sub(index.get());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let known = recent.digests.len();
        recent.digests.range(known.saturating_sub(count)..).copied().collect()
    }

    /// Returns the first entry whose digest is known here, and the last.
    pub fn known(&self) -> (LogIndex, LogIndex) {
        let recent = self.recent();
        let count = recent.digests.len() as u64;
        let first = (recent.last.get() + 1).saturating_sub(count);
        (LogIndex::new(first), recent.last)
    }

    /// Begins anew behind an entry.
    pub(crate) fn begin(&self, last: LogIndex, digest: u64) {
        *self.recent() = Recent { last, digests: VecDeque::from([digest]) };
    }

    /// Adds the digests behind the next entries.
    pub(crate) fn extend(&self, last: LogIndex, digests: &[u64]) {
        let mut recent = self.recent();
        recent.last = last;
        recent.digests.extend(digests);
        let over = recent.digests.len().saturating_sub(EFFECTS_KEPT);
        recent.digests.drain(..over);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().expect("nobody panics with it in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_their_order_and_their_ends_make_the_digest() {
        let digest = |parts: &[&[u8]]| {
            let mut digest = Digest::default();
            parts.iter().for_each(|part| digest.bytes(part));
            digest.get()
        };
        let all = [
            digest(&[]),
            digest(&[b""]),
            digest(&[b"\0"]),
            digest(&[b"\0\0"]),
            digest(&[b"ab"]),
            digest(&[b"a", b"b"]),
            digest(&[b"b", b"a"]),
            digest(&[&[7; 16]]),
            digest(&[&[7; 32]]),
            digest(&[&MULTIPLIERS[2].to_le_bytes().repeat(4)]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        let mut long = [b'x'; 40];
        let before = digest(&[&long]);
        for at in 0..long.len() {
            long[at] ^= 1;
            assert_ne!(digest(&[&long]), before, "{at}");
            long[at] ^= 1;
        }
    }

    /// Nodes of different versions compare their digests: another one would look like a state that
    /// differs. The numbers were worked out a second time, in Python, from the definition.
    #[test]
    fn the_digest_is_the_same_in_every_version() {
        let mut digest = Digest::default();
        let mut seen = vec![digest.get()];
        digest.number(1);
        seen.push(digest.get());
        let parts: [&[u8]; 4] = [b"", b"raft", b"sixteen bytes ok", b"and a few more than sixteen"];
        for part in parts {
            digest.bytes(part);
            seen.push(digest.get());
        }
        digest.number(u64::MAX);
        seen.push(digest.get());
        let expected = [
            0,
            0x0d2a_02f2_ebff_af84,
            0x84a3_8623_25bb_d546,
            0x6831_35f1_48a4_2d8a,
            0xb413_81a2_f7ad_5689,
            0x9227_5d3f_1bdb_88b8,
            0x0a87_23f8_1b9a_e6cd,
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_went_in_before_never_gets_lost() {
        // Both factors of the product can be made 0.
        let word = [MULTIPLIERS[0].to_le_bytes(), MULTIPLIERS[2].to_le_bytes()].concat();
        let behind = |before: u64| {
            let mut digest = Digest::of(before);
            digest.bytes(&word);
            digest.bytes(&word);
            digest.get()
        };
        let mut seen: Vec<u64> = (0..1_000).map(behind).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_000);
    }

    #[test]
    fn the_last_digests_are_known_and_no_others() {
        let effects = Effects::default();
        effects.begin(LogIndex::new(10), 100);
        effects.extend(LogIndex::new(12), &[110, 120]);
        let at = |index| effects.at(LogIndex::new(index));
        assert_eq!(
            [at(9), at(10), at(11), at(12), at(13)],
            [None, Some(100), Some(110), Some(120), None]
        );
        assert_eq!(effects.known(), (LogIndex::new(10), LogIndex::new(12)));
        let many: Vec<u64> = (0..EFFECTS_KEPT as u64).collect();
        effects.extend(LogIndex::new(12 + EFFECTS_KEPT as u64), &many);
        assert_eq!([at(12), at(13)], [None, Some(0)]);
    }
    #[test]
    fn the_digests_after_an_entry_are_those_of_the_entries_behind_it() {
        let effects = Effects::default();
        effects.begin(LogIndex::new(10), 100);
        effects.extend(LogIndex::new(12), &[110, 120]);
        let after = |index| effects.after(LogIndex::new(index));
        assert_eq!(after(10), [110, 120]);
        assert_eq!(after(11), [120]);
        assert_eq!([after(12), after(99)], [vec![], vec![]], "there are none yet");
        assert_eq!(after(3), [100, 110, 120], "of older ones nothing is known");
    }
}

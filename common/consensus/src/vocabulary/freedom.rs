//! What the protocol leaves open.

/// Legal but unusual behaviour, used at random: it brings bugs to light. All off unless a
/// simulation turns it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Freedom {
    /// Sends 0-2 entries at a time, now and then.
    pub short_batches: bool,
    /// Backs off further than a conflict requires, now and then.
    pub backs_off_further: bool,
    /// Falls back to probing without need, now and then.
    pub probes_at_random: bool,
    /// Draws election timeouts from the ends of the range only.
    pub extreme_timers: bool,
}

//! Failures made short: a run is repeated without most of its events, as long as the same breaks.
//!
//! Whatever is taken out, what is left is a run that could have been: a message that is not
//! delivered was lost, a disk or a state machine that does not finish is slow, a node that is not
//! started stays down, and a client that does not ask has nothing to say.

use std::cell::LazyCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use consensus::Timestamp;

use crate::broken::Broken;
use crate::world::{Happening, Taken, World};

impl World {
    /// Notes what happens, where the run is to be repeated, until the faults end. What comes too
    /// late is left out: a call that wakes nobody, or what was for a life that is over.
    pub(crate) fn note(&mut self, at: Timestamp, event: u64, happening: &Happening) {
        if self.tape.is_none() || self.healed.is_some() {
            return;
        }
        let wakes = if let Happening::Wake { node, .. } = happening {
            self.nodes[*node].wake == Some(at)
        } else {
            true
        };
        let alive = life(happening).is_none_or(|(node, life)| self.nodes[node].life == life);
        if let Some(tape) = self.tape.as_mut().filter(|_| wakes && alive) {
            let before = tape.last().map_or(Self::START, |taken| taken.at);
            let later_ns = at.since(before);
            tape.push(Taken { at, later_ns, event, happening: happening.clone() });
        }
    }

    /// Repeats what happened in another run, as far as it can happen here.
    pub(crate) fn repeat(&mut self, taken: &[Taken]) -> Result<(), Broken> {
        for Taken { at, later_ns, event, happening } in taken {
            // What is left out takes no time, or else timers would be due that were not.
            let mut now = self.now.after(*later_ns).min(*at);
            if let Happening::Wake { node, .. } = happening {
                let due = self.nodes[*node].replica.as_ref().and_then(|r| r.deadline());
                let due = due.map(|(local, _)| self.nodes[*node].global(local));
                now = now.max(due.filter(|due| due <= at).unwrap_or(now));
                self.nodes[*node].wake = Some(now);
                let due = Happening::Wake { node: *node, life: self.nodes[*node].life };
                self.take(now, *event, due)?;
                continue;
            }
            if let Some(happening) = self.called(happening) {
                self.take(now, *event, happening)?;
            }
        }
        Ok(())
    }

    /// Returns what happens in place of what has happened; nothing if it cannot happen here.
    fn called(&mut self, happening: &Happening) -> Option<Happening> {
        let words = LazyCell::new(|| format!("{happening:?}"));
        let is_same = |other: &Happening| match (happening, other) {
            (
                Happening::Deliver { incarnation: by, message: one, .. },
                Happening::Deliver { incarnation, message: other, .. },
            ) => (by, one) == (incarnation, other),
            (_, other) => *words == format!("{other:?}"),
        };
        let key = key(happening);
        while let Some(waiting) = self.agenda.call(key, is_same) {
            if life(&waiting).is_none_or(|(node, life)| self.nodes[node].life == life) {
                return Some(waiting);
            }
        }
        repeats(happening).then(|| happening.clone())
    }

    /// From now on everything happens by itself again. Messages that were not delivered are lost.
    pub(crate) fn go_on(&mut self) {
        let is_letter = |happening: &Happening| matches!(happening, Happening::Deliver { .. });
        self.agenda.go_on_by_time(self.now, |happening| !is_letter(happening));
        for node in 0..self.nodes.len() {
            self.nodes[node].wake = None;
            if self.nodes[node].is_up() && !self.nodes[node].paused {
                self.schedule_wake(node);
            }
        }
    }
}

/// Says whether something happens again and again by itself.
fn repeats(happening: &Happening) -> bool {
    matches!(
        happening,
        Happening::Fault
            | Happening::Trouble
            | Happening::Request
            | Happening::Measure { .. }
            | Happening::Directories
    )
}

/// Returns the node and the life of it that something is for.
fn life(happening: &Happening) -> Option<(usize, u32)> {
    match happening {
        Happening::Wake { node, life }
        | Happening::DiskDone { node, life }
        | Happening::Applied { node, life }
        | Happening::Read(node, life, _)
        | Happening::Answer(node, life, _)
        | Happening::Turn { node, life }
        | Happening::Ends { node, life }
        | Happening::GiveBack { node, life, .. }
        | Happening::Flush { node, life }
        | Happening::Flushed { node, life, .. }
        | Happening::Sent { node, life, .. }
        | Happening::Met { node, life, .. }
        | Happening::Made { node, life, .. }
        | Happening::Unreachable { node, life, .. }
        | Happening::Gone { node, life, .. }
        | Happening::Alarm { node, life, .. }
        | Happening::Start { node, life }
        | Happening::Resume { node, life } => Some((*node, *life)),
        Happening::Arrives(stream) => Some((stream.from, stream.from_life)),
        // The one or the other hears of it, whoever has died.
        Happening::Received(_)
        | Happening::Deliver { .. }
        | Happening::Fault
        | Happening::Trouble
        | Happening::Figure37
        | Happening::Request
        | Happening::Measure { .. }
        | Happening::Directories
        | Happening::Scenario
        | Happening::Ask { .. } => None,
    }
}

/// What can take each other's place has one key: what happens to the same node, and messages of one
/// kind between the same two.
pub(crate) fn key(happening: &Happening) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(happening).hash(&mut hasher);
    life(happening).map(|(node, _)| node).hash(&mut hasher);
    match happening {
        Happening::Deliver { from, to, message, incarnation: _ } => {
            (from, to, std::mem::discriminant(&message.body)).hash(&mut hasher);
        }
        Happening::Arrives(stream) | Happening::Received(stream) => {
            (stream.from, stream.to).hash(&mut hasher);
        }
        Happening::Sent { to, .. } => to.hash(&mut hasher),
        Happening::GiveBack { to, .. } => to.hash(&mut hasher),
        Happening::Met { request, .. } => request.hash(&mut hasher),
        Happening::Unreachable { peer, .. } | Happening::Gone { peer, .. } => {
            peer.hash(&mut hasher);
        }
        Happening::Measure { node } => node.hash(&mut hasher),
        Happening::Alarm { alarm, .. } => (alarm.member, alarm.raised).hash(&mut hasher),
        Happening::Ask { node, read } => (node, read).hash(&mut hasher),
        Happening::Wake { .. }
        | Happening::DiskDone { .. }
        | Happening::Applied { .. }
        | Happening::Read(..)
        | Happening::Answer(..)
        | Happening::Turn { .. }
        | Happening::Ends { .. }
        | Happening::Trouble
        | Happening::Flush { .. }
        | Happening::Flushed { .. }
        | Happening::Made { .. }
        | Happening::Start { .. }
        | Happening::Fault
        | Happening::Figure37
        | Happening::Request
        | Happening::Resume { .. }
        | Happening::Directories
        | Happening::Scenario => {}
    }
    hasher.finish()
}

/// Takes pieces out of a list, smaller and smaller ones, as long as the rest `still_fails`, until
/// none is superfluous or `still_fails` has had enough, which it says by `None`.
pub(crate) fn shorten<T: Clone>(
    mut kept: Vec<T>,
    mut still_fails: impl FnMut(&[T]) -> Option<bool>,
) -> Vec<T> {
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut shorter) = (0, false);
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let rest = [&kept[..at], &kept[end..]].concat();
            match still_fails(&rest) {
                Some(true) => (kept, shorter) = (rest, true),
                Some(false) => at = end,
                None => return kept,
            }
        }
        if size == 1 && !shorter {
            return kept;
        }
        size = (size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_failure_needs_is_kept() {
        let needs = |rest: &[u32]| [3, 500, 977].iter().all(|needed| rest.contains(needed));
        let mut tries = 0;
        let kept = shorten((0..1_000).collect(), |rest| {
            tries += 1;
            Some(needs(rest))
        });
        assert_eq!(kept, [3, 500, 977]);
        assert!(tries < 200, "{tries} tries");
        let few = shorten((0..1_000).collect(), |_| None);
        assert_eq!(few.len(), 1_000, "who has had enough keeps what is left");
    }
}

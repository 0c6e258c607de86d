//! What is missing: peers without a connection, a leader, and a disk that writes. The log says so
//! when it has lasted some seconds, then ever more rarely, with for how long and why; and once when
//! it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use consensus::{NodeId, Timestamp};
use replica::Input;

use crate::logging::repeat::{self, Kind};
use crate::node::Node;

/// When it is said first, second and third that something is missing; from then on every hour.
const SAID_AFTER: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(600)];

/// How often it is said in the long run.
const SAID_EVERY: Duration = Duration::from_secs(3_600);

/// A write that takes no longer is only slow, in nanoseconds.
const DISK_WAITS_NS: u64 = 1_000_000_000;

/// What is missing, and since when.
#[derive(Debug, Default)]
pub(super) struct Contact {
    peers: BTreeMap<NodeId, Away>,
    leaderless: Option<Spell>,
    /// The disk does not finish a write.
    waits: Option<Spell>,
}

/// A peer without a connection.
#[derive(Debug)]
struct Away {
    spell: Spell,
    reason: String,
}

/// A time during which something is missing.
#[derive(Debug)]
struct Spell {
    began: Timestamp,
    said: usize,
}

impl Contact {
    /// There is no connection to a peer.
    fn lost(&mut self, now: Timestamp, peer: NodeId, reason: String) {
        let new = || Away { spell: Spell::begin(now), reason: String::new() };
        self.peers.entry(peer).or_insert_with(new).reason = reason;
    }

    /// There is one again: returns for how long it was missing, if that was said.
    fn connected(&mut self, now: Timestamp, peer: NodeId) -> Option<Duration> {
        self.peers.remove(&peer).and_then(|away| away.spell.end(now))
    }

    /// There is a leader, or none: returns for how long it was missing, if that was said.
    fn leader(&mut self, now: Timestamp, is_known: bool) -> Option<Duration> {
        if is_known {
            return self.leaderless.take().and_then(|spell| spell.end(now));
        }
        self.leaderless.get_or_insert_with(|| Spell::begin(now));
        None
    }
}

impl Spell {
    fn begin(began: Timestamp) -> Self {
        Self { began, said: 0 }
    }

    /// Returns how long it has lasted if it is to be said now.
    fn due(&mut self, now: Timestamp) -> Option<Duration> {
        let passed = self.passed(now);
        let next = SAID_AFTER.get(self.said).copied().unwrap_or_else(|| {
            let hours = u32::try_from(self.said + 1 - SAID_AFTER.len()).unwrap_or(u32::MAX);
            SAID_EVERY.saturating_mul(hours)
        });
        (passed >= next).then(|| {
            self.said += 1;
            passed
        })
    }

    fn end(self, now: Timestamp) -> Option<Duration> {
        (self.said > 0).then(|| self.passed(now))
    }

    fn passed(&self, now: Timestamp) -> Duration {
        Duration::from_nanos(now.since(self.began))
    }
}

impl Node {
    /// Says what has been missing for long enough.
    pub(crate) fn watch(&mut self, now: Timestamp) {
        let configuration = self.replica.raft().configuration();
        let members = configuration.members();
        self.contact.peers.retain(|peer, _| members.contains_key(peer));
        for (peer, Away { spell, reason }) in &mut self.contact.peers {
            let Some((passed, member)) = spell.due(now).zip(members.get(peer)) else {
                continue;
            };
            let (lasted, name, address) = (lasting(passed), &member.name, &member.address);
            tracing::warn!(
                name: "peer-missing",
                %peer,
                "no connection to {name} (node {peer}, {address}) for {lasted}: {reason}"
            );
        }
        // Who never campaigns hears nothing of there being none.
        self.contact.leader(now, self.leader.is_some());
        // Who belongs to no configuration yet waits to be added.
        let leaderless = self.contact.leaderless.as_mut().filter(|_| !members.is_empty());
        if let Some(passed) = leaderless.and_then(|spell| spell.due(now)) {
            let lasted = lasting(passed);
            tracing::warn!(
                name: "leader-missing",
                "no leader for {lasted}, nothing is written; `raftctl status` says why"
            );
        }
        self.watch_disk(now);
    }

    /// Says that the disk does not finish a write, when that has lasted for long enough. The
    /// process lives: to be restarted would not help it.
    fn watch_disk(&mut self, now: Timestamp) {
        let since = self.replica.raft().writing_since();
        let Some(since) = since.filter(|since| now.since(*since) >= DISK_WAITS_NS) else {
            if let Some(passed) = self.contact.waits.take().and_then(|spell| spell.end(now)) {
                tracing::info!(
                    name: "disk-writes",
                    "the disk writes again, after {}", lasting(passed)
                );
            }
            return;
        };
        let spell = self.contact.waits.get_or_insert_with(|| Spell::begin(since));
        if let Some(passed) = spell.due(now) {
            tracing::warn!(
                name: "disk-hangs",
                "the disk has not finished a write for {}", lasting(passed)
            );
        }
    }

    /// Tells the replica with which data directories members are connected.
    pub(crate) fn heal(&mut self, now: Timestamp) {
        let raft = self.replica.raft();
        if !raft.leads() {
            return;
        }
        let members = raft.configuration().members().keys();
        let seen = members.filter_map(|id| Some((*id, self.network.directory(*id)?))).collect();
        self.replica.step(now, Input::Directories { seen });
    }

    pub(super) fn connected(&mut self, now: Timestamp, peer: NodeId) {
        match self.contact.connected(now, peer) {
            Some(passed) => {
                tracing::info!(
                    name: "peer-back",
                    %peer, "connected again, after {}", lasting(passed)
                );
            }
            None if repeat::may(Kind::Link, peer, "connected") => {
                tracing::info!(name: "peer-connected", %peer, "connected");
            }
            None => {}
        }
    }

    pub(super) fn disconnected(
        &mut self,
        now: Timestamp,
        peer: NodeId,
        reason: String,
        was_connected: bool,
    ) {
        if !was_connected {
            tracing::debug!(%peer, reason, "no connection");
        } else if repeat::may(Kind::Link, peer, &reason) {
            tracing::info!(name: "peer-lost", %peer, reason, "connection lost");
        }
        self.contact.lost(now, peer, reason);
    }

    pub(super) fn follows(&mut self, now: Timestamp, leader: Option<NodeId>) {
        let missed = self.contact.leader(now, leader.is_some());
        // Each campaign says again that there is none.
        if std::mem::replace(&mut self.leader, leader) == leader {
            return;
        }
        self.board.counted().leaders.inc_by(u64::from(leader.is_some()));
        match (leader, missed) {
            (Some(leader), Some(passed)) => {
                tracing::info!(
                    name: "leader-back",
                    %leader, "a leader again, after {}", lasting(passed)
                );
            }
            (Some(leader), None) if repeat::may(Kind::Leader, leader, "leader") => {
                tracing::info!(name: "leader-found", %leader, "leader");
            }
            (None, _) if repeat::may(Kind::Leader, "nobody", "no leader") => {
                tracing::info!(name: "leader-lost", "no leader");
            }
            (Some(_) | None, _) => {}
        }
    }
}

/// Returns a duration in words, no more precise than it is of use.
fn lasting(passed: Duration) -> String {
    match passed.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::new(seconds * SECOND_NS)
    }

    fn node(id: u64) -> NodeId {
        NodeId::new(id).expect("not 0")
    }

    #[test]
    fn what_is_missing_is_said_after_seconds_and_then_ever_more_rarely() {
        let mut spell = Spell::begin(at(100));
        let said = (100..100 + 3 * 3_600 + 60).filter(|second| spell.due(at(*second)).is_some());
        let said: Vec<u64> = said.map(|second| second - 100).collect();
        assert_eq!(said, [5, 60, 600, 3_600, 7_200, 10_800]);
    }

    #[test]
    fn only_what_was_said_to_be_missing_is_said_to_be_back() {
        let mut contact = Contact::default();
        contact.lost(at(1), node(2), "refused".into());
        assert_eq!(contact.connected(at(2), node(2)), None, "nobody knew");
        contact.lost(at(3), node(2), "refused".into());
        contact.lost(at(7), node(2), "silent".into());
        let away = contact.peers.get_mut(&node(2)).expect("it is away");
        assert_eq!(away.reason, "silent");
        assert_eq!(away.spell.due(at(8)), Some(Duration::from_secs(5)), "since the first time");
        assert_eq!(contact.connected(at(38), node(2)), Some(Duration::from_secs(35)));
        assert_eq!(contact.connected(at(39), node(2)), None);

        assert_eq!(contact.leader(at(1), false), None);
        assert_eq!(contact.leader(at(3), true), None, "an election");
        assert_eq!(contact.leader(at(4), false), None);
        let spell = contact.leaderless.as_mut().expect("there is none");
        assert_eq!(spell.due(at(10)), Some(Duration::from_secs(6)));
        assert_eq!(contact.leader(at(14), true), Some(Duration::from_secs(10)));
    }

    #[test]
    fn durations_are_as_precise_as_they_are_of_use() {
        let words = [5, 119, 120, 7_199, 7_200, 90_000].map(|s| lasting(Duration::from_secs(s)));
        assert_eq!(words, ["5 s", "119 s", "2 min", "119 min", "2 h", "25 h"]);
    }
}

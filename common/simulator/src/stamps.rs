//! Cluster time (§6.3): it never moves back along a log, and never ahead of every clock.

use consensus::{ClusterTime, EntryId, Write};

use crate::broken::Broken;
use crate::world::World;

const RULE: &str = "cluster time goes on as the clocks do (§6.3)";

impl World {
    /// Looks at the stamps of what a node appends behind `prev`. Sessions expire by them: stamps
    /// that ran ahead would end all of them, and a command that is repeated would be applied twice.
    pub(crate) fn stamps(
        &mut self,
        node: usize,
        prev: EntryId,
        write: &Write,
    ) -> Result<(), Broken> {
        let latest = self.latest_stamp();
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let own = raft.leads().then(|| raft.term());
        // A snapshot may be of a later time than its last entry: who has taken it over knows.
        let known = write.compact_to.as_ref().map_or(ClusterTime::ZERO, |meta| meta.stamp);
        place.known_stamp = place.known_stamp.max(known);
        let mut before = (place.stamped.0 == prev).then_some(place.stamped.1);
        for entry in &write.append {
            if let Some(before) = before.filter(|before| entry.stamp < *before) {
                let (id, back) = (entry.id, before.get() - entry.stamp.get());
                let why = format!("node {}: entry {id} is {back} ns before the last", place.id);
                return Err(Broken::new(RULE, why));
            }
            if entry.stamp > latest {
                let (id, ahead) = (entry.id, entry.stamp.get() - latest.get());
                let why = format!("node {}: entry {id} is {ahead} ns ahead of all", place.id);
                return Err(Broken::new(RULE, why));
            }
            if own == Some(entry.id.term) && entry.stamp < place.known_stamp {
                let (id, back) = (entry.id, place.known_stamp.get() - entry.stamp.get());
                let why = format!("node {}: entry {id} is {back} ns before its log", place.id);
                return Err(Broken::new(RULE, why));
            }
            before = Some(entry.stamp);
            place.stamped = (entry.id, entry.stamp);
        }
        Ok(())
    }

    /// No clock has counted more since the beginning, whoever has led.
    fn latest_stamp(&self) -> ClusterTime {
        let fastest = self.nodes.iter().map(|node| node.counted_ns(self.now)).max();
        let jumps: u64 = self.nodes.iter().map(|node| node.ahead_ns).sum();
        ClusterTime::new(fastest.unwrap_or_default().saturating_add(jumps))
    }
}

//! The last check of a run: a bare majority whose voters have missed each other. One was away while
//! another one lost its data directory and was taken in again, and has the log that counts.

use std::collections::BTreeSet;

use consensus::NodeId;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::liveness::{ELECTION_NS, SERVICE_NS, TIES_NS};
use crate::world::World;

/// The parts of five voters.
struct Parts {
    /// Away while the other one is taken in again.
    away: usize,
    /// Loses its data directory, and has the longest log behind that.
    renewed: usize,
    /// Knows the new directory, and lacks the last entries.
    behind: usize,
    rest: Vec<usize>,
}

impl World {
    /// Plays that with five healed voters, if there are so many: the three that are left serve.
    pub(crate) fn meet_with_another_directory(&mut self) -> Result<(), Broken> {
        let Some(Parts { away, renewed, behind, rest }) = self.draw_parts() else {
            return Ok(());
        };
        self.take_down(away);
        self.crash(renewed);
        self.nodes[renewed].wipe();
        self.until(SERVICE_NS + self.feeding_ns(), "a member that lost its directory", |world| {
            let Some((leader, _)) = world.healed_leader() else { return Ok(false) };
            let known = world.nodes[leader].memory.configuration().1;
            let node = &world.nodes[renewed];
            let votes = known.is_some_and(|known| known.is_voter(node.id) && node.is_sound(known));
            Ok(votes && world.is_converged())
        })?;
        self.take_down(behind);
        let writes = self.clients.writes_done;
        self.until(SERVICE_NS, "a write", |world| {
            if let Some((leader, _)) = world.healed_leader() {
                world.ask(leader, false)?;
            }
            Ok(world.clients.writes_done > writes)
        })?;
        self.until(SERVICE_NS, "agreement", |world| Ok(world.is_converged()))?;
        for node in rest {
            self.take_down(node);
        }
        for node in [away, behind] {
            self.gone.remove(&node);
            self.core.insert(node);
            self.start(node)?;
        }
        self.coverage.meet(Met::CoreOfStrangers);
        let ties = self.profile.freedom.extreme_timers;
        let patience_ns = if ties { TIES_NS } else { ELECTION_NS };
        self.until(self.by_slow_clocks(patience_ns), "a leader of who met again", |world| {
            Ok(world.healed_leader().is_some())
        })?;
        self.until(SERVICE_NS, "agreement", |world| Ok(world.is_converged()))
    }

    fn draw_parts(&mut self) -> Option<Parts> {
        let (leader, _) = self.healed_leader()?;
        let known = self.nodes[leader].memory.configuration().1?;
        let voters: BTreeSet<NodeId> = known.voters().iter().collect();
        let fits = |node: &usize| {
            let place = &self.nodes[*node];
            voters.contains(&place.id) && place.is_up() && place.is_sound(known)
        };
        let mut fit: Vec<usize> = self.core.iter().copied().filter(fits).collect();
        if known.voters().is_joint() || fit.len() != voters.len() || fit.len() != 5 {
            return None;
        }
        let mut draw = || fit.remove(self.rng.index(fit.len()));
        let (away, renewed, behind) = (draw(), draw(), draw());
        Some(Parts { away, renewed, behind, rest: fit })
    }

    /// A node is down until it is started.
    fn take_down(&mut self, node: usize) {
        self.core.remove(&node);
        self.gone.insert(node);
        self.crash(node);
    }
}

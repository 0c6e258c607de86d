//! A trap for leaders that count entries of earlier terms (§3.6.2, figure 3.7), which chance alone
//! lays too seldom: a leader keeps entries that nobody else has; the next one dies at its election;
//! the first leads again and dies when it has passed them on; the second comes back.

use crate::broken::Broken;
use crate::chance::Chance;
use crate::faults::MS;
use crate::plots::Trap;
use crate::world::{Happening, World};

impl World {
    /// Cuts the leader off and lets it take two writes.
    pub(crate) fn lay_trap(&mut self) -> Result<(), Broken> {
        let leader = self.leader;
        if self.trap != Trap::None || !self.nodes[leader].is_up() {
            return Ok(());
        }
        self.cut.clear();
        self.isolate(leader);
        self.trap = Trap::Cut { leader: self.nodes[leader].id };
        self.ask(leader, false)?;
        self.ask(leader, false)
    }

    /// Says whether this step of a node is its last; `led` if it has just been elected.
    pub(crate) fn spring(&mut self, node: usize, led: bool) -> bool {
        let id = self.nodes[node].id;
        match self.trap {
            Trap::Cut { leader } => led && leader != id,
            Trap::Between { second } if led && second != id => {
                let steps = draw(&mut self.chance);
                self.trap = Trap::Led { leader: id, second, steps };
                false
            }
            Trap::Led { leader, second, steps } if leader == id => {
                self.trap = Trap::Led { leader, second, steps: steps.saturating_sub(1) };
                steps == 0
            }
            Trap::None | Trap::Between { .. } | Trap::Led { .. } => false,
        }
    }

    /// The node has died of the trap: sets it for the next one.
    pub(crate) fn reset_trap(&mut self, node: usize) -> Result<(), Broken> {
        // Down for as long as an election takes, at least.
        let life = self.nodes[node].life;
        let down = self.chance.between(800, 3_000) * MS;
        self.nodes[node].life = life + 1;
        let life = life + 1;
        self.after(down, Happening::Start { node, life });
        self.trap = match self.trap {
            Trap::Cut { .. } => {
                self.cut.clear();
                Trap::Between { second: self.nodes[node].id }
            }
            Trap::Led { second, .. } => {
                let place = self.nodes.iter().position(|node| node.id == second);
                if let Some(place) = place {
                    self.start(place)?;
                }
                Trap::None
            }
            Trap::None | Trap::Between { .. } => Trap::None,
        };
        Ok(())
    }
}

fn draw(chance: &mut Chance) -> u64 {
    chance.between(0, 12)
}

//! The scenario of figure 3.7 (§3.6.2), which breaks leaders that count entries of earlier terms.
//! Random faults bring it about too seldom: a leader has entries that no other node has; the next
//! leader crashes when it is elected; the first one leads again, sends its entries and crashes; the
//! second one comes back.

use crate::broken::Broken;
use crate::faults::MS;
use crate::rng::Rng;
use crate::scenarios::Figure37;
use crate::world::{Happening, World};

impl World {
    /// Cuts the leader off and lets it take two writes.
    pub(crate) fn begin_figure_3_7(&mut self) -> Result<(), Broken> {
        let leader = self.leader;
        if self.figure_3_7 != Figure37::None || !self.nodes[leader].is_up() {
            return Ok(());
        }
        self.cut.clear();
        self.isolate(leader);
        self.figure_3_7 = Figure37::Cut { leader: self.nodes[leader].id };
        self.ask(leader, false)?;
        self.ask(leader, false)
    }

    /// Says whether this step of a node is its last; `led` if it has just been elected.
    pub(crate) fn dies_in_figure_3_7(&mut self, node: usize, led: bool) -> bool {
        let id = self.nodes[node].id;
        match self.figure_3_7 {
            Figure37::Cut { leader } => led && leader != id,
            Figure37::Between { second } if led && second != id => {
                let steps = draw(&mut self.rng);
                self.figure_3_7 = Figure37::Led { leader: id, second, steps };
                false
            }
            Figure37::Led { leader, second, steps } if leader == id => {
                self.figure_3_7 = Figure37::Led { leader, second, steps: steps.saturating_sub(1) };
                steps == 0
            }
            Figure37::None | Figure37::Between { .. } | Figure37::Led { .. } => false,
        }
    }

    /// The node has crashed as the scenario wants it: goes on to its next stage.
    pub(crate) fn advance_figure_3_7(&mut self, node: usize) -> Result<(), Broken> {
        // Down for as long as an election takes, at least.
        let life = self.nodes[node].life;
        let down = self.rng.between(800, 3_000) * MS;
        self.nodes[node].life = life + 1;
        let life = life + 1;
        self.after(down, Happening::Start { node, life });
        self.figure_3_7 = match self.figure_3_7 {
            Figure37::Cut { .. } => {
                self.cut.clear();
                Figure37::Between { second: self.nodes[node].id }
            }
            Figure37::Led { second, .. } => {
                let place = self.nodes.iter().position(|node| node.id == second);
                if let Some(place) = place {
                    self.start(place)?;
                }
                Figure37::None
            }
            Figure37::None | Figure37::Between { .. } => Figure37::None,
        };
        Ok(())
    }
}

fn draw(rng: &mut Rng) -> u64 {
    rng.between(0, 12)
}

//! The scope in which the joint-consensus rule (§4.3) is explored to the end:
//! a leader has just begun to replace voters, and from then on anything may happen.

use std::sync::Arc;

use consensus::{Configuration, Input, Majority, Reply, Timer, Voters};

use super::action::{Action, Budget};
use super::members::id;
use super::node::config;
use super::world::World;

impl World {
    /// Starts with nodes 1, 2 and 3 as voters and the others of `target` as learners that have
    /// caught up. Node 1 leads, and has just appended the joint entry of the change to `target`:
    /// neither disk nor peer has it yet. `in_flight` is [`consensus::Config::inflight_max`].
    ///
    /// # Errors
    /// If an invariant is broken on the way there, or the change is refused.
    pub fn changing(target: &[u64], budget: Budget, in_flight: u32) -> Result<Self, String> {
        let newcomers = target.iter().filter(|number| **number > 3).count();
        let mut config = config();
        config.inflight_max = in_flight;
        let mut world = Self::with(3, newcomers, budget, config);
        world.hold_time();
        world.budget.timeouts = 1;
        world.wait(0);
        world.take(&Action::Timeout(0, Timer::Election))?;
        world.settle()?;
        let status = world.nodes[0].raft.status();
        let voters = target.iter().map(|number| id(usize::try_from(*number).unwrap_or(0) - 1));
        let majority = Majority::new(voters);
        let members = status.configuration.members().iter();
        let members = members.filter(|(id, _)| majority.contains(**id));
        let members = members.map(|(id, member)| (*id, member.clone())).collect();
        let target = Configuration::new(Voters::Stable(majority), [].into(), members);
        let target = target.map_err(|error| error.to_string())?;
        let request = world.request();
        let refused = world.step_with(0, Input::Reconfigure { request, target })?;
        if refused.iter().any(|reply| matches!(reply, Reply::Rejected { .. })) {
            return Err(format!("the change is refused: {refused:?}"));
        }
        world.budget = budget;
        world.let_time_pass();
        world.keep_letters();
        Ok(world)
    }

    /// Returns how many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Lets everything that is said and written arrive.
    fn settle(&mut self) -> Result<(), String> {
        let quiet = |action: &Action| matches!(action, Action::Persist(_) | Action::Deliver(_));
        while let Some(action) = self.actions().into_iter().find(quiet) {
            self.take(&action)?;
        }
        Ok(())
    }

    /// Lets one node's timeouts become due.
    fn wait(&mut self, at: usize) {
        let node = Arc::make_mut(&mut self.nodes[at]);
        node.pass();
    }
}

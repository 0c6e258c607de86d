//! The liveness check at the end of a run: a random quorum is healed, everything else stays
//! broken, and the cluster must serve again. Without it a cluster that does nothing would pass: it
//! keeps all safety properties.

use std::collections::BTreeSet;

use consensus::{Configuration, Majority, NodeId, RoleKind, Term, Voters};
use replica::Input;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::quorum::decides;
use crate::scenarios::Figure37;
use crate::world::World;

/// How long a healed core may take until it leads: ten election timeouts.
pub(crate) const ELECTION_NS: u64 = 10 * 300 * MS;

/// The same where timeouts are drawn from the two ends of their range only, so that every second
/// election of two nodes is a tie.
pub(crate) const TIES_NS: u64 = 8 * ELECTION_NS;

/// A transfer that is under way is given up after so long, and another may begin.
const PENDING_NS: u64 = 150 * MS;

/// How long a healthy leader may take to hand over: less than any election timeout, or somebody
/// was elected by chance.
const HAND_OVER_NS: u64 = 140 * MS;

/// How long it may take until it serves and agrees.
pub(crate) const SERVICE_NS: u64 = 60_000 * MS;

/// A piece of old entries is under way for so long, and an entry has so many bytes, at most and on
/// average.
const PIECE_NS: u64 = 10 * MS;
const ENTRY_BYTES: u64 = 300;

/// For so long a leader that nothing is wrong with must stay one.
const STABLE_NS: u64 = 2_000 * MS;

/// Once in a hundred days, on average: once an hour, seed 92983 had a request 4 ms before all had
/// to be answered.
const NEVER_NS: u64 = 100 * 86_400_000 * MS;

/// For so long a healed node's loop is busy at most, and far longer.
const SETTLE_NS: u64 = 20 * MS;

impl World {
    /// Says whether these nodes are enough, whichever configuration turns out to be in force.
    pub(crate) fn is_core(&self, nodes: &BTreeSet<usize>) -> bool {
        self.oracle.in_force().all(|configuration| self.carry(nodes, configuration))
    }

    /// Says whether these nodes are a quorum of a configuration.
    fn carry(&self, nodes: &BTreeSet<usize>, configuration: &Configuration) -> bool {
        let sound = |id: NodeId| {
            let place = self.nodes.iter().position(|node| node.id == id);
            let is_sound = |at: usize| self.nodes[at].is_sound(configuration);
            place.is_some_and(|at| nodes.contains(&at) && is_sound(at))
        };
        decides(configuration.voters(), sound)
    }

    /// Returns what the changes aim at that leaders are about to make: who is brought in was well
    /// until now, and nobody can know that this ends. Whom nobody could meet as it is described, is
    /// not brought in.
    fn about_to_be(&self) -> Vec<Configuration> {
        let lives = |id, life| {
            self.nodes.iter().any(|node| (node.id, node.life) == (id, life) && node.is_up())
        };
        let leads = self.nodes.iter().filter_map(|node| {
            let raft = node.replica.as_ref()?.raft();
            raft.leads().then(|| raft.configuration())
        });
        let mut targets: Vec<Configuration> = self.changes.open(lives).cloned().collect();
        targets.extend(leads.flat_map(returned));
        let all = (0..self.nodes.len()).collect();
        targets.retain(|target| self.carry(&all, target));
        targets
    }

    /// Ends all faults within a random core, and leaves the rest broken; `false` if a lost disk has
    /// left no quorum.
    pub(crate) fn heal_a_core(&mut self) -> Result<bool, Broken> {
        self.faults_over = true;
        self.figure_3_7 = Figure37::None;
        self.scenarios.stop();
        (self.profile.changes, self.profile.transfers) = (0, 0);
        if !self.draw_core() {
            return Ok(false);
        }
        self.break_the_rest();
        // Those first that have what others lack.
        let mut core: Vec<usize> = self.core.iter().copied().collect();
        core.sort_by_key(|node| !self.nodes[*node].disk.damaged.is_empty());
        for node in core {
            self.nodes[node].stalled = self.now;
            if self.nodes[node].paused {
                self.resume(node)?;
            }
            // A process that is about to end has ended.
            if self.nodes[node].is_up() && self.nodes[node].watch.ends {
                self.crash_for(node, 0);
            }
            self.start(node)?;
        }
        self.describe_core();
        self.leave_some_room();
        Ok(true)
    }

    fn draw_core(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, self.rng.index(place + 1));
        }
        let targets = self.about_to_be();
        let suffices = |world: &Self| {
            world.is_core(&world.core)
                && targets.iter().all(|target| world.carry(&world.core, target))
        };
        let votes = |world: &Self, node: usize| {
            let id = world.nodes[node].id;
            world.oracle.in_force().chain(&targets).any(|config| config.is_voter(id))
        };
        for node in &order {
            if !suffices(self) && votes(self, *node) {
                self.core.insert(*node);
            }
        }
        if !suffices(self) {
            return false;
        }
        let extra = if self.rng.permille(300) { order.len() } else { self.rng.index(2) };
        if extra == 0 {
            self.coverage.meet(Met::CoreIsMinimal);
        }
        // What is damaged on a disk stays so where nobody in reach has it.
        let fits = |node: &usize| !self.core.contains(node) && self.can_be_mended(*node);
        let others: Vec<usize> = order.into_iter().filter(fits).collect();
        self.core.extend(others.into_iter().take(extra));
        true
    }

    /// Who is outside hears nothing from the core; some are down for ever, some go on talking.
    fn break_the_rest(&mut self) {
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let core: BTreeSet<NodeId> = self.core.iter().map(|node| ids[*node]).collect();
        self.cut.retain(|(from, to)| !core.contains(from) || !core.contains(to));
        for (node, id) in ids.into_iter().enumerate() {
            if self.core.contains(&node) {
                continue;
            }
            let talks = self.rng.permille(500);
            for inside in &core {
                self.cut.insert((*inside, id));
                if talks {
                    self.cut.remove(&(id, *inside));
                } else {
                    self.cut.insert((id, *inside));
                }
            }
            if self.rng.permille(300) {
                self.gone.insert(node);
                self.crash(node);
            } else if talks && self.nodes[node].is_up() && !self.nodes[node].paused {
                self.coverage.meet(Met::CoreDisturbed);
            }
        }
    }

    fn describe_core(&mut self) {
        let core: Vec<_> = self.core.iter().map(|node| &self.nodes[*node]).collect();
        let last = core.iter().map(|node| node.disk.last().index).max().unwrap_or_default();
        let needs = core.iter().any(|node| {
            core.iter().any(|other| {
                other.disk.log.base().index > node.disk.last().index
                    && other.disk.last().index == last
            })
        });
        let joint = core.iter().any(|node| {
            node.memory.configuration().1.is_some_and(|config| config.voters().is_joint())
        });
        if needs {
            self.coverage.meet(Met::CoreNeedsSnapshot);
        }
        if joint {
            self.coverage.meet(Met::CoreInJoint);
        }
    }

    /// Says whether nothing is wrong between two nodes any more.
    pub(crate) fn is_safe(&self, from: usize, to: usize) -> bool {
        self.faults_over && self.core.contains(&from) && self.core.contains(&to)
    }

    /// Lets a healed core show that it works.
    pub(crate) fn recover(&mut self) -> Result<(), Broken> {
        let began = self.now;
        let ties = self.profile.freedom.extreme_timers;
        let patience_ns = if ties { TIES_NS } else { ELECTION_NS };
        self.until(self.by_slow_clocks(patience_ns), "a leader", |world| {
            Ok(world.healed_leader().is_some())
        })?;
        if !ties {
            self.coverage.recovery_ms_max.0 = self.now.since(began) / MS;
        }
        let without_room_ns = self.serve_without_room()?;
        let (writes, reads) = (self.clients.writes_done, self.clients.reads_done);
        // A leader's first write stands behind all that it has and no quorum (seed 186567).
        let feeding_ns = self.feeding_ns();
        self.until(SERVICE_NS + feeding_ns, "a write and a read", |world| {
            if let Some((leader, _)) = world.healed_leader() {
                world.ask(leader, false)?;
                world.ask(leader, true)?;
            }
            Ok(world.clients.writes_done > writes && world.clients.reads_done > reads)
        })?;
        // From now on nobody asks for anything, so that all can reach the same state.
        self.profile.request_ns = NEVER_NS;
        let feeding_ns = self.feeding_ns();
        self.until(SERVICE_NS + feeding_ns, "agreement", |world| Ok(world.is_converged()))?;
        let took_ns = (self.now.since(began) - without_room_ns).saturating_sub(feeding_ns);
        self.coverage.recovery_ms_max.1 = took_ns / MS;
        self.take_in_again()?;
        self.hand_over_once()?;
        self.until(SERVICE_NS, "agreement", |world| Ok(world.is_converged()))?;
        self.stay()?;
        self.refuse_a_change()?;
        self.evade_a_disk()?;
        self.leave_nobody_waiting()?;
        self.compact_all()?;
        self.meet_with_another_directory()
    }

    /// How long it takes at most to feed whoever is furthest behind, by the limits of this run: a
    /// piece, which may be a single entry, is read and sent at a time.
    pub(crate) fn feeding_ns(&self) -> u64 {
        let lasts = || self.core.iter().map(|node| self.nodes[*node].disk.last().index.get());
        let entries = lasts().max().unwrap_or(0) - lasts().min().unwrap_or(0);
        let feed = self.profile.feed;
        // Another one begins where the bytes of a piece are used up (seed 93687: behind each one).
        let by_bytes = feed.piece_bytes_max as u64 / ENTRY_BYTES;
        let in_a_piece = by_bytes.clamp(1, feed.piece_entries_max);
        let by_pieces = entries / in_a_piece * (self.profile.disk_ns + PIECE_NS);
        let by_bytes = entries * ENTRY_BYTES * 1_000 * MS / feed.bytes_per_s_max;
        self.by_slow_clocks(by_pieces + by_bytes)
    }

    /// Leadership is handed over to another healed voter, if there is one.
    fn hand_over_once(&mut self) -> Result<(), Broken> {
        let Some((leader, _)) = self.healed_leader() else {
            return Ok(());
        };
        let replica = self.nodes[leader].replica.as_ref().expect("it leads");
        let voters: Vec<NodeId> = replica.status().configuration.voters().iter().collect();
        let other = |node: &usize| *node != leader && voters.contains(&self.nodes[*node].id);
        let others: Vec<usize> =
            self.core.iter().copied().filter(other).filter(|n| !self.nodes[*n].wiped).collect();
        if others.is_empty() {
            return Ok(());
        }
        // A leader that stops chooses by itself.
        let reachable = |id| others.iter().any(|node| self.nodes[*node].id == id);
        let chosen = replica.successor(self.nodes[leader].local(self.now), reachable);
        let chosen = others.iter().copied().find(|node| Some(self.nodes[*node].id) == chosen);
        let Some(chosen) = chosen else {
            let why = format!("node {} names none of {others:?}", self.nodes[leader].id);
            return Err(Broken::new("a leader that stops names a voter in reach", why));
        };
        let to = others.get(self.rng.index(others.len() + 1)).copied().unwrap_or(chosen);
        self.until(
            self.by_slow_clocks(PENDING_NS + HAND_OVER_NS),
            "a leader who was asked for",
            |world| {
                match world.healed_leader() {
                    Some((leader, _)) if leader == to => return Ok(true),
                    Some((leader, _)) => world.hand_over(leader, to)?,
                    None => {}
                }
                Ok(false)
            },
        )
    }

    /// A leader with a healthy quorum stays leader, whatever outsiders say (§4.2.3, §9.6).
    fn stay(&mut self) -> Result<(), Broken> {
        // What was under way when the faults ended has arrived by then.
        let settled = self.now.after(STABLE_NS);
        while self.turn(settled)? {}
        let before = self.healed_leader();
        let end = self.now.after(STABLE_NS);
        while self.turn(end)? {}
        let after = self.healed_leader();
        if before.is_some() && before == after {
            return Ok(());
        }
        let why = format!("{before:?} led, now {after:?} does{}", self.describe());
        Err(Broken::new("a healthy leader stays (§4.2.3)", why))
    }

    /// Who asked a healed member has an answer, also if it has lost its leadership meanwhile. A
    /// node that was removed answers as it ends, but for the seeds in which it goes on.
    fn leave_nobody_waiting(&mut self) -> Result<(), Broken> {
        // What was applied a moment ago is told to a loop that may be busy (seed 5007472).
        let settled = self.now.after(SETTLE_NS);
        while self.turn(settled)? {}
        let healed = |id: &NodeId| {
            let place = self.nodes.iter().position(|node| node.id == *id);
            place.is_some_and(|place| self.core.contains(&place))
                && self.oracle.in_force().any(|config| config.member(*id).is_some())
        };
        let up = self.nodes.iter().filter(|node| node.is_up() && healed(&node.id));
        let operators = up.filter_map(|node| Some((node.watch.owes_operators()?, node.id)));
        match self.clients.open().filter(|(_, node)| healed(node)).chain(operators).next() {
            Some((request, node)) => {
                let why =
                    format!("node {node} has not answered request {request}{}", self.describe());
                Err(Broken::new("every request is answered", why))
            }
            None => Ok(()),
        }
    }

    /// Logs do not grow for ever: behind a durable state only so much stays as is wanted.
    fn compact_all(&mut self) -> Result<(), Broken> {
        // A change that was open when all agreed may have brought in one that is far behind.
        let feeding_ns = self.feeding_ns();
        self.until(SERVICE_NS + feeding_ns, "agreement", |world| Ok(world.is_converged()))?;
        // What follows a snapshot on its way stays: it arrives first.
        self.until(SERVICE_NS, "the end of what is sent", |world| {
            let sends = |node: &usize| !world.nodes[*node].sending.is_empty();
            Ok(!world.core.iter().any(|node| sends(node) && !world.feeds_outsiders(*node)))
        })?;
        for node in self.core.clone() {
            self.flush(node);
            let index = self.nodes[node].disk.flushed;
            self.step_at_once(node, Input::Flushed { index, state_bytes: 0 })?;
            let base = self.nodes[node].memory.base().index;
            let wanted = index.get().saturating_sub(self.profile.keep.entries);
            // A leader also keeps what follows a snapshot that it sent somebody who is not back.
            // A node that was removed has ended by now.
            let lives = self.nodes[node].is_up();
            if lives && base.get() < wanted && !self.feeds_outsiders(node) {
                let id = self.nodes[node].id;
                let why = format!(
                    "node {id} keeps what is behind {base}, durable is {index}{}",
                    self.describe()
                );
                return Err(Broken::new("the log is compacted (§5.1)", why));
            }
        }
        Ok(())
    }

    /// Says whether a node leads, and has members outside of the core, or one that has lost its
    /// data directory and takes part no more.
    fn feeds_outsiders(&self, node: usize) -> bool {
        let Some(replica) = self.nodes[node].replica.as_ref() else {
            return false;
        };
        let core = || self.core.iter().map(|node| &self.nodes[*node]);
        let healed = |id: &NodeId| core().any(|node| node.id == *id && !node.wiped);
        let status = replica.status();
        status.role == RoleKind::Leader && !status.configuration.members().keys().all(healed)
    }

    /// Returns how long something takes, at most, that the slowest clock of this seed measures.
    pub(crate) fn by_slow_clocks(&self, nanos: u64) -> u64 {
        nanos.saturating_mul(1_000_000) / (1_000_000 - self.profile.drift_ppm.min(500_000))
    }

    /// Lets 10 ms pass at a time until something is so.
    pub(crate) fn until(
        &mut self,
        patience_ns: u64,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        let deadline = self.now.after(patience_ns);
        while !is_so(self)? {
            if self.now >= deadline {
                let (ms, core) = (patience_ns / MS, &self.core);
                let why = format!("{core:?} lack {what} for {ms} ms{}", self.describe());
                return Err(Broken::new("service returns", why));
            }
            let next = self.now.after(10 * MS);
            while self.turn(next)? {}
        }
        Ok(())
    }

    /// Returns the healed node that leads in the highest term, and that term.
    pub(crate) fn healed_leader(&self) -> Option<(usize, Term)> {
        let leads = |node: &usize| {
            let status = self.nodes[*node].replica.as_ref()?.status();
            (status.role == RoleKind::Leader).then_some((status.term, *node))
        };
        self.core.iter().filter_map(leads).max().map(|(term, node)| (node, term))
    }

    /// Says whether all healed members have applied everything, and no change is under way.
    pub(crate) fn is_converged(&self) -> bool {
        let Some((leader, _)) = self.healed_leader() else {
            return false;
        };
        let status = self.nodes[leader].replica.as_ref().expect("it leads").status();
        if status.configuration.voters().is_joint() || status.configuration_index > status.commit {
            return false;
        }
        let members = status.configuration.members();
        let member = |node: &&usize| {
            let node = &self.nodes[**node];
            members.get(&node.id).is_some_and(|member| member.incarnation == node.incarnation)
        };
        let end = |node: &usize| (self.nodes[*node].applied(), self.nodes[*node].disk.last());
        let mut ends = self.core.iter().filter(member).map(end);
        let Some(first) = ends.next() else {
            return false;
        };
        // The leader may have an entry in memory that is on no disk yet.
        status.last == first.1 && first.0 == first.1.index && ends.all(|end| end == first)
    }

    /// A line for each node: for reports.
    fn describe(&self) -> String {
        let line = |node: &crate::node::Node| {
            let Some(replica) = node.replica.as_ref() else {
                return format!("\n    node {} is down", node.id);
            };
            let status = replica.status();
            format!(
                "\n    node {}: {:?} in term {}, log {} to {}, commit {}, applied {}, \
                 sends {:?}, {:?} at {}, learners {:?}, refused by {:?}, {:?} clients wait",
                node.id,
                status.role,
                status.term,
                status.base,
                status.last,
                status.commit,
                node.applied(),
                node.sending,
                status.configuration.voters(),
                status.configuration_index,
                status.configuration.learners(),
                status.refusals,
                replica.waiting(),
            )
        };
        self.nodes.iter().map(line).collect()
    }
}

/// Returns what each change makes of a configuration that lets a member vote again by itself.
fn returned(configuration: &Configuration) -> Vec<Configuration> {
    let (_, voters) = configuration.voters().halves();
    let promoted = |id: &NodeId| {
        let all = Majority::new(voters.iter().chain([*id]));
        let mut learners = configuration.learners().clone();
        learners.remove(id);
        let members = configuration.members().clone();
        Configuration::new(Voters::Stable(all), learners, members).ok()
    };
    configuration.returning().iter().filter_map(promoted).collect()
}

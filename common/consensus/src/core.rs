//! What a node has whatever its role: term and vote, the log and its durability, the members, the
//! state machine's side, and the lanes that fill until the next drain.

use crate::rules::messages::Receiver;
use crate::vocabulary::actions::{HardState, Vote};
use crate::vocabulary::config::{Config, ConfigError, Restored};
use crate::vocabulary::configuration::{Configuration, Voters};
use crate::vocabulary::ids::{
    ClusterTime, Incarnation, LogIndex, NodeId, ReadTicket, Term, Timestamp,
};
use crate::vocabulary::log_view::LogView;
use crate::vocabulary::membership::Membership;

use applying::Applying;
use contact::Contact;
use durability::Durability;
use outbox::Outbox;
use rng::Rng;

mod applying;
mod contact;
pub(crate) mod durability;
mod lanes;
mod log;
mod outbox;
mod rng;
mod voting;

/// A node without its role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Core {
    id: NodeId,
    incarnation: Incarnation,
    config: Config,
    hard_state: HardState,
    log: LogView,
    durability: Durability,
    membership: Membership,
    applying: Applying,
    /// Highest stamp seen; the base of cluster time if this node leads (§6.3).
    stamp: ClusterTime,
    rng: Rng,
    contact: Contact,
    /// The last name of a forwarded read. Where they start differs from run to run, so that no
    /// answer to an earlier run is taken for one to this (museum F3).
    tickets: ReadTicket,
    out: Outbox,
}

impl Core {
    /// Takes over what the disk holds.
    ///
    /// # Errors
    /// If settings or the parts of `disk` contradict each other.
    pub(crate) fn restore(
        id: NodeId,
        config: Config,
        disk: Restored,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let Restored { incarnation, hard_state, log, membership, applied, stamp } = disk;
        if log.last().term > hard_state.term {
            return Err(ConfigError::TermBehindLog);
        }
        if applied < log.base().index || applied > log.last().index {
            return Err(ConfigError::AppliedOutsideLog);
        }
        if membership.index() > log.last().index {
            return Err(ConfigError::ConfigurationOutsideLog);
        }
        let rng = Rng::new(config.seed);
        // Below the half, so that counting never ends.
        let tickets = ReadTicket::new(Rng::new(!config.seed ^ now.get()).next() >> 1);
        Ok(Self {
            id,
            incarnation,
            config,
            hard_state,
            durability: Durability::new(log.last().index),
            log,
            membership,
            applying: Applying::new(applied),
            stamp,
            rng,
            contact: Contact::new(now),
            tickets,
            out: Outbox::default(),
        })
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the shortest election timeout: how long a follower stands by its leader (§4.2.3),
    /// and the patience that everything else is measured by.
    pub(crate) fn patience_ns(&self) -> u64 {
        self.config.election_timeout_ns.start
    }

    pub(crate) fn term(&self) -> Term {
        self.hard_state.term
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.hard_state.vote
    }

    pub(crate) fn log(&self) -> &LogView {
        &self.log
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        self.log.last().index
    }

    /// Returns the last index that is on this node's disk.
    pub(crate) fn durable(&self) -> LogIndex {
        self.durability.durable()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.durability.has_failed()
    }

    /// Returns when the oldest write was handed out that is not finished, and where it leaves the
    /// log's end on disk.
    pub(crate) fn oldest_write(&self) -> Option<(Timestamp, LogIndex)> {
        self.durability.oldest()
    }

    /// Says whether this node's disk hangs: a write is not finished after an election timeout.
    pub(crate) fn disk_hangs(&self, now: Timestamp) -> bool {
        self.oldest_write().is_some_and(|(begun, _)| now.since(begun) >= self.patience_ns())
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Returns the configuration in force: the latest in the log, committed or not (§4.1).
    pub(crate) fn configuration(&self) -> &Configuration {
        self.membership.latest()
    }

    pub(crate) fn voters(&self) -> &Voters {
        self.membership.latest().voters()
    }

    /// Returns the configuration before the one in force, as long as that one is uncommitted.
    pub(crate) fn superseded(&self) -> Option<&Configuration> {
        (self.membership.index() > self.commit()).then(|| self.membership.previous())
    }

    /// Says whether the configuration before the one in force names this node as a member.
    pub(crate) fn was_member(&self) -> bool {
        self.membership.previous().recognises(self.id, self.incarnation)
    }

    /// Returns what messages are judged by.
    pub(crate) fn receiver(&self) -> Receiver<'_> {
        Receiver {
            id: self.id,
            incarnation: self.incarnation,
            term: self.term(),
            latest: self.membership.latest(),
            previous: self.membership.previous(),
        }
    }

    /// Returns the highest index known to be committed.
    pub(crate) fn commit(&self) -> LogIndex {
        self.applying.commit()
    }

    /// Returns the highest index handed to the state machine.
    pub(crate) fn handed(&self) -> LogIndex {
        self.applying.handed()
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applying.applied()
    }

    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        self.applying.commit_to(index);
    }

    pub(crate) fn note_applied(&mut self, index: LogIndex) {
        self.applying.note_applied(index);
    }

    /// Returns the highest stamp seen.
    pub(crate) fn stamp(&self) -> ClusterTime {
        self.stamp
    }

    /// Returns a name for a question to the leader that this node has never used.
    pub(crate) fn next_ticket(&mut self) -> ReadTicket {
        self.tickets = self.tickets.next();
        self.tickets
    }

    /// Stops claiming anything: the disk has failed. A failed fsync is never tried again, because
    /// nobody can tell what it has left on the disk.
    pub(crate) fn fail(&mut self) {
        self.durability.fail();
        self.out.keep_replies();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vocabulary::configuration::{Majority, Member};
    use crate::vocabulary::ids::EntryId;
    use crate::vocabulary::log_view::TermRun;

    pub(crate) fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn restored(config: Config, now: Timestamp) -> Core {
        let member = |number: u64| {
            let name = format!("n{number}");
            let (incarnation, address) = (Incarnation::new(number), name.clone());
            (id(number), Member { incarnation, name, address })
        };
        let members = (1..=3).map(member).collect();
        let voters = Voters::Stable(Majority::new((1..=3).map(id)));
        let first = Configuration::new(voters, [].into(), members).expect("it is sound");
        let below = (LogIndex::ZERO, Configuration::unknown());
        let (term, index) = (Term::new(1), LogIndex::new(1));
        let runs = vec![TermRun { term, first: index }];
        let disk = Restored {
            incarnation: Incarnation::new(1),
            hard_state: HardState { term, vote: None },
            log: LogView::restore(EntryId::ZERO, runs, index).expect("it is sound"),
            membership: Membership::restore(below, vec![(index, first)]).expect("it is sound"),
            applied: LogIndex::ZERO,
            stamp: ClusterTime::ZERO,
        };
        Core::restore(id(1), config, disk, now).expect("it is sound")
    }

    /// Node 1 of three voters, in term 1; its log holds the first configuration, 1@t1.
    pub(crate) fn node(config: Config) -> Core {
        restored(config, Timestamp::ZERO)
    }

    /// A late answer to an earlier run is not taken for one to this run's question.
    #[test]
    fn questions_have_other_names_in_each_run_and_on_each_node_museum_f3() {
        for seed in [0, 1, u64::MAX] {
            let first = |seed, now| restored(Config::new(seed), Timestamp::new(now)).next_ticket();
            let name = first(seed, 1_000);
            assert_ne!(name, first(seed, 1_001), "started later, seed {seed}");
            assert_ne!(name, first(seed ^ 1, 1_000), "another node, seed {seed}");
        }
    }

    #[test]
    fn names_of_questions_do_not_run_out() {
        for seed in 0..100 {
            let mut core = node(Config::new(seed));
            let first = core.next_ticket();
            assert!(first.get() <= u64::MAX / 2 + 1, "{first}");
            assert_eq!(core.next_ticket(), first.next());
        }
    }
}

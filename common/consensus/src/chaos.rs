//! The freedoms that the protocol leaves, and known bugs: levers for the simulator.
//!
//! Legal but unusual behaviour is what brings bugs to light. Without the feature `chaos` nothing of
//! this exists at run time: every question is answered "no" by a constant.

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A bug that some implementation of Raft has had, which the simulator must find.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutation { $($(#[$doc])* $name),* }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the name under which the simulator's command line knows it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

mutations! {
    /// Museum A1: a candidate or leader that steps down within its term forgets its vote.
    A1VoteErasedOnStepDown,
    /// Museum A7: votes of an older campaign are counted.
    A7StaleVotesCounted,
    /// Museum A9: logs are compared by index only.
    A9LogsComparedByIndex,
    /// Museum A11: votes are sent before they are durable.
    A11VoteSentBeforeDurable,
    /// Museum A13: a node grants its vote although it has given it in this term.
    A13VotesTwice,
    /// Vote requests and the candidate's own vote go ahead of their durability.
    A0CampaignBeforeDurable,
    /// Museum B1: entries of earlier terms are committed by counting (§3.6.2, figure 3.7).
    B1OldTermsCounted,
    /// Museum B3: the commit index is not capped by what the message has verified.
    B3CommitBeyondVerified,
    /// Museum B4: the acknowledgement names the follower's last index.
    B4AckBeyondVerified,
    /// Museum B5: every AppendEntries truncates, conflict or not.
    B5TruncatesAlways,
    /// Museum B7: the match index follows reordered acknowledgements down.
    B7MatchRegresses,
    /// Museum B13: heartbeats carry a commit index that their `prev` does not cover, and followers
    /// believe it.
    B13HeartbeatCommitUnchecked,
    /// Museum B14: a `prev` that is not in the log passes the check.
    B14MissingPrevMatches,
    /// Museum B20: the leader counts its own entries before they are durable.
    B20CountsSelfBeforeDurable,
    /// Museum B22: an old disk completion vouches for entries that came later.
    B22OldCompletionVouches,
    /// Followers acknowledge entries that are not on their disk yet.
    B0AckBeforeDurable,
    /// Museum C3: a change of members begins while another one is uncommitted.
    C3ChangesOverlap,
    /// Museum C7: the joint configuration is left before it is committed.
    C7JointLeftEarly,
    /// Museum C9: learners are counted for commitment and votes.
    C9LearnersCounted,
    /// Museum E4: a read that arrives during a transfer is confirmed by the round under way.
    E4RoundSharedInTransfer,
    /// Museum E10: a leader that told its successor to campaign goes on with its lease.
    E10LeaseAfterHandOver,
    /// Museum F1: reads are served before an entry of the leader's term is committed.
    F1ReadBeforeOwnTerm,
    /// Museum F3: a read is confirmed by acknowledgements of an earlier round.
    F3RoundReused,
    /// Museum F4: an answer for a read index is believed whoever gave it, in whatever term, and
    /// whichever question it answers.
    F4AnswerOfAnyLeader,
    /// Museum F7: voters do not stand by a leader that holds a lease of theirs, nor sit out after
    /// a restart.
    F7LeaseWithoutStickiness,
    /// Museum F9: the answers of learners confirm reads and extend the lease.
    F9LearnersConfirmReads,
}

/// What a simulation changes about a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chaos {
    /// Sends 0-2 entries at a time, now and then.
    #[cfg(feature = "chaos")]
    pub short_batches: bool,
    /// Backs off further than a conflict requires, now and then.
    #[cfg(feature = "chaos")]
    pub backs_off_further: bool,
    /// Falls back to probing without need, now and then.
    #[cfg(feature = "chaos")]
    pub probes_at_random: bool,
    /// Draws election timeouts from the ends of the range only.
    #[cfg(feature = "chaos")]
    pub extreme_timers: bool,
    /// The bug to have.
    #[cfg(feature = "chaos")]
    pub mutation: Option<Mutation>,
}

/// A freedom that the protocol leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freedom {
    ShortBatch,
    BackOffFurther,
    ProbeAtRandom,
    ExtremeTimer,
}

#[cfg(feature = "chaos")]
impl Chaos {
    pub(crate) fn allows(self, freedom: Freedom) -> bool {
        match freedom {
            Freedom::ShortBatch => self.short_batches,
            Freedom::BackOffFurther => self.backs_off_further,
            Freedom::ProbeAtRandom => self.probes_at_random,
            Freedom::ExtremeTimer => self.extreme_timers,
        }
    }

    pub(crate) fn has(self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

#[cfg(not(feature = "chaos"))]
impl Chaos {
    pub(crate) const fn allows(self, _: Freedom) -> bool {
        false
    }

    pub(crate) const fn has(self, _: Mutation) -> bool {
        false
    }
}

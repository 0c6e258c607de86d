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
    /// Museum A4: a follower records the leader that it discovers as the one it voted for.
    A4VoteFollowsLeader,
    /// Museum A7: votes of an older campaign are counted.
    A7StaleVotesCounted,
    /// Museum A8: a candidate's log must be ahead in term *and* in index.
    A8LogsComparedByBoth,
    /// Museum A9: logs are compared by index only.
    A9LogsComparedByIndex,
    /// Museum A10: term and vote are never written. In the driver.
    A10HardStateNotWritten,
    /// Museum A11: votes are sent before they are durable.
    A11VoteSentBeforeDurable,
    /// Museum A13: a node grants its vote although it has given it in this term.
    A13VotesTwice,
    /// Museum A16: a candidate that the leader asked for gets a vote that is given already.
    A16SuccessorVotedTwice,
    /// Museum A19: a vote that went to another candidate is counted.
    A19RefusalCounted,
    /// Museum A20: a candidate does not concede to the leader of its term.
    A20CandidateIgnoresLeader,
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
    /// Museum B16: a `prev` that is compacted counts as a conflict.
    B16CompactedPrevConflicts,
    /// Museum B17: a `prev` below the commit index is refused.
    B17CommittedPrevRefused,
    /// Museum B19: after a refusal the same is sent again.
    B19RetryRepeats,
    /// Museum B20: the leader counts its own entries before they are durable.
    B20CountsSelfBeforeDurable,
    /// Museum B22: an old disk completion vouches for entries that came later.
    B22OldCompletionVouches,
    /// Followers acknowledge entries that are not on their disk yet.
    B0AckBeforeDurable,
    /// Museum C1: a change of members begins before an entry of the leader's term is committed.
    C1ChangeBeforeOwnCommit,
    /// Museum C3: a change of members begins while another one is uncommitted.
    C3ChangesOverlap,
    /// Museum C4: votes are counted under the committed configuration, not the log's latest.
    C4CommittedConfigurationVotes,
    /// Museum C6: only the leader that began a change leaves its joint configuration.
    C6OnlyTheBeginnerLeaves,
    /// Museum C7: the joint configuration is left before it is committed.
    C7JointLeftEarly,
    /// Museum C7: it is left when it is committed, without an entry of the leader's own term.
    C7LeftWithoutOwnTerm,
    /// Museum C7: what is committed in a joint configuration is counted under the new half only.
    C7OneHalfCounted,
    /// Museum C9: learners are counted for commitment and votes.
    C9LearnersCounted,
    /// Museum C10: who knows itself for a learner does not vote.
    C10LearnerRefusesToVote,
    /// Museum C12: a learner campaigns.
    C12LearnerCampaigns,
    /// Museum C13: a learner that restarts takes itself for a voter. In the driver.
    C13LearnersRestartAsVoters,
    /// Museum C15: voters do not stand by their leader, and nobody asks before campaigning.
    C15CandidatesDisturb,
    /// Museum C18: a configuration stays in force when its entry is cut off.
    C18ConfigurationOutlivesItsEntry,
    /// Museum C21: a wiped data directory speaks for the old one.
    C21IncarnationIgnored,
    /// Museum C22: what is known of a member is forgotten when the members change.
    C22ProgressForgotten,
    /// Museum C24: a change of members begins while another one is joint.
    C24ChangeDuringJoint,
    /// Museum D1: a granted pre-vote names the voter's own term.
    D1PreVoteOfOwnTerm,
    /// Museum D2: a pre-vote of an older term gets no answer.
    D2StalePreVoteUnanswered,
    /// Museum D5: a leader that reaches nobody stays leader.
    D5NoQuorumCheck,
    /// Museum E1: a live leader is a reason to refuse even the successor that it asked for.
    E1SuccessorRefused,
    /// Museum E2: a successor asks for pre-votes first.
    E2SuccessorPreVotes,
    /// Museum E4: a read joins the round that is under way when it arrives.
    E4RoundShared,
    /// Museum E5: a leader takes writes while it hands over.
    E5WritesDuringTransfer,
    /// Museum E7, E12: leadership is handed to a member without a vote, who takes it.
    E7TransferToNonVoter,
    /// Museum E10: a leader that told its successor to campaign goes on with its lease.
    E10LeaseAfterHandOver,
    /// Not a bug, but the assumption of leases broken: clocks run apart further than the error that
    /// was set. A check that finds nothing here would find nothing anywhere. In the driver.
    F0ClocksBeyondTheirError,
    /// Museum F1: reads are served before an entry of the leader's term is committed.
    F1ReadBeforeOwnTerm,
    /// Museum F3: a read is confirmed by acknowledgements of an earlier round.
    F3RoundReused,
    /// Museum F4: an answer for a read index is believed whoever gave it, in whatever term, and
    /// whichever question it answers.
    F4AnswerOfAnyLeader,
    /// Museum F6: reads that arrive before the leader's first commit are dropped.
    F6EarlyReadsDropped,
    /// Museum F7: a voter forgets whom it has lent a lease when it restarts, or hears of a newer
    /// term.
    F7LeaseForgotten,
    /// Museum F9: the answers of learners confirm reads and extend the lease.
    F9LearnersConfirmReads,
    /// Museum F10: a leader's own answer does not count towards the quorum that a read needs.
    F10LeaderWaitsForItself,
    /// Museum F12: reads are forgotten when leadership ends.
    F12ReadsForgotten,
    /// Museum G2, G6: a snapshot is installed although newer entries are committed here.
    G6OldSnapshotInstalled,
    /// Museum G3: entries that conflict with an installed snapshot stay in the log. In the driver.
    G3ConflictStays,
    /// Museum G5: configurations of the old log stay in force behind an installed snapshot.
    G5ConfigurationOfOldLog,
    /// Museum G8: a snapshot is labelled with the present term.
    G8SnapshotOfPresentTerm,
    /// Museum G9: a leader goes on waiting for a snapshot that did not arrive.
    G9FailedSnapshotAwaited,
    /// Museum G14: the log is compacted behind a state that is not durable. In the driver.
    G14CompactedBeforeDurable,
    /// Museum G17: entries are sent that are compacted.
    G17CompactedIsSent,
    /// Museum G18: a snapshot is acknowledged before the log begins behind it.
    G18SnapshotAckedEarly,
    /// Museum G20: the log is compacted only once.
    G20CompactsOnce,
    /// Museum J1: sessions are not in snapshots. In the driver.
    J1SessionsNotInSnapshots,
    /// Museum J3: a command of an unknown session is applied. In the machine's host.
    J3UnknownSessionApplied,
    /// Museum J4: only the last command of a session is known again. In the machine's host.
    J4LastCommandOnly,
    /// Museum J6: a client is told "failed" of what nobody knows. In the replica.
    J6FailedInsteadOfUnknown,
    /// Museum J7: the state becomes durable without the applied index. In the driver.
    J7AppliedTwice,
    /// Museum J9: a machine's answers depend on the node. In the machine.
    J9MachineDiffers,
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

    /// Says whether this bug is built in.
    pub fn has(self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

#[cfg(not(feature = "chaos"))]
impl Chaos {
    pub(crate) const fn allows(self, _: Freedom) -> bool {
        false
    }

    /// Says whether this bug is built in: never without the feature `chaos`.
    pub const fn has(self, _: Mutation) -> bool {
        false
    }
}

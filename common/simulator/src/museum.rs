//! How each row of the museum of bugs is shown: by a bug that is built in and found, or by a test
//! that plays the row, with the reason why it is not built in.

use consensus::Mutation;

/// How a row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Built in, and found by the simulator.
    Found(&'static [Mutation]),
    /// By a test of this name, for this reason.
    Tested(&'static str, &'static str),
}

use Mutation as M;
use Shown::{Found, Tested};

/// Rows that nothing shows, and why.
pub const UNSHOWN: &[(&str, &str)] = &[(
    "H2",
    "a rename that only a power cut takes back: the tests kill processes, whose renames stay; by \
     reading, `storage` syncs the directory behind each of them",
)];

/// All rows but those of [`UNSHOWN`], in order. What is the driver's or the storage's is shown by
/// their tests.
pub const MUSEUM: &[(&str, Shown)] = &[
    ("A1", Found(&[M::A1VoteErasedOnStepDown])),
    ("A2", Tested("stepping_down_within_a_term_keeps_the_vote_museum_a1_a2", "the bug is A1's")),
    ("A4", Found(&[M::A4VoteFollowsLeader])),
    (
        "A5",
        Tested(
            "no_bytes_make_a_node_0_museum_a5",
            "no vote is an `Option`, and a `NodeId` is never 0",
        ),
    ),
    ("A7", Found(&[M::A7StaleVotesCounted])),
    ("A8", Found(&[M::A8LogsComparedByBoth])),
    ("A9", Found(&[M::A9LogsComparedByIndex])),
    ("A10", Found(&[M::A10HardStateNotWritten])),
    ("A11", Found(&[M::A11VoteSentBeforeDurable, M::A0CampaignBeforeDurable])),
    ("A13", Found(&[M::A13VotesTwice])),
    (
        "A14",
        Tested(
            "a_leader_that_restarts_follows_and_writes_no_more_in_its_term_museum_a14",
            "`Raft::restore` knows no other role than that of a follower",
        ),
    ),
    ("A16", Found(&[M::A16SuccessorVotedTwice])),
    (
        "A17",
        Tested(
            "the_mark_of_a_transfer_is_on_one_campaign_and_leaves_no_trace_museum_a17",
            "the mark lives in one message, and in no state that could keep it",
        ),
    ),
    ("A19", Found(&[M::A19RefusalCounted])),
    ("A20", Found(&[M::A20CandidateIgnoresLeader])),
    (
        "A22",
        Tested(
            "granting_puts_off_the_own_election_and_refusing_does_not_museum_a22",
            "elections take a little longer, which no bound on their time can tell from chance",
        ),
    ),
    (
        "A23",
        Tested(
            "a_partitioned_node_does_not_raise_its_term_s9_6_museum_a23",
            "voters that stand by their leader hide it; without both it is C15, which is found",
        ),
    ),
    ("B1", Found(&[M::B1OldTermsCounted])),
    ("B2", Found(&[M::B1OldTermsCounted])),
    ("B3", Found(&[M::B3CommitBeyondVerified])),
    ("B4", Found(&[M::B4AckBeyondVerified])),
    ("B5", Found(&[M::B5TruncatesAlways])),
    ("B7", Found(&[M::B7MatchRegresses])),
    (
        "B8",
        Tested(
            "nothing_is_sent_that_is_known_to_match_in_whatever_order_answers_come_museum_b8",
            "each move of `next` takes the maximum; `check_state` asserts it",
        ),
    ),
    (
        "B10",
        Tested(
            "two_of_five_commit_nothing_whoever_goes_further_museum_b10",
            "the quorum's index is sorted anew each time, from nothing kept",
        ),
    ),
    (
        "B11",
        Tested(
            "without_voters_nothing_can_be_decided_museum_b11",
            "a configuration without voters cannot be made, and wins nothing",
        ),
    ),
    ("B13", Found(&[M::B13HeartbeatCommitUnchecked])),
    ("B14", Found(&[M::B14MissingPrevMatches])),
    ("B16", Found(&[M::B16CompactedPrevConflicts])),
    ("B17", Found(&[M::B17CommittedPrevRefused])),
    ("B19", Found(&[M::B19RetryRepeats])),
    ("B20", Found(&[M::B20CountsSelfBeforeDurable])),
    ("B22", Found(&[M::B22OldCompletionVouches])),
    (
        "B23",
        Tested(
            "completions_in_any_order_lose_nothing_that_is_durable_museum_b23",
            "an acknowledgement of a write is one of all before it; an older says nothing",
        ),
    ),
    (
        "B25",
        Tested(
            "a_smaller_quorum_commits_without_another_acknowledgement_museum_b25",
            "every drain looks at what is committed, whatever the inputs were",
        ),
    ),
    (
        "B26",
        Tested(
            "a_heartbeat_is_never_refused_and_a_late_refusal_is_no_loss_museum_b26",
            "a heartbeat names what is known to match; a refusal below that is ignored",
        ),
    ),
    (
        "B28",
        Tested(
            "what_was_handed_out_stays_as_it_was_when_the_log_is_overwritten_museum_b28",
            "entries are values whose bytes are shared and never written to again",
        ),
    ),
    (
        "B29",
        Tested("what_a_killed_writer_acknowledged_is_there_museum_b29_h12", "it is the storage's"),
    ),
    (
        "B31",
        Tested(
            "who_leads_no_more_counts_no_answers_and_takes_its_own_entry_back_museum_b31",
            "one rule drops answers of older terms; built in for acknowledgements alone, 2,000 \
             seeds did not bring the same node to lead again within a message's delay",
        ),
    ),
    ("C1", Found(&[M::C1ChangeBeforeOwnCommit])),
    ("C3", Found(&[M::C3ChangesOverlap])),
    ("C4", Found(&[M::C4CommittedConfigurationVotes])),
    ("C6", Found(&[M::C6OnlyTheBeginnerLeaves])),
    ("C7", Found(&[M::C7JointLeftEarly, M::C7LeftWithoutOwnTerm, M::C7OneHalfCounted])),
    ("C9", Found(&[M::C9LearnersCounted])),
    ("C10", Found(&[M::C10LearnerRefusesToVote])),
    ("C12", Found(&[M::C12LearnerCampaigns])),
    ("C13", Found(&[M::C13LearnersRestartAsVoters])),
    ("C15", Found(&[M::C15CandidatesDisturb])),
    (
        "C16",
        Tested(
            "a_removed_follower_learns_of_it_and_does_not_disrupt_s4_2_3_museum_c15_c16",
            "the joint configuration feeds the outgoing; behind it a node may miss its removal \
             without harm",
        ),
    ),
    ("C18", Found(&[M::C18ConfigurationOutlivesItsEntry])),
    (
        "C19",
        Tested(
            "a_new_voter_has_an_election_timeout_to_answer_museum_c19",
            "a leader that steps down is no broken promise: another one is elected",
        ),
    ),
    ("C21", Found(&[M::C21IncarnationIgnored])),
    ("C22", Found(&[M::C22ProgressForgotten])),
    ("C24", Found(&[M::C24ChangeDuringJoint])),
    (
        "C25",
        Tested(
            "a_change_of_members_without_a_cluster_is_refused_museum_c25",
            "a node without a configuration never leads, and only leaders look for voters",
        ),
    ),
    ("D1", Found(&[M::D1PreVoteOfOwnTerm])),
    ("D2", Found(&[M::D2StalePreVoteUnanswered])),
    (
        "D4",
        Tested(
            "a_stuck_candidate_of_a_higher_term_is_freed_museum_d4",
            "built in, 2,000 seeds did not find it: when all is healed the others must have a \
             quorum without the stuck node, and keep their leader",
        ),
    ),
    ("D5", Found(&[M::D5NoQuorumCheck])),
    (
        "D7",
        Tested(
            "the_lost_leader_itself_may_be_elected_again_museum_d7",
            "who is refused waits for one timeout more, which no bound on elections can tell from \
             chance",
        ),
    ),
    (
        "D8",
        Tested(
            "late_grants_of_a_pre_vote_disturb_neither_a_leader_nor_a_follower_museum_d8",
            "votes are counted in the role of a candidate only, which is gone",
        ),
    ),
    (
        "D10",
        Tested(
            "a_single_voter_leads_only_when_its_term_is_durable_museum_d10",
            "who has campaigned is no follower, whose timer starts a campaign",
        ),
    ),
    (
        "D11",
        Tested(
            "a_tail_of_a_million_million_entries_delays_no_leader_museum_d11",
            "a world in which steps take no time cannot tell a slow one",
        ),
    ),
    (
        "D13",
        Tested(
            "a_cluster_that_restarts_as_a_whole_has_a_leader_soon_museum_d13",
            "there is no other timeout for a node that has just started",
        ),
    ),
    (
        "D14",
        Tested(
            "s5_a_snapshot_counts_as_contact_with_the_leader_museum_d14",
            "heartbeats go on beside a snapshot, and each of them is contact",
        ),
    ),
    ("E1", Found(&[M::E1SuccessorRefused])),
    ("E2", Found(&[M::E2SuccessorPreVotes])),
    ("E4", Found(&[M::E4RoundShared])),
    ("E5", Found(&[M::E5WritesDuringTransfer])),
    ("E7", Found(&[M::E7TransferToNonVoter])),
    (
        "E8",
        Tested(
            "a_stale_order_to_campaign_changes_nothing_s3_10_museum_e8_e10",
            "who campaigns with a short log is not elected: no promise breaks, an election is lost",
        ),
    ),
    ("E10", Found(&[M::E10LeaseAfterHandOver])),
    ("F1", Found(&[M::F1ReadBeforeOwnTerm])),
    ("F3", Found(&[M::F3RoundReused])),
    ("F4", Found(&[M::F4AnswerOfAnyLeader])),
    ("F6", Found(&[M::F6EarlyReadsDropped])),
    ("F7", Found(&[M::F7LeaseForgotten])),
    ("F9", Found(&[M::F9LearnersConfirmReads])),
    ("F10", Found(&[M::F10LeaderWaitsForItself])),
    ("F12", Found(&[M::F12ReadsForgotten])),
    (
        "F13",
        Tested(
            "a_leader_whose_log_is_all_compacted_reads_and_writes_museum_f13",
            "reads ask for an index, not for the term of an entry that may be gone",
        ),
    ),
    ("G2", Found(&[M::G6OldSnapshotInstalled])),
    ("G3", Found(&[M::G3ConflictStays])),
    ("G5", Found(&[M::G5ConfigurationOfOldLog])),
    ("G6", Found(&[M::G6OldSnapshotInstalled])),
    ("G8", Found(&[M::G8SnapshotOfPresentTerm])),
    ("G9", Found(&[M::G9FailedSnapshotAwaited])),
    (
        "G11",
        Tested(
            "behind_a_gap_nothing_is_taken_and_what_is_known_is_skipped_museum_g11",
            "the core sees whole snapshots only; chunks are the storage's",
        ),
    ),
    (
        "G12",
        Tested(
            "a_writer_that_gives_up_leaves_nothing_and_one_that_is_killed_is_cleaned_up_museum_g12",
            "files are the storage's",
        ),
    ),
    ("G14", Found(&[M::G14CompactedBeforeDurable])),
    (
        "G15",
        Tested(
            "a_write_whose_place_a_snapshot_decided_is_unknown_museum_g15",
            "the next applied index ends all that wait below it: none can be left",
        ),
    ),
    ("G17", Found(&[M::G17CompactedIsSent])),
    ("G18", Found(&[M::G18SnapshotAckedEarly])),
    ("G20", Found(&[M::G20CompactsOnce])),
    (
        "G21",
        Tested(
            "the_last_entries_stay_museum_g21",
            "what is kept is a wish: compacting more breaks no promise",
        ),
    ),
    ("H3", Tested("zeros_behind_the_last_write_are_nothing_museum_h3", "files are the storage's")),
    (
        "H5",
        Tested(
            "a_flipped_bit_in_the_head_of_a_record_is_no_torn_tail_museum_h5",
            "files are the storage's",
        ),
    ),
    ("H6", Found(&[M::J7AppliedTwice])),
    (
        "H8",
        Tested(
            "a_founding_that_was_cut_off_is_repeated_museum_h8",
            "there is no group to be split; founding is the storage's",
        ),
    ),
    (
        "H9",
        Tested(
            "a_damaged_snapshot_changes_nothing_museum_h9",
            "damage is the storage's: what is damaged is not taken over",
        ),
    ),
    ("H11", Found(&[M::C21IncarnationIgnored])),
    (
        "H12",
        Tested(
            "what_a_killed_writer_acknowledged_is_there_museum_b29_h12",
            "files are the storage's",
        ),
    ),
    (
        "H14",
        Tested(
            "a_read_beyond_either_end_is_an_error_that_names_the_entry_museum_h14",
            "reading is the storage's",
        ),
    ),
    (
        "H15",
        Tested(
            "a_node_that_restarts_alone_applies_everything_again_museum_h15",
            "what is applied is told by the state itself, in one batch with it",
        ),
    ),
    (
        "I2",
        Tested(
            "an_acknowledgement_frees_each_message_that_it_covers_and_no_other_museum_i2",
            "a window that stands still is sent anew, which is slower and breaks nothing",
        ),
    ),
    (
        "I3",
        Tested(
            "a_window_is_bounded_and_heartbeats_go_on_museum_i3",
            "heartbeats do not ask the window",
        ),
    ),
    (
        "I5",
        Tested(
            "proposals_are_refused_off_the_leader_and_beyond_the_limit_museum_i5",
            "no memory is modelled that could run out",
        ),
    ),
    (
        "I6",
        Tested(
            "a_new_leadership_has_all_its_room_museum_i6",
            "no memory is modelled that could run out",
        ),
    ),
    (
        "I8",
        Tested(
            "a_window_that_is_smaller_after_a_restart_is_kept_to_museum_i8",
            "settings do not change while a node runs",
        ),
    ),
    (
        "I9",
        Tested(
            "memory_holds_what_is_in_the_log_and_no_more_than_its_limit_museum_i9",
            "no memory is modelled that could run out",
        ),
    ),
    (
        "I11",
        Tested(
            "a_member_that_hangs_holds_up_neither_writes_nor_its_removal_museum_i11",
            "the core waits for nobody: it returns what is to be done",
        ),
    ),
    ("J1", Found(&[M::J1SessionsNotInSnapshots])),
    ("J3", Found(&[M::J3UnknownSessionApplied])),
    ("J4", Found(&[M::J4LastCommandOnly])),
    ("J6", Found(&[M::J6FailedInsteadOfUnknown])),
    ("J7", Found(&[M::J7AppliedTwice])),
    ("J9", Found(&[M::J9MachineDiffers])),
    (
        "J10",
        Tested(
            "a_session_that_the_log_prolonged_is_not_ended_by_any_leaders_clock_museum_j10",
            "time that machines may look at comes through the log only",
        ),
    ),
    (
        "J12",
        Tested(
            "who_waits_while_the_leader_is_removed_is_told_once_museum_j12",
            "those who wait have one owner, by index and term",
        ),
    ),
    (
        "J13",
        Tested(
            "a_repeated_registration_finds_its_session_museum_j13",
            "the machine's host decides alone",
        ),
    ),
];

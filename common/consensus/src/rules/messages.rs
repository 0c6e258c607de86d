//! Which messages count: by plausibility, sender and term (§3.3).
//!
//! Requests are judged by term and log alone, whoever sends them: a node that missed a change of
//! members must not refuse the live majority for ever. A vote is given to a candidate with its data
//! directory, so a node that was taken in again with another one is a candidate of its own. Answers
//! count only from members with the data directory that the configuration records.

use crate::vocabulary::actions::Ignored;
use crate::vocabulary::configuration::Configuration;
use crate::vocabulary::ids::{EntryId, Incarnation, LogIndex, NodeId, Term};
use crate::vocabulary::input::SnapshotMeta;
use crate::vocabulary::message::{Body, Message, Verdict};

/// The largest step in term that a message is believed. Terms grow by one an election, so this is
/// decades away from any honest sender, and a single absurd message cannot use the terms up.
pub const TERM_JUMP_MAX: u64 = 1 << 32;

/// No term or index is ever larger.
pub const NUMBER_MAX: u64 = 1 << 62;

/// The node that a message has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver<'a> {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) term: Term,
    /// The configuration in force.
    pub(crate) latest: &'a Configuration,
    /// The one before it.
    pub(crate) previous: &'a Configuration,
}

/// Says why a message changes nothing, if so, whatever its receiver's role.
pub(crate) fn judge(
    receiver: &Receiver<'_>,
    from: NodeId,
    incarnation: Incarnation,
    message: &Message,
) -> Result<(), Ignored> {
    if from == receiver.id {
        return Err(Ignored::FromSelf);
    }
    if !is_plausible_term(message.term, receiver.term) {
        return Err(Ignored::Implausible);
    }
    check_places(message)?;
    if matches!(message.body, Body::Vote { candidate, .. } if candidate != receiver.incarnation) {
        return Err(Ignored::OtherIncarnation);
    }
    match receiver.latest.member(from) {
        // Whoever the latest configuration removes is fed until that is committed.
        None if is_answer(&message.body) && !receiver.previous.recognises(from, incarnation) => {
            Err(Ignored::NotMember)
        }
        Some(member) if member.incarnation != incarnation && !is_any_directorys(&message.body) => {
            Err(Ignored::OtherIncarnation)
        }
        None | Some(_) => Ok(()),
    }
}

/// Says whether a message counts under a data directory that the configuration does not record. It
/// may be a wiped one, whose answers count nowhere. But this node may have missed that the id was
/// given to another directory: then it must not refuse the leader for ever that was elected by
/// those who know, nor the only candidate whose log is long enough. A wiped directory does not
/// campaign: its own log must name it (see [`super::vote::may_campaign`]).
fn is_any_directorys(body: &Body) -> bool {
    match body {
        Body::AppendEntries { .. } | Body::RequestPreVote { .. } | Body::RequestVote { .. } => true,
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::Appended { .. }
        | Body::Conflict { .. }
        | Body::SnapshotInstalled { .. }
        | Body::TimeoutNow { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::Effects { .. }
        | Body::Room { .. } => false,
    }
}

/// Says whether a snapshot that a leader of `term` sent can be what it claims to be.
pub(crate) fn is_plausible_snapshot(meta: &SnapshotMeta, term: Term, own: Term) -> bool {
    is_plausible_term(term, own)
        && check_entry(meta.last, term).is_ok()
        && meta.configuration_index <= meta.last.index
}

/// Says whether a message of a higher term raises its receiver's term (§3.3). `stands_by_leader`
/// says that the receiver hears from a live leader, or may have granted a lease that still runs.
pub(crate) fn raises_term(body: &Body, stands_by_leader: bool) -> bool {
    match body {
        // A pre-vote names a term that nobody is in yet (§9.6).
        Body::RequestPreVote { .. } => false,
        Body::PreVote { verdict } => *verdict != Verdict::Granted,
        // A node that hears from a leader does not let a candidate disturb it (§4.2.3), unless that
        // leader asked for the election (§3.10).
        Body::RequestVote { transfer, .. } => *transfer || !stands_by_leader,
        Body::Vote { .. }
        | Body::AppendEntries { .. }
        | Body::Appended { .. }
        | Body::Conflict { .. }
        | Body::SnapshotInstalled { .. }
        | Body::TimeoutNow { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. } => true,
        Body::Effects { .. } | Body::Room { .. } => false,
    }
}

/// Says whether a message of an older term gets an answer, which tells the newer one (§3.3, museum
/// D2, D4).
pub(crate) fn is_answered_when_stale(body: &Body) -> bool {
    match body {
        Body::RequestPreVote { .. }
        | Body::RequestVote { .. }
        | Body::AppendEntries { .. }
        | Body::ReadIndex { .. } => true,
        // An answer to a former self, or of a leader that may lead no more (museum A7, F4).
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::Appended { .. }
        | Body::Conflict { .. }
        | Body::SnapshotInstalled { .. }
        | Body::TimeoutNow { .. }
        | Body::ReadIndexReply { .. }
        | Body::Effects { .. }
        | Body::Room { .. } => false,
    }
}

/// Says whether a message answers one that the receiver sent, so that only a member's counts.
fn is_answer(body: &Body) -> bool {
    match body {
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::Appended { .. }
        | Body::Conflict { .. }
        | Body::SnapshotInstalled { .. } => true,
        // A read index counts only from the leader that was asked, which the configuration of this
        // node may not know yet.
        Body::RequestPreVote { .. }
        | Body::RequestVote { .. }
        | Body::AppendEntries { .. }
        | Body::TimeoutNow { .. }
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::Effects { .. }
        | Body::Room { .. } => false,
    }
}

/// Checks that a message does not contradict itself, and speaks of no absurd places.
fn check_places(message: &Message) -> Result<(), Ignored> {
    let Message { term, body } = message;
    match body {
        Body::RequestPreVote { last } | Body::RequestVote { last, .. } => check_entry(*last, *term),
        Body::TimeoutNow { last } => check_entry(*last, *term),
        Body::AppendEntries { prev, entries, commit, .. } => {
            check_entry(*prev, *term)?;
            check_index(*commit)?;
            let mut before = *prev;
            for entry in entries {
                check_entry(entry.id, *term)?;
                if entry.id.index != before.index.next() || entry.id.term < before.term {
                    return Err(Ignored::Malformed);
                }
                before = entry.id;
            }
            Ok(())
        }
        Body::Conflict { refused, hint, .. } => {
            check_index(refused.index)?;
            check_index(hint.index)
        }
        Body::Appended { matched, .. } => check_index(*matched),
        Body::SnapshotInstalled { last } => check_index(last.index),
        Body::ReadIndexReply { index, .. } => check_index(index.unwrap_or_default()),
        Body::Effects { index, .. } => check_index(*index),
        Body::PreVote { .. } | Body::Vote { .. } | Body::ReadIndex { .. } | Body::Room { .. } => {
            Ok(())
        }
    }
}

fn is_plausible_term(term: Term, own: Term) -> bool {
    term.get() <= own.get().saturating_add(TERM_JUMP_MAX).min(NUMBER_MAX)
}

/// A message of a term cannot speak of entries of later terms, nor of absurd places.
fn check_entry(id: EntryId, term: Term) -> Result<(), Ignored> {
    check_index(id.index)?;
    if id.term > term { Err(Ignored::Malformed) } else { Ok(()) }
}

fn check_index(index: LogIndex) -> Result<(), Ignored> {
    if index.get() > NUMBER_MAX { Err(Ignored::Implausible) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::ids::ReadRound;

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn at(term: u64, index: u64) -> EntryId {
        EntryId { term: Term::new(term), index: LogIndex::new(index) }
    }

    fn judged(from: u64, term: u64, body: Body) -> Result<(), Ignored> {
        let nobody = Configuration::unknown();
        let term_of_receiver = Term::new(3);
        let receiver = Receiver {
            id: id(1),
            incarnation: Incarnation::new(1),
            term: term_of_receiver,
            latest: &nobody,
            previous: &nobody,
        };
        let message = Message { term: Term::new(term), body };
        judge(&receiver, id(from), Incarnation::new(7), &message)
    }

    #[test]
    fn requests_count_whoever_sends_them_and_answers_from_members_only_s4_2_2() {
        let request = Body::RequestVote { last: at(3, 5), transfer: false };
        assert_eq!(judged(2, 4, request.clone()), Ok(()));
        assert_eq!(judged(1, 4, request), Err(Ignored::FromSelf));
        let vote = |of| Body::Vote { candidate: Incarnation::new(of), verdict: Verdict::Granted };
        assert_eq!(judged(2, 4, vote(1)), Err(Ignored::NotMember));
        assert_eq!(judged(2, 4, vote(9)), Err(Ignored::OtherIncarnation), "not for this directory");
    }

    #[test]
    fn absurd_numbers_and_contradictions_count_from_nobody() {
        let request = |last| Body::RequestVote { last, transfer: false };
        assert_eq!(judged(2, 4, request(at(5, 5))), Err(Ignored::Malformed));
        assert_eq!(judged(2, 4, request(at(3, NUMBER_MAX))), Ok(()));
        assert_eq!(judged(2, 4, request(at(3, NUMBER_MAX + 1))), Err(Ignored::Implausible));
        let far = 3 + TERM_JUMP_MAX;
        assert_eq!(judged(2, far, request(at(3, 5))), Ok(()));
        assert_eq!(judged(2, far + 1, request(at(3, 5))), Err(Ignored::Implausible));
    }

    #[test]
    fn a_higher_term_is_taken_over_unless_a_leader_lives_s3_3_s4_2_3() {
        let request = |transfer| Body::RequestVote { last: at(3, 5), transfer };
        assert!(raises_term(&request(false), false));
        assert!(!raises_term(&request(false), true));
        assert!(raises_term(&request(true), true), "the leader asked for it");
        assert!(!raises_term(&Body::RequestPreVote { last: at(3, 5) }, false));
        assert!(!raises_term(&Body::PreVote { verdict: Verdict::Granted }, false));
        assert!(raises_term(&Body::PreVote { verdict: Verdict::LogBehind }, true));
        let (matched, round) = (LogIndex::new(5), ReadRound::ZERO);
        assert!(raises_term(&Body::Appended { matched, round }, true));
    }

    #[test]
    fn an_older_term_is_told_the_newer_one_and_its_answers_are_not_counted_s3_3() {
        assert!(is_answered_when_stale(&Body::RequestPreVote { last: at(3, 5) }));
        assert!(!is_answered_when_stale(&Body::Vote {
            candidate: Incarnation::new(1),
            verdict: Verdict::Granted
        }));
    }
}

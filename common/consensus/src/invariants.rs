//! What must hold of every state, and of every step between two states (after LogCabin's
//! `Invariants`). The first is cheap enough for every drain in production: it allocates nothing,
//! and takes a few comparisons for each member. The second is for tests and the simulator, which
//! keep a copy of the state before.

use crate::core::Core;
use crate::role::Role;
use crate::vocabulary::status::RoleKind;

/// Checks the state between two steps.
///
/// # Panics
/// If an invariant is broken: the process must not go on.
pub(crate) fn check_state(core: &Core, role: &Role) {
    let (base, last) = (core.log().base(), core.log().last());
    assert!(base.index <= last.index, "the log ends at or behind its base");
    assert!(last.term <= core.term(), "no entry is of a term to come");
    assert!(core.durable() <= last.index, "only what is in the log is durable");
    assert!(core.commit() <= last.index, "only what is in the log is committed");
    assert!(core.applied() <= core.handed(), "only what was handed out is applied");
    assert!(core.handed() <= core.commit(), "only what is committed is handed out");
    let installing = core.installing().is_some();
    assert!(base.index <= core.applied() || installing, "only what is applied is compacted");
    assert!(base.index <= core.handed(), "what is compacted is not handed out again");
    assert!(core.membership().index() <= last.index, "the configuration stands in the log");
    match role {
        Role::Follower(follower) => follower.check(core),
        Role::PreCandidate(_) => {}
        Role::Candidate(_) => {
            assert!(core.has_own_vote(), "a candidate votes for itself");
        }
        Role::Leader(leader) => leader.check(core),
    }
}

/// Checks the step from one state to another.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn check_transition(before: (&Core, &Role), after: (&Core, &Role)) {
    let ((then, role_then), (now, role_now)) = (before, after);
    assert!(now.term() >= then.term(), "terms never decrease (§3.3)");
    assert!(now.commit() >= then.commit(), "the commit index never moves back (§3.6)");
    assert!(now.handed() >= then.handed(), "nothing is handed out twice");
    assert!(now.applied() >= then.applied(), "nothing is unapplied");
    assert!(now.stamp() >= then.stamp(), "cluster time never moves back (§6.3)");
    assert!(now.log().base().index >= then.log().base().index, "compaction is for ever");
    let committed = then.log().id(then.commit());
    if let Some(id) = committed.filter(|id| id.index >= now.log().base().index) {
        assert!(now.log().contains(id), "committed entries stay (§3.6)");
    }
    if now.term() == then.term() {
        check_same_term((then, role_then), (now, role_now));
    }
}

fn check_same_term((then, role_then): (&Core, &Role), (now, role_now): (&Core, &Role)) {
    if let Some(vote) = then.vote() {
        assert!(now.vote() == Some(vote), "one vote a term (§3.4)");
    }
    let Role::Leader(leader_then) = role_then else {
        return;
    };
    if let Role::Leader(leader_now) = role_now {
        assert!(now.log().contains(then.log().last()), "a leader appends only (§3.5)");
        leader_now.check_transition(leader_then);
    }
    let stands = role_now.kind() == RoleKind::Candidate;
    assert!(!stands, "a leader does not stand again in its own term");
}

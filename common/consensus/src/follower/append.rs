//! The follower's side of replication (§3.5): check, cut, append, acknowledge.

use super::Follower;
use crate::core::Core;
use crate::rules::{commit, log_matching};
use crate::vocabulary::entry::Entry;
use crate::vocabulary::ids::{EntryId, LogIndex, NodeId, ReadRound};
use crate::vocabulary::message::Body;

impl Follower {
    /// Takes entries, or a heartbeat, of the leader that it follows.
    pub(crate) fn on_append_entries(
        &mut self,
        core: &mut Core,
        from: NodeId,
        prev: EntryId,
        entries: Vec<Entry>,
        commit: LogIndex,
        round: ReadRound,
    ) {
        if !log_matching::agrees(core.log(), prev) {
            let hint = core.log().last_within(prev);
            core.promise(from, Body::Conflict { refused: prev, hint, round });
            return;
        }
        let heartbeat = entries.is_empty();
        let verified = prev.index.advanced(entries.len() as u64);
        take_entries(core, entries);
        core.commit_to(commit::by_message(core.commit(), commit, verified));
        acknowledge(core, from, verified, heartbeat, round);
    }
}

/// Appends what is missing. Entries that stand already stay (museum B5).
fn take_entries(core: &mut Core, entries: Vec<Entry>) {
    let Some(first) = log_matching::first_missing(core.log(), &entries) else {
        return;
    };
    let index = entries[first].id.index;
    if index <= core.last_index() {
        core.truncate(index);
    }
    for entry in entries.into_iter().skip(first) {
        core.append(entry);
    }
}

/// Says how far the logs agree, once that is durable, and never beyond what this message has shown
/// (museum B4). A heartbeat is answered at once, for what is durable: the answer only says that
/// this node has not voted in a higher term by now (§6.4).
fn acknowledge(core: &mut Core, to: NodeId, verified: LogIndex, heartbeat: bool, round: ReadRound) {
    if heartbeat && core.hard_state_durable() {
        let matched = verified.min(core.durable());
        core.send(to, Body::Appended { matched, round });
    } else {
        core.promise(to, Body::Appended { matched: verified, round });
    }
}

//! Who is talked to, and who was removed: a member that leaves is talked to a little longer, so
//! that it hears that its removal is committed, and a node that was removed ends (§4.2.2, §4.2.3).

use std::collections::BTreeMap;

use consensus::{LogIndex, Member, NodeId, Raft, Timestamp};

use crate::lanes::Removal;

/// Who is no member any more is talked to for at least so long, in nanoseconds: long enough for its
/// leader to bring it the removal, and to say that it is committed.
const FAREWELL_NS: u64 = 5_000_000_000;

/// The nodes that this one talks to, and whether it still belongs to them.
#[derive(Clone, Debug)]
pub(crate) struct Departures {
    members: BTreeMap<NodeId, Member>,
    /// Who was a member until lately, and until when it is talked to.
    leaving: BTreeMap<NodeId, (Member, Timestamp)>,
    /// Whether it is other nodes than were told last.
    changed: bool,
    /// Where the configuration stands that names this node no longer, if it does not.
    without: Option<LogIndex>,
    removed: Option<Removal>,
}

impl Departures {
    /// Begins with the configuration that is in force.
    pub(crate) fn new(now: Timestamp, raft: &Raft) -> Self {
        let (members, leaving) = (BTreeMap::new(), BTreeMap::new());
        let mut new = Self { members, leaving, changed: true, without: None, removed: None };
        new.follow(now, raft);
        new
    }

    /// Another configuration is in force. Who is no member any more is still talked to for a
    /// while: it has yet to hear that its removal is committed, or it would campaign against it
    /// (museum C16).
    pub(crate) fn follow(&mut self, now: Timestamp, raft: &Raft) {
        let (configuration, index) = (raft.configuration(), raft.configuration_index());
        let members = configuration.members();
        let gone = self.members.extract_if(.., |id, _| !members.contains_key(id));
        let until = now.after(FAREWELL_NS);
        self.leaving.extend(gone.map(|(id, member)| (id, (member, until))));
        self.leaving.retain(|id, _| !members.contains_key(id));
        self.members.clone_from(members);
        self.changed = true;
        let gone = !members.contains_key(&raft.id()) && !configuration.voters().is_joint();
        self.without = Some(index).filter(|_| gone);
        self.applied(raft);
    }

    /// More of the log is applied: a node whose removal is committed has nothing to do any more.
    pub(crate) fn applied(&mut self, raft: &Raft) {
        if let Some(index) = self.without
            && index <= raft.applied()
            && raft.was_member()
        {
            self.without = None;
            self.removed = Some(Removal::Applied { index });
        }
    }

    /// Another node says that this one was removed, as the log that it has applied tells.
    pub(crate) fn told(&mut self, by: NodeId, reason: String) {
        self.removed.get_or_insert(Removal::Told { by, reason });
    }

    /// Returns the nodes to talk to if they are others than before. Who left long enough ago, and
    /// is fed by no leader any more, is not among them.
    pub(crate) fn peers(
        &mut self,
        now: Timestamp,
        raft: &Raft,
    ) -> Option<BTreeMap<NodeId, Member>> {
        if !self.leaving.is_empty() {
            let before = self.leaving.len();
            self.leaving.retain(|id, (_, until)| now < *until || raft.matched(*id).is_some());
            self.changed |= self.leaving.len() < before;
        }
        std::mem::take(&mut self.changed).then(|| {
            let leaving = self.leaving.iter().map(|(id, (member, _))| (*id, member.clone()));
            self.members.iter().map(|(id, member)| (*id, member.clone())).chain(leaving).collect()
        })
    }

    /// Takes the news that this node was removed.
    pub(crate) fn removed(&mut self) -> Option<Removal> {
        self.removed.take()
    }
}

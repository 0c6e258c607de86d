//! A state that differs from the others': what the log of the process says, and what is noted for
//! the next start.

use replica::{Difference, Differing};
use state_machine::Owner;
use transport::Responder;

use crate::lanes::query::{Asked, Part};
use crate::node::Node;

impl Node {
    /// Says how this node's state differs, if it does.
    pub(super) fn difference(&self) -> Option<String> {
        self.replica.differs().map(own)
    }

    /// Tells of it, and sees to it that a state of one's own is made anew at the next start.
    pub(super) fn tell_differing(&self, differing: Differing) {
        match differing {
            Differing::Own(difference) => {
                let why = own(difference);
                tracing::error!(
                    name: "state-differs",
                    "{why}; nothing is answered from it, and this node does not lead. `raftctl \
                     verify --bisect` finds the entry; behind a restart of raftd the state is made \
                     anew"
                );
                self.apply.condemn(why);
            }
            Differing::Peer { id, difference, outvoted } => {
                let Difference { index, ours, theirs } = difference;
                let who = self.replica.raft().configuration().member(id);
                let name = who.map(|member| member.name.clone()).unwrap_or_default();
                let judgement = if outvoted {
                    "a majority has this node's state"
                } else {
                    "there is no majority that could tell whose state is right"
                };
                tracing::error!(
                    name: "member-differs",
                    "the state of {name} (node {id}) differs from this node's behind entry \
                     {index}: its digest is {theirs:016x}, ours {ours:016x}; {judgement}"
                );
            }
        }
    }

    /// Answers a question about digests from what this node has, whatever its state.
    pub(super) fn answer_effects(&self, query: bytes::Bytes, responder: Responder) {
        let asked = Asked {
            part: Part::System(Owner::default()),
            query,
            responder,
            basis: consensus::Basis::Local,
            age_ms: None,
        };
        self.queries.answer(&self.view, vec![asked]);
    }
}

fn own(difference: Difference) -> String {
    let Difference { index, ours, theirs } = difference;
    format!(
        "this node's state differs from a majority's behind entry {index}: its digest is \
         {ours:016x}, theirs {theirs:016x}"
    )
}

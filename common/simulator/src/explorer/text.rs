//! A trace for people: one action a line.

use std::fmt::Write as _;

use consensus::{Body, Message};

use super::action::{Action, Change, Letter, Stream};
use super::search::Trace;

/// Returns a trace as numbered lines, and what it breaks.
pub fn describe(trace: &Trace) -> String {
    let mut text = String::new();
    for (number, action) in trace.actions.iter().enumerate() {
        writeln!(text, "{:>3}  {}", number + 1, line(action)).expect("a string takes everything");
    }
    text + "     => " + &trace.broken
}

fn line(action: &Action) -> String {
    match action {
        Action::Deliver(letter) => format!("deliver {}", said(letter)),
        Action::Repeat(letter) => format!("deliver, and keep a copy of, {}", said(letter)),
        Action::Drop(letter) => format!("lose {}", said(letter)),
        Action::Timeout(at, timer) => format!("node {}: {timer:?} timeout", at + 1),
        Action::Persist(at) => format!("node {}: its oldest write is durable", at + 1),
        Action::Crash(at, kept) => {
            format!("node {}: crash, {kept} writes under way survive; restart", at + 1)
        }
        Action::RollBack(at, back) => {
            format!("node {}: its disk is as it was {back} writes ago; restart", at + 1)
        }
        Action::Propose(at) => format!("node {}: a client proposes", at + 1),
        Action::Read(at) => format!("node {}: a client reads", at + 1),
        Action::Transfer(at, to) => {
            format!("node {}: an operator lets it hand over to node {}", at + 1, to + 1)
        }
        Action::Compact(at) => {
            format!("node {}: its state is durable, its log is compacted behind it", at + 1)
        }
        Action::Arrive(stream) => format!("deliver {}", sent(stream)),
        Action::Cut(stream) => format!("break off {}", sent(stream)),
        Action::Reconfigure(at, change) => format!("node {}: {}", at + 1, asked(*change)),
    }
}

fn sent(stream: &Stream) -> String {
    let Stream { from, to, term, meta } = stream;
    format!("{}->{} t{term} the snapshot up to {}", from + 1, to + 1, meta.last)
}

fn asked(change: Change) -> &'static str {
    match change {
        Change::Admit => "an operator admits the first node that is no member as a learner",
        Change::Promote => "an operator makes a voter of the first learner",
        Change::Replace => "an operator replaces the first other voter by the first learner",
        Change::Remove => "an operator removes the first other voter",
        Change::Leave => "an operator removes this node",
        Change::Demote => "an operator makes a learner of the first voter that has forgotten",
        Change::Renew => "an operator records the new directory of the first that has forgotten",
    }
}

fn said(letter: &Letter) -> String {
    let Letter { from, incarnation: _, to, message: Message { term, body } } = letter;
    let what = match body {
        Body::RequestPreVote { last } => format!("RequestPreVote(last {last})"),
        Body::PreVote { verdict } => format!("PreVote({verdict:?})"),
        Body::RequestVote { last, .. } => format!("RequestVote(last {last})"),
        Body::Vote { candidate, verdict } => format!("Vote({verdict:?} for {candidate})"),
        Body::AppendEntries { prev, entries, commit, round } => {
            let ids: Vec<String> = entries.iter().map(|entry| entry.id.to_string()).collect();
            let ids = ids.join(" ");
            format!("AppendEntries(prev {prev}, [{ids}], commit {commit}, round {round})")
        }
        Body::Appended { matched, round } => format!("Appended(matched {matched}, round {round})"),
        Body::Conflict { refused, hint, .. } => format!("Conflict({refused}, hint {hint})"),
        Body::SnapshotInstalled { last } => format!("SnapshotInstalled({last})"),
        Body::TimeoutNow { last } => format!("TimeoutNow({last})"),
        Body::ReadIndex { ticket } => format!("ReadIndex({ticket})"),
        Body::Effects { index, digest, .. } => format!("Effects({index}, {digest:x})"),
        Body::Room { lacks } => format!("Room(lacks {lacks})"),
        Body::ReadIndexReply { ticket, index } => format!("ReadIndexReply({ticket}, {index:?})"),
    };
    format!("{}->{} t{term} {what}", from + 1, to + 1)
}

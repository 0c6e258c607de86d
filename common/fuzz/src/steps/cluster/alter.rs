//! Changes to an honest message, such as no honest node makes.

use consensus::{Body, EntryId, LogIndex, Message, ReadRound, Term};

use crate::steps::bytes::Source;

/// Changes one number of the message, or what a list holds.
pub(super) fn alter(message: &mut Message, source: &mut Source<'_>) {
    if source.below(4) == 0 {
        message.term = Term::new(near(message.term.get(), source));
        return;
    }
    match &mut message.body {
        Body::RequestPreVote { last }
        | Body::RequestVote { last, .. }
        | Body::SnapshotInstalled { last }
        | Body::TimeoutNow { last } => alter_id(last, source),
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::ReadIndex { .. }
        | Body::Effects { .. }
        | Body::Room { .. } => {}
        Body::AppendEntries { prev, entries, commit, round } => match source.below(5) {
            0 => alter_id(prev, source),
            1 => *commit = LogIndex::new(near(commit.get(), source)),
            2 => *round = ReadRound::new(source.number()),
            3 => {
                let kept = source.below(entries.len() + 1);
                entries.truncate(kept);
            }
            _ => {
                let chosen = source.below(entries.len());
                if let Some(entry) = entries.get_mut(chosen) {
                    alter_id(&mut entry.id, source);
                }
            }
        },
        Body::Appended { matched, round } => match source.below(2) {
            0 => *matched = LogIndex::new(near(matched.get(), source)),
            _ => *round = ReadRound::new(source.number()),
        },
        Body::Conflict { refused, hint, round } => match source.below(3) {
            0 => alter_id(refused, source),
            1 => alter_id(hint, source),
            _ => *round = ReadRound::new(source.number()),
        },
        Body::ReadIndexReply { index, .. } => {
            *index = Some(LogIndex::new(source.number()));
        }
    }
}

fn alter_id(id: &mut EntryId, source: &mut Source<'_>) {
    match source.below(2) {
        0 => id.term = Term::new(near(id.term.get(), source)),
        _ => id.index = LogIndex::new(near(id.index.get(), source)),
    }
}

/// A number beside the given one, or any.
fn near(number: u64, source: &mut Source<'_>) -> u64 {
    match source.below(4) {
        0 => number.saturating_add(1),
        1 => number.saturating_sub(1),
        _ => source.number(),
    }
}

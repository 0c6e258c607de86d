//! Crash points: bugs hide behind power cuts that come just after something was said, or between
//! two steps that belong together, which chance alone hits too seldom.

use consensus::{Body, Event, Outgoing, Payload, RoleKind, Verdict};
use replica::Lanes;

use crate::chance::Chance;
use crate::coverage::Met;

/// After what a node may die, with the situation that this is, and of a thousand such moments, how
/// many are the last ones at most.
pub(crate) const MOMENTS: [(Met, u64); 9] = [
    (Met::CrashVoteSent, 40),
    (Met::CrashAckSent, 10),
    (Met::CrashElected, 200),
    (Met::CrashConfigurationAppended, 200),
    (Met::CrashSnapshotReceived, 300),
    (Met::CrashBaseWritten, 300),
    (Met::CrashInstalled, 300),
    (Met::CrashCompacted, 60),
    (Met::CrashBeforeCut, 100),
];

/// Of a thousand, for each of [`MOMENTS`].
pub(crate) type Odds = [u64; MOMENTS.len()];

/// Draws for one seed which moments are dangerous in it.
pub(crate) fn draw(chance: &mut Chance) -> Odds {
    let mut odds = [0; MOMENTS.len()];
    if chance.permille(700) {
        for (odd, (_, most)) in odds.iter_mut().zip(MOMENTS) {
            if chance.permille(500) {
                *odd = chance.between(1, most);
            }
        }
    }
    odds
}

/// Which moments the lanes of one step are; the place in [`MOMENTS`] is the bit.
pub(crate) fn of(lanes: &Lanes, received: bool, installed: bool) -> u16 {
    let mut found = Vec::new();
    for send in &lanes.send {
        if let Outgoing::Message { message, .. } = send {
            match &message.body {
                Body::Vote { verdict: Verdict::Granted } => found.push(Met::CrashVoteSent),
                Body::Appended { .. } => found.push(Met::CrashAckSent),
                Body::RequestPreVote { .. }
                | Body::PreVote { .. }
                | Body::RequestVote { .. }
                | Body::Vote { .. }
                | Body::AppendEntries { .. }
                | Body::Conflict { .. }
                | Body::SnapshotInstalled { .. }
                | Body::TimeoutNow { .. }
                | Body::ReadIndex { .. }
                | Body::ReadIndexReply { .. } => {}
            }
        }
    }
    if lanes.event.iter().any(|e| matches!(e, Event::Role(RoleKind::Leader, _))) {
        found.push(Met::CrashElected);
    }
    if lanes.install.is_some() {
        found.push(Met::CrashBaseWritten);
    }
    if received {
        found.push(Met::CrashSnapshotReceived);
    }
    if installed {
        found.push(Met::CrashInstalled);
    }
    if let Some(write) = &lanes.write {
        let configures =
            write.append.iter().any(|entry| matches!(entry.payload, Payload::Configuration(_)));
        if configures {
            found.push(Met::CrashConfigurationAppended);
        }
        if write.truncate_from.is_some() {
            found.push(Met::CrashBeforeCut);
        }
        if write.compact_to.is_some() {
            found.push(Met::CrashCompacted);
        }
    }
    let place = |met: &Met| MOMENTS.iter().position(|(moment, _)| moment == met);
    found.iter().filter_map(place).fold(0, |bits, place| bits | 1 << place)
}

/// Returns the moment at which the node dies, if it does.
pub(crate) fn strikes(bits: u16, odds: &Odds, chance: &mut Chance) -> Option<Met> {
    let (mut bits, mut struck) = (bits, None);
    while bits != 0 {
        let place = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        if odds[place] > 0 && chance.permille(odds[place]) {
            struck = struck.or(Some(MOMENTS[place].0));
        }
    }
    struck
}

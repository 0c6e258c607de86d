//! Crash points: many bugs need a crash just after a message was sent, or between two writes that
//! belong together. Random crashes hit these points too seldom.

use consensus::{Body, Event, Outgoing, Payload, RoleKind, Verdict};
use replica::Lanes;

use crate::coverage::Met;
use crate::rng::Rng;

/// The points at which a node may crash, and how many of a thousand such points are crashes at
/// most.
pub(crate) const CRASH_POINTS: [(Met, u64); 9] = [
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

/// Of a thousand, for each of [`CRASH_POINTS`].
pub(crate) type Odds = [u64; CRASH_POINTS.len()];

/// Draws for one seed at which points nodes crash, and how often.
pub(crate) fn draw(rng: &mut Rng) -> Odds {
    let mut odds = [0; CRASH_POINTS.len()];
    if rng.permille(700) {
        for (odd, (_, most)) in odds.iter_mut().zip(CRASH_POINTS) {
            if rng.permille(500) {
                *odd = rng.between(1, most);
            }
        }
    }
    odds
}

/// Returns the crash points that one step reaches, as bits: the place in [`CRASH_POINTS`].
pub(crate) fn of(lanes: &Lanes, received: bool, installed: bool) -> u16 {
    let mut found = Vec::new();
    for send in &lanes.send {
        if let Outgoing::Message { message, .. } = send {
            match &message.body {
                Body::Vote { verdict: Verdict::Granted, .. } => found.push(Met::CrashVoteSent),
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
                | Body::ReadIndexReply { .. }
                | Body::Effects { .. }
                | Body::Room { .. } => {}
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
    let place = |met: &Met| CRASH_POINTS.iter().position(|(crash_point, _)| crash_point == met);
    found.iter().filter_map(place).fold(0, |bits, place| bits | 1 << place)
}

/// Returns the point at which the node crashes, if it does.
pub(crate) fn strikes(bits: u16, odds: &Odds, rng: &mut Rng) -> Option<Met> {
    let (mut bits, mut struck) = (bits, None);
    while bits != 0 {
        let place = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        if odds[place] > 0 && rng.permille(odds[place]) {
            struck = struck.or(Some(CRASH_POINTS[place].0));
        }
    }
    struck
}

/// Says whether commands are written.
pub(crate) fn proposes(lanes: &replica::Lanes) -> bool {
    let commands = lanes.write.iter().flat_map(|write| &write.append);
    commands.into_iter().any(|entry| matches!(entry.payload, consensus::Payload::Command(_)))
}

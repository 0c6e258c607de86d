//! What a node tells about itself: the answer to a status request, and one line for the service
//! manager.

use consensus::{
    Configuration, Incarnation, LogIndex, Member, NodeId, PeerStatus, RoleKind, Status, Timestamp,
};
use protocol::{FormerReport, LeaseReport, NodeStatus, PeerReport, RoundReport};

use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::stalls::Stalls;

/// A disk that has not finished a write for so long is told of, in seconds.
const DISK_HANGS_S: u64 = 2;

/// What the transport knows of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Whether there is a connection to it.
    pub(crate) connected: bool,
    /// Round-trip time, in microseconds.
    pub(crate) rtt_us: Option<u64>,
    /// Why there is no connection; empty if there is.
    pub(crate) trouble: String,
    /// The process that the connection leads to.
    pub(crate) boot: Option<u64>,
    /// The data directory that it has, or had last.
    pub(crate) incarnation: Option<Incarnation>,
    /// For how long more than one process has been connected as it, in milliseconds.
    pub(crate) doubled_ms: Option<u64>,
    /// Since when there is a connection, or none, in milliseconds.
    pub(crate) since_ms: Option<u64>,
    /// Bytes of a snapshot that it has been sent, of how many.
    pub(crate) snapshot_bytes: (u64, u64),
    /// Behind which entry its state differs from this node's, which leads.
    pub(crate) differs_at: Option<LogIndex>,
}

/// Everything else that a status is made of.
pub(crate) struct Sources<'a> {
    /// Who this node is.
    pub(crate) identity: &'a Identity,
    /// Sizes on disk.
    pub(crate) gauges: &'a Gauges,
    /// Why this node does not serve; empty if it does.
    pub(crate) failure: &'a str,
    /// Why nothing is taken that adds data; empty if it is.
    pub(crate) no_room: String,
    /// Members with an alarm, and the voters without room for which this leader refuses data.
    pub(crate) alarms: Vec<NodeId>,
    pub(crate) shortage: Vec<NodeId>,
    /// How far clocks may run from true time, in parts per million; `None` if leases are off.
    pub(crate) lease_clock_error_ppm: Option<u32>,
    /// How often it sends heartbeats, and its shortest election timeout, in milliseconds.
    pub(crate) pace_ms: (u64, u64),
    /// What stands still.
    pub(crate) stalls: &'a Stalls,
    /// For how long the oldest write of the log has been under way, in milliseconds.
    pub(crate) disk_waits_ms: Option<u64>,
    /// For how long the question has been read for that is being answered, in milliseconds.
    pub(crate) reads_wait_ms: Option<u64>,
}

/// Puts a status together.
pub(crate) fn report(
    now: Timestamp,
    status: &Status<'_>,
    metrics: &mut Metrics,
    sources: &Sources<'_>,
    link: impl Fn(NodeId) -> Link,
) -> NodeStatus {
    let Sources { identity, gauges, failure, no_room, alarms, shortage, .. } = sources;
    let Sources { disk_waits_ms, lease_clock_error_ppm, pace_ms, stalls, .. } = sources;
    let waits_us = disk_waits_ms.unwrap_or_default().saturating_mul(1_000);
    let member = status.configuration.member(status.id);
    let ms = |since: Timestamp| now.since(since) / 1_000_000;
    let others = status.configuration.members().keys().filter(|id| **id != status.id);
    let follows = status.role == RoleKind::Follower && status.leader.is_some();
    NodeStatus {
        node: status.id,
        name: member.map(|member| member.name.clone()).unwrap_or_default(),
        address: address(identity, member),
        cluster: identity.cluster,
        generation: identity.generation,
        incarnation: status.incarnation,
        former: former(identity),
        starts: identity.starts,
        role: status.role,
        term: status.term.get(),
        voted_for: status.voted_for,
        leader: status.leader,
        leading_ms: status.leading_since.map(ms),
        heard_ms: status.contact.filter(|_| follows).map(ms),
        first: status.base.index.next().get(),
        last: status.last.index.get(),
        durable: status.durable.get(),
        commit: status.commit.get(),
        applied: status.applied.get(),
        configuration: status.configuration.clone(),
        configuration_index: status.configuration_index.get(),
        peers: others
            .map(|id| PeerReport {
                stalled_ms: stalls.peer_ms(now, *id),
                ..peer(now, *id, status.peers.iter().find(|peer| peer.id == *id), link(*id))
            })
            .collect(),
        refusals: status.refusals.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: now.get() / 1_000_000,
        log_bytes: gauges.log_bytes(),
        disk_total_bytes: gauges.space().map_or(0, |space| space.total_bytes),
        disk_free_bytes: gauges.free_bytes(),
        disk_reserve_bytes: gauges.space().map_or(0, |space| space.reserve_bytes),
        disk_needed_bytes: gauges.needed_bytes(),
        no_room: no_room.clone(),
        alarms: alarms.clone(),
        shortage: shortage.clone(),
        disk_waits_ms: *disk_waits_ms,
        reads_wait_ms: sources.reads_wait_ms,
        snapshot_damaged: gauges.damaged(),
        log_read: gauges.scrubs().log(),
        state_read: gauges.scrubs().state(),
        mended: gauges.scrubs().mended(),
        // What is not finished counts: it takes as long as it has taken at the least.
        fsync_p99_us: metrics.fsync.p99_us(now).unwrap_or_default().max(waits_us),
        apply_p99_us: metrics.apply.p99_us(now).unwrap_or_default(),
        commit_p99_us: metrics.commit.p99_us(now).unwrap_or_default(),
        operations_per_second: metrics.operations.per_s(now),
        failure: (*failure).to_owned(),
        lease: lease_clock_error_ppm.map(|clock_error_ppm| LeaseReport {
            clock_error_ppm,
            left_ms: status.lease_until.map(|until| until.since(now) / 1_000_000),
        }),
        boot: identity.boot,
        heartbeat_ms: pace_ms.0,
        election_timeout_ms: pace_ms.1,
        commit_stalled_ms: stalls.commit_ms(now),
        applied_stalled_ms: stalls.applied_ms(now),
        // Its certificate, its clock and its troubles are told likewise.
        ..uninitialised(now, identity, gauges)
    }
}

/// Says where the node is reached: as it advertises itself, else as the configuration has it.
fn address(identity: &Identity, member: Option<&Member>) -> String {
    let member = member.map(|member| &member.address);
    identity.advertise.as_ref().or(member).cloned().unwrap_or_default()
}

/// Returns the status of a node without a history.
pub(crate) fn uninitialised(now: Timestamp, identity: &Identity, gauges: &Gauges) -> NodeStatus {
    NodeStatus {
        node: identity.node,
        name: String::new(),
        address: identity.advertise.clone().unwrap_or_default(),
        cluster: identity.cluster,
        generation: None,
        incarnation: identity.incarnation,
        former: former(identity),
        starts: identity.starts,
        role: RoleKind::Follower,
        term: 0,
        voted_for: None,
        leader: None,
        leading_ms: None,
        heard_ms: None,
        first: 1,
        last: 0,
        durable: 0,
        commit: 0,
        applied: 0,
        configuration: Configuration::unknown(),
        configuration_index: 0,
        peers: Vec::new(),
        refusals: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: now.get() / 1_000_000,
        log_bytes: 0,
        disk_total_bytes: gauges.space().map_or(0, |space| space.total_bytes),
        disk_free_bytes: gauges.free_bytes(),
        disk_reserve_bytes: gauges.space().map_or(0, |space| space.reserve_bytes),
        disk_needed_bytes: gauges.needed_bytes(),
        no_room: String::new(),
        alarms: Vec::new(),
        shortage: Vec::new(),
        disk_waits_ms: None,
        reads_wait_ms: None,
        snapshot_damaged: String::new(),
        log_read: gauges.scrubs().log(),
        state_read: gauges.scrubs().state(),
        mended: gauges.scrubs().mended(),
        certificate_not_before: identity.certificate_end.unix_s().0,
        clock_unix_ms: clock_unix_ms(),
        certificate_not_after: identity.certificate_end.unix_s().1,
        fsync_p99_us: 0,
        apply_p99_us: 0,
        commit_p99_us: 0,
        operations_per_second: 0,
        failure: String::new(),
        lease: None,
        boot: identity.boot,
        heartbeat_ms: 0,
        election_timeout_ms: 0,
        commit_stalled_ms: None,
        applied_stalled_ms: None,
        troubles: gauges.troubles().told(),
    }
}

fn former(identity: &Identity) -> Option<FormerReport> {
    let former = identity.former?;
    Some(FormerReport { incarnation: former.incarnation, why: former.why.code() })
}

fn peer(now: Timestamp, id: NodeId, known: Option<&PeerStatus>, link: Link) -> PeerReport {
    PeerReport {
        id,
        matched: known.map_or(0, |peer| peer.matched.get()),
        next: known.map_or(0, |peer| peer.next.get()),
        flow: known.map(|peer| peer.flow),
        heard_ms: known.map(|peer| now.since(peer.heard) / 1_000_000),
        rtt_us: link.rtt_us,
        connected: link.connected,
        trouble: link.trouble,
        snapshot_bytes: link.snapshot_bytes,
        catch_up: known.and_then(|peer| peer.catch_up).map(|rounds| RoundReport {
            round: rounds.round,
            last_ms: rounds.last_round_ns.map(|ns| ns / 1_000_000),
        }),
        boot: link.boot,
        incarnation: link.incarnation,
        doubled_ms: link.doubled_ms,
        since_ms: link.since_ms,
        stalled_ms: None,
        differs_at: link.differs_at.map(LogIndex::get),
    }
}

/// Says in a few words what the node does, for `systemctl status`.
pub(crate) fn line(status: &Status<'_>, disk_waits_ms: Option<u64>) -> String {
    let (term, commit) = (status.term, status.commit);
    let hangs_s = disk_waits_ms.map(|ms| ms / 1_000).filter(|s| *s >= DISK_HANGS_S);
    match (status.role, status.leader) {
        _ if status.failed => "the disk failed; nothing is served".to_owned(),
        _ if let Some(seconds) = hangs_s => {
            format!("the disk has not finished a write for {seconds} s, in term {term}")
        }
        (RoleKind::Leader, _) => {
            let lease = if status.lease_until.is_some() { ", reads by lease" } else { "" };
            format!("leader in term {term}, commit index {commit}{lease}")
        }
        (RoleKind::Follower, Some(leader)) => {
            format!("follower of node {leader} in term {term}, commit index {commit}")
        }
        (RoleKind::Follower, None) => format!("no leader known in term {term}"),
        (RoleKind::PreCandidate, _) => format!("asks who would elect it, in term {term}"),
        (RoleKind::Candidate, _) => format!("asks for votes in term {term}"),
    }
}
/// What this machine's clock says: it judges certificates.
fn clock_unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

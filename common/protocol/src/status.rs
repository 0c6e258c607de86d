//! What a node tells about itself and its cluster.

use consensus::{Configuration, FlowKind, Incarnation, NodeId, RoleKind, Verdict};

use crate::configuration::{from_wire, node_id, to_wire};
use crate::error::ProtocolError;
use crate::generation::{Generation, cluster, optional_generation};
use crate::peer::{verdict, verdict_code};
use crate::trouble::TroubleReport;
use crate::wire::client as pb;

/// A node's answer to a status request. Ages are relative, so no two clocks are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its name; empty while it belongs to no cluster.
    pub name: String,
    /// Its address, as the configuration has it.
    pub address: String,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// Its history; `None` while it belongs to none.
    pub generation: Option<Generation>,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// The name that the directory has given up, since it has forgotten something, until the
    /// cluster knows the new one.
    pub former: Option<FormerReport>,
    /// How often a node was started with it.
    pub starts: u64,
    /// Its role.
    pub role: RoleKind,
    /// Its term.
    pub term: u64,
    /// Its vote in this term.
    pub voted_for: Option<NodeId>,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
    /// For how long it has led, in milliseconds.
    pub leading_ms: Option<u64>,
    /// How long ago it heard from its leader, in milliseconds.
    pub heard_ms: Option<u64>,
    /// The first index of its log.
    pub first: u64,
    /// The last index.
    pub last: u64,
    /// The last index on its disk.
    pub durable: u64,
    /// Its commit index.
    pub commit: u64,
    /// The last index that its state machine has applied.
    pub applied: u64,
    /// The configuration in force on this node.
    pub configuration: Configuration,
    /// Where that stands in the log.
    pub configuration_index: u64,
    /// The other members, as this node sees them.
    pub peers: Vec<PeerReport>,
    /// Who refuses to elect this node, and why.
    pub refusals: Vec<(NodeId, Verdict)>,
    /// The software's version.
    pub version: String,
    /// Since when the process runs, in milliseconds.
    pub uptime_ms: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Size of the file system with the data directory.
    pub disk_total_bytes: u64,
    /// Free bytes there, those of the reserve with them.
    pub disk_free_bytes: u64,
    /// What the node holds there in reserve, for a full disk; 0 if it is given back.
    pub disk_reserve_bytes: u64,
    /// What must be free there so that all that is taken can be flushed and compacted; 0 if the
    /// node does not say.
    pub disk_needed_bytes: u64,
    /// Why this node takes nothing that adds data; empty if it does.
    pub no_room: String,
    /// Members with an alarm in the state that it has applied: their disks have no room for more
    /// data.
    pub alarms: Vec<NodeId>,
    /// The voters without room, if this leader refuses data since those with room are no quorum.
    pub shortage: Vec<NodeId>,
    /// For how long the oldest write of its log has been under way, in milliseconds; `None` if none
    /// is.
    pub disk_waits_ms: Option<u64>,
    /// For how long the question that is being answered has taken so far, in milliseconds; `None`
    /// if none is.
    pub reads_wait_ms: Option<u64>,
    /// Which of its snapshots was not as it was written, and was set aside; empty if none lies
    /// there.
    pub snapshot_damaged: String,
    /// When all of its log was last read from the disk and was whole; `None` if it was not yet.
    pub log_read: Option<ReadThrough>,
    /// The same of its state.
    pub state_read: Option<ReadThrough>,
    /// What was damaged on its disk and was mended, since the process began; empty if nothing was.
    pub mended: String,
    /// When the certificate ends, in seconds since 1970.
    pub certificate_not_after: i64,
    /// When it began; 0 where that is not told.
    pub certificate_not_before: i64,
    /// What the node's clock said, in milliseconds since 1970; 0 where that is not told.
    pub clock_unix_ms: u64,
    /// 99th percentile of a synced log write, in microseconds.
    pub fsync_p99_us: u64,
    /// 99th percentile of applying a batch, in microseconds.
    pub apply_p99_us: u64,
    /// 99th percentile from a proposal to its answer, in microseconds.
    pub commit_p99_us: u64,
    /// Proposals and queries answered in the last seconds, per second.
    pub operations_per_second: u64,
    /// Why this node does not serve; empty if it does.
    pub failure: String,
    /// The lease by which a leader serves reads; `None` where leases are off, or the node belongs
    /// to no cluster.
    pub lease: Option<LeaseReport>,
    /// The process: another number after each start.
    pub boot: u64,
    /// How often it would send heartbeats, in milliseconds; 0 while it belongs to no cluster.
    pub heartbeat_ms: u64,
    /// Its shortest election timeout, in milliseconds; 0 while it belongs to no cluster.
    pub election_timeout_ms: u64,
    /// For how long its commit index has not moved, in milliseconds, to a second; `None` if all of
    /// its log is committed.
    pub commit_stalled_ms: Option<u64>,
    /// The same of what its state machine has applied; `None` if that is all that is committed.
    pub applied_stalled_ms: Option<u64>,
    /// What it cannot do at present, though it serves.
    pub troubles: Vec<TroubleReport>,
}

/// The name that a data directory has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerReport {
    /// The name.
    pub incarnation: Incarnation,
    /// Why it was given up: a number as storage has it, above 0.
    pub why: u8,
}

/// Everything was read from the disk, and was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadThrough {
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
    /// How many bytes that were.
    pub bytes: u64,
}

/// A node's lease (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseReport {
    /// How far clocks may run from true time, in parts per million; above 0.
    pub clock_error_ppm: u32,
    /// How long the lease stands yet if nobody extends it, in milliseconds, 0 if it has run out;
    /// `None` at a node that does not lead, or has no lease yet.
    pub left_ms: Option<u64>,
}

/// How a member that does not vote catches up (§4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// The round under way, or the last one; from 1 on.
    pub round: u32,
    /// How long the last complete round took, in milliseconds.
    pub last_ms: Option<u64>,
}

/// A member, as another node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// The member.
    pub id: NodeId,
    /// The highest index known to agree there; 0 where the reporting node does not lead.
    pub matched: u64,
    /// The next index to send.
    pub next: u64,
    /// How it is being fed.
    pub flow: Option<FlowKind>,
    /// How long ago it was heard from, in milliseconds.
    pub heard_ms: Option<u64>,
    /// Round-trip time, in microseconds.
    pub rtt_us: Option<u64>,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Why there is none; empty if there is.
    pub trouble: String,
    /// Bytes of a snapshot that it has been sent, of how many; both 0 if none is on its way.
    pub snapshot_bytes: (u64, u64),
    /// How it catches up, if it does not vote and the reporting node leads.
    pub catch_up: Option<RoundReport>,
    /// The process that the connection leads to; `None` without a connection.
    pub boot: Option<u64>,
    /// The data directory that it has, or had when there was a connection.
    pub incarnation: Option<Incarnation>,
    /// For how long more than one process has been connected as it, in milliseconds.
    pub doubled_ms: Option<u64>,
    /// Since when there is a connection, or none, in milliseconds; `None` if nobody has tried yet.
    pub since_ms: Option<u64>,
    /// For how long its log has not moved, in milliseconds, to a second; `None` if it has all, or
    /// the reporting node does not lead.
    pub stalled_ms: Option<u64>,
    /// Behind which entry its state was last seen to differ from that of the reporting node; `None`
    /// if it does not, or the reporting node does not lead.
    pub differs_at: Option<u64>,
}

impl NodeStatus {
    pub(crate) fn to_wire(&self) -> pb::Status {
        let id = |id: Option<NodeId>| id.map_or(0, NodeId::get);
        let refusal = |(by, verdict): &(NodeId, Verdict)| pb::Refusal {
            by: by.get(),
            verdict: verdict_code(*verdict),
        };
        pb::Status {
            node: self.node.get(),
            name: self.name.clone(),
            address: self.address.clone(),
            cluster: self.cluster.to_vec().into(),
            generation: self.generation.map(|g| g.bytes().to_vec().into()).unwrap_or_default(),
            incarnation: self.incarnation.get(),
            former: self.former.map_or(0, |former| former.incarnation.get()),
            former_why: self.former.map_or(0, |former| former.why.into()),
            starts: self.starts,
            initialised: self.generation.is_some(),
            role: role_code(self.role),
            term: self.term,
            voted_for: id(self.voted_for),
            leader: id(self.leader),
            leading_ms: self.leading_ms,
            first: self.first,
            last: self.last,
            durable: self.durable,
            commit: self.commit,
            applied: self.applied,
            configuration: Some(to_wire(&self.configuration)),
            configuration_index: self.configuration_index,
            peers: self.peers.iter().map(PeerReport::to_wire).collect(),
            refusals: self.refusals.iter().map(refusal).collect(),
            version: self.version.clone(),
            uptime_ms: self.uptime_ms,
            log_bytes: self.log_bytes,
            disk_total_bytes: self.disk_total_bytes,
            disk_free_bytes: self.disk_free_bytes,
            disk_reserve_bytes: self.disk_reserve_bytes,
            disk_needed_bytes: self.disk_needed_bytes,
            no_room: self.no_room.clone(),
            alarms: self.alarms.iter().map(|id| id.get()).collect(),
            shortage: self.shortage.iter().map(|id| id.get()).collect(),
            disk_waits_ms: self.disk_waits_ms,
            reads_wait_ms: self.reads_wait_ms,
            snapshot_damaged: self.snapshot_damaged.clone(),
            log_read_ms: self.log_read.map(|read| read.ago_ms),
            log_read_bytes: self.log_read.map_or(0, |read| read.bytes),
            state_read_ms: self.state_read.map(|read| read.ago_ms),
            state_read_bytes: self.state_read.map_or(0, |read| read.bytes),
            mended: self.mended.clone(),
            certificate_not_after: self.certificate_not_after,
            certificate_not_before: self.certificate_not_before,
            clock_unix_ms: self.clock_unix_ms,
            fsync_p99_us: self.fsync_p99_us,
            apply_p99_us: self.apply_p99_us,
            commit_p99_us: self.commit_p99_us,
            operations_per_second: self.operations_per_second,
            failure: self.failure.clone(),
            heard_ms: self.heard_ms,
            lease_clock_error_ppm: self.lease.map_or(0, |lease| lease.clock_error_ppm),
            lease_left_ms: self.lease.and_then(|lease| lease.left_ms),
            boot: self.boot,
            heartbeat_ms: self.heartbeat_ms,
            election_timeout_ms: self.election_timeout_ms,
            commit_stalled_ms: self.commit_stalled_ms,
            applied_stalled_ms: self.applied_stalled_ms,
            troubles: self.troubles.iter().map(TroubleReport::to_wire).collect(),
        }
    }

    pub(crate) fn from_wire(status: pb::Status) -> Result<Self, ProtocolError> {
        let id = |id: u64| if id == 0 { Ok(None) } else { node_id(id).map(Some) };
        let refusal = |refusal: &pb::Refusal| Ok((node_id(refusal.by)?, verdict(refusal.verdict)?));
        let configuration =
            status.configuration.ok_or(ProtocolError::Missing { what: "a configuration" })?;
        Ok(Self {
            node: node_id(status.node)?,
            name: status.name,
            address: status.address,
            cluster: cluster(&status.cluster)?,
            generation: optional_generation(&status.generation)?,
            incarnation: Incarnation::new(status.incarnation),
            former: (status.former_why > 0).then(|| FormerReport {
                incarnation: Incarnation::new(status.former),
                why: u8::try_from(status.former_why).unwrap_or(u8::MAX),
            }),
            starts: status.starts,
            role: role(status.role)?,
            term: status.term,
            voted_for: id(status.voted_for)?,
            leader: id(status.leader)?,
            leading_ms: status.leading_ms,
            heard_ms: status.heard_ms,
            first: status.first,
            last: status.last,
            durable: status.durable,
            commit: status.commit,
            applied: status.applied,
            configuration: from_wire(configuration)?,
            configuration_index: status.configuration_index,
            peers: status.peers.into_iter().map(PeerReport::from_wire).collect::<Result<_, _>>()?,
            refusals: status.refusals.iter().map(refusal).collect::<Result<_, _>>()?,
            version: status.version,
            uptime_ms: status.uptime_ms,
            log_bytes: status.log_bytes,
            disk_total_bytes: status.disk_total_bytes,
            disk_free_bytes: status.disk_free_bytes,
            disk_reserve_bytes: status.disk_reserve_bytes,
            disk_needed_bytes: status.disk_needed_bytes,
            no_room: status.no_room,
            alarms: status.alarms.into_iter().map(node_id).collect::<Result<_, _>>()?,
            shortage: status.shortage.into_iter().map(node_id).collect::<Result<_, _>>()?,
            disk_waits_ms: status.disk_waits_ms,
            reads_wait_ms: status.reads_wait_ms,
            snapshot_damaged: status.snapshot_damaged,
            log_read: read_through(status.log_read_ms, status.log_read_bytes),
            state_read: read_through(status.state_read_ms, status.state_read_bytes),
            mended: status.mended,
            certificate_not_after: status.certificate_not_after,
            certificate_not_before: status.certificate_not_before,
            clock_unix_ms: status.clock_unix_ms,
            fsync_p99_us: status.fsync_p99_us,
            apply_p99_us: status.apply_p99_us,
            commit_p99_us: status.commit_p99_us,
            operations_per_second: status.operations_per_second,
            failure: status.failure,
            lease: (status.lease_clock_error_ppm > 0).then_some(LeaseReport {
                clock_error_ppm: status.lease_clock_error_ppm,
                left_ms: status.lease_left_ms,
            }),
            boot: status.boot,
            heartbeat_ms: status.heartbeat_ms,
            election_timeout_ms: status.election_timeout_ms,
            commit_stalled_ms: status.commit_stalled_ms,
            applied_stalled_ms: status.applied_stalled_ms,
            troubles: status.troubles.into_iter().map(TroubleReport::from_wire).collect(),
        })
    }
}

impl PeerReport {
    fn to_wire(&self) -> pb::Peer {
        pb::Peer {
            id: self.id.get(),
            matched: self.matched,
            next: self.next,
            flow: self.flow.map_or(0, flow_code),
            heard_ms: self.heard_ms,
            rtt_us: self.rtt_us,
            connected: self.connected,
            trouble: self.trouble.clone(),
            snapshot_sent_bytes: self.snapshot_bytes.0,
            snapshot_size_bytes: self.snapshot_bytes.1,
            catch_up_round: self.catch_up.map_or(0, |rounds| rounds.round),
            last_round_ms: self.catch_up.and_then(|rounds| rounds.last_ms),
            boot: self.boot,
            incarnation: self.incarnation.map(Incarnation::get),
            doubled_ms: self.doubled_ms,
            since_ms: self.since_ms,
            stalled_ms: self.stalled_ms,
            differs_at: self.differs_at,
        }
    }

    fn from_wire(peer: pb::Peer) -> Result<Self, ProtocolError> {
        Ok(Self {
            id: node_id(peer.id)?,
            matched: peer.matched,
            next: peer.next,
            flow: flow(peer.flow)?,
            heard_ms: peer.heard_ms,
            rtt_us: peer.rtt_us,
            connected: peer.connected,
            trouble: peer.trouble,
            snapshot_bytes: (peer.snapshot_sent_bytes, peer.snapshot_size_bytes),
            catch_up: (peer.catch_up_round > 0)
                .then_some(RoundReport { round: peer.catch_up_round, last_ms: peer.last_round_ms }),
            boot: peer.boot,
            incarnation: peer.incarnation.map(Incarnation::new),
            doubled_ms: peer.doubled_ms,
            since_ms: peer.since_ms,
            stalled_ms: peer.stalled_ms,
            differs_at: peer.differs_at,
        })
    }
}

fn read_through(ago_ms: Option<u64>, bytes: u64) -> Option<ReadThrough> {
    ago_ms.map(|ago_ms| ReadThrough { ago_ms, bytes })
}

const fn role_code(role: RoleKind) -> u32 {
    match role {
        RoleKind::Follower => 1,
        RoleKind::PreCandidate => 2,
        RoleKind::Candidate => 3,
        RoleKind::Leader => 4,
    }
}

fn role(code: u32) -> Result<RoleKind, ProtocolError> {
    match code {
        1 => Ok(RoleKind::Follower),
        2 => Ok(RoleKind::PreCandidate),
        3 => Ok(RoleKind::Candidate),
        4 => Ok(RoleKind::Leader),
        _ => Err(ProtocolError::Unknown { what: "a role", found: code.into() }),
    }
}

const fn flow_code(flow: FlowKind) -> u32 {
    match flow {
        FlowKind::Probe => 1,
        FlowKind::Replicate => 2,
        FlowKind::Snapshot => 3,
    }
}

fn flow(code: u32) -> Result<Option<FlowKind>, ProtocolError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(FlowKind::Probe)),
        2 => Ok(Some(FlowKind::Replicate)),
        3 => Ok(Some(FlowKind::Snapshot)),
        _ => Err(ProtocolError::Unknown { what: "a flow", found: code.into() }),
    }
}

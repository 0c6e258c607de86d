//! The status for programs: ids, terms and indexes as text, ages with their unit in the key.

use client::{NodeStatus, PeerReport, ReadThrough, TroubleReport};
use consensus::{NodeId, RoleKind};
use serde_json::{Value, json};

use super::text::{role, state};
use crate::cluster::reasons::why_nobody_leads;
use crate::cluster::{Row, Survey, Told, Verdict};
use crate::codes::Code;

/// Writes it all.
pub(super) fn render(name: &str, survey: &Survey, verdict: &Verdict) -> Value {
    let leader = survey.leader();
    let first = survey.answers().next();
    let cluster = first
        .map(|status| status.cluster.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let losers = why_nobody_leads(survey, verdict);
    let remark = |(text, code): &(String, Code)| json!({ "text": text, "code": code.to_string() });
    json!({
        "name": name,
        "cluster": cluster,
        "health": verdict.health.to_string().replace(' ', "_"),
        "reason": verdict.reason,
        "toleratesFailures": verdict.tolerates,
        "leader": leader.map(|leader| json!({
            "id": leader.node.to_string(),
            "name": survey.name(leader.node),
            "term": leader.term.to_string(),
            "leadingMs": leader.leading_ms,
        })),
        // A leader that did not answer here, as those tell it who did.
        "leaderOutOfReach": survey.told().map(|told| out_of_reach(survey, &told)),
        "commit": leader.map(|leader| leader.commit.to_string()),
        "operationsPerSecond": leader.map(|leader| leader.operations_per_second),
        "commitP99Us": leader.map(|leader| leader.commit_p99_us),
        "voters": voters(survey),
        "learners": names(survey, survey.configuration().map(|found| {
            found.learners().iter().copied().collect()
        })),
        "remarks": verdict.remarks.iter().map(remark).collect::<Vec<_>>(),
        "whyNobodyLeads": losers,
        "nodes": survey.rows.iter().map(|row| node(survey, row)).collect::<Vec<_>>(),
        "tookUs": u64::try_from(survey.took.as_micros()).unwrap_or(u64::MAX),
    })
}

fn out_of_reach(survey: &Survey, told: &Told) -> Value {
    json!({
        "id": told.leader.to_string(),
        "name": survey.name(told.leader),
        "term": told.term.to_string(),
        "heardBy": told.by.iter().map(|id| survey.name(*id)).collect::<Vec<_>>(),
        "heardMs": told.heard_ms,
    })
}

fn voters(survey: &Survey) -> Value {
    names(survey, survey.configuration().map(|found| found.voters().iter().collect()))
}

fn names(survey: &Survey, ids: Option<Vec<NodeId>>) -> Value {
    ids.map(|ids| ids.into_iter().map(|id| survey.name(id)).collect::<Vec<_>>()).into()
}

/// Returns what is known of a node, for programs.
pub(crate) fn node(survey: &Survey, row: &Row) -> Value {
    let mut node = json!({
        "id": row.id.map(|id| id.to_string()),
        "name": row.name,
        "address": row.address,
        "role": role(survey, row.id),
        "reachable": row.answer.is_ok(),
    });
    match &row.answer {
        Ok(status) => {
            let peer = survey
                .leader()
                .and_then(|leader| leader.peers.iter().find(|peer| peer.id == status.node));
            node["state"] = json!(state(status, peer));
            node["status"] = status_of(status);
            node["status"]["peers"] = status.peers.iter().map(|peer| way(survey, peer)).collect();
            node["seenByLeader"] = json!(peer.map(peer_of));
        }
        Err(silence) => {
            node["state"] = json!("unreachable");
            node["error"] = json!(silence.why);
        }
    }
    node
}

fn status_of(status: &NodeStatus) -> Value {
    let mut data = json!({
        "generation": status.generation.map(|generation| generation.to_string()),
        "incarnation": status.incarnation.to_string(),
        "advertises": Some(&status.address).filter(|address| !address.is_empty()),
        "raftRole": match status.role {
            RoleKind::Follower => "follower",
            RoleKind::PreCandidate => "pre-candidate",
            RoleKind::Candidate => "candidate",
            RoleKind::Leader => "leader",
        },
        "term": status.term.to_string(),
        "votedFor": status.voted_for.map(|id| id.to_string()),
        "leader": status.leader.map(|id| id.to_string()),
        "heardMs": status.heard_ms,
        "first": status.first.to_string(),
        "last": status.last.to_string(),
        "durable": status.durable.to_string(),
        "commit": status.commit.to_string(),
        "applied": status.applied.to_string(),
        "configurationIndex": status.configuration_index.to_string(),
        "version": status.version,
        "uptimeMs": status.uptime_ms,
        "logBytes": status.log_bytes,
        "diskTotalBytes": status.disk_total_bytes,
        "diskFreeBytes": status.disk_free_bytes,
        "diskReserveBytes": status.disk_reserve_bytes,
        "diskNeededBytes": status.disk_needed_bytes,
        "noRoom": status.no_room,
        "alarms": status.alarms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "shortage": status.shortage.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "diskWaitsMs": status.disk_waits_ms,
        "snapshotDamaged": status.snapshot_damaged,
        "logRead": status.log_read.map(read_through),
        "stateRead": status.state_read.map(read_through),
        "mended": status.mended,
        "certificateNotAfterUnixS": status.certificate_not_after,
        "fsyncP99Us": status.fsync_p99_us,
        "applyP99Us": status.apply_p99_us,
        "commitP99Us": status.commit_p99_us,
        "operationsPerSecond": status.operations_per_second,
        "failure": status.failure,
        "commitStalledMs": status.commit_stalled_ms,
        "appliedStalledMs": status.applied_stalled_ms,
        "lease": status.lease.map(|lease| json!({
            "clockErrorPpm": lease.clock_error_ppm,
            "leftMs": lease.left_ms,
        })),
    });
    data["certificateNotBeforeUnixS"] = json!(status.certificate_not_before);
    data["clockUnixMs"] = json!(status.clock_unix_ms);
    data["readsWaitMs"] = json!(status.reads_wait_ms);
    data["troubles"] = status.troubles.iter().map(trouble).collect();
    data
}

/// Returns what the node cannot do at present.
fn trouble(report: &TroubleReport) -> Value {
    json!({ "what": report.what.name(), "why": report.why, "forMs": report.for_ms })
}

/// Returns when everything was last read from the disk, and how much.
fn read_through(read: ReadThrough) -> Value {
    json!({ "agoMs": read.ago_ms, "bytes": read.bytes })
}

/// Returns a node's own way to another one.
fn way(survey: &Survey, peer: &PeerReport) -> Value {
    json!({
        "id": peer.id.to_string(),
        "name": survey.name(peer.id),
        "connected": peer.connected,
        "sinceMs": peer.since_ms,
        "rttUs": peer.rtt_us,
        "trouble": peer.trouble,
    })
}

fn peer_of(peer: &PeerReport) -> Value {
    json!({
        "matched": peer.matched.to_string(),
        "next": peer.next.to_string(),
        "heardMs": peer.heard_ms,
        "rttUs": peer.rtt_us,
        "connected": peer.connected,
        "trouble": peer.trouble,
        "sinceMs": peer.since_ms,
        "stalledMs": peer.stalled_ms,
        "differsAt": peer.differs_at.map(|index| index.to_string()),
        "snapshotSentBytes": peer.snapshot_bytes.0,
        "snapshotSizeBytes": peer.snapshot_bytes.1,
        "catchUp": peer.catch_up.map(|rounds| json!({
            "round": rounds.round,
            "lastRoundMs": rounds.last_ms,
        })),
    })
}

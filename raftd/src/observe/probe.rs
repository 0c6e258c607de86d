//! Whether a node lives, and whether it serves.
//!
//! To be restarted mends a loop that hangs, and nothing else: so life depends on the loop alone,
//! never on a quorum, a disk or an alarm. A node that does not serve says why.

use std::time::{Duration, Instant};

use consensus::RoleKind;
use protocol::NodeStatus;

use crate::identity::holds;
use crate::observe::board::Posted;
use crate::observe::catalogue::seconds_of;

/// A loop that has not turned for so long hangs: as long as the watchdog of the systemd unit waits.
const LOOP_HANGS: Duration = Duration::from_secs(10);

/// What stands still for so long keeps a node from serving, in seconds.
const STALLED_S: f64 = 5.0;

/// A write that takes so long keeps a node from serving, in seconds.
const DISK_WAITS_S: f64 = 5.0;

/// Says why a node must be restarted, if it must. One that opens its log, or finishes its last
/// writes, lives however long that takes.
pub(crate) fn hangs(posted: &Posted, now: Instant) -> Option<String> {
    let age = now.saturating_duration_since(posted.turned?);
    let hangs = age > LOOP_HANGS && !posted.is_stopping;
    hangs.then(|| format!("the consensus loop has not turned for {} s", age.as_secs()))
}

/// Returns all that keeps a node from serving; empty if nothing does.
pub(crate) fn reasons(posted: &Posted, now: Instant) -> Vec<String> {
    let mut reasons: Vec<String> = hangs(posted, now).into_iter().collect();
    if posted.is_stopping {
        reasons.push("the node is stopping".to_owned());
    }
    match &posted.report {
        _ if posted.turned.is_none() => reasons.push("the log is being opened".to_owned()),
        Some(report) if report.status.generation.is_some() => {
            let since_s = now.saturating_duration_since(report.at).as_secs_f64();
            reasons.extend(of_status(&report.status, since_s));
        }
        Some(_) | None => reasons.push(posted.line.clone()),
    }
    reasons
}

fn of_status(status: &NodeStatus, since_s: f64) -> Vec<String> {
    if !status.failure.is_empty() {
        return vec![status.failure.clone()];
    }
    let mut reasons = Vec::new();
    let term = status.term;
    if status.configuration.member(status.node).is_none() {
        reasons.push("it is no member of the cluster yet: it waits to be added".to_owned());
    } else if status.leader.is_none() {
        let tries = match status.role {
            RoleKind::Candidate | RoleKind::PreCandidate => ", and asks the others for votes",
            RoleKind::Follower | RoleKind::Leader => "",
        };
        reasons.push(format!("it knows no leader in term {term}{tries}"));
    }
    let window = (status.certificate_not_before, status.certificate_not_after);
    if let Err(why) = holds(window, status.clock_unix_ms / 1_000) {
        reasons.push(format!("its certificate {why} by its own clock: nobody can connect to it"));
    }
    let lasts = |ms: Option<u64>| ms.map_or(0.0, |ms| seconds_of(ms) + since_s);
    let (running_s, commit_s) = (lasts(status.disk_waits_ms), lasts(status.commit_stalled_ms));
    if running_s >= DISK_WAITS_S {
        reasons.push(format!("the disk has not finished a write for {running_s:.0} s"));
    }
    if commit_s >= STALLED_S && status.role == RoleKind::Leader {
        reasons.push(format!("it leads, and nothing was committed for {commit_s:.0} s"));
    }
    let applied_s = lasts(status.applied_stalled_ms);
    if applied_s >= STALLED_S {
        let behind = status.commit.saturating_sub(status.applied);
        reasons.push(format!("nothing was applied for {applied_s:.0} s, {behind} entries wait"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(turned: Option<Duration>) -> (Posted, Instant) {
        let began = Instant::now();
        let now = began + Duration::from_secs(3_600);
        let line = "uninitialised: waiting".to_owned();
        (Posted { turned: turned.map(|ago| now - ago), line, ..Posted::default() }, now)
    }

    #[test]
    fn only_a_loop_that_has_turned_and_turns_no_more_hangs() {
        let (mut starting, now) = posted(None);
        assert_eq!(hangs(&starting, now), None);
        assert_eq!(reasons(&starting, now), ["the log is being opened"]);
        let (turning, now) = posted(Some(LOOP_HANGS));
        assert_eq!(hangs(&turning, now), None);
        assert_eq!(reasons(&turning, now), ["uninitialised: waiting"]);
        let (mut hanging, now) = posted(Some(LOOP_HANGS + Duration::from_secs(2)));
        let why = "the consensus loop has not turned for 12 s";
        assert_eq!(hangs(&hanging, now).as_deref(), Some(why));
        assert_eq!(reasons(&hanging, now)[0], why);
        // The last writes may take longer than that, and the loop does not turn meanwhile.
        for stopping in [&mut hanging, &mut starting] {
            stopping.is_stopping = true;
            assert_eq!(hangs(stopping, now), None);
            assert_eq!(reasons(stopping, now)[0], "the node is stopping");
        }
    }
}

//! Clocks that differ: a node whose clock is wrong refuses certificates that count, or takes those
//! that do not.

use client::NodeStatus;

use crate::cluster::survey::Survey;
use crate::codes::{self, Code};

/// Who differs by more is named, in milliseconds; beside the time that asking took.
const APART_MS: u64 = 10_000;

/// Says whose clock is behind or ahead of the leader's, or of the one in the middle, if nobody
/// leads or it is the leader's that differs from that one. The clock of this machine is one of
/// them.
pub(crate) fn clocks(survey: &Survey, now_unix_s: i64) -> Vec<(String, Code)> {
    let mut told: Vec<(String, u64)> = survey
        .rows
        .iter()
        .filter_map(|row| {
            let clock = row.answer.as_ref().ok()?.clock_unix_ms;
            (clock > 0).then(|| (row.name.clone(), clock))
        })
        .collect();
    let own = now_unix_s.max(0).unsigned_abs().saturating_mul(1_000);
    told.push(("this machine".to_owned(), own));
    let name = |leader: &NodeStatus| survey.name(leader.node);
    let took = u64::try_from(survey.took.as_millis()).unwrap_or(u64::MAX);
    let apart = APART_MS.saturating_add(took);
    told.sort_by_key(|(_, clock)| *clock);
    let middle = told[told.len() / 2].clone();
    let is_right = |leader: &&NodeStatus| leader.clock_unix_ms.abs_diff(middle.1) <= apart;
    let (reference, right) = match survey.leader().filter(is_right) {
        Some(leader) => (name(leader), leader.clock_unix_ms),
        None => middle,
    };
    let differs = told.into_iter().filter(|(_, clock)| clock.abs_diff(right) > apart);
    let line = |(who, clock): (String, u64)| {
        let by = certs::span_nearest(clock.abs_diff(right) / 1_000);
        let how = if clock < right { "behind" } else { "ahead of" };
        let text = format!(
            "{who}: the clock is {by} {how} {reference}'s: certificates are judged by it \
             (timedatectl)"
        );
        (text, codes::CLOCKS)
    };
    differs.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{NOW, survey, well};

    fn said(clocks_s: [i64; 3], own_s: i64) -> Vec<String> {
        let nodes = (1..).zip(clocks_s).map(|(id, behind_s)| NodeStatus {
            clock_unix_ms: u64::try_from(NOW + behind_s).unwrap_or(0) * 1_000,
            ..well(id)
        });
        clocks(&survey(nodes.map(Some).collect()), NOW + own_s)
            .into_iter()
            .map(|(text, _)| text)
            .collect()
    }

    #[test]
    fn whose_clock_is_wrong_is_said_and_by_how_much() {
        assert!(said([0, 5, -5], 3).is_empty());
        let behind = said([0, 0, -3 * 3_600], 0);
        assert_eq!(behind.len(), 1, "{behind:?}");
        assert!(behind[0].starts_with("n3: the clock is 3 hours behind n1's"), "{behind:?}");
        let ahead = said([0, 0, 0], 3_600);
        assert_eq!(ahead.len(), 1, "{ahead:?}");
        assert!(ahead[0].starts_with("this machine: the clock is 1 hour ahead of n1's"));
        let leader = said([600, 0, 1], 0);
        assert_eq!(leader.len(), 1, "{leader:?}");
        assert!(leader[0].starts_with("n1: the clock is 10 minutes ahead of n"), "{leader:?}");
    }
}

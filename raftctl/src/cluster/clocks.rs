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
    // Of two clocks neither is in the middle.
    let are_two = told.len() == 2;
    let is_right =
        |leader: &&NodeStatus| are_two || leader.clock_unix_ms.abs_diff(middle.1) <= apart;
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

/// Says whether a node's certificate holds by a node's clock.
pub(crate) fn holds_by(status: &NodeStatus, clock: &NodeStatus) -> bool {
    holds_at(status, i64::try_from(clock.clock_unix_ms / 1_000).unwrap_or(i64::MAX))
}

fn holds_at(status: &NodeStatus, now_unix_s: i64) -> bool {
    (status.certificate_not_before..=status.certificate_not_after).contains(&now_unix_s)
}

/// Returns a node whose certificate holds, and does not by another one's clock; that one itself
/// comes first.
pub(crate) fn distrusted<'a>(
    survey: &'a Survey,
    by: &'a NodeStatus,
    now_unix_s: i64,
) -> Option<&'a NodeStatus> {
    let wrongly = |status: &&NodeStatus| holds_at(status, now_unix_s) && !holds_by(status, by);
    std::iter::once(by).chain(survey.answers()).find(wrongly)
}

/// Says by whose clock certificates do not hold that do: connections outlive that, and the next one
/// is refused.
pub(crate) fn cut_off(survey: &Survey, now_unix_s: i64) -> Vec<(String, Code)> {
    let remark = |by: &NodeStatus| {
        let whose = distrusted(survey, by, now_unix_s)?;
        let (name, clock) = (survey.name(by.node), certs::utc(by.clock_unix_ms / 1_000));
        let whose = match whose.node == by.node {
            true => "its own certificate".to_owned(),
            false => format!("the certificate of {}", survey.name(whose.node)),
        };
        let text = format!(
            "{name}: by its clock, {clock}, {whose} does not hold: connections last, and no new \
             one is made (timedatectl)"
        );
        Some((text, codes::CERTIFICATES))
    };
    survey.answers().filter_map(remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::judge::judge;
    use crate::cluster::testing::{NOW, survey, well};
    use crate::cluster::verdict::Health;

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
        let alone = clocks(&survey(vec![Some(well(1))]), NOW + 3_600);
        assert_eq!(alone.len(), 1, "{alone:?}");
        assert!(alone[0].0.starts_with("this machine: the clock is 1 hour ahead"), "{alone:?}");
    }

    #[test]
    fn a_clock_by_which_a_certificate_does_not_hold_is_a_failure_that_is_to_come() {
        let year_s = 365 * 86_400;
        let clock = |seconds: i64| u64::try_from(NOW + seconds).unwrap_or(0) * 1_000;
        let ahead = NodeStatus { clock_unix_ms: clock(20 * year_s), ..well(2) };
        let all = survey(vec![Some(well(1)), Some(ahead), Some(well(3))]);
        let verdict = judge(&all, NOW);
        assert_eq!((verdict.health, verdict.tolerates), (Health::Degraded, Some(0)));
        assert!(verdict.reason.starts_with("n2: by its clock, "), "{}", verdict.reason);
        // Its own is old enough; n3 was renewed since.
        let behind = NodeStatus { clock_unix_ms: clock(-2 * 86_400), ..well(2) };
        let renewed = NodeStatus { certificate_not_before: NOW - 86_400, ..well(3) };
        let behind = NodeStatus { certificate_not_before: NOW - 3 * 86_400, ..behind };
        let all = survey(vec![Some(well(1)), Some(behind), Some(renewed)]);
        let verdict = judge(&all, NOW);
        assert_eq!(verdict.health, Health::Degraded);
        assert!(verdict.reason.contains("the certificate of n"), "{}", verdict.reason);
    }
}

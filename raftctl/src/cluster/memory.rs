//! Members whose data directory is not the one that the configuration records: they have forgotten
//! what they promised, and neither vote nor count, whatever contact there is.

use std::collections::{BTreeMap, BTreeSet};

use client::{FormerReport, NodeStatus};
use consensus::{NodeId, Tally};
use storage::Forgotten;

use crate::cluster::survey::Survey;
use crate::codes::{self, Code};
use crate::output::units;

/// Two processes that are connected as one member for so long are no restart, in milliseconds.
const DOUBLED_MS: u64 = 5_000;

/// Returns the members that have forgotten what they promised.
pub(crate) fn forgetful(survey: &Survey) -> BTreeSet<NodeId> {
    let Some(configuration) = survey.configuration() else { return BTreeSet::new() };
    let members = configuration.members().keys().copied();
    members.filter(|id| forgotten(survey, *id).is_some()).collect()
}

/// Says what a member has forgotten, how that is known, and what brings it back.
pub(crate) fn forgotten(survey: &Survey, id: NodeId) -> Option<(String, Code)> {
    let configuration = survey.configuration()?;
    let recorded = configuration.member(id)?.incarnation;
    let name = survey.name(id);
    let status = survey.row(id).and_then(|row| row.answer.as_deref().ok());
    let Some(status) = status.filter(|status| status.node == id) else {
        let leader = survey.leader()?;
        let peer = leader.peers.iter().find(|peer| peer.id == id && peer.connected)?;
        let seen = peer.incarnation.filter(|seen| *seen != recorded)?;
        let text = format!(
            "{name}: the leader {} meets it with data directory {seen}, the cluster knows \
             {recorded}: it neither votes nor counts: raftctl member heal {name}",
            survey.name(leader.node)
        );
        return Some((text, codes::FORGOTTEN));
    };
    if status.incarnation == recorded {
        return None;
    }
    let why = status.former.as_ref().map(|former| Forgotten::from_code(former.why));
    let (what, code) = match why {
        Some(Some(why @ Forgotten::Copied)) => (why.to_string(), codes::COPIED),
        Some(Some(
            why @ (Forgotten::TailLost
            | Forgotten::LogEnd
            | Forgotten::HardState
            | Forgotten::OtherTime
            | Forgotten::PeerKnowsMore
            | Forgotten::LogLost
            | Forgotten::Unrepairable
            | Forgotten::RunsTwice),
        )) => (why.to_string(), codes::FORGOTTEN),
        Some(None) => ("it has forgotten what it promised".to_owned(), codes::FORGOTTEN),
        None => ("its data directory was wiped or replaced".to_owned(), codes::WIPED_MEMBER),
    };
    // Who is let in again is let in by a majority that remembers.
    let remembers = |voter: NodeId| {
        let recorded = configuration.member(voter).map(|member| member.incarnation);
        let status = survey.row(voter).and_then(|row| row.answer.as_deref().ok());
        let status = status.filter(|status| status.node == voter);
        status.is_none_or(|status| Some(status.incarnation) == recorded)
    };
    let way = match configuration.voters().tally(|voter| Some(remembers(voter))) == Tally::Won {
        true => format!("raftctl member heal {name}"),
        false => {
            "a majority of the voters has lost what it knew: is the right disk mounted? If it \
                  is gone for good, save what a node that has its own knows (raftctl snapshot save \
                  FILE --node NAME), and begin a new history with it: raftctl snapshot restore"
                .to_owned()
        }
    };
    let mut text = format!("{name}: {what}: it neither votes nor counts: {way}");
    let mended = why.flatten().is_some_and(Forgotten::is_mended_by_word);
    if mended && needs_word(survey, status) {
        text.push_str(
            "; if that is the latest and the only one, stop raftd there and run: raftctl adopt \
             DATA_DIR",
        );
    }
    Some((text, code))
}

/// Says which members are being taken in again, and how far they are: by themselves they would look
/// like any learner, and the cluster as if nothing was amiss.
pub(crate) fn returning(survey: &Survey) -> Vec<(String, Code)> {
    let Some(configuration) = survey.configuration() else { return Vec::new() };
    let comes_back =
        configuration.returning().iter().filter(|id| forgotten(survey, **id).is_none());
    let remark = |id: &NodeId| {
        let name = survey.name(*id);
        let text = format!(
            "{name}: it had forgotten what it promised, and learns until it has caught up; then it \
             votes again: raftctl member heal {name} waits for it"
        );
        (text, codes::RETURNING)
    };
    comes_back.map(remark).collect()
}

/// Says which members two processes connect as, and to whom.
pub(crate) fn doubles(survey: &Survey) -> Vec<(String, Code)> {
    let mut found: BTreeMap<NodeId, (u64, Vec<String>)> = BTreeMap::new();
    for status in survey.answers() {
        for peer in &status.peers {
            // A process that was killed stays connected until its connection times out.
            let Some(ms) = peer.doubled_ms.filter(|ms| *ms >= DOUBLED_MS) else { continue };
            let (longest, to) = found.entry(peer.id).or_default();
            *longest = ms.max(*longest);
            to.push(survey.name(status.node));
        }
    }
    let remark = |(id, (ms, to)): (NodeId, (u64, Vec<String>))| {
        let (name, to, age) = (survey.name(id), to.join(" and "), units::age(ms));
        let address = survey.configuration().and_then(|c| c.member(id)).map(|m| m.address.as_str());
        let address = address.unwrap_or("its address");
        let text = format!(
            "{name}: two processes have been connected to {to} as {name} for {age}: stop the one \
             that is not at {address}"
        );
        (text, codes::RUNS_TWICE)
    };
    found.into_iter().map(remark).collect()
}

/// Says whether a copy does not come back by itself: nobody leads that could take it in.
fn needs_word(survey: &Survey, status: &NodeStatus) -> bool {
    let is_known = |former: &FormerReport| {
        let member = survey.configuration().and_then(|c| c.member(status.node));
        member.is_some_and(|member| member.incarnation == former.incarnation)
    };
    survey.leader().is_none() && status.former.as_ref().is_some_and(is_known)
}

#[cfg(test)]
mod tests {
    use consensus::{Configuration, Incarnation, Voters};

    use super::*;
    use crate::cluster::testing::{id, majority, survey, well};

    /// `heal` said that nobody leads, and to look at the status, which said: heal.
    #[test]
    fn the_only_voter_is_not_sent_to_others_when_it_has_forgotten() {
        let mut status = well(1);
        let all = status.configuration.members().clone();
        let learners = [id(2), id(3)].into();
        let one = Configuration::new(Voters::Stable(majority(&[1])), learners, all);
        status.configuration = one.expect("it is one voter and two learners");
        status.former = Some(client::FormerReport { incarnation: Incarnation::new(1), why: 2 });
        status.incarnation = Incarnation::new(99);
        let (told, code) = forgotten(&survey(vec![Some(status)]), id(1)).expect("it is another");
        assert_eq!(code, codes::FORGOTTEN);
        assert!(told.starts_with("n1: its log has lost its end"), "{told}");
        assert!(told.ends_with("raftctl snapshot restore"), "{told}");
    }
}

//! How a learner catches up, as its leader tells: in rounds (§4.2.1), and judged by an absolute
//! lag, for a ratio of a long log is long, too.

use std::time::{Duration, Instant};

use client::{Client, NodeStatus, PeerReport};
use consensus::{FlowKind, NodeId};
use tokio::time::sleep;

use crate::bundle::PlannedNode;
use crate::change::{Draft, Present};
use crate::cluster::pace::SILENT_MS;
use crate::cluster::troubles::troubles;
use crate::codes;
use crate::invocation::Invocation;
use crate::output::progress::Progress;
use crate::output::units;
use crate::report::{Report, Result};
use crate::target::Target;

/// A learner this close to the end of the log is promoted, in entries.
const LAG_MAX: u64 = 500;

/// A learner further behind is not even proposed to the leader, which would refuse it, in entries.
pub(crate) const LAG_HOPELESS: u64 = 1_000;

/// How often nodes are asked.
const POLL: Duration = Duration::from_millis(50);

/// A learner on its way.
struct Learner<'a> {
    node: &'a PlannedNode,
    /// Which round it is in, as the leader counts; none for who votes already.
    round: Option<u32>,
    /// The highest index known to agree there.
    matched: u64,
    lag: u64,
    ready: bool,
    /// What the leader says of the way there.
    trouble: String,
    /// What it has of a snapshot, while one is on its way.
    snapshot: Option<(u64, u64)>,
}

impl<'a> Learner<'a> {
    fn new(node: &'a PlannedNode) -> Self {
        let (round, matched, lag) = (None, 0, u64::MAX);
        let (trouble, snapshot) = (String::new(), None);
        Self { node, round, matched, lag, ready: false, trouble, snapshot }
    }

    /// Notes what the leader knows of it now.
    fn observe(&mut self, peer: Option<&PeerReport>, last: u64, configuration_index: u64) {
        let matched = peer.map_or(0, |peer| peer.matched);
        self.matched = matched;
        self.round = peer.and_then(|peer| peer.catch_up).map(|rounds| rounds.round);
        self.lag = last.saturating_sub(matched);
        // A node without the configuration that names it would not vote.
        self.ready = matched >= configuration_index && self.lag <= LAG_MAX;
        let fed = peer.filter(|peer| peer.flow == Some(FlowKind::Snapshot));
        self.snapshot = fed.map(|peer| peer.snapshot_bytes);
        self.trouble = peer.map(|peer| peer.trouble.clone()).unwrap_or_default();
    }

    /// Notes that it leads: nobody sends it the log, and nobody has more of it.
    fn leads(&mut self, last: u64) {
        *self = Self { matched: last, lag: 0, ready: true, ..Self::new(self.node) };
    }

    /// What it is by now: who votes has caught up before.
    fn role(&self) -> &'static str {
        if self.round.is_some() { "learner" } else { "voter  " }
    }

    fn line(&self) -> String {
        let how = self.snapshot.map_or_else(String::new, |(sent, all)| {
            format!("snapshot {}/{}   ", units::size(sent), units::size(all))
        });
        let round = self.round.map_or_else(String::new, |round| format!("round {round}   "));
        format!("{round}{how}lag {} entries", units::count(self.lag))
    }
}

/// Waits until the newcomers have almost all of the log.
///
/// # Errors
/// If they have not by `deadline`: who, how far, and why.
pub(crate) async fn wait(
    invocation: &Invocation,
    client: &Client,
    target: &Target,
    newcomers: &[PlannedNode],
    mut present: Present,
    deadline: Instant,
) -> Result<Present> {
    let began = Instant::now();
    let mut learners: Vec<Learner<'_>> = newcomers.iter().map(Learner::new).collect();
    let mut progress: Option<Progress> = None;
    loop {
        if let Ok(now) = present.followed(client, &target.nodes, began).await {
            present = now;
            still_there(&present, newcomers)?;
        }
        if let Some(leader) = present.survey.leader() {
            for learner in &mut learners {
                let was_ready = learner.ready;
                let id = NodeId::from(learner.node.id);
                match leader.node == id {
                    true => learner.leads(leader.last),
                    false => learner.observe(peer(leader, id), leader.last, present.index),
                }
                if learner.ready && !was_ready {
                    let (name, line) = (&learner.node.name, learner.line());
                    let took = began.elapsed().as_secs_f64();
                    let role = learner.role();
                    invocation.output.remark(&format!("{name}  {role}   {line}   in {took:.1} s"));
                }
            }
            let Some(worst) = worst(&learners) else {
                return Ok(present);
            };
            let what = format!("{}  learner  ", worst.node.name);
            let all = leader.last;
            let bar = progress.get_or_insert_with(|| Progress::new(&invocation.output, &what, all));
            bar.set(worst.matched.min(all), &worst.line());
        }
        if let Some(worst) = worst(&learners)
            && Instant::now() + POLL >= deadline
        {
            return Err(late(worst, own_trouble(&present, worst), began.elapsed()));
        }
        sleep(POLL).await;
    }
}

/// Somebody else may have removed one of them meanwhile: then nobody feeds it any more.
fn still_there(present: &Present, newcomers: &[PlannedNode]) -> Result<()> {
    let is_gone = |node: &&PlannedNode| present.configuration.member(node.id.into()).is_none();
    let Some(gone) = newcomers.iter().find(is_gone) else { return Ok(()) };
    let message = format!("{} is no member any more: it was removed meanwhile", gone.name);
    Err(Report::new(codes::NO_NODE, message).help("raftctl member history"))
}

fn worst<'a, 'b>(learners: &'b [Learner<'a>]) -> Option<&'b Learner<'a>> {
    learners.iter().filter(|learner| !learner.ready).max_by_key(|learner| learner.lag)
}

fn peer(leader: &NodeStatus, id: NodeId) -> Option<&PeerReport> {
    leader.peers.iter().find(|peer| peer.id == id)
}

/// Returns what a learner says itself that it cannot do.
fn own_trouble(present: &Present, learner: &Learner<'_>) -> Option<String> {
    let row = present.survey.row(NodeId::from(learner.node.id))?;
    let (name, status) = (&learner.node.name, row.answer.as_deref().ok()?);
    troubles(name, status).into_iter().next().map(|(text, _)| text)
}

fn late(learner: &Learner<'_>, own: Option<String>, took: Duration) -> Report {
    let (name, matched) = (&learner.node.name, units::count(learner.matched));
    let rate = units::count((learner.matched as f64 / took.as_secs_f64().max(1e-3)) as u64);
    let why = match learner.trouble.as_str() {
        "" => format!("it took in {rate} entries a second, up to {matched}"),
        trouble => trouble.to_owned(),
    };
    let why = own.unwrap_or(why);
    let message = format!("{name} has not caught up: {}; {why}", learner.line());
    Report::new(codes::NOT_CAUGHT_UP, message)
        .help("it stays a learner and does no harm; run this again to go on")
}

/// Checks that whoever is to vote has caught up, as far as the leader knows.
///
/// # Errors
/// If somebody has not: who, and how far behind.
pub(crate) fn check(present: &Present, draft: &Draft) -> Result<()> {
    let Some(leader) = present.survey.leader() else {
        return Ok(());
    };
    let learns = |id: &NodeId| present.configuration.learners().contains(id);
    for id in draft.voters.iter().copied().filter(learns) {
        let known = peer(leader, id);
        let matched = known.map_or(0, |peer| peer.matched);
        let lag = leader.last.saturating_sub(matched);
        if matched < present.index || lag > LAG_HOPELESS {
            let name = present.survey.name(id);
            let heard_ms = known.and_then(|peer| peer.heard_ms);
            if leader.node != id && heard_ms.is_none_or(|ms| ms > SILENT_MS) {
                let trouble = known.map_or("", |peer| peer.trouble.as_str());
                return Err(silent(&name, heard_ms, trouble));
            }
            let (lag, most) = (units::count(lag), units::count(LAG_HOPELESS));
            let message = format!("{name} has not caught up: it is {lag} entries behind");
            return Err(Report::new(codes::NOT_CAUGHT_UP, message)
                .help(format!("raftctl status    (LAG must be {most} at most)")));
        }
    }
    Ok(())
}

/// How far it is cannot be known of one that its leader does not hear.
fn silent(name: &str, heard_ms: Option<u64>, trouble: &str) -> Report {
    let since = heard_ms.map_or_else(String::new, |ms| format!(" for {}", units::age(ms)));
    let why = if trouble.is_empty() { String::new() } else { format!(": {trouble}") };
    let message = format!("{name} has not been heard by the leader{since}{why}");
    Report::new(codes::NOT_CAUGHT_UP, message).help("raftctl status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::RoundReport;
    use std::num::NonZeroU64;

    fn node() -> PlannedNode {
        PlannedNode { id: NonZeroU64::MIN, name: "n4".into(), address: "n4:7400".into() }
    }

    fn peer(matched: u64) -> PeerReport {
        PeerReport {
            id: NodeId::new(4).expect("it is not 0"),
            matched,
            next: matched + 1,
            flow: Some(FlowKind::Replicate),
            heard_ms: Some(1),
            rtt_us: None,
            connected: true,
            trouble: String::new(),
            snapshot_bytes: (0, 0),
            catch_up: Some(RoundReport { round: 2, last_ms: Some(40) }),
            boot: Some(4),
            incarnation: None,
            doubled_ms: None,
            since_ms: Some(1_000),
            stalled_ms: None,
            differs_at: None,
        }
    }

    #[test]
    fn the_lag_decides_and_the_round_is_shown_s4_2_1() {
        let node = node();
        let mut learner = Learner::new(&node);
        learner.observe(None, 10_000, 5);
        assert_eq!((learner.round, learner.lag, learner.ready), (None, 10_000, false));
        learner.observe(Some(&peer(10_000)), 12_000, 5);
        assert_eq!((learner.round, learner.ready), (Some(2), false));
        assert_eq!(learner.line(), "round 2   lag 2,000 entries");
        learner.observe(Some(&peer(11_600)), 12_100, 5);
        assert_eq!(
            (learner.round, learner.ready),
            (Some(2), true),
            "the lag counts, not the round"
        );
        let (flow, snapshot_bytes) = (Some(FlowKind::Snapshot), (1 << 20, 3 << 20));
        learner.observe(Some(&PeerReport { flow, snapshot_bytes, ..peer(0) }), 12_100, 5);
        assert_eq!(learner.line(), "round 2   snapshot 1.0 M/3.0 M   lag 12,100 entries");
        let voter = PeerReport { catch_up: None, ..peer(12_100) };
        learner.observe(Some(&voter), 12_100, 5);
        assert_eq!((learner.line().as_str(), learner.role()), ("lag 0 entries", "voter  "));
    }

    #[test]
    fn who_leads_has_all_of_the_log() {
        let node = node();
        let mut leader = Learner::new(&node);
        leader.observe(None, 10_000, 5);
        leader.leads(10_000);
        assert_eq!((leader.lag, leader.ready, leader.role()), (0, true, "voter  "));
    }

    #[test]
    fn a_learner_without_the_configuration_is_not_ready_however_short_the_log() {
        let node = node();
        let mut learner = Learner::new(&node);
        learner.observe(Some(&peer(6)), 8, 7);
        assert!(!learner.ready);
        learner.observe(Some(&peer(7)), 8, 7);
        assert!(learner.ready);
    }

    /// "8 entries behind (LAG must be 1,000 at most)" was said of a process that hung.
    #[test]
    fn who_is_not_heard_is_not_said_to_be_behind() {
        let said = |heard_ms, trouble| silent("n4", heard_ms, trouble).message;
        assert_eq!(said(Some(12_000), ""), "n4 has not been heard by the leader for 12 s");
        assert_eq!(said(None, "no answer"), "n4 has not been heard by the leader: no answer");
    }

    #[test]
    fn who_is_late_is_named_with_numbers_and_the_reason() {
        let node = node();
        let mut learner = Learner::new(&node);
        learner.observe(Some(&peer(1_000)), 50_000, 7);
        let said = late(&learner, None, Duration::from_secs(10)).message;
        let wanted = "n4 has not caught up: round 2   lag 49,000 entries; it took in 100 entries a \
                      second, up to 1,000";
        assert_eq!(said, wanted);
        let silent = PeerReport { trouble: "no answer".into(), ..peer(0) };
        learner.observe(Some(&silent), 50_000, 7);
        let said = |own| late(&learner, own, Duration::from_secs(10)).message;
        assert!(said(None).ends_with("; no answer"));
        assert!(said(Some("n4: no room".into())).ends_with("; n4: no room"));
    }
}

//! A change of members as the operator sees it: what is, what will be, what is tolerated meanwhile,
//! and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError};
use consensus::{Configuration, Majority, Member, NodeId, Voters};
use tokio::time::sleep;

use crate::cluster::Survey;
use crate::cluster::misplaced::misplaced;
use crate::cluster::quorum::{heard, shortage, tolerance};
use crate::cluster::reasons::{no_leader_answers, unreachable};
use crate::codes;
use crate::context::Node;
use crate::look::{again, look};
use crate::report::{Report, Result};

/// How often it is looked how a change ended whose outcome is unknown.
const POLL: Duration = Duration::from_millis(100);

/// An election takes no longer, unless something is wrong.
const ELECTION: Duration = Duration::from_secs(3);

/// Roles and descriptions, to be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Who votes.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Who receives the log only.
    pub(crate) learners: BTreeSet<NodeId>,
    /// Those of them that are to vote again when they have caught up.
    pub(crate) returning: BTreeSet<NodeId>,
    /// What is known of each.
    pub(crate) members: BTreeMap<NodeId, Member>,
}

/// How many failures are tolerated, whichever members they hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tolerances {
    /// Now.
    pub(crate) before: usize,
    /// While both majorities must agree.
    pub(crate) during: usize,
    /// When the change is done.
    pub(crate) after: usize,
}

/// The members as the leader knows them, and where that stands.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    /// The configuration in force.
    pub(crate) configuration: Configuration,
    /// Its index: a change names it, so that it changes nothing else than was seen.
    pub(crate) index: u64,
    /// What all nodes said.
    pub(crate) survey: Survey,
}

/// Says why no leader answers, after what cannot be done therefore.
pub(crate) fn no_leader(survey: &Survey, therefore: &str) -> Report {
    if survey.answers().next().is_none() {
        return unreachable(survey);
    }
    let (why, causes) = no_leader_answers(survey);
    let message = format!("{therefore}{why}");
    let report = Report::new(codes::NO_LEADER, message).causes(causes).help("raftctl status");
    let moved = "raftctl explain R0408    (the nodes are not where they look for each other)";
    if misplaced(survey).is_empty() { report } else { report.help(moved) }
}

impl Present {
    /// Asks all nodes.
    ///
    /// # Errors
    /// If nobody leads, for only a leader can change anything.
    pub(crate) async fn ask(client: &Client, nodes: &[Node]) -> Result<Self> {
        Self::ask_for(client, nodes, "members cannot be changed: ").await
    }

    /// Asks all nodes, for the sake of what cannot be done without a leader.
    ///
    /// # Errors
    /// If nobody leads.
    pub(crate) async fn ask_for(client: &Client, nodes: &[Node], cannot: &str) -> Result<Self> {
        let survey = look(client, nodes).await;
        let Some(leader) = survey.leader() else {
            return Err(no_leader(&survey, cannot));
        };
        let (configuration, index) = (leader.configuration.clone(), leader.configuration_index);
        Ok(Self { configuration, index, survey })
    }

    /// Asks again, and waits for nobody who was silent before.
    ///
    /// # Errors
    /// If nobody leads just now.
    pub(crate) async fn again(&self, client: &Client) -> Result<Self> {
        let survey = again(client, &self.survey).await;
        let Some(leader) = survey.leader() else {
            let message = "nobody leads just now: members cannot be changed";
            return Err(Report::new(codes::NO_LEADER, message).help("raftctl status"));
        };
        let (configuration, index) = (leader.configuration.clone(), leader.configuration_index);
        Ok(Self { configuration, index, survey })
    }

    /// Asks again while something is waited for that began then: for a moment only who answered
    /// before, for an election takes no longer; then all, if nobody leads.
    ///
    /// # Errors
    /// If nobody leads just now.
    pub(crate) async fn followed(
        &self,
        client: &Client,
        nodes: &[Node],
        began: Instant,
    ) -> Result<Self> {
        if began.elapsed() < ELECTION {
            self.again(client).await
        } else {
            self.renewed(client, nodes).await
        }
    }

    /// Asks again; all, if nobody leads just now.
    ///
    /// # Errors
    /// As [`Present::ask`].
    pub(crate) async fn renewed(&self, client: &Client, nodes: &[Node]) -> Result<Self> {
        match self.again(client).await {
            Ok(present) => Ok(present),
            Err(_) => Self::ask(client, nodes).await,
        }
    }

    /// Asks all nodes until no change of members is under way: the one before this was cut off
    /// here, and the leader brings it to its end.
    ///
    /// # Errors
    /// As [`Present::ask`]; if a change is still under way after `patience`.
    pub(crate) async fn settled(
        client: &Client,
        nodes: &[Node],
        patience: Duration,
    ) -> Result<Self> {
        Self::ask(client, nodes).await?.until_settled(client, nodes, patience).await
    }

    /// Asks again until no change of members is under way.
    ///
    /// # Errors
    /// As [`Present::settled`].
    pub(crate) async fn until_settled(
        self,
        client: &Client,
        nodes: &[Node],
        patience: Duration,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut present = self;
        loop {
            if !present.configuration.voters().is_joint() {
                return Ok(present);
            }
            if began.elapsed() >= patience {
                let joint = &present.configuration;
                let short = shortage(joint.voters(), &present.alive());
                let why = short.map_or_else(String::new, |short| format!(": {short}"));
                let message = format!("a change of members is under way and does not end{why}");
                return Err(Report::new(codes::CHANGE_REFUSED, message).help("raftctl status"));
            }
            sleep(POLL).await;
            present = present.renewed(client, nodes).await?;
        }
    }

    /// Finds a member by its name or id.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(&self, wanted: &str) -> Result<NodeId> {
        find(&self.configuration, wanted).map(|(id, _)| id)
    }

    /// Starts from what is.
    pub(crate) fn draft(&self) -> Draft {
        let (_, voters) = self.configuration.voters().halves();
        Draft {
            voters: voters.iter().collect(),
            learners: self.configuration.learners().clone(),
            returning: self.configuration.returning().clone(),
            members: self.configuration.members().clone(),
        }
    }

    /// Names voters in words.
    pub(crate) fn names(&self, ids: impl IntoIterator<Item = NodeId>, draft: &Draft) -> String {
        let name = |id: NodeId| {
            let known = draft.members.get(&id).or_else(|| self.configuration.member(id));
            known.map_or_else(|| format!("node {id}"), |member| member.name.clone())
        };
        ids.into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    /// The members that take part, as the leader hears them.
    pub(crate) fn alive(&self) -> BTreeSet<NodeId> {
        self.survey.leader().map(|leader| heard(&self.survey, leader)).unwrap_or_default()
    }

    /// Who takes part when a change is made: newcomers have caught up by then, and who has moved
    /// answers at the new address, or the leader refuses the change.
    fn alive_then(&self, draft: &Draft) -> BTreeSet<NodeId> {
        let mut alive = self.alive();
        let members = self.configuration.members();
        alive.extend(draft.voters.iter().filter(|id| !members.contains_key(id)));
        alive.extend(self.moved(draft).map(|(id, _, _)| id));
        alive
    }

    /// Returns who is at another address then, with the present one and that one.
    pub(crate) fn moved<'a>(
        &'a self,
        draft: &'a Draft,
    ) -> impl Iterator<Item = (NodeId, &'a str, &'a str)> {
        self.configuration.members().iter().filter_map(|(id, now)| {
            let then = draft.members.get(id).filter(|then| then.address != now.address)?;
            Some((*id, now.address.as_str(), then.address.as_str()))
        })
    }

    /// The voters while the change is under way, and afterwards.
    fn phases(&self, draft: &Draft) -> (Voters, Voters) {
        let (_, outgoing) = self.configuration.voters().halves();
        let incoming = Majority::new(draft.voters.iter().copied());
        let after = Voters::Stable(incoming.clone());
        if *outgoing == incoming {
            return (after.clone(), after);
        }
        (Voters::Joint { outgoing: outgoing.clone(), incoming }, after)
    }

    /// Says what is tolerated before, during and after a change.
    pub(crate) fn tolerances(&self, draft: &Draft) -> Tolerances {
        let alive = self.alive_then(draft);
        let (joint, after) = self.phases(draft);
        Tolerances {
            before: tolerance(self.configuration.voters(), &self.alive()),
            during: tolerance(&joint, &alive),
            after: tolerance(&after, &alive),
        }
    }

    /// Returns both majorities of a change of voters, each as names and how many of them answer;
    /// `None` if no voter changes.
    pub(crate) fn halves(&self, draft: &Draft) -> Option<[(String, String); 2]> {
        let (joint, _) = self.phases(draft);
        let (Some(outgoing), incoming) = joint.halves() else {
            return None;
        };
        let alive = self.alive_then(draft);
        Some([outgoing, incoming].map(|half| {
            let names = self.names(half.iter(), draft).replace(' ', ",");
            let answer = half.iter().filter(|id| alive.contains(id)).count();
            (format!("{{{names}}}"), format!("{answer}/{}", half.len()))
        }))
    }

    /// Checks that a majority is there during the change and after it.
    ///
    /// # Errors
    /// If one is not: nothing could be decided any more.
    pub(crate) fn check(&self, draft: &Draft) -> Result<()> {
        // What makes no configuration is refused before anybody is asked.
        draft.configuration()?;
        let alive = self.alive_then(draft);
        let (joint, after) = self.phases(draft);
        for (when, voters) in [("during", joint), ("after", after)] {
            if let Some(short) = shortage(&voters, &alive) {
                let message = format!("there would be no quorum {when} the change: {short}");
                return Err(Report::new(codes::WOULD_LOSE_QUORUM, message).help("raftctl status"));
            }
        }
        Ok(())
    }

    /// Checks that the members go on while this one is away, which has to make room for another one
    /// at its address.
    ///
    /// # Errors
    /// If they would not: nothing could be decided, and what it has may be the last copy.
    pub(crate) fn check_without(&self, leaving: NodeId) -> Result<()> {
        let mut alive = self.alive();
        alive.remove(&leaving);
        let Some(short) = shortage(self.configuration.voters(), &alive) else { return Ok(()) };
        let name = self.survey.name(leaving);
        let message = format!(
            "another node can take {name}'s address only when {name} is gone, and without it there \
             would be no quorum: {short}"
        );
        Err(Report::new(codes::WOULD_LOSE_QUORUM, message)
            .help("another port or address for the new node, so that both run meanwhile"))
    }

    /// Returns the voter that should lead if the leader is to go: it stays a voter, answers, and
    /// has most of the log. `None` if the leader stays, or nobody is there.
    pub(crate) fn successor(&self, draft: &Draft) -> Option<NodeId> {
        let leader = self.survey.leader()?;
        if draft.voters.contains(&leader.node) {
            return None;
        }
        let alive = self.alive();
        let stays = |id: NodeId| self.configuration.is_voter(id) && draft.voters.contains(&id);
        let peers = leader.peers.iter().filter(|peer| stays(peer.id) && alive.contains(&peer.id));
        peers.max_by_key(|peer| peer.matched).map(|peer| peer.id)
    }
}

/// Finds a member by its name or id.
///
/// # Errors
/// If there is none.
pub(crate) fn find<'a>(
    configuration: &'a Configuration,
    wanted: &str,
) -> Result<(NodeId, &'a Member)> {
    let members = configuration.members();
    let named = members.iter().find(|(_, member)| member.name == wanted);
    let numbered = || {
        let id = wanted.parse().ok().and_then(NodeId::new)?;
        members.get_key_value(&id)
    };
    named.or_else(numbered).map(|(id, member)| (*id, member)).ok_or_else(|| {
        let names: Vec<&str> = members.values().map(|member| member.name.as_str()).collect();
        Report::new(codes::NO_NODE, format!("no member \"{wanted}\""))
            .help(format!("members are {}", names.join(" ")))
    })
}

impl Draft {
    /// Makes a configuration of it.
    ///
    /// # Errors
    /// If it makes none: nobody votes, say.
    pub(crate) fn configuration(&self) -> Result<Configuration> {
        let named = |id: &NodeId| self.voters.contains(id) || self.learners.contains(id);
        let members = self.members.iter().filter(|(id, _)| named(id));
        let members = members.map(|(id, member)| (*id, member.clone())).collect();
        let voters = Voters::Stable(Majority::new(self.voters.iter().copied()));
        Configuration::new(voters, self.learners.clone(), members)
            .map(|configuration| configuration.with_returning(self.returning.iter().copied()))
            .map_err(|error| Report::new(codes::CHANGE_REFUSED, error.to_string()))
    }
}

/// Hands leadership over before the leader's own removal, so that nobody has to wait for an
/// election. If that fails, the leader leads on until its removal is committed (§4.2.2).
///
/// # Errors
/// If the cluster has no leader then.
pub(crate) async fn step_aside(
    client: &Client,
    nodes: &[Node],
    present: Present,
    draft: &Draft,
    patience: Duration,
) -> Result<Present> {
    let Some(to) = present.successor(draft) else {
        return Ok(present);
    };
    if client.transfer(to).await.is_err() {
        return Ok(present);
    }
    let began = Instant::now();
    loop {
        match present.followed(client, nodes, began).await {
            // What is changed is what was seen before.
            Ok(now) => return Ok(Present { index: present.index, ..now }),
            Err(error) if began.elapsed() >= patience => return Err(error),
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Makes a change, and finds out how it ended if the answer is lost.
///
/// # Errors
/// If it is refused, with the reason; if nobody can tell within `patience` how it ended.
pub(crate) async fn carry_out(
    client: &Client,
    nodes: &[Node],
    present: &Present,
    draft: &Draft,
    patience: Duration,
) -> Result<Present> {
    let target = draft.configuration()?;
    let began = Instant::now();
    let why = match client.reconfigure(&target, present.index).await {
        Ok(()) => None,
        Err(ClientError::Unknown { why, .. }) => Some(why),
        Err(error) => return Err(Report::from_client(error)),
    };
    loop {
        if let Ok(now) = present.followed(client, nodes, began).await {
            let settled = !now.configuration.voters().is_joint();
            if now.configuration == target {
                return Ok(now);
            }
            if settled && now.index != present.index {
                let message = "the members were changed to something else meanwhile";
                return Err(Report::new(codes::CHANGE_REFUSED, message).help("raftctl member list"));
            }
        }
        if began.elapsed() >= patience {
            let why = why.unwrap_or_else(|| "the nodes do not tell".to_owned());
            let message = format!("it is not known how the change ended: {why}");
            return Err(Report::new(codes::UNKNOWN, message).help("raftctl member list"));
        }
        sleep(POLL).await;
    }
}

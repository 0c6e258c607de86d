//! A change of members as the operator sees it: what is, what will be, what is tolerated meanwhile,
//! and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError};
use consensus::{Configuration, Majority, Member, NodeId, Voters};
use tokio::time::sleep;

use crate::cluster::Survey;
use crate::cluster::verdict::tolerance;
use crate::codes;
use crate::context::Node;
use crate::report::{Report, Result};

/// How often it is looked how a change ended whose outcome is unknown.
const POLL: Duration = Duration::from_millis(100);

/// Roles and descriptions, to be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who receives the log only.
    pub learners: BTreeSet<NodeId>,
    /// What is known of each.
    pub members: BTreeMap<NodeId, Member>,
}

/// The members as the leader knows them, and where that stands.
#[derive(Clone, Debug)]
pub struct Present {
    /// The configuration in force.
    pub configuration: Configuration,
    /// Its index: a change names it, so that it changes nothing else than was seen.
    pub index: u64,
    /// What all nodes said.
    pub survey: Survey,
}

impl Present {
    /// Asks all nodes.
    ///
    /// # Errors
    /// If nobody leads, for only a leader can change anything.
    pub async fn ask(client: &Client, nodes: &[Node]) -> Result<Self> {
        let survey = Survey::ask(client, nodes).await;
        let Some(leader) = survey.leader() else {
            let cause = |row: &crate::cluster::Row| client::Cause {
                endpoint: row.address.clone(),
                why: row.answer.as_ref().map_or_else(
                    |silence| silence.why.clone(),
                    |_| "answers, and does not lead".to_owned(),
                ),
            };
            return Err(Report::new(codes::NO_LEADER, "nobody leads: members cannot be changed")
                .causes(survey.rows.iter().map(cause).collect())
                .help("raftctl status"));
        };
        let (configuration, index) = (leader.configuration.clone(), leader.configuration_index);
        Ok(Self { configuration, index, survey })
    }

    /// Finds a member by its name or id.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, wanted: &str) -> Result<NodeId> {
        let members = self.configuration.members();
        let named = members.iter().find(|(_, member)| member.name == wanted).map(|(id, _)| *id);
        let numbered = || wanted.parse().ok().and_then(NodeId::new);
        named.or_else(|| numbered().filter(|id| members.contains_key(id))).ok_or_else(|| {
            let names: Vec<&str> = members.values().map(|member| member.name.as_str()).collect();
            Report::new(codes::NO_NODE, format!("no member \"{wanted}\""))
                .help(format!("members are {}", names.join(" ")))
        })
    }

    /// Starts from what is.
    pub fn draft(&self) -> Draft {
        let (_, voters) = self.configuration.voters().halves();
        Draft {
            voters: voters.iter().collect(),
            learners: self.configuration.learners().clone(),
            members: self.configuration.members().clone(),
        }
    }

    /// Names voters in words.
    pub fn names(&self, ids: impl IntoIterator<Item = NodeId>, draft: &Draft) -> String {
        let name = |id: NodeId| {
            let known = draft.members.get(&id).or_else(|| self.configuration.member(id));
            known.map_or_else(|| format!("node {id}"), |member| member.name.clone())
        };
        ids.into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn alive(&self) -> BTreeSet<NodeId> {
        self.survey.answers().map(|status| status.node).collect()
    }

    /// Says what is tolerated before, during and after a change to these voters.
    pub fn tolerances(&self, draft: &Draft) -> (usize, usize, usize) {
        // Newcomers are ready when they are promoted.
        let mut alive = self.alive();
        alive.extend(
            draft.voters.iter().filter(|id| !self.configuration.members().contains_key(id)),
        );
        let (_, outgoing) = self.configuration.voters().halves();
        let incoming = Majority::new(draft.voters.iter().copied());
        let joint = Voters::Joint { outgoing: outgoing.clone(), incoming: incoming.clone() };
        let before = tolerance(self.configuration.voters(), &alive);
        (before, tolerance(&joint, &alive), tolerance(&Voters::Stable(incoming), &alive))
    }
}

impl Draft {
    /// Makes a configuration of it.
    ///
    /// # Errors
    /// If it makes none: nobody votes, say.
    pub fn configuration(&self) -> Result<Configuration> {
        let named = |id: &NodeId| self.voters.contains(id) || self.learners.contains(id);
        let members = self.members.iter().filter(|(id, _)| named(id));
        let members = members.map(|(id, member)| (*id, member.clone())).collect();
        let voters = Voters::Stable(Majority::new(self.voters.iter().copied()));
        Configuration::new(voters, self.learners.clone(), members)
            .map_err(|error| Report::new(codes::REFUSED, error.to_string()))
    }
}

/// Makes a change, and finds out how it ended if the answer is lost.
///
/// # Errors
/// If it is refused, with the reason; if nobody can tell within `patience` how it ended.
pub async fn carry_out(
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
        Err(ClientError::Unknown { why }) => Some(why),
        Err(error) => return Err(Report::from_client(error)),
    };
    loop {
        if let Ok(now) = Present::ask(client, nodes).await {
            let settled = !now.configuration.voters().is_joint();
            if now.configuration == target {
                return Ok(now);
            }
            if settled && now.index != present.index {
                let message = "the members were changed to something else meanwhile";
                return Err(Report::new(codes::REFUSED, message).help("raftctl member list"));
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

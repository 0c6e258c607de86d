//! Renewing certificates of nodes over the wire: each node makes a new key and asks for a
//! certificate over its connection, which is signed here, where the authority is. No private key
//! travels.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use certs::{Authority, CheckedRequest, Identity, Role, Validity};
use client::{Client, ClientError, Consistency, NodeStatus};
use consensus::NodeId;
use protocol::{CertificateAnswer, CertificateRequest};
use state_machine::{SystemAnswer, SystemQuery};
use tokio::time::sleep;

use crate::bundle::Bundles;
use crate::bundle::holdings::Whose;
use crate::cluster::{Row, Survey};
use crate::codes;
use crate::commands::member::history::tombstones;
use crate::invocation::Invocation;
use crate::look::{again, look};
use crate::newest::Lister;
use crate::output::units::printable;
use crate::report::{Report, Result};

/// A member that was cut off is silent from then on, and counts as heard for seconds. So long is
/// waited where one may be, and whoever was silent for half of that is cut off.
const SETTLED: Duration = Duration::from_secs(1);

/// What came of a node.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) id: NonZeroU64,
    /// Where it was asked.
    pub(super) address: String,
    /// The window of its new certificate, or why it has none.
    pub(super) result: std::result::Result<Validity, String>,
}

/// What nodes are to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gift<'a> {
    /// Who signs.
    pub(super) authority: &'a Authority,
    /// How long the certificates count.
    pub(super) validity: Duration,
    /// Whom they are to trust from now on, if that changes.
    pub(super) authorities: Option<&'a str>,
}

/// The nodes of a cluster, as they answer.
pub(super) struct Nodes {
    client: Client,
    survey: Survey,
    /// The ids of nodes that have a bundle here, by their names.
    planned: BTreeMap<String, NonZeroU64>,
}

impl Nodes {
    /// Asks all nodes that are known, and those that they know.
    ///
    /// # Errors
    /// If no client can be made.
    pub(super) async fn ask(invocation: &Invocation, bundles: &Bundles) -> Result<Self> {
        let target = invocation.everywhere(bundles)?;
        let client = target.client(invocation.global.timeout)?;
        let mut survey = look(&client, &target.nodes).await;
        part_with_removed(&client, &survey, bundles).await?;
        let planned = bundles.holdings()?.into_iter().filter_map(|held| match held.whose {
            Whose::Node(node) => Some((node.name, node.id)),
            Whose::Authority | Whose::Operator | Whose::File => None,
        });
        let planned: BTreeMap<String, NonZeroU64> = planned.collect();
        // Who was removed may not have heard of it yet, and answers still.
        let removed = bundles.removed()?;
        survey.rows.retain(|row| id_of(row, &planned).is_none_or(|id| !removed.contains(&id)));
        // Who was removed in good order is not there, and is not to be waited for.
        if let Some(leader) = survey.leader() {
            let members = leader.configuration.members().clone();
            survey.rows.retain(|row| {
                let id = id_of(row, &planned);
                row.answer.is_ok() || id.is_none_or(|id| members.contains_key(&id.into()))
            });
        }
        Ok(Self { client, survey, planned })
    }

    fn id_of(&self, row: &Row) -> Option<NonZeroU64> {
        id_of(row, &self.planned)
    }

    /// Says whether some answer, and none of them all has this name or id.
    pub(super) fn are_without(&self, name: &str) -> bool {
        let is_it = |row: &Row| {
            row.name == name || self.id_of(row).is_some_and(|id| id.to_string() == name)
        };
        self.survey.answers().next().is_some() && !self.survey.rows.iter().any(is_it)
    }

    /// Says whether one of them has this id.
    pub(super) fn are_with(&self, id: NonZeroU64) -> bool {
        self.survey.rows.iter().any(|row| self.id_of(row) == Some(id))
    }

    /// Names those whose certificates were revoked and whom the others refuse since then. Whoever
    /// was let in again, by another certificate, is heard.
    ///
    /// # Errors
    /// If a cluster that is founded does not say who was revoked.
    pub(super) async fn revoked(&self) -> Result<BTreeMap<NonZeroU64, String>> {
        if !self.survey.answers().any(|status| status.generation.is_some()) {
            return Ok(BTreeMap::new());
        }
        // A leader that only others reach is not asked; it may have gone meanwhile, too.
        let ask = async |how| Lister::new(&self.client, how).ask(&SystemQuery::Revocations).await;
        let latest = match self.survey.leader() {
            Some(_) => ask(Consistency::Linearizable).await.ok(),
            None => None,
        };
        let answer = match latest {
            Some(answer) => answer,
            None => ask(Consistency::Stale).await?,
        };
        let SystemAnswer::Revocations { items, .. } = answer else {
            let message = "a node answered something else than revocations";
            return Err(Report::new(codes::UNEXPECTED, message));
        };
        let is_meant = |id: NonZeroU64| items.iter().any(|one| one.holder == format!("node {id}"));
        let rows = self.survey.rows.iter().map(|row| (self.id_of(row), row.name.clone()));
        let planned = self.planned.iter().map(|(name, id)| (Some(*id), name.clone()));
        let named = planned.chain(rows).filter_map(|(id, name)| Some((id?, name)));
        let mut revoked: BTreeMap<NonZeroU64, String> =
            named.filter(|(id, _)| is_meant(*id)).collect();
        if !revoked.is_empty() {
            sleep(self.survey.leader().map_or(SETTLED, settled)).await;
            let survey = again(&self.client, &self.survey).await;
            let leader = survey.leader();
            revoked.retain(|id, _| !leader.is_some_and(|leader| hears(leader, NodeId::from(*id))));
        }
        Ok(revoked)
    }

    /// Does nothing to these from now on.
    pub(super) fn leave_out(&mut self, ids: &BTreeMap<NonZeroU64, String>) {
        let Self { survey, planned, .. } = self;
        survey.rows.retain(|row| id_of(row, planned).is_none_or(|id| !ids.contains_key(&id)));
    }

    /// Renews the certificates of all nodes, or of those with these names or ids.
    pub(super) async fn renew(&self, gift: Gift<'_>, names: Option<&[String]>) -> Vec<Visit> {
        let mut visits = Vec::new();
        for row in &self.survey.rows {
            let Some(id) = self.id_of(row) else { continue };
            let is_meant = |name: &String| *name == row.name || *name == id.to_string();
            if names.is_some_and(|names| !names.iter().any(is_meant)) {
                continue;
            }
            let result = match &row.answer {
                Ok(_) => self.renew_one(gift, id, &row.address).await.map_err(|why| why.message),
                Err(silence) => Err(silence.why.clone()),
            };
            let result = result.map_err(|why| printable(why.as_bytes()));
            let (name, address) = (row.name.clone(), row.address.clone());
            visits.push(Visit { name, id, address, result });
        }
        visits
    }

    /// Lets all nodes trust these authorities, and keeps their certificates.
    pub(super) async fn trust(&self, authorities: &str) -> Vec<Visit> {
        let (certificate, authorities) = (String::new(), authorities.to_owned());
        self.ask_all(&CertificateRequest::Install { certificate, authorities }).await
    }

    /// Asks all nodes what they use, as if they were to get something.
    pub(super) async fn reach(&self) -> Vec<Visit> {
        self.ask_all(&CertificateRequest::Show).await
    }

    async fn ask_all(&self, request: &CertificateRequest) -> Vec<Visit> {
        let mut visits = Vec::new();
        for row in &self.survey.rows {
            let Some(id) = self.id_of(row) else { continue };
            let request = request.clone();
            let result = match &row.answer {
                Ok(_) => self.in_use(id, &row.address, request).await.map_err(|why| why.message),
                Err(silence) => Err(silence.why.clone()),
            };
            let result = result.map(|(validity, _)| validity);
            let result = result.map_err(|why| printable(why.as_bytes()));
            let (name, address) = (row.name.clone(), row.address.clone());
            visits.push(Visit { name, id, address, result });
        }
        visits
    }

    /// Returns what each node uses: the issuer of its certificate, and whom it trusts.
    pub(super) async fn look(&self) -> Vec<(String, std::result::Result<Used, String>)> {
        let mut found = Vec::new();
        for row in &self.survey.rows {
            let Some(id) = self.id_of(row) else { continue };
            let shown = match &row.answer {
                Ok(_) => self.in_use(id, &row.address, CertificateRequest::Show).await,
                Err(silence) => Err(Report::new(codes::UNREACHABLE, silence.why.clone())),
            };
            let shown = shown.map(|(_, used)| used).map_err(|report| report.message);
            found.push((row.name.clone(), shown));
        }
        found
    }

    /// Closes the connections.
    pub(super) async fn close(self) {
        self.client.close().await;
    }

    async fn renew_one(&self, gift: Gift<'_>, id: NonZeroU64, address: &str) -> Result<Validity> {
        let asked = self.client.certificate(address, id, CertificateRequest::Request).await;
        let CertificateAnswer::Request(request) = asked.map_err(said)? else {
            return Err(unexpected(address));
        };
        let checked = CheckedRequest::from_der(&request)?;
        let identity = Identity::new(gift.authority.cluster(), Role::Node(id));
        let signed = gift.authority.sign_request(&checked, &identity, gift.validity)?;
        let authorities = gift.authorities.unwrap_or_default().to_owned();
        let certificate = signed.certificate_pem;
        let request = CertificateRequest::Install { certificate, authorities };
        let (validity, used) = self.in_use(id, address, request).await?;
        if used.key != checked.key() {
            let message = format!("{address}: the node uses another key than it asked for");
            return Err(Report::new(codes::UNEXPECTED, message));
        }
        Ok(validity)
    }

    async fn in_use(
        &self,
        id: NonZeroU64,
        address: &str,
        request: CertificateRequest,
    ) -> Result<(Validity, Used)> {
        let answer = self.client.certificate(address, id, request).await.map_err(said)?;
        let CertificateAnswer::InUse { certificate, authorities } = answer else {
            return Err(unexpected(address));
        };
        let certificate = certs::CertificateDer::from(certificate.to_vec());
        let described = certs::describe(&certificate)?;
        let (issuer, key) = (described.issuer, described.key);
        Ok((described.validity, Used { issuer, key, authorities }))
    }
}

/// What a node uses.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// The fingerprint of the authority that has issued its certificate.
    pub(super) issuer: String,
    /// The fingerprint of its key.
    pub(super) key: String,
    /// Whom it trusts, as PEM.
    pub(super) authorities: String,
}

/// Lets no certificate be renewed any more of who was removed, where that can be learned.
async fn part_with_removed(client: &Client, survey: &Survey, bundles: &Bundles) -> Result<()> {
    let Some(leader) = survey.leader().filter(|_| bundles.is_writing()) else { return Ok(()) };
    match tombstones(client, Consistency::Linearizable).await {
        Ok(removed) => {
            bundles.part_with(removed.iter().map(|grave| grave.id), &leader.configuration)
        }
        // Nothing depends on it now: whoever asks the next time learns it.
        Err(_) => Ok(()),
    }
}

/// Returns how long to wait until a member that is silent has been silent for longer than an idle
/// cluster is, by the pace of its heartbeats.
pub(super) fn settled(leader: &NodeStatus) -> Duration {
    SETTLED.max(Duration::from_millis(4 * leader.heartbeat_ms.min(60_000) + 200))
}

/// Says whether a leader has heard from a member a moment ago, or is that one.
pub(super) fn hears(leader: &NodeStatus, id: NodeId) -> bool {
    let peer = leader.peers.iter().find(|peer| peer.id == id);
    let heard_ms = peer.and_then(|peer| peer.heard_ms).map(Duration::from_millis);
    leader.node == id || heard_ms.is_some_and(|heard| heard < settled(leader) / 2)
}

/// Returns the id of a row's node: what it says itself, else what the configuration says, else what
/// its bundle is made for.
fn id_of(row: &Row, planned: &BTreeMap<String, NonZeroU64>) -> Option<NonZeroU64> {
    let own = row.answer.as_ref().ok().map(|status| status.node);
    let known = own.or(row.id).and_then(|id| id.get().try_into().ok());
    known.or_else(|| planned.get(&row.name).copied())
}

fn said(error: ClientError) -> Report {
    let mut report = Report::from(error);
    if let Some(cause) = report.causes.first() {
        report.message = cause.to_string();
    }
    report
}

fn unexpected(address: &str) -> Report {
    Report::new(codes::UNEXPECTED, format!("{address} answered something else than was asked"))
}

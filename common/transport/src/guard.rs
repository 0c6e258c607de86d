//! Connections that must not be: those of revoked certificates and of removed members, which the
//! log tells, and those of an authority that is trusted no more. Each new connection is looked at,
//! and those that exist are closed, in both directions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use certs::{CertificateDer, Credentials, Identity, Purpose, Shown};
use consensus::{LogIndex, NodeId};
use protocol::CertificateId;
use quinn::{Connection, Side};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::alpn::Alpn;
use crate::close::Close;

/// A member that is removed hears so long of its own removal by the log. Then its connections are
/// closed; it is told by the handshake when it comes again.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

/// Certificates of a holder that count no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Role and name, such as `client web`.
    pub holder: String,
    /// Those that begin then or before, in seconds since 1970.
    pub until_s: u64,
    /// And those for these keys, whenever they begin.
    pub keys: Vec<[u8; 32]>,
    /// What is said to their holders: when, by whom, why.
    pub why: String,
}

/// Who must not be connected, and who is. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Guard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    /// Members were removed, and are to be cut off when the time has come.
    removed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    revoked: BTreeMap<String, Revoked>,
    removed: BTreeMap<NodeId, (LogIndex, Instant)>,
    /// Who says whom this node trusts, once it has trusted somebody whom it trusts no more: a
    /// handshake may have begun before.
    trust: Option<Credentials>,
    live: BTreeMap<u64, Live>,
    last: u64,
}

#[derive(Clone, Debug)]
struct Live {
    shown: Shown,
    connection: Connection,
}

/// A connection that is looked after until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    guard: Guard,
    number: u64,
}

impl Watched {
    /// Returns who is at the other end.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let known = self.guard.lock();
        known.live.get(&self.number).map(|live| live.shown.identity.clone())
    }

    /// Returns who looks after it.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.guard.lock().live.remove(&self.number);
    }
}

impl Guard {
    /// Takes over which certificates count no more, and closes their connections.
    pub fn revoke(&self, revoked: impl IntoIterator<Item = Revoked>) {
        let revoked = revoked.into_iter().map(|one| (one.holder.clone(), one));
        self.lock().revoked = revoked.collect();
        self.enforce();
    }

    /// Takes over who was removed. Their connections are closed a little later, by
    /// [`Guard::keep`].
    pub(crate) fn remove(&self, removed: &BTreeMap<NodeId, LogIndex>) {
        let now = Instant::now();
        let mut known = self.lock();
        let before = std::mem::take(&mut known.removed);
        let since = |id| before.get(id).map_or(now, |(_, since)| *since);
        known.removed = removed.iter().map(|(id, index)| (*id, (*index, since(id)))).collect();
        drop(known);
        self.0.removed.notify_one();
    }

    /// Takes over whom this node trusts from now on. Where it trusts an authority no more, the
    /// connections are closed of those who have certificates of that one: whoever has stolen its
    /// key could issue any.
    pub(crate) fn trust(&self, former: &Credentials, present: &Credentials) {
        let trusted = present.trusted_fingerprints();
        let is_lost = |one: &String| !trusted.contains(one);
        let has_lost = former.trusted_fingerprints().iter().any(is_lost);
        let mut known = self.lock();
        if !has_lost && known.trust.is_none() {
            return;
        }
        known.trust = Some(present.clone());
        // Signatures are checked while nobody waits for the lock.
        let live: Vec<Live> = known.live.values().filter(|_| has_lost).cloned().collect();
        drop(known);
        for one in &live {
            if let Some(why) = stranger(present, &one.connection) {
                one.close(&why);
            }
        }
    }

    /// Says whether a member was removed long enough ago to have heard of it.
    pub(crate) fn is_gone(&self, node: NodeId) -> bool {
        self.lock().removed.get(&node).is_some_and(|(_, since)| since.elapsed() >= GRACE)
    }

    /// Closes connections of removed members when their time has come, for ever.
    pub async fn keep(self) {
        loop {
            self.0.removed.notified().await;
            sleep(GRACE).await;
            self.enforce();
        }
    }

    /// Looks at a new connection, and goes on to look after it.
    ///
    /// # Errors
    /// Why it must not be.
    pub(crate) fn watch(
        &self,
        connection: &Connection,
        shown: Shown,
        alpn: Alpn,
    ) -> Result<Watched, String> {
        let mut known = self.lock();
        let barred = known.revocation(&shown.identity, id(&shown)).or_else(|| match alpn {
            // Whoever comes as a peer is told by the handshake, and stops for good.
            Alpn::Peer => None,
            Alpn::Client | Alpn::Forward => known.removal(&shown),
        });
        let stranger = || known.trust.as_ref().and_then(|trust| stranger(trust, connection));
        let barred = barred.or_else(stranger);
        if let Some(why) = barred {
            return Err(why);
        }
        known.last += 1;
        let number = known.last;
        known.live.insert(number, Live { shown, connection: connection.clone() });
        Ok(Watched { guard: self.clone(), number })
    }

    /// Looks at who asks by way of another node, which may not have heard of a revocation yet.
    /// Where that node does not tell which certificate it was shown, none of a holder counts of
    /// whom any was revoked.
    ///
    /// # Errors
    /// Why nothing is done on behalf of that one.
    pub(crate) fn judge(
        &self,
        identity: &Identity,
        shown: Option<CertificateId>,
    ) -> Result<(), String> {
        let shown = shown.unwrap_or(CertificateId { not_before_s: 0, key: [0; 32] });
        self.lock().revocation(identity, shown).map_or(Ok(()), Err)
    }

    fn enforce(&self) {
        let known = self.lock();
        for live in known.live.values() {
            let revoked = known.revocation(&live.shown.identity, id(&live.shown));
            let barred = revoked.or_else(|| known.removal(&live.shown));
            if let Some(why) = barred {
                live.close(&why);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn close(&self, why: &str) {
        if self.connection.close_reason().is_some() {
            return;
        }
        let from = self.connection.remote_address();
        tracing::info!(
            name: "connection-cut",
            who = %self.shown.identity.role, %from, "connection closed: {why}"
        );
        self.connection.close(Close::Refused.code(), why.as_bytes());
    }
}

impl Known {
    fn revocation(&self, identity: &Identity, shown: CertificateId) -> Option<String> {
        let holder = identity.role.to_string();
        let revoked = self.revoked.get(&holder)?;
        let counts_no_more =
            shown.not_before_s <= revoked.until_s || revoked.keys.contains(&shown.key);
        counts_no_more.then(|| format!("the certificate of {holder} was revoked {}", revoked.why))
    }

    fn removal(&self, shown: &Shown) -> Option<String> {
        let node = NodeId::from(shown.identity.node_id()?);
        let (index, since) = self.removed.get(&node)?;
        (since.elapsed() >= GRACE).then(|| removal(node, *index))
    }
}

/// Says why whoever is at the other end would not be trusted if it came now.
fn stranger(trust: &Credentials, connection: &Connection) -> Option<String> {
    let theirs = match connection.side() {
        Side::Client => Purpose::Server,
        Side::Server => Purpose::Client,
    };
    let check =
        |chain: Vec<_>| trust.check_shown(theirs, &chain).map_err(|error| error.to_string());
    chain(connection).and_then(check).err()
}

/// Returns what the other side has shown.
pub(crate) fn shown(connection: &Connection) -> Result<Shown, String> {
    certs::shown_in(&chain(connection)?).map_err(|error| error.to_string())
}

fn chain(connection: &Connection) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = connection.peer_identity().ok_or("no certificate was shown")?;
    let chain = chain.downcast().map_err(|_| "the certificate is of an unknown kind")?;
    Ok(*chain)
}

/// Tells a certificate from others of its holder.
pub(crate) fn id(shown: &Shown) -> CertificateId {
    CertificateId { not_before_s: shown.validity.not_before, key: shown.key }
}

/// Tells a node that it was removed.
pub(crate) fn removal(node: NodeId, index: LogIndex) -> String {
    format!("node {node} was removed from the cluster by log entry {index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_removed_member_runs_from_its_own_removal_whoever_is_removed_later() {
        let [first, second] = [4, 5].map(|id| NodeId::new(id).expect("not 0"));
        let guard = Guard::default();
        guard.remove(&BTreeMap::from([(first, LogIndex::new(7))]));
        let before = {
            let mut known = guard.lock();
            let (_, since) = known.removed.get_mut(&first).expect("it was removed");
            *since = since.checked_sub(GRACE).expect("the machine runs for longer");
            *since
        };
        assert!(guard.is_gone(first), "its time is over");
        let both = [(first, LogIndex::new(7)), (second, LogIndex::new(8))];
        guard.remove(&BTreeMap::from(both));
        assert!(guard.is_gone(first), "and stays so");
        let since = |id| guard.lock().removed.get(&id).map(|(_, since)| *since);
        assert_eq!(since(first), Some(before));
        assert!(since(second) > since(first), "the other one's begins now");
    }
}

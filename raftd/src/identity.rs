//! Who this node is: from its certificate, its data directory and its history.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use certs::Credentials;
use consensus::{Incarnation, NodeId};
use protocol::Generation;
use storage::Former;

use crate::desk::Desk;
use crate::exit::{Exit, Failure};

/// Who this node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The node's id, as in its certificate.
    pub(crate) node: NodeId,
    /// Its cluster, as in its certificate.
    pub(crate) cluster: [u8; 16],
    /// Its data directory.
    pub(crate) incarnation: Incarnation,
    /// The name that the directory has given up because it has forgotten something, until the
    /// cluster knows the new one.
    pub(crate) former: Option<Former>,
    /// Its history; `None` before the bootstrap.
    pub(crate) generation: Option<Generation>,
    /// How often a node was started with the data directory.
    pub(crate) starts: u64,
    /// This process: another number after each start.
    pub(crate) boot: u64,
    /// Where it says that others reach it, if it says so.
    pub(crate) advertise: Option<String>,
    /// When its certificate ends, which renewing it puts off.
    pub(crate) certificate_end: CertificateEnd,
    /// Where its certificate is renewed.
    pub(crate) desk: Desk,
}

/// When the certificate in use began and ends, or its authority's end if that is earlier. Copies
/// share it.
#[derive(Clone, Debug)]
pub(crate) struct CertificateEnd(Arc<[AtomicI64; 2]>);

impl CertificateEnd {
    /// Returns the end of these credentials.
    pub(crate) fn of(credentials: &Credentials) -> Self {
        let end = Self(Arc::default());
        end.set(credentials);
        end
    }

    /// Notes that these credentials are in use from now on.
    pub(crate) fn set(&self, credentials: &Credentials) {
        let (begin, end) = (credentials.validity().not_before, credentials.usable_until());
        for (place, time) in self.0.iter().zip([begin, end]) {
            place.store(i64::try_from(time).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// Returns the beginning and the end, in seconds since 1970.
    pub(crate) fn unix_s(&self) -> (i64, i64) {
        let [begin, end] = &*self.0;
        (begin.load(Ordering::Relaxed), end.load(Ordering::Relaxed))
    }

    /// Says whether the certificate holds by the clock of this machine, by which it is judged when
    /// others connect.
    ///
    /// # Errors
    /// Why not, to be put behind "certificate".
    pub(crate) fn holds(&self) -> Result<(), String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        holds(self.unix_s(), now)
    }
}

/// Says whether a certificate with this beginning and end holds at a time, all in seconds since
/// 1970.
///
/// # Errors
/// Why not, to be put behind "certificate".
pub(crate) fn holds((begin, end): (i64, i64), now: u64) -> Result<(), String> {
    let [begin, end] = [begin, end].map(|time| time.max(0).unsigned_abs());
    if now < begin {
        Err(format!("begins at {} only", certs::utc(begin)))
    } else if now > end {
        Err(format!("ended at {}", certs::utc(end)))
    } else {
        Ok(())
    }
}

/// Says what a node whose directory has forgotten something does, and how it comes back.
pub(crate) fn forgetful(data_directory: &Path, former: Former) -> String {
    let Former { incarnation, why } = former;
    let word = if why.is_mended_by_word() {
        format!(
            ". If this directory is the latest of this node and the only one (all of the cluster \
             moved, or the node is alone), stop raftd and run: raftctl adopt {}",
            data_directory.display()
        )
    } else {
        String::new()
    };
    format!(
        "{why}: this node may have promised what it does not know any more, so it has given up \
         its name {incarnation} and neither votes nor counts; a leader takes it in again where a \
         majority of the others is there (raftctl member heal){word}"
    )
}

/// Returns the node that a certificate names.
///
/// # Errors
/// Exit 78 if it names somebody else.
pub(crate) fn node_of(credentials: &Credentials) -> Result<NodeId, Failure> {
    let identity = credentials.identity();
    identity.node_id().map(NodeId::from).ok_or_else(|| {
        Failure::new(Exit::Config, format!("the certificate is that of {identity}, not of a node"))
            .hint("identity.certificate must name a node's certificate")
    })
}

//! The cluster's PKI: who may speak, and how it is proven.
//!
//! A cluster has one [`Authority`]. It issues certificates that name an [`Identity`] in exactly
//! one URI SAN (`spiffe://<cluster-id>/node/3`, `/operator/<name>`, `/client/<name>`,
//! `/reader/<name>` or `/backup/<name>`). [`Credentials`] are what a process holds: the
//! authority's certificate, its own certificate and the private key. They are checked when they are
//! loaded, so that a bad file is an error with a reason at start and not a failed handshake later,
//! and they make the TLS configurations of both sides.
//!
//! ```
//! use certs::{Authority, ClusterId, Expect, Identity, Role};
//! use certs::{DEFAULT_CA_VALIDITY, DEFAULT_LEAF_VALIDITY};
//! # use std::num::NonZeroU64;
//! # fn main() -> Result<(), certs::CertError> {
//! let cluster = ClusterId::generate()?;
//! let authority = Authority::create(cluster, DEFAULT_CA_VALIDITY)?;
//! let node = Identity::new(cluster, Role::Node(NonZeroU64::MIN));
//! let operator = Identity::new(cluster, Role::Operator("alice".parse()?));
//! let server = authority.issue(&node, DEFAULT_LEAF_VALIDITY)?.credentials()?;
//! let client = authority.issue(&operator, DEFAULT_LEAF_VALIDITY)?.credentials()?;
//! server.server_config(&[b"raft-client/1"])?;
//! client.client_config(Expect::AnyNode, &[b"raft-client/1"])?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `identity` | cluster ids, roles, names and their URI |
//! | `rights` | what each role may do: one table, default deny |
//! | `dumps` | keeping keys and data out of core dumps |
//! | `validity`, `time` | windows of time, and how they are printed |
//! | `authority` | the certificate authority: create, load, store |
//! | `issue` | certificates for an identity |
//! | `renew` | the same certificate for a longer time: for the same key, in place |
//! | `request` | keys that stay where they were made, and requests for their certificates |
//! | `credentials` | CA, certificate and key of a process, checked |
//! | `store` | files: modes, atomic writes, bounded reads |
//! | `inspect` | facts out of a certificate: identity, key id, [`describe`] |
//! | `expect` | who is expected at the other end, and on which side |
//! | `verify` | chain, time, cluster and identity of a peer |
//! | `provider` | the cryptography that all of it uses |
//! | `tls` | rustls configurations and their verifiers |
//! | `error` | everything that can be wrong, each by name |
//!
//! # Architecture invariants
//!
//! - No network, no threads, no async, and none of our other crates: a node's id is a `NonZeroU64`.
//! - No host names and no public roots: a peer is its identity in its cluster's authority, never a
//!   DNS name, and certificates of two clusters never trust each other.
//! - No way to skip a check, no TLS older than 1.3, no connection without a client certificate, no
//!   0-RTT and no session resumption: every connection proves both identities anew.
//! - No key in a `Debug` output, an error or a log line, and none readable by others on disk.
//! - No process-wide crypto provider: ring is named where it is used.

mod authority;
mod credentials;
mod dumps;
mod enrolment;
mod error;
mod expect;
mod identity;
mod inspect;
mod issue;
mod provider;
mod renew;
mod request;
mod rights;
mod store;
#[cfg(test)]
mod testing;
mod time;
mod tls;
mod token;
mod validity;
mod verify;

pub use authority::{Authority, CA_KEY_FILE};
pub use credentials::Credentials;
pub use dumps::forbid_core_dumps;
pub use enrolment::{enrolment_client, enrolment_server};
pub use error::CertError;
pub use expect::{Expect, Purpose};
pub use identity::{ClusterId, Identity, IdentityError, Name, Role, RoleKind};
pub use inspect::{Description, Shown, describe, identity_of, shown_in};
pub use issue::Issued;
pub use renew::{Renewed, fingerprints, read_certificate, replace_certificate};
pub use request::{CheckedRequest, NewKey};
pub use rights::{RIGHTS, Right, Row};
pub use rustls::pki_types::CertificateDer;
pub use store::{CA_CERTIFICATE_FILE, PemPaths, create_directory};
pub use time::{span, span_nearest, utc};
pub use tls::SERVER_NAME;
pub use token::{
    BINDING_BYTES, BINDING_LABEL, TOKEN_BYTES_MAX, Token, TokenError, TokenId, Verifier,
};
pub use validity::{DEFAULT_CA_VALIDITY, DEFAULT_LEAF_VALIDITY, Validity};

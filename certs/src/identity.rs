//! Who a certificate speaks for: the cluster, the role, and the URI that says both.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// The longest name of somebody who is no node, in bytes (an X.509 common name holds 64).
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// The longest URI that names an identity, in bytes: scheme, cluster, role and name.
pub(crate) const MAX_URI_BYTES: usize = SCHEME.len() + 32 + "/operator/".len() + MAX_NAME_BYTES;

const SCHEME: &str = "spiffe://";

/// What is wrong with a text that should name an identity, by name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A URI names no identity.
    #[error("\"{uri}\" is no raftd identity: {reason}")]
    BadUri {
        /// The beginning of the URI.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is not a cluster id.
    #[error("\"{text}\" is no cluster id: 32 lowercase hex digits are expected")]
    BadClusterId {
        /// The beginning of the text.
        text: String,
    },
    /// A text is not a name.
    #[error("\"{name}\" {reason}")]
    BadName {
        /// The beginning of the text.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: {reason}")]
    Random {
        /// Why.
        reason: String,
    },
}

/// The 128-bit random id of a cluster, made once with its authority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Makes a new id from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Random`] if the operating system gives none.
    pub fn generate() -> Result<ClusterId, IdentityError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| IdentityError::Random { reason: e.to_string() })?;
        Ok(ClusterId(bytes))
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> ClusterId {
        ClusterId(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The URI in the authority's own certificate: `spiffe://<cluster-id>`.
    #[must_use]
    pub fn to_uri(self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Reads back what [`ClusterId::to_uri`] wrote.
    pub(crate) fn parse_uri(uri: &str) -> Result<ClusterId, IdentityError> {
        let authority = strip_scheme(uri)?;
        cluster_of(uri, authority)
    }
}

/// 32 lowercase hexadecimal digits.
impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl FromStr for ClusterId {
    type Err = IdentityError;

    /// Parses 32 lowercase hexadecimal digits; anything else is [`IdentityError::BadClusterId`].
    fn from_str(text: &str) -> Result<ClusterId, IdentityError> {
        let bad = || IdentityError::BadClusterId { text: excerpt(text) };
        if text.len() != 32 {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_digit(pair[0]), hex_digit(pair[1])) else {
                return Err(bad());
            };
            *byte = high << 4 | low;
        }
        Ok(ClusterId(bytes))
    }
}

/// A name of an operator, client, reader or backup: 1 to 64 bytes of `a-z`, `0-9`, `.`, `_`
/// and `-`, beginning with a letter or digit: it is also a file name, and needs no escapes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = IdentityError;

    /// Parses a name; [`IdentityError::BadName`] says what is wrong with it.
    fn from_str(text: &str) -> Result<Name, IdentityError> {
        match name_problem(text) {
            None => Ok(Name(text.to_owned())),
            Some(reason) => Err(IdentityError::BadName { name: excerpt(text), reason }),
        }
    }
}

/// What a certificate's holder is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A server, by its node id.
    Node(NonZeroU64),
    /// A person or tool that may change the cluster.
    Operator(Name),
    /// A program that proposes and queries.
    Client(Name),
    /// A program that only queries.
    Reader(Name),
    /// A program that keeps snapshots, and reads nothing else.
    Backup(Name),
}

/// A role without who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// See [`Role::Node`].
    Node,
    /// See [`Role::Operator`].
    Operator,
    /// See [`Role::Client`].
    Client,
    /// See [`Role::Reader`].
    Reader,
    /// See [`Role::Backup`].
    Backup,
}

impl RoleKind {
    /// All roles.
    pub const ALL: [RoleKind; 5] =
        [Self::Node, Self::Operator, Self::Client, Self::Reader, Self::Backup];

    /// The role's word in the URI: `node`, `operator`, `client`, `reader` or `backup`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Client => "client",
            Self::Reader => "reader",
            Self::Backup => "backup",
        }
    }

    /// The role of somebody with a name; `None` for nodes, which have a number.
    #[must_use]
    pub fn named(self, name: Name) -> Option<Role> {
        Some(match self {
            Self::Node => return None,
            Self::Operator => Role::Operator(name),
            Self::Client => Role::Client(name),
            Self::Reader => Role::Reader(name),
            Self::Backup => Role::Backup(name),
        })
    }
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Role {
    /// The role alone.
    #[must_use]
    pub const fn kind(&self) -> RoleKind {
        match self {
            Role::Node(_) => RoleKind::Node,
            Role::Operator(_) => RoleKind::Operator,
            Role::Client(_) => RoleKind::Client,
            Role::Reader(_) => RoleKind::Reader,
            Role::Backup(_) => RoleKind::Backup,
        }
    }

    /// The node id, if this is a node.
    #[must_use]
    pub const fn node_id(&self) -> Option<NonZeroU64> {
        match self {
            Role::Node(id) => Some(*id),
            Role::Operator(_) | Role::Client(_) | Role::Reader(_) | Role::Backup(_) => None,
        }
    }

    /// Whom the role is held by: a node's id, or a name.
    #[must_use]
    pub fn holder(&self) -> String {
        match self {
            Role::Node(id) => id.to_string(),
            Role::Operator(name) | Role::Client(name) | Role::Reader(name) | Role::Backup(name) => {
                name.to_string()
            }
        }
    }

    fn parse(kind: &str, id: &str) -> Result<Role, String> {
        let name = || match name_problem(id) {
            None => Ok(Name(id.to_owned())),
            Some(reason) => Err(format!("the name {reason}")),
        };
        match RoleKind::ALL.into_iter().find(|known| known.word() == kind) {
            Some(RoleKind::Node) => node_id(id).map(Role::Node),
            Some(RoleKind::Operator) => name().map(Role::Operator),
            Some(RoleKind::Client) => name().map(Role::Client),
            Some(RoleKind::Reader) => name().map(Role::Reader),
            Some(RoleKind::Backup) => name().map(Role::Backup),
            None => Err("the role is none of node, operator, client, reader and backup".to_owned()),
        }
    }
}

/// For people: `node 3`, `operator alice`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.holder())
    }
}

/// Who a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster that the holder belongs to.
    pub cluster: ClusterId,
    /// What the holder is in it.
    pub role: Role,
}

impl Identity {
    /// The identity of `role` in `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId, role: Role) -> Identity {
        Identity { cluster, role }
    }

    /// The node id, if this is a node.
    #[must_use]
    pub fn node_id(&self) -> Option<NonZeroU64> {
        self.role.node_id()
    }

    /// The URI for the certificate, such as `spiffe://<cluster-id>/node/3`.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.cluster, self.role.kind(), self.role.holder())
    }

    /// Parses what [`Identity::to_uri`] writes, and nothing else: one identity has one spelling.
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadUri`] with the part that is wrong.
    pub fn parse_uri(uri: &str) -> Result<Identity, IdentityError> {
        if uri.len() > MAX_URI_BYTES {
            let reason = format!("{} bytes are more than {MAX_URI_BYTES}", uri.len());
            return Err(bad_uri(uri, reason));
        }
        let rest = strip_scheme(uri)?;
        let Some((authority, path)) = rest.split_once('/') else {
            cluster_of(uri, rest)?;
            return Err(bad_uri(uri, "it names a cluster and no role"));
        };
        let cluster = cluster_of(uri, authority)?;
        let Some((kind, id)) = path.split_once('/') else {
            return Err(bad_uri(uri, "it is not of the form spiffe://<cluster-id>/<role>/<name>"));
        };
        let role = Role::parse(kind, id).map_err(|reason| bad_uri(uri, reason))?;
        Ok(Identity { cluster, role })
    }
}

/// For people: `node 3 of cluster 9f3c..`; the URI is [`Identity::to_uri`].
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of cluster {}", self.role, self.cluster)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Identity, IdentityError> {
        Identity::parse_uri(uri)
    }
}

fn strip_scheme(uri: &str) -> Result<&str, IdentityError> {
    uri.strip_prefix(SCHEME).ok_or_else(|| bad_uri(uri, "it does not begin with spiffe://"))
}

fn cluster_of(uri: &str, authority: &str) -> Result<ClusterId, IdentityError> {
    authority.parse().map_err(|_| bad_uri(uri, "the cluster id is not 32 lowercase hex digits"))
}

fn node_id(text: &str) -> Result<NonZeroU64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the node id is not a decimal number".to_owned());
    }
    if text.starts_with('0') {
        return Err("the node id is zero or begins with a zero".to_owned());
    }
    text.parse().map_err(|_| "the node id does not fit into 64 bits".to_owned())
}

fn name_problem(text: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let first = text.bytes().next();
    match first {
        None => Some("is empty"),
        Some(_) if text.len() > MAX_NAME_BYTES => Some("is longer than 64 bytes"),
        Some(_) if !text.bytes().all(allowed) => {
            Some("has a character that is none of a-z, 0-9, '.', '_' and '-'")
        }
        Some(b'.' | b'_' | b'-') => Some("does not begin with a letter or digit"),
        Some(_) => None,
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

pub(crate) fn bad_uri(uri: &str, reason: impl Into<String>) -> IdentityError {
    IdentityError::BadUri { uri: excerpt(uri), reason: reason.into() }
}

/// Foreign text for a message: bounded, and without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 120;
    let mut shown: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push_str("..");
    }
    shown
}

#[cfg(test)]
mod tests;

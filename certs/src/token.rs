//! Tokens by which a new host gets a node's certificate, and the proofs that both sides know one.
//!
//! A token holds a secret of 256 random bits. Neither side ever sends it: each proves over a value
//! that only the two ends of one TLS connection share (RFC 5705) that it knows the secret, so that
//! whoever is in between, or was, can do nothing with what it saw. The host signs with a key that
//! the secret makes; the operator's side keeps the public half of it, so that its files are of no
//! use to whoever wants to be the host. It proves itself by a keyed digest, and by what counts in
//! the end: a certificate of the authority that the token names.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ring::{hkdf, hmac};
use sha2::{Digest as _, Sha256};

use crate::inspect::hex;
use crate::{ClusterId, IdentityError, Name};

/// What every token begins with.
const PREFIX: &str = "raftd-token-1-";

/// How long the value is that both ends of a connection share, in bytes.
pub const BINDING_BYTES: usize = 32;

/// What that value is for; RFC 5705 wants a label of its own.
pub const BINDING_LABEL: &[u8] = b"EXPORTER-raftd-enrolment-1";

/// The longest text that is read as a token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 2_048;

/// Which token it is; no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 8]);

/// What a new host is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Which token it is.
    pub id: TokenId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The fingerprint of its authority, as [`crate::Authority::fingerprint`].
    pub authority: String,
    /// The node that the host is to be.
    pub node: NonZeroU64,
    /// What people call it.
    pub name: String,
    /// Where it is reached, and is awaited.
    pub address: String,
    /// The last second in which it counts, since 1970, by the operator's clock.
    pub expires: u64,
    secret: [u8; 32],
}

/// What the operator's side keeps of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The host's public key, in hexadecimal.
    pub host: String,
    /// What the operator's side proves itself with, in hexadecimal.
    pub operator: String,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("this is no token: one begins with {PREFIX}")]
    Foreign,
    /// It was cut off, or changed on the way.
    #[error("the token is damaged: it was cut off or changed on the way")]
    Damaged,
}

impl Token {
    /// Makes a token with a new secret.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate(
        (cluster, authority): (ClusterId, &str),
        (node, name, address): (NonZeroU64, &str, &str),
        expires: u64,
    ) -> Result<Self, IdentityError> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        for bytes in [&mut id[..], &mut secret] {
            getrandom::fill(bytes)
                .map_err(|error| IdentityError::Random { reason: error.to_string() })?;
        }
        Ok(Self {
            id: TokenId(id),
            cluster,
            authority: authority.to_owned(),
            node,
            name: name.to_owned(),
            address: address.to_owned(),
            expires,
            secret,
        })
    }

    /// Writes the token on one line; it holds the secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.cluster.to_bytes());
        bytes.extend_from_slice(&self.node.get().to_be_bytes());
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        for text in [&self.authority, &self.name, &self.address] {
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(&text.as_bytes()[..text.len().min(255)]);
        }
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", hex(&bytes))
    }

    /// Returns what the operator's side keeps.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier {
            host: hex(self.host_key().public_key().as_ref()),
            operator: hex(&self.derived(b"operator")),
        }
    }

    /// The host proves on the connection with this binding that it knows the secret, and vouches
    /// for what it asks to be signed.
    #[must_use]
    pub fn prove_host(&self, binding: &[u8; BINDING_BYTES], request: &[u8]) -> Vec<u8> {
        self.host_key().sign(&host_statement(self.id, binding, request)).as_ref().to_vec()
    }

    /// Says whether the operator's side has proven on this connection that it knows the secret.
    #[must_use]
    pub fn accepts_operator(&self, binding: &[u8; BINDING_BYTES], proof: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.derived(b"operator"));
        hmac::verify(&key, &operator_statement(self.id, binding), proof).is_ok()
    }

    fn host_key(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.derived(b"host")).expect("a seed has 32 bytes")
    }

    fn derived(&self, what: &[u8]) -> [u8; 32] {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"raftd enrolment 1");
        let mut key = [0; 32];
        let info = [what, &self.id.0];
        let derived = salt.extract(&self.secret);
        let derived = derived.expand(&info, hkdf::HKDF_SHA256).expect("32 bytes are few");
        derived.fill(&mut key).expect("as long as the digest");
        key
    }
}

impl Verifier {
    /// The operator's side proves on the connection with this binding that it made the token.
    ///
    /// # Errors
    /// If what was kept is damaged.
    pub fn prove_operator(
        &self,
        id: TokenId,
        binding: &[u8; BINDING_BYTES],
    ) -> Result<Vec<u8>, TokenError> {
        let key = bytes_of(&self.operator).ok_or(TokenError::Damaged)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(hmac::sign(&key, &operator_statement(id, binding)).as_ref().to_vec())
    }

    /// Says whether the host has proven on this connection that it knows the secret, and vouches
    /// for this request.
    #[must_use]
    pub fn accepts_host(
        &self,
        id: TokenId,
        binding: &[u8; BINDING_BYTES],
        (request, proof): (&[u8], &[u8]),
    ) -> bool {
        let Some(key) = bytes_of(&self.host) else { return false };
        let statement = host_statement(id, binding, request);
        UnparsedPublicKey::new(&ED25519, key).verify(&statement, proof).is_ok()
    }
}

fn host_statement(id: TokenId, binding: &[u8; BINDING_BYTES], request: &[u8]) -> Vec<u8> {
    [b"raftd enrolment 1, host\0", &id.0[..], binding, &Sha256::digest(request)].concat()
}

fn operator_statement(id: TokenId, binding: &[u8; BINDING_BYTES]) -> Vec<u8> {
    [b"raftd enrolment 1, operator\0", &id.0[..], binding].concat()
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Foreign)?;
        let bytes = bytes_of(digits).ok_or(TokenError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
        if *sum != checksum(content) {
            return Err(TokenError::Damaged);
        }
        parse(content).ok_or(TokenError::Damaged)
    }
}

fn parse(bytes: &[u8]) -> Option<Token> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (secret, rest) = rest.split_first_chunk()?;
    let (cluster, rest) = rest.split_first_chunk()?;
    let (node, rest) = rest.split_first_chunk()?;
    let (expires, mut rest) = rest.split_first_chunk()?;
    let mut text = || {
        let (size, behind) = rest.split_first()?;
        let (text, behind) = behind.split_at_checked(usize::from(*size))?;
        rest = behind;
        String::from_utf8(text.to_vec()).ok()
    };
    let (authority, name, address) = (text()?, text()?, text()?);
    if !rest.is_empty() || name.parse::<Name>().is_err() {
        return None;
    }
    Some(Token {
        id: TokenId(*id),
        cluster: ClusterId::from_bytes(*cluster),
        authority,
        node: NonZeroU64::new(u64::from_be_bytes(*node))?,
        name,
        address,
        expires: u64::from_be_bytes(*expires),
        secret: *secret,
    })
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    *Sha256::digest(bytes).first_chunk().expect("a digest has 32 bytes")
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

impl TokenId {
    /// The id as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = bytes_of(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(TokenError::Damaged)
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("node", &self.node)
            .field("name", &self.name)
            .field("address", &self.address)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Without what proves anything.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let cluster = ClusterId::from_bytes([7; 16]);
        let node = NonZeroU64::new(4).expect("not 0");
        let who = (node, "n4", "n4.example:7400");
        Token::generate((cluster, "sha256:ab"), who, 1_800_000_000).expect("random bytes")
    }

    #[test]
    fn a_token_is_one_line_that_is_read_back_and_never_shown() {
        let token = token();
        let text = token.to_text();
        assert!(text.len() < 400 && !text.contains(char::is_whitespace), "{text}");
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        let secret = hex(&token.secret);
        assert!(text.contains(&secret) && !format!("{token:?}").contains(&secret[..16]));
        let kept = token.verifier();
        assert!(!format!("{kept:?} {} {}", kept.host, kept.operator).contains(&secret));
        assert_eq!(token.id.to_string().parse(), Ok(token.id));
    }

    #[test]
    fn a_token_with_one_character_less_or_another_one_is_damaged() {
        let text = token().to_text();
        assert_eq!("hello".parse::<Token>(), Err(TokenError::Foreign));
        for end in PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<Token>(), Err(TokenError::Damaged), "{end}");
        }
        for at in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            let other = String::from_utf8(other).expect("digits");
            assert_eq!(other.parse::<Token>(), Err(TokenError::Damaged), "{at}");
        }
    }

    #[test]
    fn proofs_count_on_their_connection_for_their_token_side_and_request_only() {
        let (token, other) = (token(), token());
        let (here, elsewhere) = ([1; BINDING_BYTES], [2; BINDING_BYTES]);
        let kept = token.verifier();
        let proof = token.prove_host(&here, b"request");
        assert!(kept.accepts_host(token.id, &here, (b"request", &proof)));
        assert!(
            !kept.accepts_host(token.id, &elsewhere, (b"request", &proof)),
            "man in the middle"
        );
        assert!(!kept.accepts_host(token.id, &here, (b"another", &proof)), "another key");
        assert!(!kept.accepts_host(other.id, &here, (b"request", &proof)), "another token");
        assert!(!other.verifier().accepts_host(token.id, &here, (b"request", &proof)));
        let foreign = other.prove_host(&here, b"request");
        assert!(!kept.accepts_host(token.id, &here, (b"request", &foreign)), "another secret");

        let proof = kept.prove_operator(token.id, &here).expect("it is whole");
        assert!(token.accepts_operator(&here, &proof));
        assert!(!token.accepts_operator(&elsewhere, &proof), "man in the middle");
        assert!(!other.accepts_operator(&here, &proof), "another token");
        assert!(!token.accepts_operator(&here, b""));
        assert!(!kept.accepts_host(token.id, &here, (b"request", &proof)), "no side is the other");
        let damaged = Verifier { operator: "0".into(), ..kept };
        assert_eq!(damaged.prove_operator(token.id, &here), Err(TokenError::Damaged));
    }
}

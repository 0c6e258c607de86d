//! Tokens by which hosts enrol, as the operator's side keeps them: what checks a proof, never what
//! makes one. One file each, `DIR/tokens/ID.toml`; whoever reads it cannot be the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{
    CheckedRequest, ClusterId, DEFAULT_LEAF_VALIDITY, Identity, Role, Token, TokenId, Verifier,
};
use protocol::Enrolment;
use serde::{Deserialize, Serialize};

use super::bounded::read_bounded;
use super::{Bundles, NODE, NodeSettings, PATIENCE, PlannedNode, configuration, now_unix_s};
use crate::codes;
use crate::context::lock::{Lock, wait};
use crate::context::{make_private_directory, write_private, write_public};
use crate::files::misread;
use crate::report::{Report, Result};

/// The directory of tokens.
const TOKENS: &str = "tokens";

/// The most tokens that are kept; those that are of no use any more go first.
const TOKENS_MAX: usize = 256;

/// A token, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptToken {
    id: String,
    /// The node that its host is to be.
    pub(crate) node: PlannedNode,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
    /// The last second in which it counts.
    pub(crate) expires: u64,
    /// Whether it was taken back.
    pub(crate) revoked: bool,
    /// The fingerprint of the key that a certificate was issued to by it.
    pub(crate) used_by: Option<String>,
    /// The public half of the key that the secret makes.
    host: String,
    /// What the operator's side proves itself with.
    operator: String,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// A host may enrol by it.
    Unused,
    /// A host has; it may ask again with the same key.
    Used,
    /// It was taken back.
    Revoked,
    /// It was not used in time.
    Expired,
}

impl TokenState {
    /// Returns the state in a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl KeptToken {
    /// Returns which token it is.
    ///
    /// # Errors
    /// If the file is damaged.
    pub(crate) fn id(&self) -> Result<TokenId> {
        self.id.parse().map_err(|error| Report::new(codes::LOCAL_FILE, format!("{error}")))
    }

    /// Returns what checks and makes proofs.
    pub(crate) fn verifier(&self) -> Verifier {
        Verifier { host: self.host.clone(), operator: self.operator.clone() }
    }

    /// Says whether a certificate was issued by it.
    pub(crate) fn was_used(&self) -> bool {
        self.used_by.is_some()
    }

    /// Says what it is good for at a moment.
    pub(crate) fn state(&self, now_unix_s: u64) -> TokenState {
        match (&self.used_by, self.revoked) {
            (_, true) => TokenState::Revoked,
            (Some(_), false) if now_unix_s <= self.expires => TokenState::Used,
            (None, false) if now_unix_s <= self.expires => TokenState::Unused,
            (Some(_) | None, false) => TokenState::Expired,
        }
    }
}

impl Bundles {
    /// Makes a token for the host that is to be this node. Those that were made for it before count
    /// no longer, and are returned as well.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) async fn create_token(
        &self,
        node: &PlannedNode,
        valid: Duration,
    ) -> Result<(Token, Vec<KeptToken>)> {
        let _lock = self.lock_tokens().await?;
        let now = now_unix_s();
        let mut replaced = self.tokens()?;
        replaced.retain(|token| token.node.id == node.id && token.state(now) == TokenState::Unused);
        for earlier in &mut replaced {
            earlier.revoked = true;
            self.keep(earlier)?;
        }
        let cluster: ClusterId = self.plan.cluster.parse()?;
        let expires = now.saturating_add(valid.as_secs());
        let who = (node.id, node.name.as_str(), node.address.as_str());
        let token = Token::generate((cluster, &self.fingerprint), who, expires)
            .map_err(certs::CertError::from)?;
        let Verifier { host, operator } = token.verifier();
        self.keep(&KeptToken {
            id: token.id.to_string(),
            node: node.clone(),
            created: now,
            expires,
            revoked: false,
            used_by: None,
            host,
            operator,
        })?;
        self.forget_old_tokens(now)?;
        Ok((token, replaced))
    }

    /// Returns all tokens that are kept, the oldest first.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn tokens(&self) -> Result<Vec<KeptToken>> {
        let directory = self.token_directory();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Report::io(&directory, &error)),
        };
        let mut tokens = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| Report::io(&directory, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                tokens.extend(read(&path)?);
            }
        }
        tokens.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        Ok(tokens)
    }

    /// Returns the token by which a host may still become this node, or has become it.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn token_of(&self, node: &PlannedNode) -> Result<Option<KeptToken>> {
        let now = now_unix_s();
        let fits = |token: &KeptToken| {
            let state = token.state(now);
            token.node == *node && [TokenState::Unused, TokenState::Used].contains(&state)
        };
        Ok(self.tokens()?.into_iter().rfind(fits))
    }

    /// Takes a token back; the name of its node finds those that are unused. Returns which.
    ///
    /// # Errors
    /// If there is none, or it cannot be written.
    pub(crate) async fn revoke_token(&self, wanted: &str) -> Result<Vec<KeptToken>> {
        let _lock = self.lock_tokens().await?;
        let mut revoked = self.revocable(wanted)?;
        for token in &mut revoked {
            token.revoked = true;
            self.keep(token)?;
            self.remove_token_file(&token.node.name);
        }
        Ok(revoked)
    }

    /// Returns the tokens that would be revoked.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn revocable(&self, wanted: &str) -> Result<Vec<KeptToken>> {
        let now = now_unix_s();
        let mut meant = self.tokens()?;
        meant.retain(|token| {
            token.id == wanted
                || token.node.name == wanted && token.state(now) == TokenState::Unused
        });
        if meant.is_empty() {
            let message =
                format!("there is no token \"{wanted}\", and no unused one of such a node");
            return Err(Report::new(codes::NO_TOKEN, message)
                .help("raftctl token list    (the tokens, and what they are good for)"));
        }
        Ok(meant)
    }

    /// Issues a certificate by a token, to the key of a request whose proof was right. That the
    /// token is used is on the disk before the certificate leaves.
    ///
    /// # Errors
    /// If the token counts no longer, or was used with another key.
    pub(crate) async fn sign_by_token(
        &self,
        id: &str,
        request: &CheckedRequest,
        settings: &NodeSettings,
    ) -> Result<Enrolment> {
        let _lock = self.lock_tokens().await?;
        let path = self.token_path(id);
        let mut token = read(&path)?.ok_or_else(|| no_longer(id, "is gone"))?;
        let key = request.key();
        match (token.state(now_unix_s()), &token.used_by) {
            (TokenState::Unused, _) => {}
            (TokenState::Used, Some(before)) if *before == key => {}
            (TokenState::Used, _) => {
                let message = format!("the token {id} was used by another host, with another key");
                return Err(Report::new(codes::TOKEN_USED, message));
            }
            (TokenState::Revoked, _) => return Err(no_longer(id, "was revoked")),
            (TokenState::Expired, _) => return Err(no_longer(id, "has expired")),
        }
        // While another authority takes its place, the token's own signs, and both are trusted.
        let authority = self.present_authority()?;
        let node = token.node.clone();
        let identity = Identity::new(authority.cluster(), Role::Node(node.id));
        let signed = authority.sign_request(request, &identity, DEFAULT_LEAF_VALIDITY)?;
        token.used_by = Some(key);
        self.keep(&token)?;
        let trusted = authority.trust_pem();
        let directory = self.node_directory(&node);
        make_private_directory(&directory)?;
        write_public(&directory.join("ca.crt"), trusted.as_bytes())?;
        let certificate = directory.join(format!("{NODE}.crt"));
        write_public(&certificate, signed.certificate_pem.as_bytes())?;
        self.remove_token_file(&node.name);
        Ok(Enrolment::Bundle {
            authority: trusted,
            certificate: signed.certificate_pem,
            configuration: configuration::text(&self.plan.name, &node, settings),
        })
    }

    /// Says whether a node's key was made here.
    pub(crate) fn has_key(&self, node: &PlannedNode) -> bool {
        self.node_directory(node).join(format!("{NODE}.key")).exists()
    }

    /// Says whether a certificate was issued to a node.
    pub(crate) fn has_certificate(&self, node: &PlannedNode) -> bool {
        self.node_directory(node).join(format!("{NODE}.crt")).exists()
    }

    /// Returns where the text of a node's token is put, unless somewhere else is asked for.
    pub(crate) fn token_file(&self, name: &str) -> PathBuf {
        self.directory().join(format!("{}-{name}.token", self.plan.name))
    }

    /// Removes the text of a token that is of no more use.
    fn remove_token_file(&self, name: &str) {
        // One that is elsewhere, or gone, needs no removal.
        let _ = std::fs::remove_file(self.token_file(name));
    }

    fn token_directory(&self) -> PathBuf {
        self.directory().join(TOKENS)
    }

    fn token_path(&self, id: &str) -> PathBuf {
        self.token_directory().join(format!("{id}.toml"))
    }

    fn keep(&self, token: &KeptToken) -> Result<()> {
        make_private_directory(&self.token_directory())?;
        let text = toml::to_string_pretty(token)
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        write_private(&self.token_path(&token.id), text.as_bytes())
    }

    fn forget_old_tokens(&self, now: u64) -> Result<()> {
        let tokens = self.tokens()?;
        let over = tokens.len().saturating_sub(TOKENS_MAX);
        let useless = tokens.iter().filter(|token| token.state(now) != TokenState::Unused);
        for token in useless.take(over) {
            let path = self.token_path(&token.id);
            std::fs::remove_file(&path).map_err(|error| Report::io(&path, &error))?;
        }
        Ok(())
    }

    async fn lock_tokens(&self) -> Result<Lock> {
        wait(&self.directory().join(".tokens.lock"), "the tokens", PATIENCE).await
    }
}

fn read(path: &Path) -> Result<Option<KeptToken>> {
    let Some(bytes) = read_bounded(path)? else { return Ok(None) };
    let bad = |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    toml::from_str(&text).map(Some).map_err(|error| bad(misread(&text, &error)))
}

fn no_longer(id: &str, why: &str) -> Report {
    Report::new(codes::TOKEN_REFUSED, format!("the token {id} {why}"))
        .help("raftctl token create NAME=HOST:PORT    (makes another one)")
}

//! The system's part of the replicated state, seen from a client: questions about it, and commands
//! that may be repeated until they are answered.

use std::time::Duration;

use bytes::Bytes;
use consensus::NodeId;
use protocol::{ErrorCode, ErrorReply, Outcome, Request, Response};
use state_machine::{
    Act, Envelope, Revocation, SystemAnswer, SystemCommand, SystemQuery, SystemResponse,
};
use tokio::time::{Instant, sleep};

use crate::attempt::Attempts;
use crate::client::Client;
use crate::error::{ClientError, Common};
use crate::requests::Consistency;

/// The wait before an attempt after one with an unknown end.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What of a session was applied before it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// All commands below this number have been answered, as the client said.
    pub low_water: u64,
    /// The highest number that was applied; 0 is none.
    pub highest: u64,
    /// The numbers between the two that were not applied, ascending.
    pub missing: Vec<u64>,
}

/// How a command ended that was proposed until it was answered.
pub(crate) struct Settled {
    /// The answer to the last attempt.
    pub(crate) response: Bytes,
    /// Why nobody can tell what became of an attempt before it, if there was one.
    pub(crate) unknown: Option<String>,
}

impl Client {
    /// Asks about the system's part of the state: sessions, configurations, removed members,
    /// reserved ids.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn system(
        &self,
        query: &SystemQuery,
        how: Consistency,
    ) -> Result<SystemAnswer, ClientError> {
        let request =
            Request::SystemQuery { query: query.encode(), stale: how == Consistency::Stale };
        let response = match how {
            // What is linearizable holds every index that a client can have seen.
            Consistency::Linearizable | Consistency::AtLeast(_) => self.on_leader(&request).await?,
            Consistency::Follower => self.on_each(&request).await?,
            Consistency::Stale => self.on_any(&request).await?,
        };
        let Response::Answer { response, .. } = response else {
            return Err(self.unexpected());
        };
        match SystemAnswer::decode(&response) {
            Ok(SystemAnswer::Refused { reason }) => Err(refused(reason)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.unexpected()),
        }
    }

    /// Asks the first node that answers about the system's part of its own state, however old, and
    /// says which one that is, as [`Client::query_any`] does.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn system_any(
        &self,
        query: &SystemQuery,
    ) -> Result<(String, SystemAnswer), ClientError> {
        let request = Request::SystemQuery { query: query.encode(), stale: true };
        let (endpoint, response) = self.on_first(&request).await?;
        let Response::Answer { response, .. } = response else {
            return Err(ClientError::Unexpected { endpoint });
        };
        match SystemAnswer::decode(&response) {
            Ok(SystemAnswer::Refused { reason }) => Err(refused(reason)),
            Ok(answer) => Ok((endpoint, answer)),
            Err(_) => Err(ClientError::Unexpected { endpoint }),
        }
    }

    /// Asks one node about the system's part of its own state, however old.
    ///
    /// # Errors
    /// If that node does not answer.
    pub async fn system_of(
        &self,
        endpoint: &str,
        query: &SystemQuery,
    ) -> Result<SystemAnswer, ClientError> {
        let request = Request::SystemQuery { query: query.encode(), stale: true };
        let unexpected = || ClientError::Unexpected { endpoint: endpoint.into() };
        let Response::Answer { response, .. } = self.on(endpoint, &request).await? else {
            return Err(unexpected());
        };
        SystemAnswer::decode(&response).map_err(|_| unexpected())
    }

    /// Reserves a node id for a name, through the log: an id that no node ever had, and above
    /// `above`, the highest that whoever asks knows of, as a cluster that was restored from a
    /// backup may not. The same name gets the same id until a member with that id is removed, so
    /// that this may be repeated.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if a member is called so already or this certificate may not
    /// reserve ids; [`ClientError::Unknown`] if the deadline passes first: then ask again.
    pub async fn reserve_id(&self, name: &str, above: u64) -> Result<NodeId, ClientError> {
        let command = SystemCommand::ReserveId { name: name.to_owned(), above };
        let SystemResponse::Reserved { id } = self.tell_system(&command).await? else {
            return Err(self.unexpected());
        };
        NodeId::new(id).ok_or_else(|| self.unexpected())
    }

    /// Has an administrative act noted in the audit that was done elsewhere, such as with the
    /// authority's key: as this certificate's, and as done.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if this is no operator's certificate; [`ClientError::Unknown`] if
    /// the deadline passes first.
    pub async fn note(&self, what: &str) -> Result<(), ClientError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| self.unexpected())?;
        let act = Act {
            id,
            who: String::new(),
            from: String::new(),
            node: 0,
            clock_s: 0,
            what: what.to_owned(),
            outcome: state_machine::Outcome::Done,
        };
        let command = SystemCommand::Note(act).encode();
        let Response::Applied { .. } = self.on_leader(&Request::Note { command }).await? else {
            return Err(self.unclear());
        };
        Ok(())
    }

    /// Closes anybody's session, through the log. That is a fence: what of the session was not
    /// applied before it never will be, so what is returned is final (§6.3). Returns nothing if
    /// there was no such session when it was closed, also if an attempt whose answer got lost had
    /// closed it.
    ///
    /// # Errors
    /// As [`Client::propose`]; it may be repeated.
    pub async fn close_session(&self, session: u64) -> Result<Option<Ended>, ClientError> {
        let response = self.tell_system(&SystemCommand::CloseSession { session }).await?;
        if response == SystemResponse::Closed {
            return Ok(None);
        }
        let SystemResponse::Ended { low_water, highest, missing } = response else {
            return Err(self.unexpected());
        };
        Ok(Some(Ended { low_water, highest, missing }))
    }

    /// Revokes certificates, through the log: all of a holder (role and name, such as `client web`)
    /// that begin at `until_s`, in seconds since 1970, or before; and those for a key, which is
    /// named by its SHA-256, whenever they begin.
    ///
    /// # Errors
    /// As [`Client::propose`]; it may be repeated.
    pub async fn revoke(
        &self,
        holder: &str,
        until_s: u64,
        key: Option<[u8; 32]>,
        why: &str,
    ) -> Result<(), ClientError> {
        let (holder, why) = (holder.to_owned(), why.to_owned());
        self.noted(&SystemCommand::Revoke { holder, until_s, key, why }).await
    }

    /// Lets the certificates of a holder count again.
    ///
    /// # Errors
    /// As [`Client::propose`]; [`ClientError::Refused`] if none is revoked, and
    /// [`ClientError::Unknown`] if that may be this call's own doing, by an attempt whose answer
    /// got lost.
    pub async fn forget_revocation(&self, holder: &str) -> Result<(), ClientError> {
        self.noted(&SystemCommand::ForgetRevocation { holder: holder.to_owned() }).await
    }

    /// Returns what is revoked.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn revocations(&self) -> Result<Vec<Revocation>, ClientError> {
        match self.system(&SystemQuery::Revocations, Consistency::Linearizable).await? {
            SystemAnswer::Revocations { items, .. } => Ok(items),
            SystemAnswer::Sessions { .. }
            | SystemAnswer::Session { .. }
            | SystemAnswer::History(_)
            | SystemAnswer::Tombstones(_)
            | SystemAnswer::Reservations(_)
            | SystemAnswer::Effects { .. }
            | SystemAnswer::Alarms { .. }
            | SystemAnswer::Audit { .. }
            | SystemAnswer::Refused { .. } => Err(self.unexpected()),
        }
    }

    async fn noted(&self, command: &SystemCommand) -> Result<(), ClientError> {
        match self.tell_system(command).await? {
            SystemResponse::Noted => Ok(()),
            SystemResponse::Answer { .. }
            | SystemResponse::AnswerNotKept { .. }
            | SystemResponse::SessionExpired { .. }
            | SystemResponse::Forgotten { .. }
            | SystemResponse::BeyondWindow { .. }
            | SystemResponse::Registered { .. }
            | SystemResponse::Closed
            | SystemResponse::Ended { .. }
            | SystemResponse::Reserved { .. }
            | SystemResponse::Refused { .. } => Err(self.unexpected()),
        }
    }

    /// Gives a command of the system, which may be applied any number of times: the effect is that
    /// of one. The answers need not be the same: only the first one's refusal is certain.
    pub(crate) async fn tell_system(
        &self,
        command: &SystemCommand,
    ) -> Result<SystemResponse, ClientError> {
        let command = Envelope::system(command).encode();
        let deadline = Instant::now() + self.patience();
        let Settled { response, unknown } = self.repeat(deadline, || command.clone()).await?;
        match (SystemResponse::decode(&response), unknown) {
            // An earlier attempt may have done it, and be the reason: nothing is undone twice.
            (Ok(SystemResponse::Refused { reason }), Some(why)) => {
                let why = format!("{why}; asked again, it was refused: {reason}");
                Err(ClientError::Unknown { why, sequence: None })
            }
            (Ok(SystemResponse::Refused { reason }), None) => Err(refused(reason)),
            (Ok(response), Some(_) | None) => Ok(response),
            (Err(_), Some(why)) => Err(ClientError::Unknown { why, sequence: None }),
            (Err(_), None) => Err(self.unclear()),
        }
    }

    /// Proposes a command that has the effect of one however often it is applied, again and again
    /// until its outcome is known or the deadline passes.
    pub(crate) async fn repeat(
        &self,
        deadline: Instant,
        command: impl Fn() -> Bytes,
    ) -> Result<Settled, ClientError> {
        let (began, mut unknown, mut attempts) = (Instant::now(), None, Attempts::default());
        loop {
            let request = Request::Propose { command: command() };
            let error = match self.on_leader_for(&request, attempts.next(deadline)).await {
                Ok(Response::Applied { response, .. }) => {
                    return Ok(Settled { response, unknown });
                }
                Ok(_) => return Err(self.unclear()),
                Err(error) => error,
            };
            let again = Instant::now() + AGAIN_AFTER < deadline;
            match &error {
                ClientError::Unknown { why, .. } => {
                    self.remember(None);
                    unknown = Some(why.clone());
                    if again {
                        sleep(AGAIN_AFTER).await;
                        continue;
                    }
                }
                ClientError::NoLeader { .. }
                | ClientError::Busy { .. }
                | ClientError::Unreachable { common: Common::Nothing | Common::Full, .. }
                    if again =>
                {
                    sleep(AGAIN_AFTER).await;
                    continue;
                }
                // What is certain of this attempt is not of an earlier one.
                ClientError::NoLeader { .. }
                | ClientError::Lagging { .. }
                | ClientError::Busy { .. }
                | ClientError::Unreachable { .. }
                | ClientError::SessionExpired { .. }
                | ClientError::AnswerNotKept { .. }
                | ClientError::WindowFull { .. }
                | ClientError::NotWaiting { .. }
                | ClientError::Behind { .. }
                | ClientError::TooLarge { .. }
                | ClientError::Invalid(_)
                | ClientError::Ended(_)
                | ClientError::Refused(_)
                | ClientError::Unexpected { .. }
                | ClientError::Endpoint(_) => {
                    if unknown.is_none() {
                        return Err(error.tried_since(began));
                    }
                }
            }
            let why = unknown.unwrap_or_default();
            return Err(ClientError::Unknown { why, sequence: None });
        }
    }
}

fn refused(message: String) -> ClientError {
    let (code, leader, outcome) = (ErrorCode::BadRequest, None, Outcome::NotApplied);
    ClientError::Refused(ErrorReply { code, message, leader, outcome })
}

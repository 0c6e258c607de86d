//! Applies committed entries to a machine: the system's part of the state, the machine's part and
//! the applied index change in one atomic batch.

use std::sync::Arc;

use bytes::Bytes;
use consensus::{ClusterTime, Entry, EntryId, LogIndex, Payload, Term};

use crate::envelope::{Envelope, EnvelopeKind};
use crate::error::HostError;
use crate::machine::{Command, Response, StoredMachine};
use crate::owners::Owners;
use crate::store::{Batch, OrderedStore, PrefixView, StoreError, Transaction, View};
use crate::system::{
    self, Admission, SystemAnswer, SystemQuery, SystemResponse, Tombstone, Viewer,
};

/// Keys of the system's part begin with this byte, the machine's with [`MACHINE`].
const SYSTEM: u8 = 0;
/// Keys of the machine's part begin with this byte.
const MACHINE: u8 = 1;

const APPLIED: &[u8] = b"applied";

/// How many pairs a digest reads at a time.
const DIGEST_PAGE: usize = 1_000;

/// A machine and the store with its state.
pub struct Host<S> {
    owners: Owners,
    store: S,
    machine: Arc<dyn StoredMachine>,
    applied: EntryId,
    time: ClusterTime,
}

/// Answers questions at the state of one moment; cheap to copy and to send to other threads.
#[derive(Clone)]
pub struct QueryView {
    view: Arc<dyn View>,
    machine: Arc<dyn StoredMachine>,
    applied: LogIndex,
    time: ClusterTime,
}

impl<S: OrderedStore> Host<S> {
    /// Goes on from what the store holds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(store: S, machine: Arc<dyn StoredMachine>) -> Result<Self, HostError> {
        let (applied, time) = applied_in(&store)?;
        let host = Self { owners: Owners::default(), store, machine, applied, time };
        host.note_owners()?;
        Ok(host)
    }

    /// Lets the store do what is no change of the machine's: a checkpoint, or taking over another
    /// state as a whole. Then goes on from what it holds.
    ///
    /// # Errors
    /// If the store cannot be read afterwards; what `act` says is its own.
    pub fn with_store<T>(&mut self, act: impl FnOnce(&mut S) -> T) -> Result<T, HostError> {
        let done = act(&mut self.store);
        let before = self.applied;
        (self.applied, self.time) = applied_in(&self.store)?;
        if self.applied != before {
            self.note_owners()?;
        }
        Ok(done)
    }

    /// Returns whose the sessions are, as far as it is applied; it goes on to follow.
    pub fn owners(&self) -> Owners {
        self.owners.clone()
    }

    fn note_owners(&self) -> Result<(), HostError> {
        self.owners.clear();
        let view = PrefixView::new(&self.store, SYSTEM);
        system::owners(&view, |session, owner| self.owners.note(session, owner))
    }

    /// Returns the last applied entry.
    pub fn applied(&self) -> EntryId {
        self.applied
    }

    /// Returns cluster time: the highest stamp applied.
    pub fn time(&self) -> ClusterTime {
        self.time
    }

    /// Applies contiguous committed entries and returns the machine's answers to the commands
    /// among them. All of it changes at once or, on an error, nothing.
    ///
    /// # Errors
    /// If an entry is missing before the first, or the store fails.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Vec<(LogIndex, Response)>, HostError> {
        let mut batch = Batch::new();
        let mut responses = Vec::with_capacity(entries.len());
        let (mut applied, mut time) = (self.applied, self.time);
        for entry in entries {
            if entry.id.index != applied.index.next() || entry.id.term < applied.term {
                return Err(HostError::Gap { applied, found: entry.id });
            }
            time = time.max(entry.stamp);
            match &entry.payload {
                Payload::Command(payload) => {
                    let response = self.run(entry.id.index, time, payload, &mut batch)?;
                    responses.push((entry.id.index, response));
                }
                Payload::Configuration(configuration) => {
                    let mut transaction = Transaction::new(&self.store, &mut batch, SYSTEM);
                    system::record_configuration(&mut transaction, entry.id, time, configuration)?;
                }
                Payload::Noop => {}
            }
            applied = entry.id;
        }
        let record = encode_applied(applied, time);
        Transaction::new(&self.store, &mut batch, SYSTEM).put(APPLIED, record);
        self.store.write(batch)?;
        (self.applied, self.time) = (applied, time);
        Ok(responses)
    }

    fn run(
        &self,
        index: LogIndex,
        time: ClusterTime,
        payload: &Bytes,
        batch: &mut Batch,
    ) -> Result<Response, HostError> {
        // What no envelope of ours is around has no meaning on any node: it gives no answer.
        let Ok(envelope) = Envelope::decode(payload) else {
            return Ok(Bytes::new());
        };
        match envelope.kind {
            EnvelopeKind::System => {
                let mut transaction = Transaction::new(&self.store, batch, SYSTEM);
                let response =
                    system::apply(&mut transaction, index, time, &envelope.owner, &envelope.body)?;
                if let SystemResponse::Registered { session } = response {
                    self.owners.note(session, &envelope.owner.name);
                }
                Ok(response.encode())
            }
            EnvelopeKind::Machine if envelope.session == 0 => {
                self.run_machine(index, time, &envelope.body, batch)
            }
            EnvelopeKind::Machine => self.run_in_session(index, time, &envelope, batch),
        }
    }

    /// Applies a command of a session unless that has happened before (§6.3).
    fn run_in_session(
        &self,
        index: LogIndex,
        time: ClusterTime,
        envelope: &Envelope,
        batch: &mut Batch,
    ) -> Result<Response, HostError> {
        let mut transaction = Transaction::new(&self.store, batch, SYSTEM);
        match system::admit(&mut transaction, time, envelope)? {
            Admission::Answer(answer) => Ok(answer),
            Admission::Apply => {
                let response = self.run_machine(index, time, &envelope.body, batch)?;
                let mut transaction = Transaction::new(&self.store, batch, SYSTEM);
                Ok(system::keep(&mut transaction, index, envelope, response))
            }
        }
    }

    fn run_machine(
        &self,
        index: LogIndex,
        time: ClusterTime,
        body: &[u8],
        batch: &mut Batch,
    ) -> Result<Response, HostError> {
        let command = Command { index, time, data: body };
        let mut transaction = Transaction::new(&self.store, batch, MACHINE);
        Ok(self.machine.apply(&command, &mut transaction)?)
    }

    /// Makes everything applied so far durable and returns how far that is: the log is not needed
    /// up to there any more.
    ///
    /// # Errors
    /// If the store fails.
    pub fn persist(&mut self) -> Result<LogIndex, HostError> {
        self.store.persist()?;
        Ok(self.applied.index)
    }

    /// Returns the store, for instance to read the whole state out of it.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns a view of the present state.
    pub fn view(&self) -> QueryView {
        QueryView {
            view: self.store.view(),
            machine: Arc::clone(&self.machine),
            applied: self.applied.index,
            time: self.time,
        }
    }
}

impl QueryView {
    /// Returns what is applied in this view.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Returns cluster time in this view.
    pub fn time(&self) -> ClusterTime {
        self.time
    }

    /// Asks about the system's part, and is told what `viewer` may know.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn system(
        &self,
        viewer: Viewer<'_>,
        query: &SystemQuery,
    ) -> Result<SystemAnswer, HostError> {
        system::answer(&PrefixView::new(&*self.view, SYSTEM), self.time, viewer, query)
    }

    /// Returns the members that were removed, in order of their ids.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, HostError> {
        system::tombstones(&PrefixView::new(&*self.view, SYSTEM))
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&self, query: &[u8]) -> Result<Response, StoreError> {
        self.machine.query(&PrefixView::new(&*self.view, MACHINE), query)
    }

    /// Returns a digest of the machine's part: equal states have equal digests (FNV-1a).
    ///
    /// # Errors
    /// If the store fails.
    pub fn digest(&self) -> Result<u64, StoreError> {
        let view = PrefixView::new(&*self.view, MACHINE);
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        let mut fold = |bytes: &[u8]| {
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        let mut from = Vec::new();
        loop {
            let page = view.range(&from, None, DIGEST_PAGE)?;
            for (key, value) in &page {
                fold(key);
                fold(value);
            }
            let Some((last, _)) = page.last().filter(|_| page.len() == DIGEST_PAGE) else {
                return Ok(digest);
            };
            from = [last, &[0][..]].concat();
        }
    }
}

/// Returns the last applied entry and the cluster time of a state, whatever its machine.
///
/// # Errors
/// If the store fails, or its record is damaged.
pub fn applied_in(state: &dyn View) -> Result<(EntryId, ClusterTime), HostError> {
    match PrefixView::new(state, SYSTEM).get(APPLIED)? {
        Some(bytes) => decode_applied(&bytes),
        None => Ok((EntryId::ZERO, ClusterTime::ZERO)),
    }
}

fn encode_applied(applied: EntryId, time: ClusterTime) -> Bytes {
    let mut bytes = vec![1];
    for number in [applied.term.get(), applied.index.get(), time.get()] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.into()
}

fn decode_applied(bytes: &[u8]) -> Result<(EntryId, ClusterTime), HostError> {
    let damaged = HostError::Damaged(bytes.len());
    let [1, numbers @ ..] = bytes else {
        return Err(damaged);
    };
    let Ok(numbers) = <[u8; 24]>::try_from(numbers) else {
        return Err(damaged);
    };
    let number =
        |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("eight bytes"));
    let id = EntryId { term: Term::new(number(0)), index: LogIndex::new(number(8)) };
    Ok((id, ClusterTime::new(number(16))))
}

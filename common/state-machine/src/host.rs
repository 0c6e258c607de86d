//! Applies committed entries to a machine: the system's part of the state, the machine's part and
//! the applied index change in one atomic batch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consensus::{ClusterTime, Entry, EntryId, LogIndex, NodeId, Payload};

use crate::applied::{APPLIED, Applied, keep_digest};
use crate::effects::{Digest, Effects};
use crate::envelope::{Envelope, EnvelopeKind};
use crate::error::HostError;
use crate::machine::{Command, Response, StoredMachine};
use crate::moment::{MACHINE, QueryView};
use crate::owners::Owners;
use crate::store::{Batch, OrderedStore, PrefixView, SYSTEM, Transaction, View};
use crate::system::{self, Admission, Revocation, SystemResponse};

/// Entries are applied together until what they change and answer takes so many bytes: a command
/// may be short and do much.
pub const APPLY_BYTES_MAX: usize = 2 << 20;

thread_local! {
    /// The command that the machine is at, on this thread; it stays where the machine fails.
    static APPLYING: Cell<LogIndex> = const { Cell::new(LogIndex::ZERO) };
}

/// Returns the index of the command that the machine applies on this thread, or at which it has
/// failed or panicked.
pub fn applying() -> Option<LogIndex> {
    Some(APPLYING.get()).filter(|index| *index > LogIndex::ZERO)
}

/// The machine's answers, and the indexes of the commands that they are for.
pub type Responses = Vec<(LogIndex, Response)>;

/// A machine and the store with its state.
pub struct Host<S> {
    owners: Owners,
    store: S,
    machine: Arc<dyn StoredMachine>,
    applied: EntryId,
    time: ClusterTime,
    /// Of everything that was applied, and those behind the last entries.
    digest: Digest,
    effects: Effects,
    /// The last entry of which a question may have seen something.
    reached: Arc<AtomicU64>,
    /// Members with an alarm, and whether that is news.
    alarms: BTreeSet<NodeId>,
    alarms_changed: bool,
    /// Certificates that count no more, and whether that is news.
    revoked: Vec<Revocation>,
    revoked_changed: bool,
}

impl<S: OrderedStore> Host<S> {
    /// Goes on from what the store holds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(store: S, machine: Arc<dyn StoredMachine>) -> Result<Self, HostError> {
        let Applied { applied, time, digest } = Applied::read(&store)?;
        let (owners, effects) = (Owners::default(), Effects::default());
        effects.begin(applied.index, digest.get());
        let mut host = Self {
            owners,
            store,
            machine,
            applied,
            time,
            digest,
            effects,
            reached: Arc::new(AtomicU64::new(applied.index.get())),
            alarms: BTreeSet::new(),
            alarms_changed: false,
            revoked: Vec::new(),
            revoked_changed: false,
        };
        host.note_all()?;
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
        Applied { applied: self.applied, time: self.time, digest: self.digest } =
            Applied::read(&self.store)?;
        if self.applied != before {
            self.reached.fetch_max(self.applied.index.get(), Ordering::AcqRel);
            self.effects.begin(self.applied.index, self.digest.get());
            self.note_all()?;
        }
        Ok(done)
    }

    fn note_all(&mut self) -> Result<(), HostError> {
        self.machine.open(&PrefixView::new(&self.store, MACHINE))?;
        self.note_owners()?;
        self.note_alarms()?;
        self.note_revoked()
    }

    /// Looks for what is kept in the system's part and belongs to nothing: in words, none if all is
    /// as it should be. Reads all sessions; for tests.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn leftovers(&self) -> Result<Vec<String>, HostError> {
        system::leftovers(&PrefixView::new(&self.store, SYSTEM))
    }

    /// Returns what the system's part says of alarms and revocations, as this host knows it.
    pub fn noted(&self) -> (&BTreeSet<NodeId>, &[Revocation]) {
        (&self.alarms, &self.revoked)
    }

    /// Returns the members that have an alarm: their disks have no room for more data.
    pub fn alarms(&self) -> &BTreeSet<NodeId> {
        &self.alarms
    }

    /// Returns the members that have an alarm, since their disks have no room, if they are others
    /// than when they were last taken.
    pub fn take_alarms(&mut self) -> Option<BTreeSet<NodeId>> {
        std::mem::take(&mut self.alarms_changed).then(|| self.alarms.clone())
    }

    fn note_alarms(&mut self) -> Result<(), HostError> {
        let found = system::alarmed(&PrefixView::new(&self.store, SYSTEM))?;
        if found != self.alarms {
            (self.alarms, self.alarms_changed) = (found, true);
        }
        Ok(())
    }

    /// Returns the certificates that count no more, if that is news since it was last taken.
    pub fn take_revoked(&mut self) -> Option<Vec<Revocation>> {
        std::mem::take(&mut self.revoked_changed).then(|| self.revoked.clone())
    }

    fn note_revoked(&mut self) -> Result<(), HostError> {
        let found = system::revocations(&PrefixView::new(&self.store, SYSTEM))?;
        if found != self.revoked {
            (self.revoked, self.revoked_changed) = (found, true);
        }
        Ok(())
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

    /// Returns the digest of all that applying did, up to the last applied entry: the same on every
    /// node.
    pub fn digest(&self) -> u64 {
        self.digest.get()
    }

    /// Returns the digests behind the last entries; it goes on to follow.
    pub fn effects(&self) -> Effects {
        self.effects.clone()
    }

    /// Applies contiguous committed entries, in as many batches as [`Host::apply_some`] makes of
    /// them, and returns the machine's answers to the commands among them.
    ///
    /// # Errors
    /// If an entry is missing before the first, or the store fails.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Responses, HostError> {
        let mut responses = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let before = self.applied.index.get();
            responses.append(&mut self.apply_some(rest)?);
            let done = usize::try_from(self.applied.index.get() - before);
            rest = &rest[done.expect("it is a part of them")..];
        }
        Ok(responses)
    }

    /// Applies the first of contiguous committed entries and returns the machine's answers to the
    /// commands among them. All of it changes at once or, on an error, nothing. It is at least one
    /// entry, and no more behind the one with which what changes and is answered takes
    /// [`APPLY_BYTES_MAX`]: [`Host::applied`] says how far it went.
    ///
    /// # Errors
    /// If an entry is missing before the first, or the store fails.
    pub fn apply_some(&mut self, entries: &[Entry]) -> Result<Responses, HostError> {
        let mut batch = Batch::new();
        batch.digest = self.digest;
        let mut digests = Vec::with_capacity(entries.len());
        let mut responses = Vec::with_capacity(entries.len());
        let mut answered_bytes = 0;
        let (mut applied, mut time) = (self.applied, self.time);
        for entry in entries {
            if answered_bytes + batch.bytes() >= APPLY_BYTES_MAX {
                break;
            }
            if entry.id.index != applied.index.next() || entry.id.term < applied.term {
                return Err(HostError::Gap { applied, found: entry.id });
            }
            // Before the machine has it in memory: what it answers from now on may show it.
            self.reached.store(entry.id.index.get(), Ordering::Release);
            time = time.max(entry.stamp);
            for number in [entry.id.index.get(), entry.id.term.get(), time.get()] {
                batch.digest.number(number);
            }
            match &entry.payload {
                Payload::Command(payload) => {
                    let response = self.run(entry.id.index, time, payload, &mut batch)?;
                    batch.digest.bytes(&response);
                    answered_bytes += response.len();
                    responses.push((entry.id.index, response));
                }
                Payload::Configuration(configuration) => {
                    let mut transaction = Transaction::new(&self.store, &mut batch, SYSTEM);
                    system::record_configuration(&mut transaction, entry.id, time, configuration)?;
                }
                Payload::Noop => {}
            }
            applied = entry.id;
            digests.push(batch.digest.get());
            keep_digest(applied.index, &mut batch);
        }
        let digest = batch.digest;
        let record = Applied { applied, time, digest }.encode();
        Transaction::new(&self.store, &mut batch, SYSTEM).put_aside(APPLIED, record);
        self.store.write(batch)?;
        (self.applied, self.time, self.digest) = (applied, time, digest);
        self.effects.extend(applied.index, &digests);
        if entries[..digests.len()].iter().any(may_alarm) {
            self.note_alarms()?;
            self.note_revoked()?;
        }
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
        APPLYING.set(index);
        let response = self.machine.apply(&command, &mut transaction)?;
        APPLYING.set(LogIndex::ZERO);
        Ok(response)
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
            reached: Arc::clone(&self.reached),
            time: self.time,
            effects: self.effects.clone(),
        }
    }
}

/// Says whether an entry may raise or clear an alarm.
fn may_alarm(entry: &Entry) -> bool {
    match &entry.payload {
        Payload::Noop => false,
        Payload::Command(command) => Envelope::is_system(command),
        Payload::Configuration(_) => true,
    }
}

/// Returns the last applied entry and the cluster time of a state, whatever its machine.
///
/// # Errors
/// If the store fails, or its record is damaged.
pub fn applied_in(state: &dyn View) -> Result<(EntryId, ClusterTime), HostError> {
    let Applied { applied, time, digest: _ } = Applied::read(state)?;
    Ok((applied, time))
}

//! Applies committed entries to a machine: the system's part of the state, the machine's part and
//! the applied index change in one atomic batch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use consensus::{ClusterTime, Entry, EntryId, LogIndex, NodeId, Payload};

use crate::applied::{APPLIED, Applied, keep_digest, stored_digests};
use crate::effects::{Digest, Effects};
use crate::envelope::{Envelope, EnvelopeKind};
use crate::error::HostError;
use crate::machine::{Command, Response, StoredMachine};
use crate::owners::Owners;
use crate::store::{Batch, OrderedStore, PrefixView, SYSTEM, StoreError, Transaction, View};
use crate::system::{
    self, Admission, Revocation, SystemAnswer, SystemQuery, SystemResponse, Tombstone, Viewer,
};

/// Keys of the machine's part begin with this byte.
const MACHINE: u8 = 1;

thread_local! {
    /// The command that the machine is at, on this thread; it stays where the machine fails.
    static APPLYING: Cell<LogIndex> = const { Cell::new(LogIndex::ZERO) };
}

/// Returns the index of the command that the machine applies on this thread, or at which it has
/// failed or panicked.
pub fn applying() -> Option<LogIndex> {
    Some(APPLYING.get()).filter(|index| *index > LogIndex::ZERO)
}

/// How many pairs a digest reads at a time.
const DIGEST_PAGE: usize = 1_000;

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
    /// Members with an alarm, and whether that is news.
    alarms: BTreeSet<NodeId>,
    alarms_changed: bool,
    /// Certificates that count no more, and whether that is news.
    revoked: Vec<Revocation>,
    revoked_changed: bool,
}

/// Answers questions at the state of one moment; cheap to copy and to send to other threads.
#[derive(Clone)]
pub struct QueryView {
    view: Arc<dyn View>,
    machine: Arc<dyn StoredMachine>,
    applied: LogIndex,
    time: ClusterTime,
    effects: Effects,
}

/// Answers questions at one moment of the state: see [`QueryView::at_one_moment`].
pub struct Moment<'a> {
    of: &'a QueryView,
    view: &'a dyn View,
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

    /// Applies contiguous committed entries and returns the machine's answers to the commands
    /// among them. All of it changes at once or, on an error, nothing.
    ///
    /// # Errors
    /// If an entry is missing before the first, or the store fails.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Vec<(LogIndex, Response)>, HostError> {
        let mut batch = Batch::new();
        batch.digest = self.digest;
        let mut digests = Vec::with_capacity(entries.len());
        let mut responses = Vec::with_capacity(entries.len());
        let (mut applied, mut time) = (self.applied, self.time);
        for entry in entries {
            if entry.id.index != applied.index.next() || entry.id.term < applied.term {
                return Err(HostError::Gap { applied, found: entry.id });
            }
            time = time.max(entry.stamp);
            for number in [entry.id.index.get(), entry.id.term.get(), time.get()] {
                batch.digest.number(number);
            }
            match &entry.payload {
                Payload::Command(payload) => {
                    let response = self.run(entry.id.index, time, payload, &mut batch)?;
                    batch.digest.bytes(&response);
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
        if entries.iter().any(may_alarm) {
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
            time: self.time,
            effects: self.effects.clone(),
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
        self.at_one_moment(|moment| moment.system(viewer, query))
    }

    /// Reads the state at one moment, which is this view's or a later one: what is applied between
    /// two reads is in both or in neither. A moment has its price, and serves any number of
    /// questions.
    pub fn at_one_moment<T>(&self, read: impl FnOnce(&Moment<'_>) -> T) -> T {
        match self.view.pinned() {
            Some(pinned) => read(&Moment { of: self, view: &*pinned }),
            None => read(&Moment { of: self, view: &*self.view }),
        }
    }

    /// Returns the members that were removed, in order of their ids.
    ///
    /// # Errors
    /// If the store fails, or a record in it is damaged.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, HostError> {
        self.at_one_moment(|moment| system::tombstones(&moment.part(SYSTEM)))
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&self, query: &[u8]) -> Result<Response, StoreError> {
        self.at_one_moment(|moment| moment.query(query))
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

impl Moment<'_> {
    /// Returns what is applied at this moment, and perhaps more.
    pub fn applied(&self) -> LogIndex {
        self.of.applied
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// If the store fails.
    pub fn query(&self, query: &[u8]) -> Result<Response, StoreError> {
        self.of.machine.query(&self.part(MACHINE), query)
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
        let view = self.part(SYSTEM);
        if let SystemQuery::Effects { index } = query {
            let (first, last) = self.of.effects.known();
            let digest = self.of.effects.at(LogIndex::new(*index));
            let stored = stored_digests(&view, *index)?;
            return Ok(SystemAnswer::Effects { first, last, digest, stored });
        }
        system::answer(&view, self.of.time, viewer, query)
    }

    fn part(&self, part: u8) -> PrefixView<'_> {
        PrefixView::new(self.view, part)
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

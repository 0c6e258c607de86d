//! Clients: what they asked, what they were promised, and what must therefore be so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{LogIndex, NodeId, RequestId};
use state_machine::{Envelope, EnvelopeKind};

use crate::broken::Broken;
use crate::machine::Numbered;

/// A client's request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Which node was asked.
    pub(crate) node: NodeId,
    /// A read must see everything up to here: what was acknowledged before it began.
    floor: LogIndex,
    read: bool,
    /// Whether it may see any state.
    stale: bool,
}

/// All clients' knowledge.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    next: u64,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    /// Commands that were declared dead: they must never be committed.
    dead: BTreeSet<u64>,
    /// Commands that came together: the one that stands before each.
    before: BTreeMap<u64, u64>,
    /// The highest index that a client knows to be applied.
    floor: LogIndex,
    pub(crate) writes_done: u64,
    pub(crate) reads_done: u64,
}

impl Clients {
    /// Names a new request.
    pub(crate) fn ask(&mut self, node: NodeId, read: bool) -> RequestId {
        self.next += 1;
        let request = RequestId::new(self.next);
        self.asked.insert(request, Asked { node, floor: self.floor, read, stale: false });
        request
    }

    /// A command came in one message behind another: it is in no log that the other is not in.
    pub(crate) fn follows(&mut self, request: RequestId, before: RequestId) {
        self.before.insert(request.get(), before.get());
    }

    /// Returns the command that must be committed before this one is.
    pub(crate) fn before(&self, command: &Bytes) -> Option<Bytes> {
        let before = self.before.get(&number_of(command)?)?;
        Some(Self::command(RequestId::new(*before)))
    }

    /// Says whether this is refused while what came before it in one message was taken.
    pub(crate) fn is_cut_off(&self, request: RequestId) -> bool {
        self.before.get(&request.get()).is_some_and(|before| !self.dead.contains(before))
    }

    /// A read may see any state.
    pub(crate) fn takes_anything(&mut self, request: RequestId) {
        if let Some(asked) = self.asked.get_mut(&request) {
            (asked.floor, asked.stale) = (LogIndex::ZERO, true);
        }
    }

    /// The command of a request: its number, so that contents tell who wrote them.
    pub(crate) fn command(request: RequestId) -> Bytes {
        Envelope::sessionless(Numbered::command(request.get())).encode()
    }

    /// A write is acknowledged at an index; `own` if that is where its command stands, and this is
    /// the answer to it.
    pub(crate) fn acknowledged(
        &mut self,
        request: RequestId,
        index: LogIndex,
        own: bool,
    ) -> Result<(), Broken> {
        let asked = self.take(request)?;
        if asked.read || !own {
            let why =
                format!("request {request} was acknowledged at {index}, which is not its own");
            return Err(Broken::new("acknowledged writes are committed", why));
        }
        self.floor = self.floor.max(index);
        self.writes_done += 1;
        Ok(())
    }

    /// A read is served from a state at `applied`.
    pub(crate) fn read(&mut self, request: RequestId, applied: LogIndex) -> Result<(), Broken> {
        let asked = self.take(request)?;
        if !asked.read || applied < asked.floor {
            let floor = asked.floor;
            let why = format!("node {} read at {applied}, acknowledged was {floor}", asked.node);
            return Err(Broken::new("reads are not stale (§6.4)", why));
        }
        // What a stale read has shown binds nobody.
        if !asked.stale {
            self.floor = self.floor.max(applied);
        }
        self.reads_done += 1;
        Ok(())
    }

    /// A request certainly has no effect.
    pub(crate) fn refused(&mut self, request: RequestId) -> Result<(), Broken> {
        if !self.take(request)?.read {
            self.dead.insert(request.get());
        }
        Ok(())
    }

    /// Nobody knows what becomes of a request.
    pub(crate) fn unknown(&mut self, request: RequestId) -> Result<(), Broken> {
        self.take(request).map(|_| ())
    }

    /// A node died: its clients will never know.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.asked.retain(|_, asked| asked.node != node);
    }

    /// A command is committed; it must not be one of which a client was told that it never is.
    pub(crate) fn committed(&self, command: &Bytes) -> Result<(), Broken> {
        match number_of(command).filter(|number| self.dead.contains(number)) {
            Some(number) => {
                let why = format!("request {number} was refused, and is committed");
                Err(Broken::new("what is refused has no effect", why))
            }
            None => Ok(()),
        }
    }

    /// Returns the highest index that a client knows to be applied.
    pub(crate) fn floor(&self) -> LogIndex {
        self.floor
    }

    /// Returns what nodes have not answered yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = (RequestId, NodeId)> {
        self.asked.iter().map(|(request, asked)| (*request, asked.node))
    }

    fn take(&mut self, request: RequestId) -> Result<Asked, Broken> {
        self.asked.remove(&request).ok_or_else(|| {
            let why = format!("request {request} was answered twice, or never asked");
            Broken::new("every request is answered once", why)
        })
    }
}

/// Returns the number in a command of a client without a session.
fn number_of(command: &Bytes) -> Option<u64> {
    // What the system is told ends with other numbers.
    let is_its = |envelope: Envelope| envelope.kind == EnvelopeKind::Machine;
    let of_machine = Envelope::decode(command).is_ok_and(is_its);
    Numbered::request(command).filter(|_| of_machine)
}

//! Repair before the start: log entries that cannot be read are fetched from other nodes.
//!
//! A damaged entry may have been acknowledged, and counted. So it is neither cut off nor skipped:
//! the node stays out of votes and acknowledgements, as it has no core yet, says which entry it
//! lacks, and asks every member it knows of for a copy. No leader is needed. A copy counts only if
//! its checksum continues the chain before the damage, and what stands behind continues the copy:
//! then it is the very entry that was written here, whoever sends it.

mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use certs::Expect;
use consensus::{
    Chain, ClusterTime, Configuration, Entry, EntryId, LogIndex, Majority, Member, NodeId, Payload,
    Term, Timestamp, Voters,
};
use protocol::limits::{LOG_PAGE_BYTES_MAX, LOG_PAGE_ENTRIES_MAX};
use protocol::{
    EntryKind, ErrorCode, Hello, LogDetail, LogEntry, LogPage, NodeStatus, Request, Response,
};
use protocol::{decode_configuration, encode_configuration};
use storage::{Damage, EntryReader, Forgotten, PersistentLog, RestoredLog};
use tokio::time::{Interval, sleep, timeout};
use transport::{Alpn, ClientConnection, ClientRequest, Endpoint, Trail, answer_identify};

use crate::alive::Alive;
use crate::control::Command;
use crate::exit::{Exit, Failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::lanes::network::Elsewhere;
use crate::logging::repeat;
use crate::observe::board::Load;
use crate::removal::told_removed;
use crate::repair::tally::{Judged, PUT_BACK, Tally, advice};
use crate::services::Services;
use crate::{admin, answer, status};

/// How long a question to a node may take, and how long until all are asked again.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A node does not give up its name before it has waited so long for who does not answer: behind a
/// power cut, the one that has a copy may be a moment behind.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A log that is damaged in places.
pub(crate) struct Damaged {
    pub(crate) log: Box<dyn PersistentLog>,
    pub(crate) restored: RestoredLog,
    /// Members that may have copies, as far as the damaged log and the bootstrap record say.
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// Who votes, by the latest configuration that can be read.
    pub(crate) voters: Voters,
}

impl Damaged {
    /// Says that what was repaired is damaged once more: the disk does not keep what is written.
    pub(crate) fn again(&self) -> Failure {
        let damages = self.restored.condition.damages.iter();
        let damages: Vec<String> = damages.map(ToString::to_string).collect();
        let message = format!("{} once more after a repair", damages.join("; "));
        Failure::new(Exit::Data, message).hint("the disk does not keep what is written: replace it")
    }
}

/// How repairing has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// All of it can be read; the log is to be opened again.
    Whole,
    /// The node was asked to stop.
    Stopped,
}

/// What another node says of some entries.
#[derive(Clone, Debug)]
enum Answer {
    Copies(Vec<Entry>),
    /// It is sure that it has none, and why.
    None(String),
    /// Nobody knows.
    Silence(String),
    /// This node was removed.
    Removed(Failure),
}

/// Repairs a log, and tells everybody who asks that it is being repaired.
///
/// # Errors
/// If no member has the entries that has answered, and a quorum of the voters, this node counted as
/// one of them, has said so: then the node has forgotten them. If a member says that this node was
/// removed.
pub(crate) async fn repair(
    damaged: Damaged,
    services: &mut Services,
    (identity, gauges): (&Identity, &Gauges),
    (endpoint, alive): (&Endpoint, &Alive),
) -> Result<Repaired, Failure> {
    let mut damages = damaged.restored.condition.damages.clone();
    let (reader, ticks) = (damaged.log.reader(), services.control.ticks());
    let mut repairing = Repairing { services, identity, gauges, reader, ticks };
    let Damaged { mut log, restored: _, members, voters } = damaged;
    let began = Instant::now();
    let mut said = String::new();
    while let Some(damage) = damages.first().copied() {
        let mut now = format!("{damage}: a copy is fetched from the other members");
        if !said.is_empty() {
            // The members of its own log may have been replaced since: it would wait for ever.
            now.push_str(&format!(" ({said}); {}", advice(identity.node, &voters)));
        }
        tracing::warn!(name: "entries-damaged", "{now}");
        let tally = Tally::new(identity.node, &voters);
        let asked = (&members, endpoint, alive);
        let (back, judged) = match repairing.ask_all(log, asked, (damage, &now), tally).await? {
            Some(asked) => asked,
            None => return Ok(Repaired::Stopped),
        };
        log = back;
        match judged {
            Judged::Repaired(by) => {
                tracing::info!(
                    name: "entries-repaired",
                    "{damage}: repaired with a copy from {by}"
                );
                gauges.scrubs().mend(format!("{damage}: repaired with a copy from {by}"));
                damages.remove(0);
                said.clear();
                continue;
            }
            Judged::Nowhere(why) => return Err(alone(&damage, &why)),
            Judged::Gone { why, silent: true } if began.elapsed() < SILENCE_MAX => said = why,
            Judged::Gone { why, .. } => return Err(unrepairable(&damage, &why)),
            Judged::Unknown(why) => said = why,
        }
        if repairing.meanwhile(&now, sleep(ASK_AGAIN)).await.is_none() {
            return Ok(Repaired::Stopped);
        }
    }
    Ok(Repaired::Whole)
}

/// What cannot be repaired was promised once: the node goes on as one that has forgotten.
fn unrepairable(damage: &Damage, why: &str) -> Failure {
    let message = format!("{damage}, and no other member has a copy ({why})");
    Failure::new(Exit::Forgotten, message).forgotten(Forgotten::Unrepairable).hint(
        "this node gives up its name, and gets all anew from the others: start it again (systemd \
         does)",
    )
}

fn alone(damage: &Damage, why: &str) -> Failure {
    let message = format!("{damage}, and there is no other voter to have a copy ({why})");
    Failure::new(Exit::Data, message).hint(PUT_BACK)
}

/// Returns the other members with where they are dialled.
fn others(
    members: &BTreeMap<NodeId, Member>,
    elsewhere: &Elsewhere,
    node: NodeId,
) -> Vec<(NodeId, String, String)> {
    let others = members.iter().filter(|(id, _)| **id != node);
    others
        .map(|(id, member)| (*id, member.name.clone(), elsewhere.address(*id, member).to_owned()))
        .collect()
}

/// Returns all members that some configurations name; the later ones say where they are.
pub(crate) fn members(configurations: &[&Configuration]) -> BTreeMap<NodeId, Member> {
    let all = configurations.iter().flat_map(|configuration| configuration.members());
    all.map(|(id, member)| (*id, member.clone())).collect()
}

/// Returns who has to say that an entry is nowhere: the voters of the last configuration that can
/// be read, which stands at an index. If entries behind it are damaged, and it does not name
/// somebody who was met, one of them is a later configuration: then nobody knows who votes, and all
/// that are known count.
pub(crate) fn voters(
    (known, at): (&Configuration, LogIndex),
    damages: &[Damage],
    met: impl IntoIterator<Item = NodeId>,
) -> Voters {
    let may_be_later = damages.iter().any(|damage| damage.last.index > at);
    let is_other = |id: &NodeId| may_be_later && known.member(*id).is_none();
    let mut others = met.into_iter().filter(is_other).peekable();
    match others.peek() {
        None => known.voters().clone(),
        Some(_) => Voters::Stable(Majority::new(known.members().keys().copied().chain(others))),
    }
}

/// Asks one node for all entries of one damage, for a while.
async fn ask_one(member: (NodeId, &str), with: (&Endpoint, &Hello), damage: Damage) -> Answer {
    match timeout(ASK_TIMEOUT, ask(member, with, damage)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => Answer::Silence(why),
        Err(_) => Answer::Silence("it does not answer in time".to_owned()),
    }
}

async fn ask(
    (id, address): (NodeId, &str),
    (endpoint, hello): (&Endpoint, &Hello),
    damage: Damage,
) -> Result<Answer, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let number = id.get().try_into().map_err(|error: std::num::TryFromIntError| said(&error))?;
    let (trail, how) = (Trail::new(address), (Alpn::Forward, Expect::Node(number)));
    let connection = ClientConnection::connect(endpoint, &trail, how, hello, CONNECT_TIMEOUT);
    let connection = match connection.await {
        Ok(connection) => connection,
        Err(error) => {
            let told = told_removed(&error, (endpoint, hello), (id, address)).await;
            return told.map(Answer::Removed).ok_or_else(|| said(&error));
        }
    };
    let mut entries: Vec<Entry> = Vec::new();
    let (mut next, mut chain) = (damage.first, damage.before);
    let answer = loop {
        if next > damage.last.index {
            break Answer::Copies(entries);
        }
        let count = damage.last.index.next().since(next).min(LOG_PAGE_ENTRIES_MAX.into());
        let count = u32::try_from(count).unwrap_or(LOG_PAGE_ENTRIES_MAX);
        let request =
            Request::ReadLog { from: next.get(), entries_max: count, detail: LogDetail::Commands };
        let page = match connection.call(&request).await.map_err(|error| said(&error))? {
            Response::Log(page) => page,
            Response::Error(error) => return Err(error.message),
            Response::Applied { .. }
            | Response::Batch { .. }
            | Response::Answer { .. }
            | Response::Status(_)
            | Response::Snapshot(_)
            | Response::Certificate(_)
            | Response::Configuration(_)
            | Response::Bootstrapped { .. }
            | Response::Done => {
                return Err("it answered something else than was asked".to_owned());
            }
        };
        if page.first > next.get() {
            break Answer::None(format!("its log begins at {}", page.first));
        }
        if page.entries.first().is_none_or(|entry| entry.index != next.get()) {
            break Answer::None(format!("its log ends at {}", page.last));
        }
        for entry in page.entries {
            let Some(entry) = entry_of(entry, chain) else {
                return Ok(Answer::Silence(format!("its entry {next} cannot be used")));
            };
            (chain, next) = (entry.chain, entry.id.index.next());
            entries.push(entry);
        }
    };
    Ok(answer)
}

/// Makes an entry of what another node shows of it, with the chain value that it has behind
/// another.
fn entry_of(shown: LogEntry, before: Chain) -> Option<Entry> {
    let payload = match (shown.kind, shown.payload) {
        (EntryKind::Noop, _) => Payload::Noop,
        (EntryKind::Command, Some(bytes)) => Payload::Command(bytes),
        (EntryKind::Configuration, Some(bytes)) => {
            Payload::Configuration(decode_configuration(&bytes).ok()?)
        }
        (EntryKind::Command | EntryKind::Configuration, None) => return None,
    };
    let id = EntryId { term: Term::new(shown.term), index: LogIndex::new(shown.index) };
    let mut entry = Entry::new(id, ClusterTime::new(shown.stamp_ns), payload);
    entry.chain = protocol::chain(before, &entry);
    Some(entry)
}

/// A node that repairs its log, and answers whoever asks meanwhile.
struct Repairing<'a> {
    services: &'a mut Services,
    identity: &'a Identity,
    gauges: &'a Gauges,
    reader: Arc<dyn EntryReader>,
    ticks: Interval,
}

impl Repairing<'_> {
    /// Asks one member after the other for copies, until one fits; `None` if the node is asked to
    /// stop.
    async fn ask_all(
        &mut self,
        mut log: Box<dyn PersistentLog>,
        (members, endpoint, alive): (&BTreeMap<NodeId, Member>, &Endpoint, &Alive),
        (damage, doing): (Damage, &str),
        mut tally: Tally<'_>,
    ) -> Result<Option<(Box<dyn PersistentLog>, Judged)>, Failure> {
        let hello = self.services.inbound.hello.borrow().clone();
        // Each time anew: they may be dialled elsewhere by then.
        let elsewhere = self.services.reload.elsewhere();
        for (id, name, address) in others(members, &elsewhere, self.identity.node) {
            let asked = ask_one((id, &address), (endpoint, &hello), damage);
            let Some(answer) = self.meanwhile(doing, asked).await else { return Ok(None) };
            let entries = match answer {
                Answer::Copies(entries) => entries,
                Answer::None(why) => {
                    tally.lacks(id, &name, &why);
                    continue;
                }
                Answer::Silence(why) => {
                    tally.is_silent(&name, &why);
                    continue;
                }
                Answer::Removed(failure) => return Err(failure),
            };
            // The last copy makes the whole log anew: that takes as long as to read and write it.
            let taking = alive.aside(move || {
                let taken = log.repair(&entries);
                (log, taken)
            });
            let Some((back, taken)) = self.meanwhile(doing, taking).await else { return Ok(None) };
            log = back;
            if tally.take((id, &name), taken)? {
                return Ok(Some((log, Judged::Repaired(name))));
            }
        }
        Ok(Some((log, tally.judge(&damage))))
    }

    /// Answers requests until something is done; `None` if the node is asked to stop.
    async fn meanwhile<T>(&mut self, doing: &str, done: impl Future<Output = T>) -> Option<T> {
        let Self { services, identity, gauges, reader, ticks } = self;
        let Services { clock, inbound, control, .. } = &mut **services;
        let mut done = std::pin::pin!(done);
        control.beat(format!("repairing: {doing}"));
        control.post(|| (shown(clock.now(), identity, gauges, doing), Load::default()));
        loop {
            tokio::select! {
                result = &mut done => return Some(result),
                Some(request) = inbound.requests.recv() => {
                    answer_one(clock.now(), request, (identity, gauges), &**reader, doing);
                }
                Some(accepted) = inbound.peers.recv() => {
                    let hello = inbound.hello.borrow().clone();
                    tokio::spawn(answer_identify(accepted, hello));
                }
                command = control.next() => match command {
                    Command::Stop => {
                        control.stopping();
                        tracing::info!(name: "stopped", "stopped");
                        return None;
                    }
                    Command::Status(reply) => {
                        // An owner who does not wait for the answer needs none.
                        drop(reply.send(shown(clock.now(), identity, gauges, doing)));
                    }
                    Command::Bootstrap(_, reply) => {
                        let why = "this node has a history, and repairs its log";
                        drop(reply.send(Err(why.into())));
                    }
                },
                _ = ticks.tick() => {
                    control.beat(format!("repairing: {doing}"));
                    let report = shown(clock.now(), identity, gauges, doing);
                    control.post(|| (report, Load::default()));
                    repeat::summarise(Instant::now(), false);
                }
            }
        }
    }
}

fn answer_one(
    now: Timestamp,
    ask: ClientRequest,
    (identity, gauges): (&Identity, &Gauges),
    reader: &dyn EntryReader,
    doing: &str,
) {
    let ClientRequest { request, identity: asker, responder, .. } = ask;
    let response = match admin::admit(&asker.role, request) {
        Err(refusal) => Response::Error(refusal),
        Ok(Request::Status) => Response::Status(Box::new(shown(now, identity, gauges, doing))),
        // Two nodes may be damaged in different places, and repair each other.
        Ok(Request::ReadLog { from, entries_max, detail }) if detail != LogDetail::Sizes => {
            page(reader, from, entries_max)
        }
        Ok(_) => {
            let why = format!("this node does not serve yet: {doing}");
            Response::Error(answer::refusal(ErrorCode::Busy, why))
        }
    };
    responder.send(response);
}

/// Shows what can be read of the damaged log, from one entry on.
fn page(reader: &dyn EntryReader, from: u64, entries_max: u32) -> Response {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for index in from..from.saturating_add(entries_max.into()) {
        let index = LogIndex::new(index);
        let Ok(mut read) = reader.read(index..index.next(), 0) else {
            break;
        };
        let Some(entry) = read.pop() else {
            break;
        };
        let (kind, payload) = match entry.payload {
            Payload::Noop => (EntryKind::Noop, Bytes::new()),
            Payload::Command(command) => (EntryKind::Command, command),
            Payload::Configuration(configuration) => {
                (EntryKind::Configuration, encode_configuration(&configuration))
            }
        };
        bytes += payload.len();
        entries.push(LogEntry {
            index: entry.id.index.get(),
            term: entry.id.term.get(),
            stamp_ns: entry.stamp.get(),
            kind,
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload: Some(payload),
            text: None,
        });
        if bytes > LOG_PAGE_BYTES_MAX {
            break;
        }
    }
    let Some(last) = entries.last().map(|entry| entry.index) else {
        let why = format!("entry {from} cannot be read here now: this node repairs its log");
        return Response::Error(answer::refusal(ErrorCode::Busy, why));
    };
    Response::Log(LogPage { first: from, last, commit: 0, entries })
}

fn shown(now: Timestamp, identity: &Identity, gauges: &Gauges, doing: &str) -> NodeStatus {
    NodeStatus {
        generation: identity.generation,
        failure: format!("it repairs its log: {doing}"),
        ..status::uninitialised(now, identity, gauges)
    }
}

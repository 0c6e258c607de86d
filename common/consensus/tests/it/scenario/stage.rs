//! The events of a scenario.
//!
//! ```text
//! cluster voters n1 n2 n3 [learners n4] [leases 200] [inflight 4] [entries 2] [uncommitted 3]
//! case TEXT                            another cluster from here on, for the same sentence
//! disk n1: term 3 [vote n2] [log 2 2]  n1 starts from such a disk: the terms of the entries behind
//!                                      the first, 1@t1, which is the configuration
//! blank n4                             n4 starts and belongs to no cluster
//! crash n1                             n1 starts from its disk; writes under way are lost
//!
//! pass 100 ms                          time passes, and no timer fires
//! run 100 ms                           time passes, timers fire, and everything is delivered
//! timeout n1 election                  a timer of n1 fires (if its time has come)
//! tick n1                              the timer of n1 that is due fires
//! campaign n1                          a second passes, n1 times out, everything is delivered
//!
//! n2 -> n1: t4 vote granted            n1 receives this in the name of n2
//! deliver n1 -> n2                     what is under way from n1 to n2 arrives ("all" for either)
//! settle                               everything is delivered, and all that comes of it
//! drop n1 -> n2                        all of that is lost
//! cut n1 -> n2, isolate n1, heal       from now on all of it is lost; or nothing any more
//!
//! hold n1                              from now on the disk of n1 acknowledges no write
//! persist n1 [one]                     it acknowledges all writes under way, or the oldest
//! release n1                           it acknowledges all of them, and from now on each at once
//! fail n1                              the oldest write of n1 under way fails
//!
//! propose n1 r1 TEXT                   a client's command; r1 names the request
//! read n1 r1                           a client's read
//! change n1 r1 voters n1 n2 [learners n3]
//! transfer n1 r1 -> n2
//! unreachable n1 -> n2                 n1 is told that n2 cannot be reached
//!
//! compact n1 8                         a snapshot of n1 up to 8 is durable
//! snapshot n1 -> n2: t3 last 9@t3 voters n1 n2 n3
//! snapshot-sent n1 -> n2 failed        or "delivered"
//! remember n1                          expectations may be compared with this state
//! quietly EVENT                        the actions are not recorded: they are beside the point
//! ```

use std::collections::BTreeMap;

use consensus::*;

use super::Refused;
use super::notation::{self, Questions, node, number, request};
use crate::kit::{Cluster, Letter, hard_state, id, incarnation};

/// What a scenario is about at one moment.
#[derive(Default)]
pub struct Stage {
    cluster: Option<Cluster>,
    pub(super) questions: Questions,
    pub(super) remembered: BTreeMap<u64, Raft>,
    /// What the last event led to.
    pub(super) actions: Vec<String>,
}

impl Stage {
    pub(super) fn cluster(&mut self) -> Result<&mut Cluster, Refused> {
        self.cluster.as_mut().ok_or_else(|| "a scenario begins with a cluster".into())
    }

    /// Plays one event, and returns the actions to record.
    pub fn event(&mut self, line: &str) -> Result<Vec<String>, Refused> {
        let plain = line.replace([':', ','], " ");
        let words: Vec<&str> = plain.split_whitespace().collect();
        match words[..] {
            ["case", ..] => *self = Self::default(),
            ["cluster", ref rest @ ..] => self.cluster = Some(begin(rest)?),
            ["quietly", ..] => {
                let event = line.split_once(' ').map_or("", |(_, event)| event);
                self.event(event)?;
                return Ok(Vec::new());
            }
            ["remember", n] => {
                let number = node(n)?;
                let raft = self.cluster()?.node(number).raft.clone();
                self.remembered.insert(number, raft);
            }
            [from, "->", to, ..] => {
                let text = line.split_once(':').map_or("", |(_, text)| text);
                let (from, to) = (node(from)?, node(to)?);
                let message = notation::said(text, incarnation(to), &self.questions)?;
                let letter = Letter { from: id(from), to: id(to), message };
                self.cluster()?.deliver(letter);
            }
            _ => self.play(&words, line)?,
        }
        self.note(words.first() == Some(&"run"))
    }

    fn play(&mut self, words: &[&str], line: &str) -> Result<(), Refused> {
        let cluster = self.cluster()?;
        match words {
            ["disk" | "blank" | "crash", ..] => start(cluster, words),
            ["pass" | "run" | "timeout" | "tick" | "campaign", ..] => time(cluster, words),
            ["hold" | "persist" | "release" | "fail", ..] => disk(cluster, words),
            ["deliver" | "drop" | "settle" | "cut" | "isolate" | "heal", ..] => {
                network(cluster, words)
            }
            ["propose" | "read" | "change" | "transfer", ..] => client(cluster, words, line),
            ["unreachable" | "gone" | "compact" | "snapshot" | "snapshot-sent", ..] => {
                driver(cluster, words)
            }
            _ => Err(format!("no event: {line}").into()),
        }
    }

    /// Takes what the nodes want done. Where time passes, heartbeats and their answers say nothing.
    fn note(&mut self, timed: bool) -> Result<Vec<String>, Refused> {
        let Some(cluster) = &mut self.cluster else {
            return Ok(Vec::new());
        };
        self.actions.clear();
        for (node, actions) in std::mem::take(&mut cluster.journal) {
            self.actions.extend(notation::actions(node, &actions, &mut self.questions));
        }
        let routine = [" heartbeat after ", " appended to "];
        let shown = |line: &&String| !timed || !routine.iter().any(|said| line.contains(said));
        Ok(merged(self.actions.iter().filter(shown)))
    }
}

/// Writes a message to several nodes as one line: `n1 -> n2 n3: t2 vote granted`.
fn merged<'a>(actions: impl Iterator<Item = &'a String>) -> Vec<String> {
    let parts = |line: &str| {
        let (ends, message) = line.split_once(": ")?;
        let (sender, receiver) = ends.split_once(" -> ")?;
        Some((sender.to_owned(), receiver.to_owned(), message.to_owned()))
    };
    let mut lines: Vec<String> = Vec::new();
    for action in actions {
        let last = lines.last_mut();
        match (last.as_ref().and_then(|line| parts(line)), parts(action)) {
            (Some((before, receivers, said)), Some((sender, receiver, message)))
                if before == sender && said == message =>
            {
                *last.expect("it was split") =
                    format!("{sender} -> {receivers} {receiver}: {said}");
            }
            _ => lines.push(action.clone()),
        }
    }
    lines
}

fn begin(words: &[&str]) -> Result<Cluster, Refused> {
    let settings = ["leases", "inflight", "entries", "uncommitted", "reads"];
    let end = words.iter().position(|word| settings.contains(word)).unwrap_or(words.len());
    let configuration = notation::configuration_of(&words[..end])?;
    let mut config = Config::new(1);
    for pair in words[end..].chunks(2) {
        let value = number(pair.get(1).ok_or("a setting without its value")?)?;
        let small = u32::try_from(value).map_err(|_| Refused::from("too large"))?;
        match pair[0] {
            "leases" => config.lease_clock_error_ppm = Some(small),
            "inflight" => config.inflight_max = small,
            "entries" => config.entries_max = small,
            "uncommitted" => config.uncommitted_max = value,
            "reads" => config.reads_max = small,
            other => return Err(format!("no setting: {other}").into()),
        }
    }
    Ok(Cluster::with(configuration, config))
}

fn start(cluster: &mut Cluster, words: &[&str]) -> Result<(), Refused> {
    match words {
        ["disk", n, "term", term, rest @ ..] => {
            let (vote, rest) = match rest {
                ["vote", candidate, rest @ ..] => (notation::somebody(candidate)?, rest),
                rest => (None, rest),
            };
            let terms = match rest {
                [] => Vec::new(),
                ["log", terms @ ..] => {
                    terms.iter().map(|term| number(term)).collect::<Result<_, _>>()?
                }
                other => return Err(format!("no log: {}", other.join(" ")).into()),
            };
            let hard_state = hard_state(number(term)?, vote.map(NodeId::get));
            cluster.start(node(n)?, &terms, hard_state);
        }
        ["blank", n] => cluster.start_blank(node(n)?),
        ["crash", n] => cluster.crash(node(n)?),
        other => return Err(format!("no start: {}", other.join(" ")).into()),
    }
    Ok(())
}

fn time(cluster: &mut Cluster, words: &[&str]) -> Result<(), Refused> {
    match words {
        ["pass", ms, "ms"] => cluster.pass(number(ms)?),
        ["run", ms, "ms"] => cluster.run(number(ms)?),
        ["timeout", n, timer] => {
            cluster.step(node(n)?, Input::Timeout(notation::timer(timer)?));
        }
        ["tick", n] => cluster.tick(node(n)?),
        ["campaign", n] => cluster.campaign(node(n)?),
        other => return Err(format!("no passing of time: {}", other.join(" ")).into()),
    }
    Ok(())
}

fn disk(cluster: &mut Cluster, words: &[&str]) -> Result<(), Refused> {
    let number = words.get(1).map_or(Err("whose disk?".into()), |n| node(n))?;
    match words {
        ["hold", _] => {
            cluster.held_disks.insert(id(number));
        }
        ["persist", _] => cluster.persist(number),
        ["persist", _, "one"] => {
            if !cluster.persist_one(number) {
                return Err("no write is under way".into());
            }
        }
        ["release", _] => {
            cluster.held_disks.remove(&id(number));
            cluster.persist(number);
        }
        ["fail", _] => {
            let write = cluster.node(number).writes.front().ok_or("no write is under way")?.id;
            cluster.step(number, Input::WriteFailed { write });
        }
        other => return Err(format!("no event of a disk: {}", other.join(" ")).into()),
    }
    Ok(())
}

/// Either one node or all of them.
fn whoever(word: &str) -> Result<impl Fn(NodeId) -> bool + use<>, Refused> {
    let one = if word == "all" { None } else { Some(node(word)?) };
    Ok(move |who: NodeId| one.is_none_or(|one| who == id(one)))
}

fn network(cluster: &mut Cluster, words: &[&str]) -> Result<(), Refused> {
    match words {
        ["settle"] => cluster.settle(),
        ["heal"] => cluster.heal(),
        ["isolate", n] => cluster.isolate(node(n)?),
        ["cut", from, "->", to] => {
            cluster.cut.insert((id(node(from)?), id(node(to)?)));
        }
        ["deliver" | "drop", from, "->", to] => {
            let (from, to) = (whoever(from)?, whoever(to)?);
            let (taken, rest): (Vec<Letter>, Vec<Letter>) =
                cluster.letters.drain(..).partition(|l| from(l.from) && to(l.to));
            cluster.letters = rest.into();
            if taken.is_empty() {
                return Err("nothing is under way there".into());
            }
            if words[0] == "deliver" {
                taken.into_iter().for_each(|letter| cluster.deliver(letter));
            }
        }
        other => return Err(format!("no event of the network: {}", other.join(" ")).into()),
    }
    Ok(())
}

fn client(cluster: &mut Cluster, words: &[&str], line: &str) -> Result<(), Refused> {
    match words {
        ["propose", n, r, _, ..] => {
            let text = line.splitn(4, ' ').last().unwrap_or_default();
            cluster.propose(node(n)?, request(r)?.get(), text);
        }
        ["read", n, r] => cluster.read(node(n)?, request(r)?.get()),
        ["change", n, r, members @ ..] => {
            let target = notation::configuration_of(members)?;
            let request = request(r)?;
            cluster.step(node(n)?, Input::Reconfigure { request, target });
        }
        ["transfer", n, r, "->", to] => {
            let (request, to) = (request(r)?, id(node(to)?));
            cluster.step(node(n)?, Input::Transfer { request, to });
        }
        other => return Err(format!("no request: {}", other.join(" ")).into()),
    }
    Ok(())
}

fn driver(cluster: &mut Cluster, words: &[&str]) -> Result<(), Refused> {
    let input = match words {
        ["unreachable", _, "->", peer] => Input::Unreachable { peer: id(node(peer)?) },
        ["gone", _, "->", peer] => Input::Gone { peer: id(node(peer)?) },
        ["compact", n, index] => {
            let index = LogIndex::new(number(index)?);
            let meta = cluster.node(node(n)?).raft.snapshot_meta(index);
            Input::SnapshotTaken { meta: meta.ok_or("the log does not know that index")? }
        }
        ["snapshot", from, "->", n, term, "last", last, members @ ..] => {
            let term = Term::new(number(term.strip_prefix('t').unwrap_or(term))?);
            let meta = SnapshotMeta {
                last: notation::place(last)?,
                configuration: notation::configuration_of(members)?,
                configuration_index: LogIndex::new(1),
                stamp: ClusterTime::new(77),
                chain: consensus::Chain::ZERO,
            };
            let from = id(node(from)?);
            cluster.step(node(n)?, Input::SnapshotReceived { from, term, meta });
            return Ok(());
        }
        ["snapshot-sent", _, "->", to, how @ ("delivered" | "failed")] => {
            Input::SnapshotSent { to: id(node(to)?), delivered: *how == "delivered" }
        }
        other => return Err(format!("no event of a driver: {}", other.join(" ")).into()),
    };
    cluster.step(node(words[1])?, input);
    Ok(())
}

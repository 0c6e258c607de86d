//! What a scenario expects. Several facts are divided by commas, several actions by semicolons.
//!
//! ```text
//! expect n1: leader, term 4            also follower, candidate, pre-candidate, not leader
//! expect n1: vote n2, follows nobody   its vote of this term, and its leader
//! expect n1: commit 3, applied 3, durable 3, last 3@t2, base 0@t0
//! expect n1: log 1@t1 2@t2             the identities of all entries
//! expect n1: on disk 1@t1 2@t2         the same, of what is durable
//! expect n1: on disk term 2 vote n1    the durable term and vote
//! expect n1: no deadline               no timer is set
//! expect n1: lease 150 ms              how long its lease lasts from now on; or "no lease"
//! expect n1: peer n2 matched 5 next 6  what a leader knows of a member
//! expect n1: installing 9@t2           or "installing nothing"
//! expect n1: installed 9@t2            the snapshots that its state machine was given
//! expect n1: as remembered             nothing of its state has changed
//! expect n1: deadline as remembered    or "deadline later"
//! expect n1 configuration: voters n1 n2 learners n3
//! expect n1 -> n2: vote granted        all that n1 sent to n2 because of the last event ("all" for
//!                                      either); with its term (t4 vote granted) or without
//! expect n1 -> n2 among: vote granted  this was among it
//! expect n1 reply: r1 done             all answers to clients; "among" as above
//! expect n1 event among: leader n2     news; also "install" and "apply"
//! expect leaders: n1 n2                or "one", or "none"
//! expect same log: n1 n2 n3
//! ```

use consensus::*;

use super::Refused;
use super::notation::{self, node, number, place, places, somebody};
use super::stage::Stage;
use crate::kit::{Cluster, MS, id};

impl Stage {
    /// Says what does not hold, if anything does not.
    pub fn expect(&mut self, line: &str) -> Result<(), Refused> {
        let (about, what) = line.split_once(':').ok_or("an expectation has a colon")?;
        let about: Vec<&str> = about.split_whitespace().collect();
        let what = what.trim();
        match about[..] {
            ["leaders"] => self.leaders(what),
            ["same", "log"] => self.same_log(what),
            [n, "configuration"] => {
                let number = node(n)?;
                let status = self.cluster()?.status(number);
                equal(what, &notation::configuration_text(status.configuration))
            }
            [n] => {
                let number = node(n)?;
                what.split(", ").try_for_each(|fact| self.fact(number, fact))
            }
            [from, "->", to] => self.sent(from, to, what, false),
            [from, "->", to, "among"] => self.sent(from, to, what, true),
            [n, lane @ ("reply" | "event" | "install" | "apply")] => {
                compare(what, &self.lane(n, lane), false)
            }
            [n, lane @ ("reply" | "event"), "among"] => compare(what, &self.lane(n, lane), true),
            _ => Err(format!("no expectation: {line}").into()),
        }
    }

    fn leaders(&mut self, what: &str) -> Result<(), Refused> {
        let leaders = self.cluster()?.leaders();
        let found = match leaders[..] {
            [] => "none".to_owned(),
            [_] if what == "one" => "one".to_owned(),
            _ => leaders.iter().map(|number| format!("n{number}")).collect::<Vec<_>>().join(" "),
        };
        equal(what, &found)
    }

    fn same_log(&mut self, what: &str) -> Result<(), Refused> {
        let nodes = what.split_whitespace().map(node).collect::<Result<Vec<u64>, _>>()?;
        let cluster = self.cluster()?;
        let first = cluster.ids(*nodes.first().ok_or("whose?")?);
        match nodes.iter().find(|number| cluster.ids(**number) != first) {
            Some(number) => Err(format!(
                "n{} has {}, n{number} has {}",
                nodes[0],
                ids(&first),
                ids(&cluster.ids(*number))
            )
            .into()),
            None => Ok(()),
        }
    }

    fn lane(&self, n: &str, lane: &str) -> Vec<String> {
        let prefix = format!("{n} {lane}: ");
        let lines = self.actions.iter().filter_map(|line| line.strip_prefix(&prefix));
        lines.map(str::to_owned).collect()
    }

    fn sent(&self, from: &str, to: &str, what: &str, among: bool) -> Result<(), Refused> {
        let mut said = Vec::new();
        for line in &self.actions {
            let Some((ends, message)) = line.split_once(": ") else { continue };
            let Some((sender, receiver)) = ends.split_once(" -> ") else { continue };
            if (from == "all" || from == sender) && (to == "all" || to == receiver) {
                let bare = message.split_once(' ').map_or("", |(_, bare)| bare);
                let first = what.split_whitespace().next().unwrap_or_default();
                let dated = first.strip_prefix('t').is_some_and(|term| number(term).is_ok());
                said.push(if dated { message } else { bare }.to_owned());
            }
        }
        compare(what, &said, among)
    }

    fn fact(&mut self, number: u64, fact: &str) -> Result<(), Refused> {
        let remembered = self.remembered.get(&number).cloned();
        let cluster = self.cluster()?;
        let words: Vec<&str> = fact.split_whitespace().collect();
        if let ["as", "remembered"] | ["deadline", ..] = words[..] {
            let before = remembered.ok_or("nothing is remembered of it")?;
            return compare_state(&words, &before, &cluster.node(number).raft);
        }
        let (node, status) = (cluster.node(number), cluster.status(number));
        let found = match words[..] {
            ["leader" | "follower" | "candidate" | "pre-candidate"] => {
                notation::plain(&status.role).replace(' ', "-")
            }
            ["not", "leader"] => {
                let leads = status.role == RoleKind::Leader;
                if leads { "leader" } else { "not leader" }.to_owned()
            }
            ["term", _] => format!("term {}", status.term),
            ["commit", _] => format!("commit {}", status.commit),
            ["applied", _] => format!("applied {}", status.applied),
            ["durable", _] => format!("durable {}", status.durable),
            ["last", _] => format!("last {}", status.last),
            ["base", _] => format!("base {}", status.base),
            ["vote", _] => format!("vote {}", name(status.voted_for)),
            ["follows", _] => format!("follows {}", name(status.leader)),
            ["log", ..] => format!("log {}", ids(&cluster.ids(number))),
            ["on", "disk", "term", _, "vote", candidate] => {
                somebody(candidate)?;
                let HardState { term, vote } = node.hard_state;
                format!("on disk term {term} vote {}", name(vote.map(|vote| vote.candidate)))
            }
            ["on", "disk", ref entries @ ..] => {
                places(entries)?;
                let log: Vec<EntryId> = node.log.iter().map(|entry| entry.id).collect();
                format!("on disk {}", ids(&log))
            }
            ["no", "deadline"] => {
                let due = node.raft.deadline();
                due.map_or("no deadline".to_owned(), |(_, timer)| notation::plain(&timer))
            }
            ["lease", ..] | ["no", "lease"] => {
                let left = status.lease_until.map_or(0, |until| until.since(cluster.now));
                if left == 0 { "no lease".to_owned() } else { format!("lease {} ms", left / MS) }
            }
            ["peer", peer, "matched", _, "next", _] => peer_text(cluster, number, peer)?,
            ["installing", _] => {
                let meta = node.raft.installing().map(|meta| meta.last.to_string());
                format!("installing {}", meta.unwrap_or("nothing".to_owned()))
            }
            ["installed", ref entries @ ..] => {
                entries.iter().try_for_each(|entry| place(entry).map(|_| ()))?;
                format!("installed {}", ids(&node.installed))
            }
            _ => return Err(format!("no fact: {fact}").into()),
        };
        equal(fact, &found)
    }
}

fn peer_text(cluster: &Cluster, number: u64, peer: &str) -> Result<String, Refused> {
    let wanted = id(node(peer)?);
    let peers = cluster.status(number).peers;
    let found = peers.iter().find(|status| status.id == wanted).ok_or("it does not feed that")?;
    Ok(format!("peer {peer} matched {} next {}", found.matched, found.next))
}

fn compare_state(words: &[&str], before: &Raft, now: &Raft) -> Result<(), Refused> {
    let (was, is) = (before.deadline(), now.deadline());
    let (holds, found) = match words {
        ["as", "remembered"] => (before == now, "its state has changed"),
        ["deadline", "as", "remembered"] => (was == is, "its deadline has changed"),
        ["deadline", "later"] => (is > was, "its deadline is not later"),
        other => return Err(format!("no fact: {}", other.join(" ")).into()),
    };
    if holds { Ok(()) } else { Err(found.into()) }
}

fn compare(what: &str, found: &[String], among: bool) -> Result<(), Refused> {
    let wanted: Vec<&str> = what.split("; ").filter(|text| *text != "nothing").collect();
    let holds = if among {
        !wanted.is_empty() && wanted.iter().all(|text| found.iter().any(|found| found == text))
    } else {
        wanted == found
    };
    if holds { Ok(()) } else { Err(format!("it was: {}", shown(&found.join("; "))).into()) }
}

fn equal(wanted: &str, found: &str) -> Result<(), Refused> {
    if wanted == found { Ok(()) } else { Err(format!("it was: {}", shown(found)).into()) }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn name(node: Option<NodeId>) -> String {
    node.map_or("nobody".to_owned(), |node| format!("n{node}"))
}

fn ids(entries: &[EntryId]) -> String {
    let texts: Vec<String> = entries.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

//! How actions and messages are written in a scenario, and messages read back.
//!
//! An entry is `3@t2`: index 3 of term 2. A node is `n1`, a request `r1`, a question for a read
//! index `q1`; questions are numbered in the order in which the scenario meets them.

use consensus::*;

use super::Refused;
use crate::kit::{at, configuration, entry, id};

/// The names that a scenario gives to questions for a read index.
#[derive(Default)]
pub struct Questions(Vec<ReadTicket>);

impl Questions {
    fn write(&mut self, ticket: ReadTicket) -> String {
        let found = self.0.iter().position(|known| *known == ticket);
        let place = found.unwrap_or_else(|| {
            self.0.push(ticket);
            self.0.len() - 1
        });
        format!("q{}", place + 1)
    }

    /// A question that the scenario has not met is one that nobody asked.
    fn read(&self, word: &str) -> Result<ReadTicket, Refused> {
        let number = number(word.strip_prefix('q').unwrap_or(word))?;
        let asked = usize::try_from(number).ok().and_then(|n| self.0.get(n.checked_sub(1)?));
        Ok(asked.copied().unwrap_or(ReadTicket::new(number)))
    }
}

/// Writes what a node wants done, a line for each action, in the order of the lanes.
pub fn actions(node: NodeId, actions: &Actions, questions: &mut Questions) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(write) = &actions.write {
        lines.push(format!("n{node} write: {}", write_text(write)));
    }
    lines.extend(actions.send.iter().map(|send| match send {
        Outgoing::Message { to, message } => {
            format!("n{node} -> n{to}: {}", say(message, questions))
        }
        Outgoing::Entries { to, term, prev, range, commit, round } => {
            let (first, last) = (range.start, range.end.prev().unwrap());
            let round = round_text(*round);
            let range = format!("{first}..{last} after {prev}, commit {commit}{round}");
            format!("n{node} -> n{to}: t{term} append {range}")
        }
        Outgoing::Snapshot { to, term, at_least } => {
            format!("n{node} -> n{to}: t{term} a snapshot, to {at_least} at least")
        }
    }));
    lines.extend(actions.reply.iter().map(|reply| format!("n{node} reply: {}", reply_text(reply))));
    if let Some(meta) = &actions.install {
        lines.push(format!("n{node} install: snapshot to {}", meta.last));
    }
    if let Some(range) = &actions.apply {
        lines.push(format!("n{node} apply: {}..{}", range.start(), range.end()));
    }
    lines.extend(actions.event.iter().map(|event| format!("n{node} event: {}", event_text(event))));
    lines
}

fn write_text(write: &Write) -> String {
    let mut parts = Vec::new();
    if let Some(hard_state) = write.hard_state {
        parts.push(hard_state_text(hard_state));
    }
    if let Some(from) = write.truncate_from {
        parts.push(format!("cut from {from}"));
    }
    if let Some(meta) = &write.compact_to {
        parts.push(format!("compact to {}", meta.last));
    }
    if !write.append.is_empty() {
        let entries: Vec<String> = write.append.iter().map(entry_text).collect();
        parts.push(format!("append {}", entries.join(", ")));
    }
    parts.join("; ")
}

fn hard_state_text(hard_state: HardState) -> String {
    let vote =
        hard_state.vote.map_or_else(|| "nobody".to_owned(), |vote| format!("n{}", vote.candidate));
    format!("term {} vote {vote}", hard_state.term)
}

fn entry_text(entry: &Entry) -> String {
    let says = match &entry.payload {
        Payload::Noop => "no-op".to_owned(),
        Payload::Command(bytes) => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        Payload::Configuration(configuration) => configuration_text(configuration),
    };
    format!("{} {says}", entry.id)
}

/// Writes the members of a configuration.
pub fn configuration_text(configuration: &Configuration) -> String {
    let set = |nodes: &mut dyn Iterator<Item = NodeId>| {
        let nodes: Vec<String> = nodes.map(|node| format!("n{node}")).collect();
        nodes.join(" ")
    };
    let voters = match configuration.voters().halves() {
        (Some(outgoing), incoming) => {
            format!("joint {} => {}", set(&mut outgoing.iter()), set(&mut incoming.iter()))
        }
        (None, voters) => format!("voters {}", set(&mut voters.iter())),
    };
    match configuration.learners().is_empty() {
        true => voters,
        false => {
            format!("{voters} learners {}", set(&mut configuration.learners().iter().copied()))
        }
    }
}

/// Reads a configuration that is not joint: `voters n1 n2 learners n3`.
pub fn configuration_of(words: &[&str]) -> Result<Configuration, Refused> {
    let Some(("voters", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err("a configuration begins with \"voters\"".into());
    };
    let place = rest.iter().position(|word| *word == "learners").unwrap_or(rest.len());
    let nodes = |words: &[&str]| words.iter().map(|word| node(word)).collect::<Result<Vec<_>, _>>();
    let learners = nodes(rest.get(place + 1..).unwrap_or_default())?;
    Ok(configuration(&nodes(&rest[..place])?, &learners))
}

/// Writes a message: its term, and what it says.
pub fn say(message: &Message, questions: &mut Questions) -> String {
    let says = match &message.body {
        Body::RequestPreVote { last } => format!("request-pre-vote, log ends {last}"),
        Body::PreVote { verdict } => format!("pre-vote {}", verdict_text(*verdict)),
        Body::RequestVote { last, transfer: false } => format!("request-vote, log ends {last}"),
        Body::RequestVote { last, transfer: true } => {
            format!("request-vote of a transfer, log ends {last}")
        }
        Body::Vote { candidate: _, verdict } => format!("vote {}", verdict_text(*verdict)),
        Body::AppendEntries { prev, entries, commit, round } => {
            let round = round_text(*round);
            let entries: Vec<String> = entries.iter().map(|entry| entry.id.to_string()).collect();
            match entries.is_empty() {
                true => format!("heartbeat after {prev}, commit {commit}{round}"),
                false => {
                    let entries = entries.join(" ");
                    format!("append {entries} after {prev}, commit {commit}{round}")
                }
            }
        }
        Body::Appended { matched, round } => format!("appended to {matched}{}", round_text(*round)),
        Body::Conflict { refused, hint, round } => {
            format!("conflict at {refused}, try {hint}{}", round_text(*round))
        }
        Body::SnapshotInstalled { last } => format!("snapshot-installed to {last}"),
        Body::TimeoutNow { last } => format!("timeout-now, log ends {last}"),
        Body::ReadIndex { ticket } => format!("read-index {}", questions.write(*ticket)),
        Body::Effects { .. } | Body::Room { .. } => {
            unreachable!("the core says nothing of effects and of disks")
        }
        Body::ReadIndexReply { ticket, index } => {
            let index = index.map_or_else(|| "not the leader".to_owned(), |i| format!("index {i}"));
            format!("read-index-reply {}, {index}", questions.write(*ticket))
        }
    };
    format!("t{} {says}", message.term)
}

/// Reads a message as [`say`] writes it, to a node with this data directory.
pub fn said(text: &str, candidate: Incarnation, questions: &Questions) -> Result<Message, Refused> {
    let plain = text.replace([',', ';'], " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let Some((term, words)) = words.split_first() else {
        return Err("a message begins with its term: t2".into());
    };
    let term = Term::new(number(term.strip_prefix('t').unwrap_or(term))?);
    Ok(Message { term, body: body(words, candidate, questions)? })
}

fn body(words: &[&str], candidate: Incarnation, questions: &Questions) -> Result<Body, Refused> {
    Ok(match words {
        ["request-pre-vote", "log", "ends", last] => Body::RequestPreVote { last: place(last)? },
        ["pre-vote", rest @ ..] => Body::PreVote { verdict: verdict(rest)? },
        ["request-vote", "log", "ends", last] => {
            Body::RequestVote { last: place(last)?, transfer: false }
        }
        ["request-vote", "of", "a", "transfer", "log", "ends", last] => {
            Body::RequestVote { last: place(last)?, transfer: true }
        }
        ["vote", rest @ ..] => Body::Vote { candidate, verdict: verdict(rest)? },
        ["heartbeat", "after", prev, "commit", commit, rest @ ..] => {
            append(prev, Vec::new(), commit, rest)?
        }
        ["append", entries @ .., "after", prev, "commit", commit] => {
            append(prev, self::entries(entries)?, commit, &[])?
        }
        ["append", entries @ .., "after", prev, "commit", commit, "round", round] => {
            append(prev, self::entries(entries)?, commit, &["round", round])?
        }
        ["appended", "to", matched, rest @ ..] => {
            Body::Appended { matched: LogIndex::new(number(matched)?), round: round(rest)? }
        }
        ["conflict", "at", refused, "try", hint, rest @ ..] => {
            Body::Conflict { refused: place(refused)?, hint: place(hint)?, round: round(rest)? }
        }
        ["snapshot-installed", "to", last] => Body::SnapshotInstalled { last: place(last)? },
        ["timeout-now", "log", "ends", last] => Body::TimeoutNow { last: place(last)? },
        ["read-index", ticket] => Body::ReadIndex { ticket: questions.read(ticket)? },
        ["read-index-reply", ticket, "index", index] => Body::ReadIndexReply {
            ticket: questions.read(ticket)?,
            index: Some(LogIndex::new(number(index)?)),
        },
        ["read-index-reply", ticket, "not", "the", "leader"] => {
            Body::ReadIndexReply { ticket: questions.read(ticket)?, index: None }
        }
        other => return Err(format!("no message: {}", other.join(" ")).into()),
    })
}

fn append(prev: &str, entries: Vec<Entry>, commit: &str, rest: &[&str]) -> Result<Body, Refused> {
    let (prev, commit) = (place(prev)?, LogIndex::new(number(commit)?));
    Ok(Body::AppendEntries { prev, entries, commit, round: round(rest)? })
}

fn entries(words: &[&str]) -> Result<Vec<Entry>, Refused> {
    let entry = |word: &&str| place(word).map(|id| entry(id.term.get(), id.index.get()));
    words.iter().map(entry).collect()
}

fn round_text(round: ReadRound) -> String {
    if round == ReadRound::ZERO { String::new() } else { format!(", round {round}") }
}

fn round(words: &[&str]) -> Result<ReadRound, Refused> {
    match words {
        [] => Ok(ReadRound::ZERO),
        ["round", round] => Ok(ReadRound::new(number(round)?)),
        other => Err(format!("not a round: {}", other.join(" ")).into()),
    }
}

fn verdict_text(verdict: Verdict) -> String {
    if verdict == Verdict::Granted {
        "granted".to_owned()
    } else {
        format!("refused for {}", plain(&verdict))
    }
}

fn verdict(words: &[&str]) -> Result<Verdict, Refused> {
    let known = [
        Verdict::Granted,
        Verdict::StaleTerm,
        Verdict::AlreadyVoted,
        Verdict::LogBehind,
        Verdict::LeaderAlive,
        Verdict::NotEligible,
    ];
    let text = words.join(" ");
    let found = known.into_iter().find(|verdict| verdict_text(*verdict) == text);
    found.ok_or_else(|| format!("no verdict: {text}").into())
}

/// Writes an answer to a client.
pub fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Appended { request, term, range } => {
            let (first, last) = (range.start, range.end.prev().unwrap());
            format!("r{request} appended {first}..{last} in t{term}")
        }
        Reply::ReadAt { request, index, basis } => {
            let basis = match basis {
                Basis::Round => "by a round",
                Basis::Lease { .. } => "by the lease",
                Basis::Local => "unconfirmed",
            };
            format!("r{request} read at {index} {basis}")
        }
        Reply::Done { request } => format!("r{request} done"),
        Reply::Undecided { request } => format!("r{request} undecided"),
        Reply::Rejected { request, reason } => {
            let reason = match reason {
                Rejection::NotLeader { leader: None } => "not the leader, nobody known".to_owned(),
                Rejection::NotLeader { leader: Some(leader) } => {
                    format!("not the leader, that is n{leader}")
                }
                Rejection::NotCaughtUp { node } => format!("n{node} has not caught up"),
                Rejection::Busy
                | Rejection::Reconfiguring
                | Rejection::Transferring
                | Rejection::NoQuorum
                | Rejection::Invalid
                | Rejection::WouldLoseQuorum
                | Rejection::TransferTimedOut
                | Rejection::DiskFailed => plain(reason),
            };
            format!("r{request} rejected: {reason}")
        }
    }
}

/// Writes a piece of news.
pub fn event_text(event: &Event) -> String {
    match event {
        Event::Role(role, term) => format!("{} in t{term}", plain(role)),
        Event::Leader(None) => "leader unknown".to_owned(),
        Event::Leader(Some(leader)) => format!("leader n{leader}"),
        Event::Configuration { index } => format!("configuration of {index}"),
        Event::HandsOver { to } => format!("hands over to n{to}"),
        Event::Ignored { from, why } => format!("ignores n{from}: {}", plain(why)),
        Event::VoteRefused { by, verdict } => format!("vote refused by n{by}: {}", plain(verdict)),
    }
}

/// The timer of this name.
pub fn timer(word: &str) -> Result<Timer, Refused> {
    let known =
        [Timer::Election, Timer::Heartbeat, Timer::QuorumCheck, Timer::Transfer, Timer::ReadIndex];
    let found = known.into_iter().find(|timer| plain(timer) == word.replace('-', " "));
    found.ok_or_else(|| format!("no timer: {word}").into())
}

/// The name of a variant as words: `AlreadyVoted` is "already voted".
pub fn plain(variant: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// Reads `n3`.
pub fn node(word: &str) -> Result<u64, Refused> {
    let digits = word.strip_prefix('n').ok_or_else(|| format!("no node: {word}"))?;
    let number = number(digits)?;
    NodeId::new(number).map(|_| number).ok_or_else(|| "there is no n0".into())
}

/// Reads `r3`.
pub fn request(word: &str) -> Result<RequestId, Refused> {
    let digits = word.strip_prefix('r').ok_or_else(|| format!("no request: {word}"))?;
    Ok(RequestId::new(number(digits)?))
}

/// Reads `3@t2`.
pub fn place(word: &str) -> Result<EntryId, Refused> {
    let (index, term) = word.split_once("@t").ok_or_else(|| format!("no entry: {word}"))?;
    Ok(at(number(term)?, number(index)?))
}

/// Reads entries.
pub fn places(words: &[&str]) -> Result<Vec<EntryId>, Refused> {
    words.iter().map(|word| place(word)).collect()
}

/// Reads `nobody` or a node.
pub fn somebody(word: &str) -> Result<Option<NodeId>, Refused> {
    if word == "nobody" { Ok(None) } else { node(word).map(|number| Some(id(number))) }
}

/// Reads a number.
pub fn number(word: &str) -> Result<u64, Refused> {
    word.parse().map_err(|_| format!("no number: {word}").into())
}

//! What this node remembers of the other members, and judges their hellos by: a data directory
//! never promises less than before, and only one process at a time runs with it.
//!
//! Whoever is told by this that it has forgotten, or runs twice, takes another incarnation. So it
//! does no harm to be told once too often, and none that a node which was away for long knows less
//! than others.

use std::collections::BTreeMap;

use consensus::{Body, EntryId, Incarnation, LogIndex, Message, NodeId, Term, Verdict};

use crate::hello::{Hello, Promises, RefusalCode};
use crate::remembered::{REMEMBERED_MAX, Remembered};

/// Why a hello is refused: for programs, and for people.
pub type Refusal = (RefusalCode, String);

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    known: BTreeMap<(NodeId, Incarnation), Known>,
    /// Counts what others should hear of: starts and processes.
    news: u64,
    /// What this node says of itself: nobody else can know what a leader has kept.
    own: Option<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    remembered: Remembered,
    /// A later start that a peer has told of.
    later: Option<Later>,
    /// The start with which two processes were seen: neither is heard.
    twice: Option<u64>,
}

/// A process that a peer has met, and this node has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Later {
    starts: u64,
    boot: u64,
    /// What it keeps by now: more than it had when it started, which is what its hello says.
    kept: LogIndex,
}

impl Later {
    fn process(self) -> (u64, u64) {
        (self.starts, self.boot)
    }
}

/// The process at the other end of a connection, as its hello said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Which node.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// The random number of its process.
    pub boot: u64,
}

impl Speaker {
    /// Returns who said this hello as this node.
    pub fn of(node: NodeId, hello: &Hello) -> Self {
        Self { node, incarnation: hello.incarnation, boot: hello.boot }
    }
}

impl Memory {
    /// Takes over what this node has remembered before.
    pub fn recall(&mut self, memory: impl IntoIterator<Item = Remembered>) {
        for remembered in memory {
            let key = (remembered.node, remembered.incarnation);
            self.known.insert(key, Known::new(remembered));
        }
    }

    /// Returns all that is remembered.
    pub fn all(&self) -> Vec<Remembered> {
        self.known.values().map(|known| known.remembered).collect()
    }

    /// Forgets nodes that were removed from the cluster: their ids are never used again.
    pub fn forget(&mut self, is_gone: impl Fn(NodeId) -> bool) {
        self.known.retain(|(node, _), _| !is_gone(*node));
    }

    /// Says how much of its log this node keeps for certain: durable here, and committed.
    pub fn keep(&mut self, own: Remembered) {
        self.own = Some(own);
    }

    /// Returns what others are told: all that is remembered, and what this node says of itself.
    pub fn to_tell(&self) -> Vec<Remembered> {
        self.own.into_iter().chain(self.all()).take(REMEMBERED_MAX).collect()
    }

    /// Notes what a message promises: a vote for this node, and an acknowledgement to it. What is
    /// committed here stays, whoever leads. Of this node are told its directory, the term that it
    /// leads, and what it has committed.
    pub fn note(
        &mut self,
        from: (NodeId, Incarnation),
        message: &Message,
        (own, leads, commit): (Incarnation, Option<Term>, LogIndex),
    ) {
        let Message { term, body } = message;
        let is_own = leads == Some(*term);
        let (voted, matched) = match body {
            // One for a directory that had this id before is nobody's any more.
            Body::Vote { candidate, verdict: Verdict::Granted } if *candidate == own => {
                (Some(*term), None)
            }
            Body::RequestVote { .. } => (None, None),
            // A late answer to what this node sent when it led before promises nothing of what it
            // has committed since: those entries may have been cut.
            Body::Appended { matched, .. } if is_own => (None, Some(*matched)),
            Body::SnapshotInstalled { last } if is_own => (None, Some(last.index)),
            Body::RequestPreVote { .. }
            | Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::AppendEntries { .. }
            | Body::Appended { .. }
            | Body::Conflict { .. }
            | Body::SnapshotInstalled { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Effects { .. }
            | Body::Room { .. } => return,
        };
        let Some(Known { remembered, .. }) = self.known.get_mut(&from) else { return };
        remembered.term = remembered.term.max(*term);
        remembered.voted = remembered.voted.max(voted);
        if let Some(index) = matched {
            let acknowledged = EntryId { term: *term, index };
            remembered.acknowledged = remembered.acknowledged.max(acknowledged);
            remembered.kept = remembered.kept.max(index.min(commit));
        }
    }

    /// Decides whether a process can be the one that has promised what is remembered; `ours` is who
    /// asks. A process that may speak is remembered.
    ///
    /// # Errors
    /// If it has forgotten something, or another process runs with its directory.
    pub fn meet(&mut self, ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
        let (Some(node), Some(own)) = (theirs.node, ours.node) else { return Ok(()) };
        let Hello { incarnation, boot, promises, .. } = *theirs;
        // Who has no log yet has promised nothing, and this node does not meet itself.
        if promises.starts == 0 || node == own {
            return Ok(());
        }
        let Some(found) = self.known.get_mut(&(node, incarnation)) else {
            make_room(&mut self.known, node);
            let remembered = first(node, incarnation, boot, promises);
            self.known.insert((node, incarnation), Known::new(remembered));
            self.news += 1;
            return Ok(());
        };
        let Known { remembered, later, twice: doubled } = found;
        let is_double =
            |(starts, process): (u64, u64)| starts == promises.starts && process != boot;
        let met = (remembered.starts, remembered.boot);
        // Who is started again after that is judged anew: one of the two is gone then, or is met.
        let was_double = doubled.is_some_and(|starts| promises.starts <= starts);
        if was_double || is_double(met) || later.map(Later::process).is_some_and(is_double) {
            *doubled = (*doubled).max(Some(promises.starts));
            return Err(twice(node, incarnation, promises.starts));
        }
        if let Some(later) = later.filter(|later| later.starts > promises.starts) {
            return Err((RefusalCode::Forgotten, started_again(node, incarnation, later.starts)));
        }
        if remembered.boot == boot {
            return Ok(());
        }
        // Of this very process, others know what it has kept since it began to speak.
        let since = later.map_or(LogIndex::ZERO, |later| later.kept);
        let is_told_of = later.map(Later::process) == Some((promises.starts, boot));
        if !is_told_of {
            remembered.kept = remembered.kept.max(since);
        }
        lacking(remembered, promises, own)
            .map_or(Ok(()), |why| Err((RefusalCode::Forgotten, why)))?;
        (remembered.starts, remembered.boot) = (promises.starts, boot);
        (*later, *doubled) = (None, None);
        remembered.term = remembered.term.max(promises.term);
        remembered.kept = remembered.kept.max(since);
        self.news += 1;
        Ok(())
    }

    /// Decides whether a process that was met may still speak.
    ///
    /// # Errors
    /// If a later process of its directory was met or told of, or another one of the same start.
    pub fn still_hears(&self, speaker: Speaker) -> Result<(), Refusal> {
        let Speaker { node, incarnation, boot } = speaker;
        let Some(found) = self.known.get(&(node, incarnation)) else {
            return Ok(());
        };
        let Known { remembered, later, twice: doubled } = found;
        if doubled.is_some() {
            return Err(twice(node, incarnation, remembered.starts));
        }
        let starts = later.map_or(remembered.starts, |later| later.starts);
        if remembered.boot != boot || later.is_some() {
            return Err((RefusalCode::Forgotten, started_again(node, incarnation, starts)));
        }
        Ok(())
    }

    /// A peer tells which processes it has met, and what they keep: what it says of a directory
    /// that this node has met as another process shows that two run. Returns why this node itself
    /// is one of those, if so.
    pub fn told(&mut self, ours: &Hello, told: &[Remembered]) -> Option<String> {
        let mut news = false;
        let mut accused = None;
        for other in told {
            if Some(other.node) == ours.node {
                let Hello { incarnation, boot, promises, .. } = *ours;
                let same = other.incarnation == incarnation && other.boot != boot;
                if same && other.starts >= promises.starts && promises.starts > 0 {
                    accused = Some(twice(other.node, incarnation, other.starts).1);
                }
                continue;
            }
            let key = (other.node, other.incarnation);
            let Some(found) = self.known.get_mut(&key) else { continue };
            let Known { remembered, later, twice: doubled } = found;
            let differs = |(starts, boot): (u64, u64)| starts == other.starts && boot != other.boot;
            if differs((remembered.starts, remembered.boot))
                || later.map(Later::process).is_some_and(differs)
            {
                news |= doubled.is_none();
                *doubled = (*doubled).max(Some(other.starts));
            }
            // Whoever says it: what was kept is kept, by the process before at the latest.
            let newest = later.map_or(remembered.starts, |later| later.starts);
            if other.starts > newest {
                let before = later.map_or(LogIndex::ZERO, |later| later.kept);
                remembered.kept = remembered.kept.max(before);
                let Remembered { starts, boot, kept, .. } = *other;
                *later = Some(Later { starts, boot, kept });
            } else if let Some(later) = later.as_mut().filter(|it| it.starts == other.starts) {
                later.kept = later.kept.max(other.kept);
            } else {
                remembered.kept = remembered.kept.max(other.kept);
            }
        }
        self.news += u64::from(news);
        accused
    }

    /// Returns the count of what others should hear of.
    pub fn news(&self) -> u64 {
        self.news
    }
}

impl Known {
    fn new(remembered: Remembered) -> Self {
        Self { remembered, later: None, twice: None }
    }
}

/// Forgets the directory of a node that was started least often, and then of any, at the limit.
fn make_room(known: &mut BTreeMap<(NodeId, Incarnation), Known>, node: NodeId) {
    if known.len() < REMEMBERED_MAX {
        return;
    }
    let age = |(key, known): (&(NodeId, Incarnation), &Known)| {
        (key.0 != node, known.remembered.starts, *key)
    };
    if let Some((_, _, key)) = known.iter().map(age).min() {
        known.remove(&key);
    }
}

fn first(node: NodeId, incarnation: Incarnation, boot: u64, promises: Promises) -> Remembered {
    Remembered {
        node,
        incarnation,
        starts: promises.starts,
        boot,
        term: promises.term,
        voted: None,
        acknowledged: EntryId::ZERO,
        kept: LogIndex::ZERO,
    }
}

/// Says what a node that was started again does not hold any more. `own` is the node that knows it.
fn lacking(known: &Remembered, promises: Promises, own: NodeId) -> Option<String> {
    let Remembered { node, incarnation, starts, term, voted, acknowledged, kept, .. } = *known;
    let Promises { starts: starts_now, term: term_now, vote, last } = promises;
    let of = format!("node {node} with data directory {incarnation}");
    if starts_now < starts {
        return Some(format!("{of} was started {starts} times, and says {starts_now}"));
    }
    if term_now < term {
        return Some(format!("{of} was in term {term}, and remembers term {term_now}"));
    }
    // For whichever directory: this node may have given up the name that it had when it asked.
    if voted == Some(term_now) && vote.map(|vote| vote.candidate) != Some(own) {
        return Some(format!("{of} voted for node {own} in term {term_now}, and does not know it"));
    }
    // In one term, entries that were acknowledged stay; those that are committed stay for ever.
    let same_term = acknowledged.term == term_now && acknowledged.term != Term::ZERO;
    let least = if same_term { acknowledged.index.max(kept) } else { kept };
    (last < least)
        .then(|| format!("{of} acknowledged entries up to {least}, and its log ends at {last}"))
}

fn started_again(node: NodeId, incarnation: Incarnation, starts: u64) -> String {
    format!(
        "node {node} was started again since, with data directory {incarnation}: its start {starts}"
    )
}

fn twice(node: NodeId, incarnation: Incarnation, starts: u64) -> Refusal {
    let why = format!(
        "two processes run as node {node} with data directory {incarnation}, both of its start \
         {starts}: one of them runs with a copy"
    );
    (RefusalCode::RunsTwice, why)
}

#[cfg(test)]
mod copies;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod histories;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::PROTOCOL_VERSION;
    use consensus::Vote;

    pub(super) fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    /// The data directory of node 1.
    pub(super) const OWN: Incarnation = Incarnation::new(1);

    pub(super) fn hello(node: u64, boot: u64, promises: Promises) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: [7; 16],
            generation: None,
            node: Some(id(node)),
            incarnation: Incarnation::new(node),
            boot,
            software: String::new(),
            lease: None,
            promises,
        }
    }

    pub(super) fn at(starts: u64, term: u64, last: u64) -> Promises {
        let (term, last) = (Term::new(term), LogIndex::new(last));
        Promises { starts, term, vote: None, last }
    }

    /// Node 1 leads term 4 and knows that node 2 has acknowledged entry 9; entry 7 is committed.
    pub(super) fn memory() -> (Memory, Hello) {
        let (mut memory, one) = (Memory::default(), hello(1, 11, at(3, 4, 9)));
        assert_eq!(memory.meet(&one, &hello(2, 21, at(5, 4, 9))), Ok(()));
        let round = consensus::ReadRound::ZERO;
        let body = Body::Appended { matched: LogIndex::new(9), round };
        let message = Message { term: Term::new(4), body };
        let leads = Some(message.term);
        memory.note((id(2), Incarnation::new(2)), &message, (OWN, leads, LogIndex::new(7)));
        (memory, one)
    }

    fn verdict(promises: Promises, boot: u64) -> Option<RefusalCode> {
        let (mut memory, one) = memory();
        memory.meet(&one, &hello(2, boot, promises)).err().map(|(code, _)| code)
    }

    #[test]
    fn a_directory_never_promises_less_than_before() {
        let forgotten = Some(RefusalCode::Forgotten);
        for (promises, wanted) in [
            (at(6, 4, 9), None),
            (at(6, 4, 8), forgotten),
            (at(6, 3, 9), forgotten),
            (at(4, 4, 9), forgotten),
            // A later leader may have cut what was not committed, and no more.
            (at(6, 5, 7), None),
            (at(6, 5, 6), forgotten),
        ] {
            assert_eq!(verdict(promises, 22), wanted, "{promises:?}");
        }
        assert_eq!(verdict(at(5, 4, 0), 21), None, "the same process, which started with less");
    }

    #[test]
    fn a_vote_for_this_node_is_remembered() {
        let vote = |node, directory| {
            Some(Vote { candidate: id(node), incarnation: Incarnation::new(directory) })
        };
        // Node 2 votes in term 6, for this directory of node 1 or for one before it.
        let code = |directory, vote| {
            let (mut memory, one) = memory();
            let candidate = Incarnation::new(directory);
            let body = Body::Vote { candidate, verdict: Verdict::Granted };
            let message = Message { term: Term::new(6), body };
            memory.note((id(2), Incarnation::new(2)), &message, (OWN, None, LogIndex::ZERO));
            let promises = Promises { vote, ..at(6, 6, 9) };
            memory.meet(&one, &hello(2, 22, promises)).err().map(|why| why.0)
        };
        assert_eq!(code(1, None), Some(RefusalCode::Forgotten));
        assert_eq!(code(1, vote(3, 3)), Some(RefusalCode::Forgotten));
        assert_eq!(code(1, vote(1, 1)), None);
        // Node 1 has forgotten since, and given up the name that the vote was for: it accused a
        // node that had forgotten nothing, and with both of them out nobody led any more.
        assert_eq!(code(1, vote(1, 9)), None);
        assert_eq!(code(9, vote(1, 9)), None);
    }

    /// Nobody counts what a leader has acknowledged to itself, but for the leader.
    #[test]
    fn what_a_node_says_of_itself_is_remembered_against_it() {
        let (mut memory, one) = memory();
        let mut two = Memory::default();
        let kept = LogIndex::new(12);
        two.keep(Remembered { kept, ..first(id(2), Incarnation::new(2), 21, at(5, 4, 12)) });
        assert_eq!(memory.told(&one, &two.to_tell()), None);
        let mut code =
            |last| memory.meet(&one, &hello(2, 22, at(6, 4, last))).err().map(|why| why.0);
        assert_eq!(code(11), Some(RefusalCode::Forgotten));
        assert_eq!(code(12), None);
    }

    /// Node 2 is started again, another node hears how it catches up, and tells node 1, before node
    /// 1 meets it: its hello says how it began.
    #[test]
    fn what_a_process_has_kept_since_its_start_is_not_held_against_its_hello() {
        let (mut memory, one) = memory();
        let process = |starts, boot, kept| Remembered {
            kept: LogIndex::new(kept),
            ..first(id(2), Incarnation::new(2), boot, at(starts, 4, 9))
        };
        assert_eq!(memory.told(&one, &[process(6, 22, 50)]), None);
        assert_eq!(memory.meet(&one, &hello(2, 22, at(6, 4, 9))), Ok(()));
        // Against the next start it is held, and so is what a process kept that was never met.
        let code =
            |memory: &mut Memory, theirs: Hello| memory.meet(&one, &theirs).err().map(|why| why.0);
        assert_eq!(code(&mut memory, hello(2, 23, at(7, 4, 49))), Some(RefusalCode::Forgotten));
        assert_eq!(memory.told(&one, &[process(8, 24, 60)]), None);
        assert_eq!(memory.told(&one, &[process(9, 25, 70)]), None);
        assert_eq!(code(&mut memory, hello(2, 25, at(9, 4, 59))), Some(RefusalCode::Forgotten));
        assert_eq!(code(&mut memory, hello(2, 26, at(10, 4, 69))), Some(RefusalCode::Forgotten));
        assert_eq!(code(&mut memory, hello(2, 26, at(10, 4, 70))), None);
    }

    #[test]
    fn two_processes_of_one_start_are_both_refused_whoever_has_met_them() {
        assert_eq!(verdict(at(5, 4, 9), 22), Some(RefusalCode::RunsTwice));
        let (mut memory, one) = memory();
        let speaker = Speaker { node: id(2), incarnation: Incarnation::new(2), boot: 21 };
        assert_eq!(memory.still_hears(speaker), Ok(()));
        let met = Remembered { boot: 22, ..memory.all()[0] };
        assert_eq!(memory.told(&one, &[met]), None);
        let code = memory.still_hears(speaker).err().map(|why| why.0);
        assert_eq!(code, Some(RefusalCode::RunsTwice), "another node has met another process");
        let two = hello(2, 21, at(5, 4, 9));
        assert!(memory.meet(&one, &two).is_err(), "both are refused");
        assert_eq!(memory.meet(&one, &hello(2, 24, at(6, 4, 9))), Ok(()), "it was started again");
        let mut elsewhere = Memory::default();
        assert!(elsewhere.told(&two, &[met]).is_some(), "it hears that it runs twice");
        let restarted = hello(2, 23, at(6, 4, 9));
        assert_eq!(elsewhere.told(&restarted, &[met]), None, "that was the process before");
    }
}

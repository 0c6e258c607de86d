//! What operators have asked for, and which nodes leaders have met for it: what must be so when a
//! leader begins a change of members.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Entry, Incarnation, LogIndex, Member, NodeId, RequestId, Term};
use replica::Answer;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::node::Node;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::unasked::Healings;

/// Of a thousand changes, so many are asked for by operators who have not seen the latest one, and
/// so many may name a removed member's id, if operators take care otherwise.
const CARELESS: u64 = 60;

/// Of a thousand members of a change, so many are described as another than they are.
const WRONG: u64 = 50;

const SEEN: &str = "a change goes on from the configuration that its operator has seen";
const MET: &str = "a leader has met the nodes that it brings in or moves";
const ONE_MEETING: &str = "one change at a time has its newcomers met";
const UNUSED: &str = "the id of a removed member is never used again (§4.4)";
const NO_TRACE: &str = "a change that is refused leaves no trace";

/// What operators have asked for.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) rng: Rng,
    /// What leaders do by themselves.
    pub(crate) healings: Healings,
    count: u64,
    open: BTreeMap<RequestId, Asked>,
}

/// A change without an answer.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Which node was asked, and in which of its lives.
    node: (NodeId, u32),
    expected: LogIndex,
    target: Configuration,
    /// Where the configuration stood then, and the term.
    pub(crate) stood: (LogIndex, Term),
    /// Whether nodes are being asked, and what they say.
    meeting: bool,
    answers: BTreeMap<NodeId, Answer>,
    /// Those that the leader has met: their directories and addresses.
    met: BTreeSet<(NodeId, Incarnation, String)>,
    /// Whether the leader has written it.
    began: bool,
}

impl Changes {
    pub(crate) fn draw(seed: u64) -> Self {
        let rng = Rng::new(seed ^ 0x006d_6565_7473);
        Self { rng, healings: Healings::default(), count: 0, open: BTreeMap::new() }
    }

    /// Says whether an operator is careless this time.
    pub(crate) fn is_careless(&mut self) -> bool {
        self.rng.permille(CARELESS)
    }

    /// Describes some members as they are not, and lets others move.
    pub(crate) fn describe(&mut self, members: &mut BTreeMap<NodeId, Member>) {
        for (id, member) in members {
            match self.rng.index(3) {
                0 if self.rng.permille(WRONG) => member.address = "nowhere:1".to_owned(),
                1 if self.rng.permille(WRONG) => member.address = format!("n{id}:2"),
                2 if self.rng.permille(WRONG) => {
                    member.incarnation = Incarnation::new(member.incarnation.get() + 7);
                }
                _ => {}
            }
        }
    }

    /// An operator asks a node for these members, with the configuration at `expected` in mind,
    /// while it stands where `stood` says. Returns the change's request.
    pub(crate) fn ask(
        &mut self,
        node: &Node,
        target: Configuration,
        expected: LogIndex,
        stood: (LogIndex, Term),
        name: impl FnOnce(u64) -> RequestId,
    ) -> RequestId {
        self.count += 1;
        let request = name(self.count);
        // Who was asked in an earlier life answers no more.
        self.open.retain(|_, asked| asked.node.0 != node.id || asked.node.1 == node.life);
        let asked = Asked {
            node: (node.id, node.life),
            expected,
            target,
            stood,
            meeting: false,
            answers: BTreeMap::new(),
            met: BTreeSet::new(),
            began: false,
        };
        self.open.insert(request, asked);
        request
    }

    /// A leader asks nodes who they are, and will hear this.
    pub(crate) fn meets(
        &mut self,
        node: &Node,
        request: RequestId,
        answers: BTreeMap<NodeId, Answer>,
    ) -> Result<(), Broken> {
        let leader = (node.id, node.life);
        if Healings::is_own(request) {
            self.healings.meets(node, request, answers);
            return Ok(());
        }
        if self.open.values().any(|asked| asked.node == leader && asked.meeting) {
            let why = format!("leader {} asks those of two changes", node.id);
            return Err(Broken::new(ONE_MEETING, why));
        }
        let Some(asked) = self.open.get_mut(&request) else {
            let why = format!("leader {} asks for {request}, which nobody waits for", node.id);
            return Err(Broken::new(NO_TRACE, why));
        };
        (asked.meeting, asked.answers) = (true, answers);
        Ok(())
    }

    /// It hears what they say; `None` if nobody waits for it any more.
    pub(crate) fn met(&mut self, request: RequestId) -> Option<(BTreeMap<NodeId, Answer>, &Asked)> {
        let asked = self.open.get_mut(&request)?;
        asked.meeting = false;
        let answers = std::mem::take(&mut asked.answers);
        for (id, answer) in &answers {
            if let (Some(member), Ok(found)) = (asked.target.member(*id), answer) {
                asked.met.insert((*id, *found, member.address.clone()));
            }
        }
        Some((answers, asked))
    }

    /// A leader begins a change: somebody has asked for it who has seen the configuration before,
    /// the leader has met all that are new in it or elsewhere, and no removed member comes back
    /// where operators rely on that.
    pub(crate) fn begins(
        &mut self,
        (oracle, removed_end): (&Oracle, bool),
        node: &Node,
        entry: &Entry,
        next: &Configuration,
    ) -> Result<Option<Met>, Broken> {
        let (at, before) = node.memory.configuration();
        let Some(before) = before.filter(|before| !before.voters().is_joint()) else {
            return Ok(None);
        };
        let step = self.healings.step(before, next);
        if let Some(met) = step.and_then(|(id, step)| self.healings.is_taken(node, id, step)) {
            return Ok(Some(met));
        }
        let broken = |rule, what: String| {
            let why = format!("leader {} appends {}: {what}", node.id, entry.id);
            Err(Broken::new(rule, why))
        };
        let (_, voters) = next.voters().halves();
        let is_it = |asked: &&mut Asked| {
            let (_, wanted) = asked.target.voters().halves();
            let mut members = asked.target.members().iter();
            !asked.began
                && asked.node == (node.id, node.life)
                && wanted == voters
                && members.all(|(id, member)| next.member(*id) == Some(member))
        };
        let mut same: Vec<&mut Asked> = self.open.values_mut().filter(is_it).collect();
        let is_met = |asked: &Asked, (id, member): (&NodeId, &Member)| {
            let Member { incarnation, address, .. } = member;
            let known = before.member(*id);
            let stays =
                |known: &Member| (known.incarnation, &known.address) == (*incarnation, address);
            known.is_some_and(stays) || asked.met.contains(&(*id, *incarnation, address.clone()))
        };
        // Two operators may ask for the same: then it is for the one whose newcomers are met.
        let all_met = |asked: &Asked| next.members().iter().all(|member| is_met(asked, member));
        let by_now = |asked: &&mut Asked| asked.expected == at;
        let place = same.iter().position(|asked| by_now(asked) && all_met(asked));
        let place = place.or_else(|| same.iter().position(by_now));
        let Some(asked) = place.map(|place| same.swap_remove(place)) else {
            return broken(SEEN, format!("nobody has asked for it who has seen that of {at}"));
        };
        asked.began = true;
        for (id, member) in next.members() {
            if !is_met(asked, (id, member)) {
                return broken(MET, format!("it has not met {id} at {}", member.address));
            }
            let known = before.member(*id);
            let mut earlier = oracle.configurations.iter().take_while(|(index, _)| *index <= at);
            let was = known.is_none() && earlier.any(|(_, past)| past.member(*id).is_some());
            if was && removed_end {
                return broken(UNUSED, format!("{id} was a member once"));
            }
        }
        Ok(None)
    }

    /// Returns what the changes aim at that nodes were asked for and have not answered.
    pub(crate) fn open(
        &self,
        lives: impl Fn(NodeId, u32) -> bool,
    ) -> impl Iterator<Item = &Configuration> {
        let goes_on = move |asked: &&Asked| lives(asked.node.0, asked.node.1);
        self.open.values().filter(goes_on).map(|asked| &asked.target)
    }

    /// A change is done: what it aimed at is committed, and not only the joint configuration on
    /// the way there (§4.3). Another change may be committed since, if this one's leader was paused
    /// when it should have heard of the end (seed 171286).
    pub(crate) fn done(&mut self, request: RequestId, oracle: &Oracle) -> Result<(), Broken> {
        // Who returns is noted by the leader itself.
        let parts =
            |of: &Configuration| (of.voters().clone(), of.learners().clone(), of.members().clone());
        let Some(asked) = self.open.get(&request) else { return self.ends(request, false) };
        let mut since = oracle.configurations.iter().filter(|(index, _)| *index >= asked.expected);
        if !since.any(|(_, committed)| parts(committed) == parts(&asked.target)) {
            let last = oracle.configurations.last().map(|(_, last)| last);
            let why = format!("{request} aims at {:?}, {last:?} is committed", asked.target);
            return Err(Broken::new("a change that is done is committed (§4.3)", why));
        }
        self.ends(request, false)
    }

    /// A change is answered.
    pub(crate) fn ends(&mut self, request: RequestId, refused: bool) -> Result<(), Broken> {
        let asked = self.open.remove(&request);
        match asked.filter(|asked| refused && asked.began) {
            Some(asked) => {
                let why = format!("node {} refuses {request}, and has written it", asked.node.0);
                Err(Broken::new(NO_TRACE, why))
            }
            None => Ok(()),
        }
    }
}

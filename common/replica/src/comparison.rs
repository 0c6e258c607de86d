//! Whether the states of all nodes are the same: each keeps a running digest of what applying did,
//! followers report theirs with their answers to the leader, and the leader compares it with its
//! own behind the same entry.
//!
//! Whoever differs from a majority has a state that nobody can trust: it answers nothing from it,
//! and does not lead. Where there is no majority, as with two voters, both are named, and none of
//! them is judged. The first entry that differs is found by asking for digests further back; here
//! it is only said where it was noticed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consensus::{Body, Configuration, LogIndex, Majority, NodeId, Term, Timestamp};

use crate::lanes::{Difference, Differing};

/// So many digests of the last entries are kept, one an entry.
const KEPT: usize = 65_536;

/// A follower reports at most so often, in nanoseconds: several times within a heartbeat's interval
/// would tell no more.
const REPORT_NS: u64 = 50_000_000;

/// .. and at least so often, also if it applies nothing. So often it is told that it differs, as
/// that may be lost.
const REPEAT_NS: u64 = 1_000_000_000;

/// So many of a follower's last reports are kept, to find whom it agrees with.
const REPORTS: usize = 16;

/// What a node knows of its own effects and, while it leads, of the others'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// The last entry whose digest is known, and the digests up to it.
    last: LogIndex,
    digests: VecDeque<u64>,
    /// What was last reported, to whom, and when.
    reported: Option<(Term, NodeId, LogIndex, Timestamp)>,
    /// The last reports of this leadership.
    leadership: Term,
    reports: BTreeMap<NodeId, Report>,
    /// This node's own state differs from a majority's.
    own: Option<Difference>,
    /// Whom this node has asked to lead in its stead.
    tried: BTreeSet<NodeId>,
    news: Vec<Differing>,
}

#[derive(Clone, Debug)]
struct Report {
    index: LogIndex,
    digest: u64,
    /// `None` while this node cannot tell: it has not applied that entry, or no longer knows.
    is_same: Option<bool>,
    /// People were told of it, and when the follower itself was.
    is_known: bool,
    told: Option<Timestamp>,
    /// This one and those before, each with its index and digest.
    last: VecDeque<(LogIndex, u64)>,
}

impl Comparison {
    /// This node has applied entries up to `last`; these are the digests behind the last of them.
    pub(crate) fn applied(&mut self, last: LogIndex, digests: &[u64]) {
        let count = digests.len() as u64;
        if last.get() != self.last.get() + count {
            self.digests.clear();
        }
        self.last = last;
        self.digests.extend(digests);
        let over = self.digests.len().saturating_sub(KEPT);
        self.digests.drain(..over);
        let waiting: Vec<NodeId> = self.reports.keys().copied().collect();
        waiting.into_iter().for_each(|id| self.look(id));
    }

    /// Returns what this node reports to its leader, if it is time. Where much was applied since
    /// the last report, it is of a round index, so that followers report the same ones: who agrees
    /// with whom is seen from those alone.
    pub(crate) fn report(&mut self, now: Timestamp, term: Term, leader: NodeId) -> Option<Body> {
        let mut index = self.last;
        if let Some((before, to, earlier, at)) = self.reported
            && (before, to) == (term, leader)
        {
            let pause = if earlier == index { REPEAT_NS } else { REPORT_NS };
            if now.since(at) < pause {
                return None;
            }
            let more = index.get().saturating_sub(earlier.get());
            let stride = more.checked_ilog2().map_or(1, |power| 1 << power);
            index = LogIndex::new(index.get() / stride * stride);
        }
        let (index, digest) = match self.digest(index) {
            Some(digest) => (index, digest),
            None => (self.last, *self.digests.back()?),
        };
        self.reported = Some((term, leader, index, now));
        Some(Body::Effects { index, digest, judged: false })
    }

    /// A follower reports to this node, which leads in `term`.
    pub(crate) fn heard(&mut self, term: Term, from: NodeId, index: LogIndex, digest: u64) {
        if self.leadership != term {
            self.leadership = term;
            self.reports.clear();
        }
        let mut before = self.reports.remove(&from);
        let is_known = before.as_ref().is_some_and(|before| before.is_known);
        let told = before.as_ref().and_then(|before| before.told);
        let mut last = before.as_mut().map(|it| std::mem::take(&mut it.last)).unwrap_or_default();
        last.push_back((index, digest));
        last.drain(..last.len().saturating_sub(REPORTS));
        self.reports.insert(from, Report { index, digest, is_same: None, is_known, told, last });
        self.look(from);
        // Once it differs it stays so, for everything that follows goes into the same digest. Where
        // it was seen first is what the others' reports have to reach before they say anything.
        let differs = self.reports.get(&from).is_some_and(Report::differs);
        if let Some(first) = before.filter(|first| differs && first.differs())
            && first.index < index
            && self.digest(first.index).is_some()
            && let Some(report) = self.reports.get_mut(&from)
        {
            let last = std::mem::take(&mut report.last);
            *report = Report { last, ..first };
        }
    }

    /// The leader says that a majority has this digest behind this entry.
    pub(crate) fn judged(&mut self, index: LogIndex, theirs: u64) {
        if let Some(ours) = self.digest(index)
            && ours != theirs
        {
            self.condemn(Difference { index, ours, theirs });
        }
    }

    /// Compares what is known, of the voters and learners of a configuration. Returns to whom a
    /// leader must say now that it differs from a majority.
    pub(crate) fn judge(
        &mut self,
        now: Timestamp,
        term: Term,
        (own, configuration): (NodeId, &Configuration),
    ) -> Vec<(NodeId, Body)> {
        if self.leadership != term || !self.reports.values().any(Report::differs) {
            return Vec::new();
        }
        // Who was the same further back has said nothing of an entry behind that.
        let with_us = |index: LogIndex| {
            decide(configuration, |id| {
                let report = self.reports.get(&id);
                id == own || report.is_some_and(|report| report.is_same_up_to(index))
            })
        };
        let against_us = self.against_us(configuration);
        let differing = self.reports.values().filter(|report| report.differs());
        let agreed: BTreeSet<LogIndex> =
            differing.map(|report| report.index).filter(|index| with_us(*index)).collect();
        let mut verdicts = Vec::new();
        let mut news = Vec::new();
        for (id, report) in self.reports.iter_mut().filter(|(_, report)| report.differs()) {
            let Some(ours) = self.last.get().checked_sub(report.index.get()) else { continue };
            let back = usize::try_from(ours).unwrap_or(usize::MAX);
            let place = self.digests.len().checked_sub(back.saturating_add(1));
            let Some(ours) = place.and_then(|place| self.digests.get(place)).copied() else {
                continue;
            };
            let (index, theirs) = (report.index, report.digest);
            let with_us = agreed.contains(&index);
            let is_due = report.told.is_none_or(|at| now.since(at) >= REPEAT_NS);
            if with_us && is_due {
                report.told = Some(now);
                verdicts.push((*id, Body::Effects { index, digest: ours, judged: true }));
            }
            if !std::mem::replace(&mut report.is_known, true) {
                let difference = Difference { index, ours, theirs };
                news.push(Differing::Peer { id: *id, difference, outvoted: with_us });
            }
        }
        self.news.extend(news);
        against_us.into_iter().for_each(|difference| self.condemn(difference));
        verdicts
    }

    /// Returns in what this node differs from a majority whose states are the same, if it does.
    fn against_us(&self, configuration: &Configuration) -> Option<Difference> {
        let differing = || self.reports.values().filter(|report| report.differs());
        let reported = differing().flat_map(|report| report.last.iter().copied());
        reported
            .filter_map(|(index, theirs)| {
                let ours = self.digest(index).filter(|ours| *ours != theirs)?;
                Some(Difference { index, ours, theirs })
            })
            .find(|Difference { index, theirs, .. }| {
                let said = (*index, *theirs);
                let says = |id| self.reports.get(&id).is_some_and(|it| it.last.contains(&said));
                decide(configuration, says)
            })
    }

    /// Returns how this node's own state differs from a majority's, if it does.
    pub(crate) fn own(&self) -> Option<Difference> {
        self.own
    }

    /// Returns behind which entry it was last seen that a follower's state differs from this one's.
    pub(crate) fn of(&self, term: Term, id: NodeId) -> Option<LogIndex> {
        let report = self.reports.get(&id).filter(|report| report.differs())?;
        (self.leadership == term).then_some(report.index)
    }

    /// Says whether a follower's state differs from this one's, and it was not asked yet to lead in
    /// this one's stead. Its state may be wrong as well: then it does not take over.
    pub(crate) fn untried(&self, term: Term, id: NodeId) -> bool {
        self.of(term, id).is_some() && !self.tried.contains(&id)
    }

    /// This node asks another one to lead in its stead, or begins anew where all were asked.
    pub(crate) fn tries(&mut self, to: Option<NodeId>) {
        match to {
            Some(to) => drop(self.tried.insert(to)),
            None => self.tried.clear(),
        }
    }

    /// Takes the news.
    pub(crate) fn take(&mut self) -> Vec<Differing> {
        std::mem::take(&mut self.news)
    }

    fn look(&mut self, id: NodeId) {
        let Some(report) = self.reports.get(&id) else { return };
        let own = self.digest(report.index);
        let is_same = own.map(|own| own == report.digest).or(report.is_same);
        if let Some(report) = self.reports.get_mut(&id) {
            report.is_same = is_same;
            // What it said before it was the same was said of another state.
            if is_same == Some(true) {
                report.last.clear();
            }
        }
    }

    fn digest(&self, index: LogIndex) -> Option<u64> {
        let back = usize::try_from(self.last.get().checked_sub(index.get())?).ok()?;
        self.digests.get(self.digests.len().checked_sub(back + 1)?).copied()
    }

    fn condemn(&mut self, difference: Difference) {
        if self.own.is_none() {
            self.own = Some(difference);
            self.news.push(Differing::Own(difference));
        }
    }
}

impl Report {
    fn differs(&self) -> bool {
        self.is_same == Some(false)
    }

    /// Says whether this was the same behind an entry: digests that are equal further on were equal
    /// before.
    fn is_same_up_to(&self, index: LogIndex) -> bool {
        self.is_same == Some(true) && self.index >= index
    }
}

/// Says whether those of whom it is so are a majority, of both halves of a joint configuration.
fn decide(configuration: &Configuration, of: impl Fn(NodeId) -> bool) -> bool {
    let (outgoing, incoming) = configuration.voters().halves();
    let decides = |half: &Majority| {
        half.iter().filter(|id| of(*id)).count() >= half.quorum() && !half.is_empty()
    };
    decides(incoming) && outgoing.is_none_or(decides)
}

#[cfg(test)]
mod tests;

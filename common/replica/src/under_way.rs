//! Which entries are on their way to a peer already, so that they are not sent twice.
//!
//! A leader takes for lost what is not answered in time, and sends it again (§3.5). But a
//! connection loses nothing as long as it lives: where its way carries less than is sent, all that
//! follows would wait for the copies, and be taken for lost as well.

use std::collections::BTreeMap;
use std::ops::Range;

use consensus::{LogIndex, NodeId, Term};

/// Of each peer, the entries that were sent since all had left, and their leader's term.
#[derive(Debug, Default)]
pub struct UnderWay(BTreeMap<NodeId, (Term, Range<LogIndex>)>);

impl UnderWay {
    /// Returns what is still to be sent of these entries, their end or nothing, and counts it as
    /// sent. Nothing counts any more when all has left (`has_unsent` is false): what is answered
    /// late then may be lost.
    pub fn rest(
        &mut self,
        to: NodeId,
        term: Term,
        range: Range<LogIndex>,
        has_unsent: bool,
    ) -> Range<LogIndex> {
        let touches = |known: &Range<LogIndex>| {
            range.start <= known.end && known.start <= range.end && known.start <= range.start
        };
        let known = self.0.get(&to).filter(|_| has_unsent).filter(|(of, _)| *of == term);
        let Some((_, known)) = known.filter(|(_, known)| touches(known)) else {
            self.0.insert(to, (term, range.clone()));
            return range;
        };
        let rest = known.end.min(range.end)..range.end;
        let both = known.start..known.end.max(range.end);
        self.0.insert(to, (term, both));
        rest
    }

    /// Something was dropped: nobody knows what is on its way.
    pub fn forget(&mut self, to: NodeId) {
        self.0.remove(&to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, end: u64) -> Range<LogIndex> {
        LogIndex::new(first)..LogIndex::new(end)
    }

    fn id(id: u64) -> NodeId {
        NodeId::new(id).expect("not 0")
    }

    #[test]
    fn what_is_on_its_way_is_not_sent_again_s3_5() {
        let mut known = UnderWay::default();
        let mut rest = |first, end| known.rest(id(2), Term::new(1), range(first, end), true);
        assert_eq!(rest(5, 9), range(5, 9));
        assert_eq!(rest(9, 12), range(9, 12), "it goes on");
        for (first, end) in [(5, 12), (6, 8), (11, 12)] {
            assert!(rest(first, end).is_empty(), "{first}..{end} is a copy");
        }
        assert_eq!(rest(7, 20), range(12, 20), "the end of it is new");
        assert_eq!(rest(3, 8), range(3, 8), "what stands before was never sent");
    }

    #[test]
    fn what_has_left_of_another_term_or_was_dropped_is_sent_again() {
        let mut known = UnderWay::default();
        let (first, second) = (Term::new(1), Term::new(2));
        assert_eq!(known.rest(id(2), first, range(5, 9), false), range(5, 9));
        assert_eq!(known.rest(id(3), first, range(5, 9), true), range(5, 9), "another peer");
        assert_eq!(known.rest(id(2), second, range(5, 9), true), range(5, 9), "another term");
        assert_eq!(known.rest(id(2), second, range(5, 9), false), range(5, 9), "it has left");
        assert!(known.rest(id(2), second, range(5, 9), true).is_empty());
        known.forget(id(2));
        assert_eq!(known.rest(id(2), second, range(5, 9), true), range(5, 9), "it was dropped");
    }
}

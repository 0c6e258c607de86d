//! Whether a history could have been that of one machine (linearizability), key by key.
//!
//! The search is Wing's and Gong's with Lowe's memory of what was tried: it looks for an order of
//! the operations that keeps to their times and gives the answers that were given. An operation of
//! unknown outcome may take effect at any time after its beginning, or never. Ours: it is given a
//! place only where something behind it can tell; a write that is written over unseen need not have
//! happened. Without that, each unknown write would double the work.
//!
//! Keys do not depend on each other, so each is searched by itself (Herlihy and Wing 1990, theorem
//! 1: linearizability is local).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, Operation, Outcome, Reply};

/// How many steps a search may take for one key; far more than any key has needed.
const STEPS_MAX: u64 = 20_000_000;

/// What the search says of a history.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many operations had a place.
    pub checked: usize,
    /// Keys whose operations fit into no order, each with as much as could be ordered.
    pub violations: Vec<Violation>,
    /// Keys that took too many steps; nothing is known of them.
    pub undecided: Vec<String>,
}

/// A key without an order.
#[derive(Debug)]
pub struct Violation {
    /// The key.
    pub key: String,
    /// How many of its operations could be ordered at best.
    pub ordered: usize,
    /// What none of the longest orders had a place for: the first of these.
    pub stuck: Option<Operation>,
}

/// Checks a history; the operations may come in any order.
pub fn check(history: &[Operation]) -> Findings {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut findings = Findings::default();
    for (key, operations) in keys {
        findings.checked += operations.len();
        match Search::new(&operations).run() {
            Verdict::Ordered => {}
            Verdict::TooLong => findings.undecided.push(key.to_owned()),
            Verdict::NoOrder { ordered, stuck } => {
                let stuck = stuck.map(|place| operations[place].clone());
                findings.violations.push(Violation { key: key.to_owned(), ordered, stuck });
            }
        }
    }
    findings
}

enum Verdict {
    Ordered,
    TooLong,
    NoOrder { ordered: usize, stuck: Option<usize> },
}

/// A value; texts are numbered, so that states are quickly compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Value {
    Number(i64),
    Text(usize),
}

/// What a key has.
type State = Option<Value>;

#[derive(Clone, Debug)]
enum Asked {
    Get,
    Put(Value),
    Delete,
    Swap { expected: State, new: State },
    Add(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Done,
    Missing,
    Differs(Value),
    Value(Value),
}

/// An operation as the search sees it.
struct Step {
    /// Its place in the list that was given.
    place: usize,
    asked: Asked,
    /// `None`: nobody knows.
    told: Option<Told>,
    invoked_ns: u64,
    returned_ns: u64,
}

impl Step {
    /// Returns the state behind it, if it can have been asked in this state.
    fn after(&self, state: State) -> Option<State> {
        let (told, after) = answer(&self.asked, state)?;
        match &self.told {
            Some(seen) => (*seen == told).then_some(after),
            // What changes nothing need not have happened.
            None => (after != state).then_some(after),
        }
    }

    /// Says whether what it does and is told is the same in every state.
    fn is_blind(&self) -> bool {
        matches!(self.asked, Asked::Put(_))
    }
}

/// What the key/value machine does; `None` if it would refuse.
fn answer(asked: &Asked, state: State) -> Option<(Told, State)> {
    Some(match (asked, state) {
        (Asked::Get, None) => (Told::Missing, None),
        (Asked::Get, Some(value)) => (Told::Value(value), state),
        (Asked::Put(value), _) => (Told::Done, Some(*value)),
        (Asked::Delete, None) => (Told::Missing, None),
        (Asked::Delete, Some(_)) => (Told::Done, None),
        (Asked::Swap { expected, new }, _) if *expected == state => (Told::Done, *new),
        (Asked::Swap { .. }, None) => (Told::Missing, None),
        (Asked::Swap { .. }, Some(actual)) => (Told::Differs(actual), state),
        (Asked::Add(delta), None) => {
            (Told::Value(Value::Number(*delta)), Some(Value::Number(*delta)))
        }
        (Asked::Add(delta), Some(Value::Number(number))) => {
            let sum = Value::Number(number.checked_add(*delta)?);
            (Told::Value(sum), Some(sum))
        }
        (Asked::Add(_), Some(Value::Text(_))) => return None,
    })
}

/// A beginning or an end in the list of all times, which is linked so that what has its place is
/// taken out and put back at once.
struct Event {
    step: usize,
    is_end: bool,
    before: usize,
    after: usize,
}

/// The list's head; the end of the list has this number, too.
const HEAD: usize = 0;

struct Search {
    steps: Vec<Step>,
    events: Vec<Event>,
    /// Where each step's end is; 0 if it has none.
    ends: Vec<usize>,
}

impl Search {
    fn new(operations: &[&Operation]) -> Self {
        let mut texts = HashMap::new();
        let mut steps = Vec::new();
        for (place, operation) in operations.iter().enumerate() {
            if let Some(told) = told(&operation.outcome, &mut texts) {
                steps.push(Step {
                    place,
                    asked: asked(&operation.action, &mut texts),
                    told,
                    invoked_ns: operation.invoked_ns,
                    returned_ns: operation.returned_ns,
                });
            }
        }
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            times.push((step.invoked_ns, false, number));
            if step.told.is_some() {
                times.push((step.returned_ns, true, number));
            }
        }
        // Of a beginning and an end at one time the beginning is first: they overlap.
        times.sort_unstable();
        let mut events = vec![Event { step: 0, is_end: false, before: HEAD, after: HEAD }];
        let mut ends = vec![HEAD; steps.len()];
        for (_, is_end, step) in times {
            let own = events.len();
            if is_end {
                ends[step] = own;
            }
            events[own - 1].after = own;
            events.push(Event { step, is_end, before: own - 1, after: HEAD });
        }
        Self { steps, events, ends }
    }

    /// Looks for an order.
    fn run(&mut self) -> Verdict {
        let mut tried: HashSet<(Vec<u64>, State, bool)> = HashSet::new();
        let mut placed = vec![0_u64; self.steps.len().div_ceil(64)];
        let mut path: Vec<(usize, State, bool)> = Vec::new();
        // Behind an unknown write that nothing has shown yet.
        let (mut state, mut unseen): (State, bool) = (None, false);
        let (mut best, mut stuck, mut taken) = (0, None, 0_u64);
        let mut event = self.events[HEAD].after;
        while event != HEAD {
            taken += 1;
            if taken > STEPS_MAX {
                return Verdict::TooLong;
            }
            let Event { step, is_end, after, .. } = self.events[event];
            if !is_end {
                let candidate = &self.steps[step];
                let next = candidate.after(state).filter(|_| !(unseen && candidate.is_blind()));
                if let Some(next) = next {
                    placed[step / 64] |= 1 << (step % 64);
                    let hidden = candidate.told.is_none();
                    if tried.insert((placed.clone(), next, hidden)) {
                        path.push((event, state, unseen));
                        (state, unseen) = (next, hidden);
                        self.take_out(event);
                        event = self.events[HEAD].after;
                        continue;
                    }
                    placed[step / 64] &= !(1 << (step % 64));
                }
                event = after;
                continue;
            }
            // Something has ended and has no place yet: an earlier choice was wrong.
            if path.len() >= best {
                (best, stuck) = (path.len(), Some(self.steps[step].place));
            }
            let Some((last, state_before, unseen_before)) = path.pop() else {
                return Verdict::NoOrder { ordered: best, stuck };
            };
            let undone = self.events[last].step;
            placed[undone / 64] &= !(1 << (undone % 64));
            (state, unseen) = (state_before, unseen_before);
            self.put_back(last);
            event = self.events[last].after;
        }
        Verdict::Ordered
    }

    fn take_out(&mut self, event: usize) {
        self.unlink(event);
        let end = self.ends[self.events[event].step];
        if end != HEAD {
            self.unlink(end);
        }
    }

    fn put_back(&mut self, event: usize) {
        let end = self.ends[self.events[event].step];
        if end != HEAD {
            self.relink(end);
        }
        self.relink(event);
    }

    fn unlink(&mut self, event: usize) {
        let Event { before, after, .. } = self.events[event];
        self.events[before].after = after;
        if after != HEAD {
            self.events[after].before = before;
        }
    }

    fn relink(&mut self, event: usize) {
        let Event { before, after, .. } = self.events[event];
        self.events[before].after = event;
        if after != HEAD {
            self.events[after].before = event;
        }
    }
}

/// Numbers a value.
fn value(text: &str, texts: &mut HashMap<String, usize>) -> Value {
    if let Ok(number) = text.parse() {
        return Value::Number(number);
    }
    let next = texts.len();
    Value::Text(*texts.entry(text.to_owned()).or_insert(next))
}

fn asked(action: &Action, texts: &mut HashMap<String, usize>) -> Asked {
    match action {
        Action::Get => Asked::Get,
        Action::Put(new) => Asked::Put(value(new, texts)),
        Action::Delete => Asked::Delete,
        Action::Swap { expected, new } => Asked::Swap {
            expected: expected.as_ref().map(|text| value(text, texts)),
            new: new.as_ref().map(|text| value(text, texts)),
        },
        Action::Add(delta) => Asked::Add(*delta),
    }
}

/// Returns what was told; `None` if the operation has no place, since it had no effect.
fn told(outcome: &Outcome, texts: &mut HashMap<String, usize>) -> Option<Option<Told>> {
    match outcome {
        Outcome::Failed => None,
        Outcome::Unknown => Some(None),
        Outcome::Answered { reply, .. } => Some(Some(match reply {
            Reply::Done => Told::Done,
            Reply::Missing => Told::Missing,
            Reply::Differs(actual) => Told::Differs(value(actual, texts)),
            Reply::Value(now) => Told::Value(value(now, texts)),
        })),
    }
}

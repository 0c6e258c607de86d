//! What is done when, drawn from the seed: each fault once by itself, so that it is seen what the
//! operator is told of it; then storms of several at once, and between them those that take steps
//! of their own.

use std::time::Duration;

use crate::fault::{Course, FAULTS, Fault};
use crate::random::Random;

/// How long a fault by itself is held: long enough for the operator's tool to notice.
const ALONE: Duration = Duration::from_millis(6_500);

/// How long a storm's faults are held, in milliseconds.
const HELD_MS: (u64, u64) = (800, 4_000);

/// How many faults a storm has.
const STORM: (u64, u64) = (12, 20);

/// How far apart a storm's faults begin, in milliseconds.
const APART_MS: (u64, u64) = (200, 800);

/// So many storms between two faults that are carried out alone.
const STORMS_BETWEEN: usize = 3;

/// A fault with its time and its choices.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Which fault.
    pub fault: Fault,
    /// When it begins, from the beginning of its phase.
    pub after: Duration,
    /// How long it is held.
    pub hold: Duration,
    /// Its choices: which node, which direction, how much.
    pub random: Random,
}

/// Something that is done before the cluster must be healthy again.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What is done, in order of time.
    pub injections: Vec<Injection>,
    /// Whether only one fault is on, so that what `status` says is said of it.
    pub is_single: bool,
}

/// Draws phases without end.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: Random,
    only: Option<Fault>,
    faults: Vec<Fault>,
    singles: Vec<Fault>,
    alone: Vec<Fault>,
    storms: usize,
}

impl Schedule {
    /// Begins the schedule of this seed; `only` repeats one fault, `except` are left out.
    pub fn new(seed: u64, only: Option<Fault>, except: &[Fault]) -> Self {
        let mut random = Random::new(seed);
        let faults: Vec<Fault> =
            FAULTS.into_iter().filter(|fault| !except.contains(fault)).collect();
        let mut singles = faults.clone();
        random.shuffle(&mut singles);
        Self { random, only, faults, singles, alone: Vec::new(), storms: 0 }
    }

    /// Draws the next phase.
    pub fn next_phase(&mut self) -> Phase {
        if let Some(fault) = self.only.or_else(|| self.singles.pop()) {
            return self.single(fault);
        }
        if self.storms == STORMS_BETWEEN {
            self.storms = 0;
            if self.alone.is_empty() {
                let is_alone = |fault: &Fault| fault.course() == Course::Alone;
                self.alone = self.faults.iter().copied().filter(is_alone).collect();
                self.random.shuffle(&mut self.alone);
            }
            if let Some(fault) = self.alone.pop() {
                return self.single(fault);
            }
        }
        self.storms += 1;
        self.storm()
    }

    fn single(&mut self, fault: Fault) -> Phase {
        let random = self.random.fork();
        let injection = Injection { fault, after: Duration::ZERO, hold: ALONE, random };
        Phase { injections: vec![injection], is_single: true }
    }

    fn storm(&mut self) -> Phase {
        let is_mixed = |fault: &Fault| fault.course() != Course::Alone;
        // A storm has some kinds of faults and not all: what they do to each other differs.
        let mut kinds: Vec<Fault> = self.faults.iter().copied().filter(is_mixed).collect();
        self.random.shuffle(&mut kinds);
        kinds.truncate(6);
        let mut injections = Vec::new();
        let mut after = Duration::ZERO;
        for _ in 0..self.random.between(STORM.0, STORM.1) {
            let hold = Duration::from_millis(self.random.between(HELD_MS.0, HELD_MS.1));
            let Some(fault) = self.random.pick(&kinds).copied() else { continue };
            injections.push(Injection { fault, after, hold, random: self.random.fork() });
            after += Duration::from_millis(self.random.between(APART_MS.0, APART_MS.1));
        }
        Phase { injections, is_single: false }
    }
}

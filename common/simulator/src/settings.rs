//! How a seed is run.

/// How a seed is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Virtual seconds with faults.
    pub seconds: u64,
    /// Whether every event is printed to stderr.
    pub trace: bool,
    /// How far clocks run from true time.
    pub clocks: Clocks,
    /// Which of the seed's histories is run: the cluster and the mix of faults are the same in all.
    pub history: u64,
    /// Events after which the run is given up.
    pub events_max: u64,
}

/// How far clocks run from true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// As far as leases are told, at most.
    AsTold,
    /// Much further: leases fail, and the run has no more than its faults.
    FurtherThanTold,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seconds: 30, trace: false, clocks: Clocks::AsTold, history: 0, events_max: u64::MAX }
    }
}

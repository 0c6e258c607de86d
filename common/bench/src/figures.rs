//! What was measured of one system at one work, and the medians of several rounds.

use serde_json::{Value, json};

/// One round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) per_s: f64,
    /// Latencies, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// Processor time an operation, in microseconds: of the three nodes, and of the generator.
    pub(crate) nodes_us: f64,
    pub(crate) generator_us: f64,
    /// Memory of the largest node, in bytes.
    pub(crate) resident: f64,
    /// Bytes that a node wrote to its disk for a byte of values; only of writes.
    pub(crate) written: Option<f64>,
    /// Syncs of all nodes an operation, where the system tells; only of writes.
    pub(crate) syncs: Option<f64>,
    /// Shares of requests, and how long they took at most, in microseconds.
    pub(crate) curve: Vec<(f64, f64)>,
    pub(crate) failed: f64,
    /// Processors that others on the machine used meanwhile.
    pub(crate) foreign: f64,
}

impl Figures {
    /// Takes the median of each figure.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        let some = |figure: fn(&Self) -> Option<f64>| {
            let known: Vec<f64> = rounds.iter().filter_map(figure).collect();
            (!known.is_empty()).then(|| median(known))
        };
        let places = rounds.iter().map(|round| round.curve.len()).min().unwrap_or_default();
        let curve = (0..places).map(|place| {
            let share = rounds[0].curve[place].0;
            (share, median(rounds.iter().map(|round| round.curve[place].1).collect()))
        });
        Self {
            per_s: of(|round| round.per_s),
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            p999_us: of(|round| round.p999_us),
            nodes_us: of(|round| round.nodes_us),
            generator_us: of(|round| round.generator_us),
            resident: of(|round| round.resident),
            written: some(|round| round.written),
            syncs: some(|round| round.syncs),
            curve: curve.collect(),
            foreign: of(|round| round.foreign),
            failed: rounds.iter().map(|round| round.failed).sum(),
        }
    }

    /// Tells all of it to programs.
    pub(crate) fn json(&self) -> Value {
        let curve: Vec<Value> =
            self.curve.iter().map(|(share, us)| json!([share, us.round()])).collect();
        json!({
            "perSecond": self.per_s.round(),
            "p50Us": self.p50_us.round(),
            "p99Us": self.p99_us.round(),
            "p999Us": self.p999_us.round(),
            "nodesCpuUs": hundredths(self.nodes_us),
            "generatorCpuUs": hundredths(self.generator_us),
            "largestNodeBytes": self.resident,
            "writtenPerByte": self.written.map(hundredths),
            "syncsPerOperation": self.syncs.map(|syncs| (syncs * 1e4).round() / 1e4),
            "failed": self.failed,
            "processorsOfOthers": hundredths(self.foreign),
            "latencyUsByShare": curve,
        })
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Returns the middle one, or the mean of the two in the middle.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    match (all.len(), all.len() / 2) {
        (0, _) => 0.0,
        (count, half) if count.is_multiple_of(2) => (all[half - 1] + all[half]) / 2.0,
        (_, half) => all[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let round = |per_s, p99_us, syncs| Figures {
            per_s,
            p99_us,
            syncs,
            curve: vec![(0.5, p99_us)],
            failed: 1.0,
            ..Figures::default()
        };
        let rounds =
            [round(3.0, 10.0, None), round(1.0, 30.0, Some(0.2)), round(2.0, 20.0, Some(0.4))];
        let median = Figures::median(&rounds);
        assert_eq!((median.per_s, median.p99_us, median.failed), (2.0, 20.0, 3.0));
        assert_eq!(median.curve, [(0.5, 20.0)]);
        assert!((median.syncs.expect("two know it") - 0.3).abs() < 1e-9);
        assert_eq!(median.written, None, "nobody knows it");
    }
}

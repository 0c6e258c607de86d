//! The list of all metrics: what is registered here is shown to a scrape and described in raftd(8).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeGaugeValue, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::observe::histogram::Histogram;

/// A metric, as the manual describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in queries: of a histogram, without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
    /// What it means, as a sentence without the full stop.
    pub meaning: &'static str,
}

/// A metric's name, as it is in queries, and its meaning.
pub(crate) type About = (&'static str, &'static str);

/// All metrics of a node.
pub(crate) struct Catalogue {
    pub(crate) registry: Registry,
    pub(crate) rows: Vec<Row>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self { registry: Registry::default(), rows: Vec::new() }
    }

    /// Adds a count of events.
    pub(crate) fn counter(&mut self, unit: &'static str, about: About, counter: &Counter) {
        self.add((unit, &[]), about, counter.clone());
    }

    /// Adds counts of events by a closed set of labels.
    pub(crate) fn counts<K, const N: usize>(
        &mut self,
        unit: &'static str,
        about: About,
        counts: &Counts<K, N>,
    ) {
        self.add((unit, &counts.names), about, counts.family.clone());
    }

    /// Adds a histogram of durations.
    pub(crate) fn histogram(&mut self, about: About, histogram: &Histogram) {
        self.add(("seconds", &[]), about, histogram.clone());
    }

    /// Adds a gauge of whole numbers.
    pub(crate) fn number(&mut self, unit: &'static str, about: About) -> Reading<u64> {
        self.add((unit, &[]), about, Reading::default())
    }

    /// Adds a gauge that is 1 or 0.
    pub(crate) fn flag(&mut self, about: About) -> Reading<u64> {
        self.number("1 if it is so, else 0", about)
    }

    /// Adds a gauge of seconds.
    pub(crate) fn seconds(&mut self, about: About) -> Reading<f64> {
        self.add(("seconds", &[]), about, Reading::default())
    }

    /// Adds a metric. Its name ends with its unit where that is one of the basic ones.
    pub(crate) fn add<M: Metric + Clone>(
        &mut self,
        (unit, labels): (&'static str, &[&'static str]),
        (name, meaning): About,
        metric: M,
    ) -> M {
        let kind = metric.metric_type();
        let kind = match kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Info | MetricType::Unknown => "unknown",
        };
        let bare = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        let known = [(Unit::Seconds, "_seconds"), (Unit::Bytes, "_bytes")];
        let of_name = known.into_iter().find_map(|(unit, suffix)| {
            bare.strip_suffix(suffix).map(|bare| (bare.to_owned(), unit))
        });
        match of_name {
            Some((bare, unit)) => {
                self.registry.register_with_unit(bare, meaning, unit, metric.clone());
            }
            None => self.registry.register(bare, meaning, metric.clone()),
        }
        let (name, labels) = (name.to_owned(), labels.to_vec());
        self.rows.push(Row { name, kind, unit, labels, meaning });
        metric
    }
}

/// Returns milliseconds in seconds.
pub(crate) fn seconds_of(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// A gauge that is set for each scrape, and is left out while there is nothing to say.
#[derive(Debug)]
pub(crate) struct Reading<N>(Arc<Mutex<Option<N>>>);

impl<N> Clone for Reading<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N> Default for Reading<N> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<N: Copy> Reading<N> {
    pub(crate) fn set(&self, value: impl Into<Option<N>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value.into();
    }

    fn get(&self) -> Option<N> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: EncodeGaugeValue + Copy> EncodeMetric for Reading<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.get().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.get().is_none()
    }
}

/// Counters for all values of a closed set, made at the start: to count takes no lock.
#[derive(Debug)]
pub(crate) struct Counts<K, const N: usize> {
    names: [&'static str; N],
    family: Family<[(&'static str, String); N], Counter>,
    counters: Vec<(K, Counter)>,
}

impl<K: PartialEq, const N: usize> Counts<K, N> {
    /// Makes a counter for each value, with these labels.
    pub(crate) fn new(
        names: [&'static str; N],
        all: impl IntoIterator<Item = (K, [String; N])>,
    ) -> Self {
        let family = Family::default();
        let counter = |(key, labels): (K, [String; N])| {
            let mut names = names.into_iter();
            let labels = labels.map(|label| (names.next().unwrap_or_default(), label));
            (key, Family::get_or_create_owned(&family, &labels))
        };
        let counters = all.into_iter().map(counter).collect();
        Self { names, family, counters }
    }

    /// Counts an event; never waits.
    pub(crate) fn count(&self, what: &K) {
        self.count_many(what, 1);
    }

    /// Counts so many events; never waits.
    pub(crate) fn count_many(&self, what: &K, times: usize) {
        if let Some((_, counter)) = self.counters.iter().find(|(key, _)| key == what) {
            counter.inc_by(times as u64);
        }
    }
}

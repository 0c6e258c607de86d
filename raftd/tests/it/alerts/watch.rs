//! What a Prometheus beside a cluster would know of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fixtures::PATIENCE;

use crate::alerts::promql::{History, Labels, evaluate};
use crate::alerts::rules::{Rule, rules};
use crate::http;
use crate::openmetrics::Page;

/// How often nodes are scraped.
const EVERY: Duration = Duration::from_millis(500);

/// Scrapes nodes, and judges the rules.
pub(crate) struct Watch {
    addresses: Vec<String>,
    history: History,
    rules: Vec<Rule>,
}

impl Watch {
    /// Begins with a scrape.
    pub(crate) fn new(addresses: &[String]) -> Self {
        let addresses = addresses.to_vec();
        let mut watch = Self { addresses, history: History::default(), rules: rules() };
        watch.scrape();
        watch
    }

    /// Takes what all nodes show now. One that does not answer is down, and its other series end.
    pub(crate) fn scrape(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.history.now = since.as_secs_f64();
        for address in self.addresses.clone() {
            let answer = http::get(&address, "/metrics").filter(|answer| answer.code == 200);
            let up = if answer.is_some() { 1.0 } else { 0.0 };
            self.add(&address, "up", &[], up);
            let Some(answer) = answer else { continue };
            let page = Page::parse(&answer.body).unwrap();
            for sample in page.families.values().flat_map(|family| &family.samples) {
                self.add(&address, &sample.name, &sample.labels, sample.value);
            }
        }
        // What was not scraped this time is stale at once, as in Prometheus; counts are kept.
        let now = self.history.now;
        self.history.series.retain(|labels, points| {
            let is_count = labels["__name__"].ends_with("_total");
            is_count || points.last().is_some_and(|(at, _)| *at >= now)
        });
    }

    fn add(&mut self, instance: &str, name: &str, labels: &[(String, String)], value: f64) {
        let mut all: Labels = labels.iter().cloned().collect();
        for (label, value) in [("__name__", name), ("instance", instance), ("job", "raftd")] {
            all.insert(label.to_owned(), value.to_owned());
        }
        self.history.series.entry(all).or_default().push((self.history.now, value));
    }

    /// Returns the alerts whose expressions hold.
    pub(crate) fn firing(&self) -> Vec<String> {
        let holds = |rule: &&Rule| !evaluate(&rule.expr, &self.history).unwrap().is_empty();
        self.rules.iter().filter(holds).map(|rule| rule.alert.clone()).collect()
    }

    /// Returns the names of all samples that were scraped.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.history.series.keys().map(|labels| labels["__name__"].clone()).collect()
    }

    /// Scrapes until something is so.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        loop {
            self.scrape();
            if wanted(self) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "in vain; firing: {:?}", self.firing());
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Scrapes until an alert's expression holds; Prometheus must find the same in what was
    /// scraped, where its tool is installed.
    pub(crate) async fn fires(&mut self, alert: &str) {
        let rule = self.rules.iter().find(|rule| rule.alert == alert).unwrap().clone();
        self.until(|watch| watch.firing().contains(&rule.alert)).await;
        self.confirm(&rule);
    }

    /// Scrapes until an alert's expression holds no more.
    pub(crate) async fn is_over(&mut self, alert: &str) {
        self.until(|watch| !watch.firing().contains(&alert.to_owned())).await;
    }

    /// Asks promtool how many series the expression gives, once a minute a scrape.
    fn confirm(&self, rule: &Rule) {
        let found = evaluate(&rule.expr, &self.history).unwrap().len();
        let scrapes = self.history.series.values().map(Vec::len).max().unwrap_or(0).min(10);
        let mut test = String::from("evaluation_interval: 1m\ntests:\n- interval: 1m\n");
        test.push_str("  input_series:\n");
        let end_s = 60.0 * (scrapes as f64 - 1.0);
        for (labels, points) in &self.history.series {
            let name = &labels["__name__"];
            if !rule.expr.contains(name.as_str()) {
                continue;
            }
            let pairs = labels.iter().filter(|(label, _)| *label != "__name__");
            let pairs: Vec<String> = pairs.map(|(name, it)| format!("{name}={it:?}")).collect();
            let begun = points.len().saturating_sub(scrapes);
            let shift_s =
                if name.ends_with("_timestamp_seconds") { self.history.now - end_s } else { 0.0 };
            let missing = vec!["_".to_owned(); scrapes.saturating_sub(points.len())];
            let values = points[begun..].iter().map(|(_, value)| format!("{}", value - shift_s));
            let values: Vec<String> = missing.into_iter().chain(values).collect();
            let (pairs, values) = (pairs.join(","), values.join(" "));
            writeln!(test, "  - series: '{name}{{{pairs}}}'\n    values: '{values}'").unwrap();
        }
        let expression = rule.expr.replace('\'', "''");
        writeln!(
            test,
            "  promql_expr_test:\n  - expr: 'count({expression})'\n    eval_time: {}m\n    \
             exp_samples:\n    - labels: '{{}}'\n      value: {found}",
            scrapes - 1
        )
        .unwrap();
        let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
        std::fs::write(file.path(), &test).unwrap();
        match Command::new("promtool").args(["test", "rules"]).arg(file.path()).output() {
            Ok(said) => assert!(
                said.status.success(),
                "{}\n{test}\n{}",
                rule.alert,
                String::from_utf8_lossy(&said.stderr)
            ),
            Err(_) => eprintln!("NOT SHOWN HERE: that Prometheus finds the same (promtool)"),
        }
    }
}

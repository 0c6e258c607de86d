//! The alert rules and the dashboard of `examples/monitoring`: each alert is fired by its fault on
//! a real cluster, a healthy cluster fires none, and every metric that is named exists.

mod faults;
mod promql;
mod rules;
mod watch;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use fixtures::Cluster;
use fixtures::load::put;

use crate::alerts::rules::{directory, rules};
use crate::alerts::watch::Watch;
use crate::http;

#[test]
fn every_alert_has_a_fault_that_fires_it_and_says_what_to_do() {
    let faults = include_str!("alerts/faults.rs");
    for rule in rules() {
        let fired = format!("fires(\"{}\"", rule.alert);
        assert!(faults.contains(&fired), "nothing fires {}", rule.alert);
        let words = |name: &str| rule.annotations.get(name).is_some_and(|text| !text.is_empty());
        assert!(words("summary") && words("action"), "{}", rule.alert);
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(["page", "ticket"].map(Some).contains(&severity), "{}", rule.alert);
    }
}

#[test]
fn promtool_takes_the_rules() {
    let mut tool = Command::new("promtool");
    let Ok(said) = tool.args(["check", "rules"]).arg(directory().join("raftd.rules.yml")).output()
    else {
        eprintln!("NOT SHOWN HERE: what promtool says of the rules (Debian's package prometheus)");
        return;
    };
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// Names of metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("raftd_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_healthy_cluster_fires_nothing_and_shows_all_that_rules_and_dashboard_ask_for() {
    let mut cluster = Cluster::prepare(3);
    let addresses = http::equip(&cluster, "[limits]\nstate_scrub_interval_s = 1\n");
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    let mut watch = Watch::new(&addresses);
    for number in 0..50 {
        put(&cluster.client(), "k", &number.to_string()).await.unwrap();
    }
    cluster.converged().await;
    for address in &addresses {
        http::until(address, "/readyz", |answer| answer.code == 200).await;
    }
    // On a busy machine a disk is slow for a moment, and an alert may say so.
    let firing = |watch: &Watch| {
        let firing = watch.firing().into_iter();
        firing.filter(|alert| alert != "RaftdDiskSlow").collect::<Vec<_>>()
    };
    // The election is over when the loops have posted what they are now.
    watch.until(|watch| firing(watch).is_empty()).await;
    for _ in 0..5 {
        watch.scrape();
        assert_eq!(firing(&watch), Vec::<String>::new());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let text = std::fs::read_to_string(directory().join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 20, "{queries:?}");
    for expression in rules().into_iter().map(|rule| rule.expr).chain(queries) {
        let asked = names(&expression);
        assert!(!asked.is_empty() || expression.contains("up{"), "{expression}");
        watch.until(|watch| asked.is_subset(&watch.names())).await;
    }
}

/// Returns all queries of a dashboard's panels.
fn queries(dashboard: &serde_json::Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned).collect()
}

//! The rules as they are shipped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// An alert.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    pub(crate) expr: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// Returns all rules.
pub(crate) fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(directory().join("raftd.rules.yml")).unwrap();
    let file: File = serde_yaml_ng::from_str(&text).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Returns where rules and dashboard are.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/monitoring")
}

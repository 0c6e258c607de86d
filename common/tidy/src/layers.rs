//! Which crate may use which (common/ARCHITECTURE.md, Layers), as sets of allowed dependencies.
//!
//! Normal and build dependencies must stay inside the table. Tests may look further, but never at a
//! crate that stands on the tested one: that would be a cycle upwards.

use crate::Violation;
use std::collections::{BTreeMap, BTreeSet};

/// What each crate may use of ours; every crate of the workspace has a row, and no other.
pub const TABLE: [(&str, &[&str]); 20] = [
    ("bench", &["client", "state-machine"]),
    ("certs", &[]),
    ("chaos", &["client", "state-machine"]),
    ("client", &["consensus", "protocol", "state-machine", "transport"]),
    ("consensus", &[]),
    ("environment", &[]),
    ("examples", &["client", "fixtures", "raftd", "state-machine"]),
    ("fixtures", &["certs", "client", "consensus", "protocol", "state-machine"]),
    ("fuzz", &["certs", "consensus", "protocol", "raftd", "state-machine", "storage"]),
    ("hosts", &[]),
    ("man", &["raftctl", "raftd"]),
    ("protocol", &["consensus"]),
    (
        "raftctl",
        &["certs", "client", "consensus", "environment", "protocol", "state-machine", "storage"],
    ),
    (
        "raftd",
        &[
            "certs",
            "client",
            "consensus",
            "environment",
            "protocol",
            "replica",
            "state-machine",
            "storage",
            "transport",
        ],
    ),
    ("replica", &["consensus", "protocol"]),
    ("simulator", &["consensus", "protocol", "replica", "state-machine"]),
    ("state-machine", &["consensus"]),
    ("storage", &["consensus", "protocol", "state-machine"]),
    ("tidy", &[]),
    ("transport", &["certs", "consensus", "protocol"]),
];

/// `xtask` has no dependency at all: it must build on a machine that has nothing but cargo.
const BARE: &str = "xtask";

/// Libraries that one crate alone names, in whatever kind of dependency.
const SOLE: [(&str, &str); 4] =
    [("rocksdb", "storage"), ("quinn", "transport"), ("rcgen", "certs"), ("prost", "protocol")];

/// All that `consensus` may use of others.
const CONSENSUS_USES: &str = "bytes";

/// A package of the workspace, as far as layers are concerned.
#[derive(Clone, Debug)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its dependencies, ours and others'.
    pub dependencies: Vec<Dependency>,
}

/// A dependency as its manifest names it.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The name of the package, not what it is renamed to.
    pub name: String,
    /// Whether only tests use it.
    pub dev: bool,
}

/// Finds dependencies that the layers do not allow, and crates without a row in the table.
pub fn check(packages: &[Package]) -> Vec<Violation> {
    let mut found = check_rows(packages);
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let allowed = allowed(&package.name);
        for dependency in &package.dependencies {
            let mut refuse = |rule: String| {
                found.push(Violation::at(&package.name, rule));
            };
            let name = dependency.name.as_str();
            if ours.contains(name) {
                if dependency.dev && reaches(packages, name, &package.name) {
                    refuse(format!("tests with {name}, which stands on it"));
                } else if !dependency.dev && !allowed.contains(&name) {
                    refuse(format!("may not use {name}"));
                }
            } else if let Some((_, owner)) = SOLE.iter().find(|(library, _)| *library == name)
                && *owner != package.name
            {
                refuse(format!("only {owner} names {name}"));
            } else if !dependency.dev && package.name == "consensus" && name != CONSENSUS_USES {
                refuse(format!("uses nothing but {CONSENSUS_USES}, found {name}"));
            } else if package.name == BARE {
                refuse(format!("has no dependency, found {name}"));
            }
        }
    }
    found
}

/// The table and the workspace name the same crates.
fn check_rows(packages: &[Package]) -> Vec<Violation> {
    let rows: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).chain([BARE]).collect();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let unknown = names.difference(&rows).map(|name| Violation::at(*name, "has no layer"));
    let missing =
        rows.difference(&names).map(|name| Violation::at(*name, "is not in the workspace"));
    unknown.chain(missing).collect()
}

fn allowed(package: &str) -> &'static [&'static str] {
    TABLE.iter().find(|(name, _)| *name == package).map_or(&[], |(_, allowed)| *allowed)
}

/// Tells whether `from` uses `to`, directly or through others, leaving tests aside.
fn reaches(packages: &[Package], from: &str, to: &str) -> bool {
    let edges: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let used = package.dependencies.iter().filter(|dependency| !dependency.dev);
            (package.name.as_str(), used.map(|dependency| dependency.name.as_str()).collect())
        })
        .collect();
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in edges.get(name).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen.contains(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole workspace with every dependency that the table allows.
    fn house() -> Vec<Package> {
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), dev: false };
        let package = |(name, allowed): &(&str, &[&str])| Package {
            name: (*name).to_owned(),
            dependencies: allowed.iter().map(dependency).collect(),
        };
        TABLE.iter().chain([&(BARE, [].as_slice())]).map(package).collect()
    }

    fn with(package: &str, name: &str, dev: bool) -> Vec<String> {
        let mut house = house();
        let found = house.iter_mut().find(|found| found.name == package).expect("it is a crate");
        found.dependencies.push(Dependency { name: name.to_owned(), dev });
        check(&house).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_table_allows_passes() {
        assert_eq!(check(&house()), []);
        assert_eq!(with("consensus", "bytes", false), [""; 0]);
        assert_eq!(with("storage", "rocksdb", false), [""; 0]);
    }

    #[test]
    fn a_dependency_outside_the_table_is_refused() {
        for (package, used) in [
            ("consensus", "certs"),
            ("state-machine", "protocol"),
            ("replica", "storage"),
            ("client", "certs"),
            ("raftctl", "raftd"),
            ("simulator", "storage"),
            ("tidy", "xtask"),
        ] {
            assert_eq!(with(package, used, false), [format!("{package}: may not use {used}")]);
        }
    }

    #[test]
    fn tests_may_look_further_but_not_upwards() {
        assert_eq!(with("raftctl", "raftd", true), [""; 0]);
        assert_eq!(with("replica", "certs", true), [""; 0]);
        let upwards = ["storage: tests with raftd, which stands on it"];
        assert_eq!(with("storage", "raftd", true), upwards);
        let far = ["consensus: tests with man, which stands on it"];
        assert_eq!(with("consensus", "man", true), far);
    }

    #[test]
    fn a_library_has_one_crate_that_names_it() {
        assert_eq!(with("raftd", "rocksdb", false), ["raftd: only storage names rocksdb"]);
        assert_eq!(with("client", "quinn", true), ["client: only transport names quinn"]);
        assert_eq!(with("transport", "rcgen", true), ["transport: only certs names rcgen"]);
        assert_eq!(with("storage", "prost", false), ["storage: only protocol names prost"]);
    }

    #[test]
    fn the_algorithm_and_the_entry_point_stay_bare() {
        assert_eq!(with("consensus", "tokio", false).len(), 1);
        assert_eq!(with("consensus", "proptest", true), [""; 0]);
        assert_eq!(with("xtask", "clap", false).len(), 1);
        assert_eq!(with("xtask", "tempfile", true).len(), 1);
    }

    #[test]
    fn every_crate_has_a_layer_and_every_layer_a_crate() {
        let mut house = house();
        house.retain(|package| package.name != "man");
        house.push(Package { name: "utils".to_owned(), dependencies: Vec::new() });
        let found: Vec<String> = check(&house).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["utils: has no layer", "man: is not in the workspace"]);
    }
}

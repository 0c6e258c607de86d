//! RocksDB is compiled once: no selection of packages may change what its build sees.
//!
//! cargo unifies features over the packages that are selected, and a build script is run again when
//! any feature of anything below it differs: `-p storage` once saw `syn` without the feature that
//! `certs` switches on, and RocksDB was compiled a second time, for 25 minutes.

use crate::Violation;
use std::collections::{BTreeMap, BTreeSet};

/// The package whose build takes so long.
pub const EXPENSIVE: &str = "librocksdb-sys";

/// How `cargo tree` has to print for [`below`]: depth, package and features.
pub const TREE_ARGUMENTS: [&str; 5] = ["--prefix", "depth", "--no-dedupe", "--format", "|{p}|{f}"];

/// Returns the packages at and below `package` in the output of `cargo tree`, with their features.
pub fn below(tree: &str, package: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut root_depth = None;
    for line in tree.lines() {
        let Some((depth, entry)) = line.split_once('|') else {
            continue;
        };
        let Ok(depth) = depth.parse::<usize>() else {
            continue;
        };
        if root_depth.is_some_and(|root| depth <= root) {
            root_depth = None;
        }
        if root_depth.is_none() && entry.split(' ').next() == Some(package) {
            root_depth = Some(depth);
        }
        if root_depth.is_some() {
            found.insert(entry.to_owned());
        }
    }
    found
}

/// Finds selections for which the build of `package` differs from that of the whole workspace.
///
/// `selections` maps cargo's arguments to what [`below`] found; a selection without the package is
/// fine.
pub fn check(
    package: &str,
    whole: &BTreeSet<String>,
    selections: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Violation> {
    if whole.is_empty() {
        return vec![Violation::at(
            package,
            "is not in the workspace's tree: nothing was compared",
        )];
    }
    selections
        .iter()
        .filter(|(_, seen)| !seen.is_empty() && *seen != whole)
        .map(|(selection, seen)| {
            let differing: Vec<&str> =
                seen.symmetric_difference(whole).map(String::as_str).collect();
            let rule = format!("compiles {package} once more: {}", differing.join(" / "));
            Violation::at(format!("cargo .. {selection}"), rule)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0|raftd v0.1.0|
1|storage v0.1.0|rocksdb
2|librocksdb-sys v0.19.0|lz4
3|syn v2.0.119|full
2|bytes v1.12.0|std

0|raftctl v0.1.0|
1|librocksdb-sys-fork v1.0.0|
";

    fn selections(tree: &str) -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([("-p storage".to_owned(), below(tree, EXPENSIVE))])
    }

    #[test]
    fn only_what_is_below_the_package_counts() {
        let expected = ["librocksdb-sys v0.19.0|lz4", "syn v2.0.119|full"];
        assert_eq!(below(TREE, EXPENSIVE).into_iter().collect::<Vec<_>>(), expected);
        assert!(below(TREE, "absent").is_empty());
    }

    #[test]
    fn the_same_features_compile_once() {
        let elsewhere = TREE.replace("bytes v1.12.0|std", "bytes v1.12.0|");
        assert_eq!(check(EXPENSIVE, &below(TREE, EXPENSIVE), &selections(&elsewhere)), []);
        assert_eq!(check(EXPENSIVE, &below(TREE, EXPENSIVE), &selections("0|tidy|\n")), []);
    }

    #[test]
    fn a_feature_that_only_one_selection_has_is_found() {
        let other = TREE.replace("syn v2.0.119|full", "syn v2.0.119|full,visit");
        let found = check(EXPENSIVE, &below(TREE, EXPENSIVE), &selections(&other));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("syn v2.0.119|full,visit"), "{}", found[0]);
    }

    #[test]
    fn comparing_with_nothing_is_a_failure() {
        assert_eq!(check(EXPENSIVE, &BTreeSet::new(), &selections(TREE)).len(), 1);
    }
}

//! The house rules, asked of the workspace as it is.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidy::exports::Library;
use tidy::layers::{Dependency, Package};
use tidy::{
    File, Violation, builds, calls, circles, exports, layers, layout, links, manifests, matches,
    scanner, size, words,
};

#[test]
fn the_layers_hold() {
    assert_none(&layers::check(&packages(&metadata())));
}

#[test]
fn the_top_holds_exactly_the_agreed_names() {
    let names: Vec<String> = children(&root())
        .into_iter()
        .map(|path| path.file_name().expect("a child has a name").to_string_lossy().into_owned())
        .collect();
    assert_none(&layout::check_top(&names));
}

#[test]
fn every_library_tells_its_invariants() {
    assert_none(&each_rust_file(|file, _| layout::check_invariants(file)));
}

#[test]
fn the_readme_lists_every_crate_below_common() {
    let names: Vec<String> = members()
        .iter()
        .filter_map(|path| path.strip_prefix("common/")?.strip_suffix("/Cargo.toml"))
        .map(str::to_owned)
        .collect();
    assert!(!names.is_empty(), "no crate found below common/");
    // The absence of a README is the finding of another test.
    if let Ok(readme) = fs::read_to_string(root().join("README.md")) {
        assert_none(&layout::check_readme(&readme, &names));
    }
}

#[test]
fn members_inherit_versions_and_lints() {
    let found: Vec<Violation> = members()
        .iter()
        .map(|path| File::new(path, fs::read_to_string(root().join(path)).expect("it is a member")))
        .flat_map(|manifest| manifests::check(&manifest))
        .collect();
    assert_none(&found);
}

#[test]
fn files_functions_and_lines_are_short() {
    assert_none(&each_rust_file(size::check));
}

#[test]
fn nothing_banned_is_called() {
    assert_none(&each_rust_file(calls::check));
}

#[test]
fn no_files_of_a_crate_know_each_other_in_a_circle() {
    let files = files();
    let tests = scanner::test_files(&files);
    let mut found = Vec::new();
    for manifest in members() {
        let folder = manifest.trim_end_matches("/Cargo.toml");
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let source = format!("{folder}/src/");
        let sources: Vec<&File> = files
            .iter()
            .filter(|file| file.is_rust() && file.path.starts_with(&source))
            .filter(|file| !tests.contains(&file.path))
            .collect();
        assert!(!sources.is_empty(), "no source found in {folder}");
        for root in ["lib.rs", "main.rs"] {
            found.extend(circles::check(name, &format!("{source}{root}"), &sources));
        }
    }
    assert_none(&found);
}

#[test]
fn nothing_is_exported_for_nobody() {
    let libraries: Vec<Library> = members()
        .iter()
        .map(|manifest| manifest.trim_end_matches("/Cargo.toml").to_owned())
        .map(|folder| Library { name: folder.rsplit('/').next().unwrap_or("").into(), folder })
        .collect();
    assert!(libraries.len() > 5, "only {} libraries found", libraries.len());
    assert_none(&exports::check(&libraries, &files()));
}

#[test]
fn matches_on_our_own_enums_are_exhaustive() {
    let files = files();
    let tests = scanner::test_files(&files);
    let product = || files.iter().filter(|file| file.is_rust() && !tests.contains(&file.path));
    let (ours, crates) = (matches::enums(product()), crates());
    assert!(ours.len() > 50, "only {} enums found", ours.len());
    let found: Vec<Violation> =
        product().flat_map(|file| matches::check(file, &ours, &crates)).collect();
    assert_none(&found);
}

#[test]
fn the_pages_link_to_what_is_there() {
    let files = files();
    let mut places = BTreeSet::new();
    for file in &files {
        let path = Path::new(&file.path);
        places.extend(path.ancestors().map(|place| place.to_string_lossy().into_owned()));
    }
    let found: Vec<Violation> = files.iter().flat_map(|file| links::check(file, &places)).collect();
    assert_none(&found);
}

#[test]
fn texts_end_well_and_say_nothing_unwanted() {
    let found: Vec<Violation> =
        files().iter().filter(|file| !is_input(file)).flat_map(words::check).collect();
    assert_none(&found);
}

#[test]
fn rocksdb_is_compiled_once_whatever_is_selected() {
    let below = |selection: &str| builds::below(&tree(selection), builds::EXPENSIVE);
    let whole = below("--workspace");
    let mut selections = BTreeMap::new();
    for kinds in ["-e normal,build", "-e normal,build,dev"] {
        selections.insert(kinds.to_owned(), below(kinds));
        for package in packages(&metadata()) {
            let selection = format!("-p {} {kinds}", package.name);
            selections.insert(selection.clone(), below(&selection));
        }
    }
    assert_none(&builds::check(builds::EXPENSIVE, &whole, &selections));
}

#[test]
fn the_simulator_and_the_tools_build_without_rocksdb() {
    for package in ["simulator", "xtask", "tidy"] {
        let seen = builds::below(&tree(&format!("-p {package}")), builds::EXPENSIVE);
        assert_eq!(seen, BTreeSet::new(), "{package}");
    }
}

/// Inputs of the fuzzer are bytes that happen to be text, and nobody reads them.
fn is_input(file: &File) -> bool {
    file.path.starts_with("common/fuzz/corpus/")
}

fn assert_none(found: &[Violation]) {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} found:\n{}", lines.len(), lines.join("\n"));
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two levels below the root").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo knows this workspace")
}

fn packages(metadata: &Metadata) -> Vec<Package> {
    let dependency = |found: &cargo_metadata::Dependency| Dependency {
        name: found.name.clone(),
        dev: found.kind == DependencyKind::Development,
    };
    metadata
        .packages
        .iter()
        .map(|package| Package {
            name: package.name.to_string(),
            dependencies: package.dependencies.iter().map(dependency).collect(),
        })
        .collect()
}

/// Returns the paths of the members' manifests below the root.
fn members() -> Vec<String> {
    let root = root();
    metadata()
        .packages
        .iter()
        .map(|package| below_root(&root, package.manifest_path.as_std_path()))
        .collect()
}

/// Returns the names of our crates, as code calls them.
fn crates() -> BTreeSet<String> {
    packages(&metadata()).into_iter().map(|package| package.name.replace('-', "_")).collect()
}

/// Returns what `cargo tree` prints for a selection of packages.
fn tree(selection: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline"])
        .args(builds::TREE_ARGUMENTS)
        .args(selection.split(' '))
        .output()
        .expect("cargo starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree {selection}: {complaint}");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn each_rust_file(check: impl Fn(&File, bool) -> Vec<Violation>) -> Vec<Violation> {
    let files = files();
    let tests = scanner::test_files(&files);
    let rust: Vec<&File> = files.iter().filter(|file| file.is_rust()).collect();
    assert!(rust.len() > 10, "only {} Rust files found", rust.len());
    rust.into_iter().flat_map(|file| check(file, tests.contains(&file.path))).collect()
}

/// Returns all text files of the workspace; what is not UTF-8 has no lines.
fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for path in children(&directory) {
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(File::new(below_root(&root, &path), text));
            }
        }
    }
    found
}

/// Returns the children of a directory, but for git's own and for caches, which say so with a tag.
fn children(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the workspace is readable")
        .map(|entry| entry.expect("the workspace is readable").path())
        .filter(|path| !path.ends_with(".git") && !path.join("CACHEDIR.TAG").exists())
        .collect();
    found.sort();
    found
}

fn below_root(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("it lies below the root").to_string_lossy().replace('\\', "/")
}

//! Tells a person why the first build takes so long: RocksDB, once for every machine.

use crate::progress::{human, say, with_heartbeat};
use std::path::Path;
use std::time::Duration;

/// How often a line is printed while RocksDB compiles: often enough that nobody thinks it hangs.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Runs a build; if RocksDB is not compiled yet, announces it and reports progress every minute.
pub(crate) fn announced<T>(target: Option<&Path>, build: impl FnOnce() -> T) -> T {
    let directory = target.unwrap_or(Path::new("target")).join("release/build");
    if is_built(&directory) {
        return build();
    }
    say("RocksDB is compiled once for this machine: up to 25 minutes on two cores");
    with_heartbeat(
        HEARTBEAT,
        |elapsed| {
            if !is_built(&directory) {
                say(&format!(
                    "still compiling RocksDB: {}, {} object files so far",
                    human(elapsed),
                    objects(&directory)
                ));
            }
        },
        build,
    )
}

/// Tells whether a finished archive lies below cargo's `build` directory.
fn is_built(directory: &Path) -> bool {
    outputs(directory).iter().any(|name| name == "librocksdb.a")
}

fn objects(directory: &Path) -> usize {
    outputs(directory).iter().filter(|name| name.ends_with(".o")).count()
}

/// Returns the names of all files that RocksDB's build script has made so far.
fn outputs(directory: &Path) -> Vec<String> {
    let list = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    list(directory)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("librocksdb-sys-"))
        .flat_map(|entry| list(&entry.path().join("out")).collect::<Vec<_>>())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_archive_means_that_rocksdb_is_built_and_objects_do_not() {
        let name = format!("xtask-rocksdb-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let out = root.join("librocksdb-sys-0123/out");
        fs::create_dir_all(&out).expect("the temporary directory is writable");
        fs::write(out.join("db.o"), "").expect("the scratch directory is writable");
        let before = (is_built(&root), objects(&root));
        fs::write(out.join("librocksdb.a"), "").expect("the scratch directory is writable");
        let after = (is_built(&root), objects(&root));
        let _ = fs::remove_dir_all(&root);
        assert_eq!((before, after), ((false, 1), (true, 1)));
    }

    #[test]
    fn a_missing_directory_is_not_built() {
        assert!(!is_built(Path::new("/nonexistent")));
    }
}

//! Looks at the machine: which tools answer, where libclang lies, who we are.
//!
//! A tool counts as present when it does its work, not when a file of its name exists: the compiler
//! compiles a line of C++20, and libclang has its headers beside it (Debian's `libclang1` alone
//! loads and then fails at the first `stddef.h`, 20 minutes into a build).

use crate::cargo::cargo_program;
use crate::machine::{Family, Need, RUST};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories below which distributions put libclang, each searched [`DEPTH`] levels deep.
const LIBRARY_ROOTS: [&str; 6] =
    ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/local", "/opt"];

/// `/usr/lib/llvm-14/lib/libclang.so` is two levels below its root.
const DEPTH: usize = 2;

/// Tells whether this machine has what is needed.
pub(crate) fn has(need: Need) -> bool {
    match need {
        Need::Rust => output(cargo_program(), &["--version"])
            .and_then(|text| parse_version(&text))
            .is_some_and(|version| version >= RUST),
        Need::Rustfmt => output(cargo_program(), &["fmt", "--version"]).is_some(),
        Need::Clippy => output(cargo_program(), &["clippy", "--version"]).is_some(),
        Need::Compiler => compiles_cpp20(),
        Need::Libclang => has_libclang(),
        Need::Deb => output(cargo_program(), &["deb", "--version"]).is_some(),
        Need::Mutants => output(cargo_program(), &["mutants", "--version"]).is_some(),
    }
}

/// Returns the machine's package family.
pub(crate) fn family() -> Family {
    Family::from_os_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// Tells whether this process runs as root.
pub(crate) fn is_root() -> bool {
    output("id".into(), &["-u"]).is_some_and(|text| text.trim() == "0")
}

/// Runs a program quietly; `None` when it cannot be started or says no.
fn output(program: OsString, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Parses `cargo 1.95.0 (f2d3ce0bd 2026-03-21)` to (1, 95).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(1)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Compiles a line that C++17 refuses, with the compiler that the build will use.
fn compiles_cpp20() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let compiler = compiler.to_string_lossy().into_owned();
    // `CXX` may hold a launcher with arguments, such as "ccache g++".
    let mut words = compiler.split_whitespace();
    let Some(program) = words.next() else {
        return false;
    };
    let child = Command::new(program)
        .args(words)
        .args(["-std=c++20", "-fsyntax-only", "-x", "c++", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let written = child.stdin.take().is_some_and(|mut stdin| {
        stdin.write_all(b"#include <concepts>\nstd::same_as<int> auto i = 1;\n").is_ok()
    });
    child.wait().is_ok_and(|status| status.success()) && written
}

/// Tells whether bindgen will find libclang: where it is told to look, or in the usual places.
fn has_libclang() -> bool {
    if let Some(told) = std::env::var_os("LIBCLANG_PATH") {
        let told = PathBuf::from(told);
        return is_libclang(&told) || directories(&told, 0).iter().any(|d| holds_libclang(d));
    }
    let mut places: Vec<PathBuf> =
        LIBRARY_ROOTS.iter().flat_map(|root| directories(Path::new(root), DEPTH)).collect();
    if let Some(directory) = output("llvm-config".into(), &["--libdir"]) {
        places.push(PathBuf::from(directory.trim()));
    }
    places.iter().any(|place| holds_libclang(place))
        && places.iter().any(|place| holds_clang_headers(place))
}

/// Returns the directory and those up to `depth` levels below it; unreadable ones hold nothing.
fn directories(root: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    if depth > 0 {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                found.extend(directories(&entry.path(), depth - 1));
            }
        }
    }
    found
}

fn holds_libclang(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| is_libclang(&entry.path()))
}

/// Tells whether a path names the shared libclang, by the patterns that bindgen's loader knows.
fn is_libclang(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let Some(rest) = name.strip_prefix("libclang") else {
        return false;
    };
    if rest == ".dylib" {
        return path.exists();
    }
    let versioned = rest.starts_with(".so") || rest.starts_with('-') && rest.contains(".so");
    // `libclang-cpp.so` is another library, which bindgen cannot use; a dangling link is none.
    versioned && !rest.starts_with("-cpp") && path.exists()
}

/// Tells whether `clang/<version>/include/stddef.h` lies in the directory.
fn holds_clang_headers(directory: &Path) -> bool {
    std::fs::read_dir(directory.join("clang"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| version.path().join("include/stddef.h").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory of this test alone, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary directory is writable");
            Scratch(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().expect("a file has a parent"))
                .expect("the scratch directory is writable");
            fs::write(&path, "").expect("the scratch directory is writable");
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("cargo 1.95.0 (f2d3ce0bd 2026-03-21)"), Some((1, 95)));
        assert!(parse_version("cargo 1.100.0-nightly").expect("a version") > RUST);
        assert!(parse_version("cargo 1.9.0").expect("a version") < RUST);
        assert_eq!(parse_version("cargo"), None);
        assert_eq!(parse_version("cargo one.two"), None);
    }

    #[test]
    fn libclang_is_known_by_the_names_that_the_loader_tries() {
        let scratch = Scratch::new("names");
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.14", "libclang-14.so.1"] {
            assert!(is_libclang(&scratch.file(name)), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang.a", "libclangBasic.a", "clang.so"] {
            assert!(!is_libclang(&scratch.file(name)), "{name}");
        }
        assert!(!is_libclang(&scratch.0.join("libclang.so.9")), "a name without a file");
    }

    #[test]
    fn the_library_without_its_headers_is_told_apart() {
        let scratch = Scratch::new("headers");
        scratch.file("llvm-14/lib/libclang.so");
        let holders = |test: fn(&Path) -> bool| {
            directories(&scratch.0, DEPTH).iter().filter(|directory| test(directory)).count()
        };
        assert_eq!((holders(holds_libclang), holders(holds_clang_headers)), (1, 0));
        scratch.file("llvm-14/lib/clang/14/include/stddef.h");
        assert_eq!((holders(holds_libclang), holders(holds_clang_headers)), (1, 1));
    }

    #[test]
    fn a_directory_that_is_not_there_holds_nothing() {
        assert!(!directories(Path::new("/nonexistent"), DEPTH).iter().any(|d| holds_libclang(d)));
    }

    #[test]
    fn a_program_that_fails_or_is_missing_has_no_output() {
        assert_eq!(output("false".into(), &[]), None);
        assert_eq!(output("no-such-program".into(), &[]), None);
        assert_eq!(output("echo".into(), &["x"]).as_deref(), Some("x\n"));
    }
}

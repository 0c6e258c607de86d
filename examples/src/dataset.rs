//! Real data that every machine has that could build raftd: the source lines of the crates that
//! cargo downloaded.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Longer lines are left out: they are generated tables, in bytes.
const LINE_BYTES_MAX: usize = 2_000;

/// Keys and values, in the order of the keys.
pub type Data = BTreeMap<String, String>;

/// Takes so many lines of source: the key is crate, file and line, the value is the text.
///
/// # Errors
/// If there are too few, or they cannot be read; the sentence says where was looked.
pub fn collect(keys: usize) -> Result<Data, String> {
    let root = cargo_home()?.join("registry").join("src");
    let mut files = Vec::new();
    walk(&root, &mut files).map_err(|error| format!("cannot read {}: {error}", root.display()))?;
    files.sort();
    let mut data = Data::new();
    for file in files {
        // What is not text is no data for people.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let name = shorten(&root, &file);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.contains('\t') || line.len() > LINE_BYTES_MAX {
                continue;
            }
            data.insert(format!("{name}:{:06}", number + 1), line.to_owned());
            if data.len() == keys {
                return Ok(data);
            }
        }
    }
    let (found, root) = (data.len(), root.display());
    Err(format!("only {found} lines of source below {root}, {keys} are wanted; use --keys {found}"))
}

/// Writes the data as `raftctl kv load` reads it.
///
/// # Errors
/// If the file cannot be written.
pub fn write(data: &Data, file: &Path) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(fs::File::create(file)?);
    for (key, value) in data {
        writeln!(out, "{key}\t{value}")?;
    }
    out.flush()
}

fn cargo_home() -> Result<PathBuf, String> {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let default = || std::env::home_dir().map(|home| home.join(".cargo"));
    given.or_else(default).ok_or_else(|| "neither CARGO_HOME nor a home directory is known".into())
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Leaves out the root and the registry's own directory.
fn shorten(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    let parts: Vec<_> = below.iter().skip(1).map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

//! Manifests: versions only in the root, lints inherited, folder name = package name.

use crate::{File, Violation};
use toml::{Table, Value};

/// The sections that name dependencies, also below `[target.*]`.
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Finds what is wrong in the manifest of a member; its path ends with `<folder>/Cargo.toml`.
pub fn check(file: &File) -> Vec<Violation> {
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Violation::at(&file.path, format!("is not TOML: {error}"))],
    };
    let mut found = Vec::new();
    if field(manifest.get("lints"), "workspace") != Some(&Value::Boolean(true)) {
        found.push(Violation::at(&file.path, "does not inherit the workspace's lints"));
    }
    let folder = file.path.trim_end_matches("/Cargo.toml").rsplit('/').next().unwrap_or_default();
    let package = field(manifest.get("package"), "name").and_then(Value::as_str);
    if package != Some(folder) {
        found.push(Violation::at(&file.path, format!("the package is not called \"{folder}\"")));
    }
    if field(manifest.get("lib"), "name").is_some() {
        found.push(Violation::at(&file.path, "the library has a name of its own"));
    }
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([&manifest]);
    for table in tables {
        for section in SECTIONS {
            found.extend(own_versions(file, table.get(section)));
        }
    }
    found
}

fn field<'a>(table: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    table?.as_table()?.get(key)
}

/// Finds dependencies that come neither from the workspace's table nor from a path.
fn own_versions(file: &File, section: Option<&Value>) -> Vec<Violation> {
    let dependencies = section.and_then(Value::as_table).into_iter().flatten();
    dependencies
        .filter(|(_, value)| {
            let inherited = field(Some(value), "workspace") == Some(&Value::Boolean(true));
            let path = field(Some(value), "path").is_some();
            let versioned = value.is_str()
                || ["version", "git"].iter().any(|key| field(Some(value), key).is_some());
            versioned || !(inherited || path)
        })
        .map(|(name, _)| {
            Violation::at(&file.path, format!("{name}: versions belong into the root manifest"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[package]
name = \"storage\"

[dependencies]
bytes.workspace = true
rocksdb = { workspace = true, optional = true }

[target.'cfg(unix)'.dev-dependencies]
near = { path = \"../near\" }

[lints]
workspace = true
";

    fn found(text: &str) -> Vec<String> {
        let file = File::new("common/storage/Cargo.toml", text);
        check(&file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(found(GOOD), [""; 0]);
    }

    #[test]
    fn a_version_in_a_member_is_found_in_every_section() {
        for section in
            ["[build-dependencies]", "[dev-dependencies]", "[target.'cfg(windows)'.dependencies]"]
        {
            for value in ["\"1\"", "{ version = \"1\" }", "{ git = \"g\" }", "{ optional = true }"]
            {
                let text = format!("{GOOD}{section}\nserde = {value}\n");
                assert_eq!(found(&text).len(), 1, "{section} {value}");
            }
        }
        let both = GOOD.replace("path = \"../near\"", "path = \"../near\", version = \"1\"");
        assert_eq!(found(&both).len(), 1);
    }

    #[test]
    fn lints_must_be_inherited() {
        assert_eq!(found(&GOOD.replace("[lints]\nworkspace = true\n", "")).len(), 1);
        assert_eq!(found(&GOOD.replace("[lints]\nworkspace = true", "[lints.rust]")).len(), 1);
    }

    #[test]
    fn the_folder_names_the_package() {
        assert_eq!(found(&GOOD.replace("name = \"storage\"", "name = \"raftd-storage\"")).len(), 1);
        assert_eq!(found(&format!("{GOOD}[lib]\nname = \"store\"\n")).len(), 1);
    }

    #[test]
    fn what_is_not_toml_is_named() {
        assert!(found("[package").join("").contains("is not TOML"));
    }
}

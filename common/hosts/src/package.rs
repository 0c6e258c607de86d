//! The package, and another version of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call::{Clock, call};
use crate::failure::{Result, file};

/// Packs the same files once more, as the version that follows.
///
/// # Errors
/// If dpkg-deb says no.
pub(crate) fn successor(clock: &Clock, package: &Path, to: &Path) -> Result<PathBuf> {
    let (tree, packed) = (to.join("successor"), to.join("successor.deb"));
    let shown = |path: &Path| path.display().to_string();
    call(clock, "dpkg-deb", &["--raw-extract", &shown(package), &shown(&tree)])?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).map_err(file("cannot read", &control))?;
    let text = bumped(&text);
    fs::write(&control, text).map_err(file("cannot write", &control))?;
    let options = ["--build", "-Znone", "--root-owner-group"];
    let places = [shown(&tree), shown(&packed)];
    call(clock, "dpkg-deb", &[&options[..], &[&places[0], &places[1]]].concat())?;
    fs::remove_dir_all(&tree).map_err(file("cannot remove", &tree))?;
    Ok(packed)
}

/// Writes a higher version into a control file.
fn bumped(control: &str) -> String {
    let line = |line: &str| match line.starts_with("Version: ") {
        true => format!("{line}+next\n"),
        false => format!("{line}\n"),
    };
    control.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_is_another_one() {
        let control = "Package: raftd\nVersion: 0.1.0-1\nDescription: Version: none\n";
        let wanted = "Package: raftd\nVersion: 0.1.0-1+next\nDescription: Version: none\n";
        assert_eq!(bumped(control), wanted);
    }
}

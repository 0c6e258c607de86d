//! What a machine must have, and what brings it: packages, components, commands to type.

/// The oldest Rust that builds the workspace (`rust-version` in the root manifest).
pub(crate) const RUST: (u32, u32) = (1, 95);

/// A thing that a task may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// cargo and rustc of at least [`RUST`].
    Rust,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
    /// A C++20 compiler, for RocksDB.
    Compiler,
    /// libclang with its headers, for RocksDB's bindings.
    Libclang,
    /// `cargo mutants`.
    Mutants,
    /// cargo-deb, which packs the Debian package.
    Deb,
}

impl Need {
    /// Returns the name under which a person knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Need::Rust => "Rust 1.95 or later",
            Need::Rustfmt => "rustfmt",
            Need::Clippy => "clippy",
            Need::Compiler => "a C++20 compiler (g++)",
            Need::Libclang => "libclang",
            Need::Mutants => "cargo-mutants",
            Need::Deb => "cargo-deb",
        }
    }

    /// Returns the package of the distribution that brings it, if one does.
    fn package(self, family: Family) -> Option<&'static str> {
        match (self, family) {
            (Need::Compiler, Family::Debian) => Some("g++"),
            (Need::Libclang, Family::Debian) => Some("libclang-dev"),
            (Need::Compiler, Family::Fedora) => Some("gcc-c++"),
            (Need::Libclang, Family::Fedora) => Some("clang-devel"),
            (Need::Compiler, Family::Arch) => Some("gcc"),
            (Need::Libclang, Family::Arch) => Some("clang"),
            (Need::Rust | Need::Rustfmt | Need::Clippy | Need::Mutants | Need::Deb, _)
            | (_, Family::Unknown) => None,
        }
    }

    /// Returns the rustup component that brings it, if one does.
    fn component(self) -> Option<&'static str> {
        match self {
            Need::Rustfmt => Some("rustfmt"),
            Need::Clippy => Some("clippy"),
            Need::Rust | Need::Compiler | Need::Libclang | Need::Mutants | Need::Deb => None,
        }
    }
}

/// Which package manager the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Debian,
    Fedora,
    Arch,
    Unknown,
}

impl Family {
    /// Reads the family from the text of `/etc/os-release`: `ID` and `ID_LIKE` (os-release(5)).
    pub(crate) fn from_os_release(text: &str) -> Family {
        let words = text
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
        for word in words {
            match word {
                "debian" | "ubuntu" => return Family::Debian,
                "fedora" | "rhel" => return Family::Fedora,
                "arch" => return Family::Arch,
                _ => {}
            }
        }
        Family::Unknown
    }

    fn install_command(self) -> Option<&'static str> {
        match self {
            Family::Debian => Some("sudo apt-get update && sudo apt-get install -y"),
            Family::Fedora => Some("sudo dnf install -y"),
            Family::Arch => Some("sudo pacman -S --needed"),
            Family::Unknown => None,
        }
    }
}

/// Returns the packages that this process may install by itself: only as root, only on Debian.
pub(crate) fn installable(missing: &[Need], family: Family, root: bool) -> Vec<&'static str> {
    if !root || family != Family::Debian {
        return Vec::new();
    }
    missing.iter().filter_map(|need| need.package(family)).collect()
}

/// Returns what to type, one line for each way in which things are installed.
pub(crate) fn remedies(missing: &[Need], family: Family) -> Vec<String> {
    let mut lines = Vec::new();
    if missing.contains(&Need::Rust) {
        let (major, minor) = RUST;
        lines.push(format!("rustup toolchain install {major}.{minor} (or a later one)"));
    }
    let components: Vec<&str> = missing.iter().filter_map(|need| need.component()).collect();
    if !components.is_empty() {
        lines.push(format!("rustup component add {}", components.join(" ")));
    }
    let packages: Vec<&str> = missing.iter().filter_map(|need| need.package(family)).collect();
    match family.install_command() {
        Some(command) if !packages.is_empty() => {
            lines.push(format!("{command} {}", packages.join(" ")));
        }
        Some(_) => {}
        None => lines.extend(
            missing
                .iter()
                .filter(|need| matches!(need, Need::Compiler | Need::Libclang))
                .map(|need| format!("install {} with this system's package manager", need.name())),
        ),
    }
    if missing.contains(&Need::Mutants) {
        lines.push("cargo install --locked cargo-mutants".to_owned());
    }
    if missing.contains(&Need::Deb) {
        lines.push("cargo install --locked cargo-deb".to_owned());
    }
    if missing.contains(&Need::Libclang) {
        lines.push("or set LIBCLANG_PATH to the directory that holds libclang.so".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_from_os_release() {
        let check = |text, family| assert_eq!(Family::from_os_release(text), family, "{text}");
        check("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", Family::Debian);
        check("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Debian);
        check("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::Fedora);
        check("ID=arch\n", Family::Arch);
        check("NAME=debian\nVERSION_ID=debian\n", Family::Unknown);
        check("", Family::Unknown);
    }

    #[test]
    fn packages_are_installed_only_by_root_on_debian() {
        let missing = [Need::Clippy, Need::Compiler, Need::Libclang];
        assert_eq!(installable(&missing, Family::Debian, true), ["g++", "libclang-dev"]);
        assert!(installable(&missing, Family::Debian, false).is_empty());
        assert!(installable(&missing, Family::Fedora, true).is_empty());
        assert!(installable(&[Need::Rustfmt], Family::Debian, true).is_empty());
    }

    #[test]
    fn whatever_is_missing_comes_with_the_command_to_type() {
        let all = [
            Need::Rust,
            Need::Rustfmt,
            Need::Clippy,
            Need::Compiler,
            Need::Libclang,
            Need::Mutants,
            Need::Deb,
        ];
        let lines = remedies(&all, Family::Debian).join("\n");
        assert!(lines.contains("rustup toolchain install 1.95"));
        assert!(lines.contains("rustup component add rustfmt clippy"));
        assert!(lines.contains("sudo apt-get install -y g++ libclang-dev"));
        for need in all {
            for family in [Family::Debian, Family::Fedora, Family::Arch, Family::Unknown] {
                assert!(!remedies(&[need], family).is_empty(), "{need:?} on {family:?}");
            }
        }
    }

    #[test]
    fn a_remedy_names_nothing_that_is_there() {
        let lines = remedies(&[Need::Compiler], Family::Debian).join("\n");
        assert!(lines.ends_with("install -y g++"), "{lines}");
        assert!(!lines.contains("rustup"));
    }
}

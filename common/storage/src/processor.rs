//! Whether the processor has the instructions that RocksDB was compiled for.
//!
//! Its checksums by table take a fifth of a node's time with large values, and it has to be told
//! when it is compiled whether there are instructions for them (`.cargo/config.toml`). A program
//! that embeds the crates without that file has the slower one, and needs nothing.

use crate::error::StorageError;

/// What RocksDB is compiled with here.
const FLAGS: Option<&str> = option_env!("CXXFLAGS_x86_64_unknown_linux_gnu");

/// Looks before RocksDB is used: it would end the process by a signal.
///
/// # Errors
/// [`StorageError::Processor`] with what is missing.
pub(crate) fn check() -> Result<(), StorageError> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    {
        let has = [
            ("-msse4.2", "SSE 4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("-mpclmul", "PCLMULQDQ", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ];
        lacking(FLAGS.unwrap_or_default(), &has)
            .map_or(Ok(()), |missing| Err(StorageError::Processor { missing }))
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
    {
        let _ = FLAGS;
        Ok(())
    }
}

/// Returns the first of these instructions that is asked for and not there.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
fn lacking(flags: &str, has: &[(&str, &'static str, bool)]) -> Option<&'static str> {
    let needs = |flag: &str| flags.split_whitespace().any(|one| one == flag);
    has.iter().find(|(flag, _, there)| needs(flag) && !there).map(|(_, name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_and_missing_is_lacking() {
        let has = [("-msse4.2", "SSE 4.2", true), ("-mpclmul", "PCLMULQDQ", false)];
        assert_eq!(lacking("", &has), None);
        assert_eq!(lacking("-O2 -msse4.2", &has), None);
        assert_eq!(lacking("-msse4.2 -mpclmul", &has), Some("PCLMULQDQ"));
        assert!(check().is_ok(), "this machine runs RocksDB");
    }
}

//! The configuration file.

use std::fs;

use raftd::config::{Overrides, Settings};

use crate::scratch::directory;

/// Loads the bytes as raftd.toml. What is accepted is within the bounds of its keys.
///
/// # Panics
/// If it is not, or if the file cannot be written.
pub fn run(data: &[u8]) {
    directory(|path| {
        let file = path.join("raftd.toml");
        fs::write(&file, data).expect("the directory can be written");
        if let Ok(settings) = Settings::load(&file, &Overrides::default()) {
            settings.node.check().expect("what was accepted is within its bounds");
        }
    });
}

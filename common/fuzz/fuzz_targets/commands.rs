#![no_main]
//! See [`fuzz::commands`].

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::commands::run(data));

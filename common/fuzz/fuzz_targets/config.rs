#![no_main]
//! See [`fuzz::config`].

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::config::run(data));

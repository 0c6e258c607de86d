#![no_main]
//! See [`fuzz::steps`].

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::steps::run(data));

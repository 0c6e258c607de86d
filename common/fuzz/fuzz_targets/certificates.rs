#![no_main]
//! See [`fuzz::certificates`].

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::certificates::run(data));

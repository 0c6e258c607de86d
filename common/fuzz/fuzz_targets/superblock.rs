#![no_main]
//! See [`fuzz::superblock`].

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::superblock::run(data));

//! libFuzzer's entry to `itch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("itch", data));

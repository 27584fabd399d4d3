//! libFuzzer's entry to `lobster`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("lobster", data));

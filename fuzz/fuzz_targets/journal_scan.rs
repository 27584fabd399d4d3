//! libFuzzer's entry to `journal_scan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("journal_scan", data));

//! libFuzzer's entry to `ledger_twin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("ledger_twin", data));

//! libFuzzer's entry to `wire_command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("wire_command", data));

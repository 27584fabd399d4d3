//! libFuzzer's entry to `wire_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("wire_message", data));

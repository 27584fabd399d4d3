//! libFuzzer's entry to `gateway_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("gateway_json", data));

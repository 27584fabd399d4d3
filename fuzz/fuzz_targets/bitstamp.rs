//! libFuzzer's entry to `bitstamp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("bitstamp", data));

//! libFuzzer's entry to `venue_commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("venue_commands", data));

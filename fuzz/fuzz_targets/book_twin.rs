//! libFuzzer's entry to `book_twin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| everopen_fuzz::run("book_twin", data));

//! The one binary of Everopen.
fn main() {}

//! All automation: `cargo xtask ...`.
fn main() {}

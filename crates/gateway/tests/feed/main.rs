//! The feed over real sockets.

mod books;
mod harness;
mod limits;
mod own;
mod protocol;
mod reader;
#[path = "../../../views/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the views")]
mod support;

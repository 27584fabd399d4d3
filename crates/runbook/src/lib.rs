//! Runbooks: what is done step by step, by a program or by people, with branches, approvals, retries and
//! time limits. Every step is in a journal before it is begun, so a run that was cut off goes on; and a
//! run that fails is undone in reverse, as far as its steps say how.
//!
//! The documents are in the style of AWS Systems Manager Automation, schema 0.3, whose own can be
//! [imported](import).
#![warn(missing_docs)]

mod actions;
mod call;
mod condition;
pub mod document;
pub mod import;
pub mod run;
mod values;

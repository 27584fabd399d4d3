//! Workload identity: certificates, and who may speak to whom.
#![forbid(unsafe_code)]

/// A process's own certificate and key, and the authority that it trusts.
#[derive(Debug)]
pub struct Identity {}

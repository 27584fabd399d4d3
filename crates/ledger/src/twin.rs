//! The slow, obvious ledger: ordered maps and plain sums, written for reading. The fast one must
//! agree with it result for result and balance for balance; both run one suite (`tests/suite.rs`).

//! Rollouts in Kubernetes, against the protocol: an API server of the test's own, whose pods are real
//! servers on loopback addresses and whose Services really balance. No cluster is to be had where tests run.

mod api;
mod place;
mod rollouts;

//! Framed, bounded connections between processes over mutual TLS.
#![forbid(unsafe_code)]

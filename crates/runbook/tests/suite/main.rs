//! Runs of documents, with real programs and servers.

mod documents;
mod imports;
mod people;
mod runs;
mod support;

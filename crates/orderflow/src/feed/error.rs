//! What can be wrong with a recorded feed, and where.

use std::fmt;
use std::io;

/// A feed that could not be opened or read to its end.
#[derive(Debug)]
pub struct FeedError {
    /// Name of the file, as it was given.
    pub file: String,
    /// Byte offset in the uncompressed file: start of the message, line or field that is wrong, or
    /// the end of what could be read.
    pub offset: u64,
    /// Line number counted from 1, for text formats.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong at that place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be opened.
    #[error("could not open the file")]
    Open(#[source] io::Error),
    /// The bytes could not be had.
    #[error("could not read the file")]
    Read(#[source] io::Error),
    /// The compressed stream is damaged or cut.
    #[error("could not decompress {format}: the file is damaged or truncated")]
    Decompress {
        /// Name of the compression.
        format: &'static str,
        /// The decoder's reason.
        #[source]
        source: io::Error,
    },
    /// The content starts like no known format.
    #[error("expected ITCH 5.0, LOBSTER messages or a Bitstamp order table, found none of them")]
    Unrecognized,
    /// The file holds nothing.
    #[error("expected at least one message, found an empty file")]
    Empty,
    /// The file ends inside an item.
    #[error("expected {expected}, found the end of the file after {found} of {needed} bytes")]
    Truncated {
        /// What was begun.
        expected: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A message type that the format does not have.
    #[error("expected an ITCH 5.0 message type, found {found:#04x}")]
    UnknownType {
        /// The byte that stands there.
        found: u8,
    },
    /// A length prefix that disagrees with the message type.
    #[error("expected length {expected} for message type {kind}, found {found}")]
    WrongLength {
        /// Message type.
        kind: char,
        /// Length that the type has.
        expected: u16,
        /// Length that the prefix says.
        found: u16,
    },
    /// A field holds what the format does not allow.
    #[error("in {field}: expected {expected}, found \"{found}\"")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What the format allows.
        expected: &'static str,
        /// What stands there, shortened and escaped.
        found: String,
    },
    /// A line has the wrong number of columns.
    #[error("expected {expected} columns, found {found}")]
    Columns {
        /// Number of columns that the format or the header announces.
        expected: &'static str,
        /// Number of columns that are there.
        found: usize,
    },
    /// A column that the header must name is not there.
    #[error("expected a column named {name} in the header")]
    MissingColumn {
        /// Name of the column.
        name: &'static str,
    },
    /// A line that is longer than any line of the format.
    #[error("expected a line of at most {limit} bytes")]
    LineTooLong {
        /// Longest line that is read.
        limit: usize,
    },
    /// The options ask for more decimals than amounts have room for.
    #[error("expected at most 10 decimals for prices, found {given}")]
    PriceDecimals {
        /// What the options say.
        given: u8,
    },
    /// Bytes after the message that ends the session.
    #[error("expected the end of the file after the zero length that ends the session")]
    AfterEnd,
}

impl fmt::Display for FeedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: at offset {}", self.file, self.offset)?;
        if let Some(line) = self.line {
            write!(out, " (line {line})")?;
        }
        write!(out, ": {}", self.problem)
    }
}

impl std::error::Error for FeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

/// A field's bytes made fit for an error line.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 40;
    let mut text = bytes[..bytes.len().min(LONGEST)].escape_ascii().to_string();
    if bytes.len() > LONGEST {
        text.push('…');
    }
    text
}

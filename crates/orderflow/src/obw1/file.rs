//! The file form: a 32-byte header, then 24 bytes a record, all little endian.

use std::io::{self, Read, Write};

use super::{Generator, Kind, Params, Record, Side};

/// First four bytes of a file.
pub const MAGIC: [u8; 4] = *b"OBW1";
/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of one record.
pub const RECORD_BYTES: usize = 24;

/// What a file says of itself. The depth is not stored; `warm_up / symbols` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of symbols.
    pub symbols: u32,
    /// Number of leading records that fill the books and are not timed.
    pub warm_up: u64,
    /// Number of timed records.
    pub commands: u64,
    /// Seed of the generator.
    pub seed: u64,
}

/// A whole workload in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What the file says of itself.
    pub header: Header,
    /// Warm-up records, then timed records.
    pub records: Vec<Record>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The bytes could not be had.
    #[error("could not read the workload at offset {offset}")]
    Read {
        /// Where reading stopped.
        offset: u64,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The file ends before all the records that its header announces.
    #[error("workload ends inside the item that starts at offset {offset}")]
    Truncated {
        /// Where the cut item starts.
        offset: u64,
    },
    /// A field holds what the format does not allow.
    #[error("at offset {offset}: expected {expected}, found {found}")]
    Malformed {
        /// Where the field starts.
        offset: u64,
        /// What the format allows.
        expected: &'static str,
        /// What stands there.
        found: u64,
    },
}

impl Header {
    fn of(params: Params) -> Self {
        Self {
            symbols: params.symbols,
            warm_up: params.warm_up(),
            commands: params.commands,
            seed: params.seed,
        }
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.symbols.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.warm_up.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.commands.to_le_bytes());
        bytes[24..].copy_from_slice(&self.seed.to_le_bytes());
        bytes
    }
}

impl Record {
    /// The record's bytes.
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.price.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.quantity.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.symbol.to_le_bytes());
        bytes[18] = self.kind as u8;
        bytes[19] = self.side as u8;
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES], offset: u64) -> Result<Self, FileError> {
        let malformed = |at: u64, expected, found: u8| FileError::Malformed {
            offset: offset + at,
            expected,
            found: u64::from(found),
        };
        let kind = match bytes[18] {
            0 => Kind::New,
            1 => Kind::Cancel,
            2 => Kind::Replace,
            3 => Kind::Marketable,
            found => return Err(malformed(18, "a command type from 0 to 3", found)),
        };
        let side = match bytes[19] {
            0 => Side::Buy,
            1 => Side::Sell,
            found => return Err(malformed(19, "a side, 0 or 1", found)),
        };
        Ok(Self {
            id: u64_at(bytes, 0),
            price: u32_at(bytes, 8),
            quantity: u32_at(bytes, 12),
            symbol: u16::from_le_bytes([bytes[16], bytes[17]]),
            kind,
            side,
        })
    }
}

impl Workload {
    /// Makes a workload in memory.
    ///
    /// # Panics
    ///
    /// As [`Generator::new`].
    pub fn generate(params: Params) -> Self {
        Self {
            header: Header::of(params),
            records: Generator::new(params).collect(),
        }
    }

    /// Makes a workload straight into `out` without holding it in memory.
    pub fn generate_into(params: Params, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&Header::of(params).to_bytes())?;
        Generator::new(params).try_for_each(|record| out.write_all(&record.to_bytes()))
    }

    /// Writes the file form.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.header.to_bytes())?;
        self.records
            .iter()
            .try_for_each(|record| out.write_all(&record.to_bytes()))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// When the bytes are not a workload, or end early.
    pub fn read(input: impl Read) -> Result<Self, FileError> {
        let reader = Reader::new(input)?;
        let header = reader.header();
        let records = reader.collect::<Result<_, _>>()?;
        Ok(Self { header, records })
    }

    /// The records that fill the books.
    pub fn warm_up(&self) -> &[Record] {
        &self.records[..self.header.warm_up as usize]
    }

    /// The records to time.
    pub fn timed(&self) -> &[Record] {
        &self.records[self.header.warm_up as usize..]
    }
}

/// Reads records one by one. Buffer the input: each record is one small read.
pub struct Reader<R> {
    input: R,
    header: Header,
    offset: u64,
    left: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When the input does not start with a workload's header.
    pub fn new(mut input: R) -> Result<Self, FileError> {
        let mut bytes = [0; HEADER_BYTES];
        fill(&mut input, &mut bytes, 0)?;
        if bytes[..4] != MAGIC {
            return Err(FileError::Malformed {
                offset: 0,
                expected: "the magic bytes OBW1",
                found: u64::from(u32_at(&bytes, 0)),
            });
        }
        let header = Header {
            symbols: u32_at(&bytes, 4),
            warm_up: u64_at(&bytes, 8),
            commands: u64_at(&bytes, 16),
            seed: u64_at(&bytes, 24),
        };
        let left = header
            .warm_up
            .checked_add(header.commands)
            .ok_or(FileError::Malformed {
                offset: 16,
                expected: "a number of commands that fits beside the warm-up",
                found: header.commands,
            })?;
        Ok(Self {
            input,
            header,
            offset: HEADER_BYTES as u64,
            left,
        })
    }

    /// What the file says of itself.
    pub fn header(&self) -> Header {
        self.header
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = [0; RECORD_BYTES];
        let record = fill(&mut self.input, &mut bytes, self.offset)
            .and_then(|()| Record::from_bytes(&bytes, self.offset));
        self.offset += RECORD_BYTES as u64;
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8], offset: u64) -> Result<(), FileError> {
    input
        .read_exact(bytes)
        .map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => FileError::Truncated { offset },
            _ => FileError::Read { offset, source },
        })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("invariant: eight bytes"),
    )
}

//! Opening a feed: decompression and format by content, then messages one by one.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::{Action, Fault, FeedError, FeedMessage, Problem, Source, Symbol};
use crate::{bitstamp, itch, lobster};

const GZIP_MAGIC: &[u8] = &[0x1F, 0x8B];
const XZ_MAGIC: &[u8] = &[0xFD, b'7', b'z', b'X', b'Z', 0];
/// A recorded format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NASDAQ TotalView-ITCH 5.0, each message behind its length.
    Itch,
    /// LOBSTER messages.
    Lobster,
    /// Bitstamp order table.
    Bitstamp,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, any number of members.
    Gzip,
    /// xz, any number of streams.
    Xz,
}

/// What times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Midnight of the trading day, in the market's time zone.
    Midnight,
    /// 1970-01-01 00:00 UTC.
    Epoch,
}

/// What a caller may say about a file. Everything has a default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The format; by default it is recognized by the content.
    pub format: Option<Format>,
    /// The instrument of a format that names none; by default the front of a LOBSTER file name,
    /// `BTC` for a Bitstamp table, else `STOCK`.
    pub symbol: Option<Symbol>,
    /// Decimals of prices in a Bitstamp table, at most 10; by default 2.
    pub price_decimals: Option<u8>,
    /// True if the volumes of a Bitstamp table are units even without a decimal point.
    pub decimal_sizes: bool,
}

/// Messages of a feed by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All messages.
    pub messages: u64,
    /// `Add`.
    pub adds: u64,
    /// `Reduce`.
    pub reduces: u64,
    /// `Delete`.
    pub deletes: u64,
    /// `Replace`.
    pub replaces: u64,
    /// `Execute`.
    pub executes: u64,
    /// `SetSize`.
    pub set_sizes: u64,
    /// `TradeReport`.
    pub trade_reports: u64,
    /// `Directory`.
    pub directories: u64,
    /// `PhaseChange`.
    pub phase_changes: u64,
    /// `SystemEvent` and `Other`.
    pub others: u64,
}

impl Count {
    /// Counts one message.
    pub fn add(&mut self, message: &FeedMessage) {
        self.messages += 1;
        *match message.action {
            Action::Add { .. } => &mut self.adds,
            Action::Reduce { .. } => &mut self.reduces,
            Action::Delete { .. } => &mut self.deletes,
            Action::Replace { .. } => &mut self.replaces,
            Action::Execute { .. } => &mut self.executes,
            Action::SetSize { .. } => &mut self.set_sizes,
            Action::TradeReport { .. } => &mut self.trade_reports,
            Action::Directory { .. } => &mut self.directories,
            Action::PhaseChange { .. } => &mut self.phase_changes,
            Action::SystemEvent { .. } | Action::Other => &mut self.others,
        } += 1;
    }
}

type Bytes<'a> = Box<dyn Read + Send + 'a>;

/// A feed being read. It is an iterator; after an error or the end it yields nothing more.
pub struct Feed<'a> {
    name: String,
    source: Source<Bytes<'a>>,
    decoder: Decoder,
    compression: Compression,
    price_decimals: u8,
    /// Bytes taken from the file so far.
    taken: Arc<AtomicU64>,
    total_bytes: Option<u64>,
    last_time: u64,
    time_reversals: u64,
    messages: u64,
    done: bool,
}

enum Decoder {
    Itch,
    Lobster(lobster::Decoder),
    Bitstamp(bitstamp::Decoder),
}

impl Feed<'static> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is empty, is damaged at its start, or is of no known format.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, FeedError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            // A pipe has no length to show progress against.
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        let (file, length) = open().map_err(|error| FeedError {
            file: name.clone(),
            offset: 0,
            line: None,
            problem: Problem::Open(error),
        })?;
        Self::start(name, Box::new(file), length, options)
    }
}

impl<'a> Feed<'a> {
    /// Reads a feed from anything. `name` stands in errors; `length` is the number of bytes that
    /// `reader` will give, if known.
    ///
    /// # Errors
    ///
    /// As [`Feed::open`].
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'a,
        length: Option<u64>,
        options: Options,
    ) -> Result<Self, FeedError> {
        Self::start(name.to_owned(), Box::new(reader), length, options)
    }

    fn start(
        name: String,
        reader: Bytes<'a>,
        length: Option<u64>,
        options: Options,
    ) -> Result<Self, FeedError> {
        let taken = Arc::new(AtomicU64::new(0));
        let begun = begin(
            Counting {
                reader,
                taken: Arc::clone(&taken),
            },
            &name,
            &options,
        );
        let (source, decoder, compression, price_decimals) = match begun {
            Ok(begun) => begun,
            Err(Fault {
                offset,
                line,
                problem,
            }) => {
                return Err(FeedError {
                    file: name,
                    offset,
                    line,
                    problem,
                });
            }
        };
        Ok(Self {
            name,
            source,
            decoder,
            compression,
            price_decimals,
            taken,
            total_bytes: length,
            last_time: 0,
            time_reversals: 0,
            messages: 0,
            done: false,
        })
    }

    pub(crate) fn count_slice(bytes: &[u8], format: Format) -> Result<Count, FeedError> {
        let options = Options {
            format: Some(format),
            ..Options::default()
        };
        let length = Some(bytes.len() as u64);
        let mut count = Count::default();
        for message in Feed::from_reader("memory", bytes, length, options)? {
            count.add(&message?);
        }
        Ok(count)
    }

    /// The next message; `None` at a good end of the file.
    ///
    /// # Errors
    ///
    /// When the file is damaged or cut. The feed is over then.
    #[inline]
    pub fn read(&mut self) -> Result<Option<FeedMessage>, FeedError> {
        if self.done {
            return Ok(None);
        }
        let message = match &mut self.decoder {
            Decoder::Itch => itch::next(&mut self.source),
            Decoder::Lobster(decoder) => decoder.next(&mut self.source),
            Decoder::Bitstamp(decoder) => decoder.next(&mut self.source),
        };
        match message {
            Ok(Some(message)) => {
                self.messages += 1;
                self.time_reversals += u64::from(message.time < self.last_time);
                self.last_time = message.time;
                Ok(Some(message))
            }
            Ok(None) => self.finish(),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    #[cold]
    fn finish(&mut self) -> Result<Option<FeedMessage>, FeedError> {
        self.done = true;
        if self.messages == 0 {
            return Err(self.fail(Fault::new(self.source.offset(), Problem::Empty)));
        }
        Ok(None)
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> FeedError {
        self.done = true;
        let Fault {
            offset,
            line,
            problem,
        } = fault;
        FeedError {
            file: self.name.clone(),
            offset,
            line,
            problem,
        }
    }

    /// The format that was recognized or given.
    pub fn format(&self) -> Format {
        match self.decoder {
            Decoder::Itch => Format::Itch,
            Decoder::Lobster(_) => Format::Lobster,
            Decoder::Bitstamp(_) => Format::Bitstamp,
        }
    }

    /// The compression that was recognized.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// What the messages' times count from.
    pub fn clock(&self) -> Clock {
        match self.decoder {
            Decoder::Itch | Decoder::Lobster(_) => Clock::Midnight,
            Decoder::Bitstamp(_) => Clock::Epoch,
        }
    }

    /// Decimals of prices.
    pub fn price_decimals(&self) -> u8 {
        self.price_decimals
    }

    /// Decimals of sizes.
    pub fn size_decimals(&self) -> u8 {
        match self.decoder {
            Decoder::Itch | Decoder::Lobster(_) => 0,
            Decoder::Bitstamp(_) => bitstamp::SIZE_DECIMALS,
        }
    }

    /// Length of the file as it is stored, if known.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Bytes of the stored file taken so far. It runs ahead of the messages by at most the buffers.
    pub fn position(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Offset in the uncompressed file behind the last message.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// Number of the line read last, for text formats.
    pub fn line(&self) -> Option<u64> {
        match &self.decoder {
            Decoder::Itch => None,
            Decoder::Lobster(decoder) => Some(decoder.line()),
            Decoder::Bitstamp(decoder) => Some(decoder.line()),
        }
    }

    /// Number of messages so far whose time lies before that of the message before them.
    pub fn time_reversals(&self) -> u64 {
        self.time_reversals
    }
}

impl Iterator for Feed<'_> {
    type Item = Result<FeedMessage, FeedError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

type Begun<'a> = (Source<Bytes<'a>>, Decoder, Compression, u8);

fn begin<'a>(mut file: Counting<'a>, name: &str, options: &Options) -> Result<Begun<'a>, Fault> {
    let mut magic = Vec::with_capacity(XZ_MAGIC.len());
    let read = file
        .by_ref()
        .take(XZ_MAGIC.len() as u64)
        .read_to_end(&mut magic);
    read.map_err(|error| Fault::new(0, Problem::Read(error)))?;
    let compression = if magic.starts_with(GZIP_MAGIC) {
        Compression::Gzip
    } else if magic.starts_with(XZ_MAGIC) {
        Compression::Xz
    } else {
        Compression::Plain
    };
    let whole = Cursor::new(magic).chain(file);
    let (bytes, label): (Bytes<'a>, _) = match compression {
        Compression::Plain => (Box::new(whole), None),
        Compression::Gzip => {
            let buffered = BufReader::with_capacity(64 * 1024, whole);
            (Box::new(MultiGzDecoder::new(buffered)), Some("gzip"))
        }
        Compression::Xz => {
            let buffered = BufReader::with_capacity(64 * 1024, whole);
            // The dictionary that the file asks for bounds the memory: 64 MiB for `xz -9`.
            let reader = XzReader::new(buffered, true);
            (Box::new(reader), Some("xz"))
        }
    };
    let mut source = Source::new(bytes, label);
    let format = match options.format {
        Some(format) => format,
        None => recognize(source.peek(4096)?)?,
    };
    let symbol = |fallback: &str| {
        let fallback = || super::symbol(fallback.as_bytes());
        options
            .symbol
            .or_else(fallback)
            .expect("invariant: a plain word is a symbol")
    };
    let (decoder, decimals) = match format {
        Format::Itch => (Decoder::Itch, itch::PRICE_DECIMALS),
        Format::Lobster => {
            let file_name = name.rsplit(['/', '\\']).next().unwrap_or(name);
            let named = options.symbol.or_else(|| lobster::symbol_in(file_name));
            let decoder = lobster::Decoder::new(named.unwrap_or_else(|| symbol("STOCK")));
            (Decoder::Lobster(decoder), lobster::PRICE_DECIMALS)
        }
        Format::Bitstamp => {
            let decimals = options
                .price_decimals
                .unwrap_or(bitstamp::PRICE_DECIMALS)
                .min(18);
            let decoder = bitstamp::Decoder::new(symbol("BTC"), decimals, options.decimal_sizes);
            (Decoder::Bitstamp(decoder), decimals)
        }
    };
    Ok((source, decoder, compression, decimals))
}

fn recognize(start: &[u8]) -> Result<Format, Fault> {
    if start.is_empty() {
        return Err(Fault::new(0, Problem::Empty));
    }
    if itch::looks_like(start) {
        return Ok(Format::Itch);
    }
    let first_line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
    let first_line = &first_line[..first_line.len().min(4096)];
    let first_line = first_line.strip_suffix(b"\r").unwrap_or(first_line);
    if lobster::looks_like(first_line) {
        Ok(Format::Lobster)
    } else if bitstamp::looks_like(first_line) {
        Ok(Format::Bitstamp)
    } else {
        Err(Fault::new(0, Problem::Unrecognized))
    }
}

/// Counts the bytes that are taken from the stored file.
struct Counting<'a> {
    reader: Bytes<'a>,
    taken: Arc<AtomicU64>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

//! Reads entries of every version.

use everopen_domain::Timestamp;

use super::{INTERNAL, OPEN_SESSION, Origin, SESSION, VERSION, v1};
use crate::DecodeError;
use crate::codec::{Input, Wire};
use crate::command::{self, Commands};

/// A request as it stands in an entry.
#[derive(Clone, Debug)]
pub struct EncodedRequest<'a> {
    origin: Origin,
    commands: Commands<'a>,
}

impl<'a> EncodedRequest<'a> {
    /// Where it comes from.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// How many commands it says that it has.
    pub const fn command_count(&self) -> u32 {
        self.commands.left()
    }

    /// Its commands, in order.
    pub fn commands(&self) -> Commands<'a> {
        self.commands.clone()
    }
}

/// Reads an entry: an iterator over its requests, which ends after the first error. A request's
/// commands are read only when they are asked for, and may turn out to be none.
#[derive(Clone, Debug)]
pub struct EntryReader<'a> {
    input: Input<'a>,
    version: u16,
    time: Timestamp,
    count: u32,
    left: u32,
    ended: bool,
}

impl<'a> EntryReader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DecodeError`] when it is of no known version or too short.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let unknown = input.error("unknown version of a log entry");
        let version = u16::get(&mut input)?;
        if version != v1::VERSION && version != VERSION {
            return Err(unknown);
        }
        let unknown = input.error("unknown flags of a log entry");
        if u16::get(&mut input)? != 0 {
            return Err(unknown);
        }
        let time = Timestamp::get(&mut input)?;
        let place = input.clone();
        let count = u32::get(&mut input)?;
        if version == v1::VERSION && !command::may_hold(&input, count) {
            return Err(place.error("more commands than the bytes that are left"));
        }
        if version == VERSION && u64::from(count) * 3 > input.remaining() as u64 {
            return Err(place.error("more requests than the bytes that are left"));
        }
        Ok(Self {
            input,
            version,
            time,
            count,
            left: if version == v1::VERSION { 1 } else { count },
            ended: false,
        })
    }

    /// The version that it was written in.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The time at which the requests are applied.
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// How many requests the entry says that it has.
    pub const fn request_count(&self) -> u32 {
        if self.version == v1::VERSION {
            1
        } else {
            self.count
        }
    }

    fn request(&mut self) -> Result<EncodedRequest<'a>, DecodeError> {
        if self.version == v1::VERSION {
            // Everything that is left; bytes left over show when the commands are read.
            let commands = self.input.part(self.input.remaining())?;
            return Ok(EncodedRequest {
                origin: Origin::Internal,
                commands: Commands::over(commands, self.count),
            });
        }
        let input = &mut self.input;
        let unknown = input.error("unknown kind of a request");
        let origin = match u8::get(input)? {
            INTERNAL => Origin::Internal,
            OPEN_SESSION => {
                let nonce = u64::get(input)?;
                return Ok(EncodedRequest {
                    origin: Origin::OpenSession { nonce },
                    commands: Commands::over(input.part(0)?, 0),
                });
            }
            SESSION => Origin::Session {
                client: u64::get(input)?,
                sequence: u64::get(input)?,
                behind: u32::get(input)?,
            },
            _ => return Err(unknown),
        };
        let count = u32::from(u16::get(input)?);
        let mut start = input.clone();
        for _ in 0..count {
            command::skip(input)?;
        }
        let commands = start.part(start.remaining() - input.remaining())?;
        Ok(EncodedRequest {
            origin,
            commands: Commands::over(commands, count),
        })
    }
}

impl<'a> Iterator for EntryReader<'a> {
    type Item = Result<EncodedRequest<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return self.input.finish().err().map(Err);
        }
        self.left -= 1;
        let request = self.request();
        self.ended = request.is_err();
        Some(request)
    }
}

impl core::iter::FusedIterator for EntryReader<'_> {}

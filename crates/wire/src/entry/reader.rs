//! Reads entries of every version.

use everopen_domain::{Command, Timestamp};

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

    /// Reads the requests and their commands as they come, each once; see [`InPlace`].
    pub const fn in_place(self) -> InPlace<'a> {
        InPlace {
            reader: self,
            commands: 0,
        }
    }

    /// Reads what stands before a request's commands: where it comes from and how many follow.
    #[inline]
    fn head(&mut self) -> Result<(Origin, u32), DecodeError> {
        if self.version == v1::VERSION {
            return Ok((Origin::Internal, self.count));
        }
        let input = &mut self.input;
        let unknown = input.error("unknown kind of a request");
        let origin = match u8::get(input)? {
            INTERNAL => Origin::Internal,
            OPEN_SESSION => {
                let nonce = u64::get(input)?;
                return Ok((Origin::OpenSession { nonce }, 0));
            }
            SESSION => Origin::Session {
                client: u64::get(input)?,
                sequence: u64::get(input)?,
                behind: u32::get(input)?,
            },
            _ => return Err(unknown),
        };
        Ok((origin, u32::from(u16::get(input)?)))
    }

    fn request(&mut self) -> Result<EncodedRequest<'a>, DecodeError> {
        let (origin, count) = self.head()?;
        let input = &mut self.input;
        let commands = if self.version == v1::VERSION {
            // Everything that is left; bytes left over show when the commands are read.
            input.part(input.remaining())?
        } else {
            let mut start = input.clone();
            for _ in 0..count {
                command::skip(input)?;
            }
            start.part(start.remaining() - input.remaining())?
        };
        Ok(EncodedRequest {
            origin,
            commands: Commands::over(commands, count),
        })
    }
}

/// An entry read from front to back: a request, its commands, the next request. Nothing is looked
/// at twice, so what is wrong further back shows only there.
#[derive(Clone, Debug)]
pub struct InPlace<'a> {
    reader: EntryReader<'a>,
    /// Commands of the current request that were not read.
    commands: u32,
}

impl InPlace<'_> {
    /// The next request: where it comes from and how many commands it says that it has. Commands
    /// of the one before that were not read are passed over. None at the end.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing comes after it.
    #[inline]
    pub fn next_request(&mut self) -> Option<Result<(Origin, u32), DecodeError>> {
        while self.commands > 0 {
            self.commands -= 1;
            if let Err(error) = command::skip(&mut self.reader.input) {
                return self.failed(error);
            }
        }
        if self.reader.ended {
            return None;
        }
        if self.reader.left == 0 {
            self.reader.ended = true;
            return self.reader.input.finish().err().map(Err);
        }
        self.reader.left -= 1;
        match self.reader.head() {
            Ok((origin, count)) => {
                self.commands = count;
                Some(Ok((origin, count)))
            }
            Err(error) => self.failed(error),
        }
    }

    /// Reads the next command of the current request into one that is there: commands are large, and none is
    /// moved. None after the request's last one.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing comes after it, and `command` is any.
    #[inline]
    pub fn next_command(&mut self, command: &mut Command) -> Option<Result<(), DecodeError>> {
        self.commands = self.commands.checked_sub(1)?;
        let read = command::read_frame(&mut self.reader.input, command);
        if read.is_err() {
            (self.commands, self.reader.ended) = (0, true);
        }
        Some(read)
    }

    fn failed<T>(&mut self, error: DecodeError) -> Option<Result<T, DecodeError>> {
        (self.commands, self.reader.ended) = (0, true);
        Some(Err(error))
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

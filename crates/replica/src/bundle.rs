//! A turn's requests as one entry of the log, and back.

use std::ops::Range;

use everopen_domain::{Command, Timestamp};
use everopen_wire::entry::{EntryReader, Origin};

/// A request without its commands, which stand in a list of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Internal {
        commands: Range<usize>,
    },
    OpenSession {
        nonce: u64,
    },
    Session {
        client: u64,
        sequence: u64,
        behind: u32,
        commands: Range<usize>,
    },
}

impl Meta {
    pub fn commands(&self) -> Range<usize> {
        match self {
            Self::Internal { commands } | Self::Session { commands, .. } => commands.clone(),
            Self::OpenSession { .. } => 0..0,
        }
    }
}

/// Reads an entry into requests and commands; returns its time.
///
/// # Errors
/// A sentence when it is not of a known form; what was read until then is of no use.
pub(crate) fn read(
    bytes: &[u8],
    requests: &mut Vec<Meta>,
    commands: &mut Vec<Command>,
) -> Result<Timestamp, String> {
    requests.clear();
    commands.clear();
    let reader = EntryReader::new(bytes).map_err(|e| e.to_string())?;
    let time = reader.time();
    for request in reader {
        let request = request.map_err(|e| e.to_string())?;
        let from = commands.len();
        for command in request.commands() {
            commands.push(command.map_err(|e| e.to_string())?);
        }
        let commands = from..commands.len();
        requests.push(match request.origin() {
            Origin::Internal => Meta::Internal { commands },
            Origin::OpenSession { nonce } => Meta::OpenSession { nonce },
            Origin::Session {
                client,
                sequence,
                behind,
            } => Meta::Session {
                client,
                sequence,
                behind,
                commands,
            },
        });
    }
    Ok(time)
}

/// The time that an entry states; none if it has no commands.
pub(crate) fn time(bytes: &[u8]) -> Option<Timestamp> {
    EntryReader::new(bytes).ok().map(|reader| reader.time())
}

//! What is asked of an entry without applying it.

use everopen_domain::Timestamp;
use everopen_wire::entry::EntryReader;

/// The time that an entry states; none if it has no commands.
pub(crate) fn time(bytes: &[u8]) -> Option<Timestamp> {
    EntryReader::new(bytes).ok().map(|reader| reader.time())
}

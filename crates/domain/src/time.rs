//! Time as it stands in the log.

use core::fmt;

/// Nanoseconds since 1970-01-01T00:00:00 UTC, stamped by whoever sequences the command (the role
/// of FIX `TransactTime`, tag 60). The machine never asks for the time; it is told.
///
/// 64 bits last until the year 2554. Time in one log never goes backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The beginning of 1970 UTC; also "not given" where a time is optional.
    pub const ZERO: Self = Self(0);
    /// Nanoseconds in a second.
    pub const NANOS_PER_SECOND: u64 = 1_000_000_000;
    /// Nanoseconds in a day of 86,400 seconds; UTC leap seconds are not counted, as in Unix time.
    pub const NANOS_PER_DAY: u64 = 86_400 * Self::NANOS_PER_SECOND;

    /// Days since 1970-01-01 UTC.
    pub const fn day(self) -> u32 {
        (self.0 / Self::NANOS_PER_DAY) as u32
    }

    /// This time plus `nanos`, or `None` past the end of the range.
    pub const fn checked_add(self, nanos: u64) -> Option<Self> {
        match self.0.checked_add(nanos) {
            Some(t) => Some(Self(t)),
            None => None,
        }
    }
}

impl fmt::Display for Timestamp {
    /// Seconds and nanoseconds since 1970; calendars belong to the rooms that talk to people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / Self::NANOS_PER_SECOND,
            self.0 % Self::NANOS_PER_SECOND
        )
    }
}

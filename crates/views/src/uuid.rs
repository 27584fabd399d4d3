//! Stable UUIDs of accounts, profiles and users, for an API whose clients expect them.
//!
//! They are made from the venue's own numbers (RFC 9562 version 8, "custom"), so that no table is
//! needed and the same account has the same id for ever.

use core::fmt;
use core::str::FromStr;

use everopen_domain::{AssetId, MemberId};

/// A UUID in the usual text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

const ACCOUNT: u16 = 0xacc0;
const PROFILE: u16 = 0xb0f1;
const USER: u16 = 0xc5e2;

const fn made_of(kind: u16, member: u32, low: u32) -> u128 {
    ((kind as u128) << 112) | ((member as u128) << 80) | (0x8 << 76) | (0b10 << 62) | low as u128
}

/// The id of a member's account of an asset.
pub const fn account_id(member: MemberId, asset: AssetId) -> Uuid {
    Uuid(made_of(ACCOUNT, member.0, asset.0))
}

/// The id of a member's only profile.
pub const fn profile_id(member: MemberId) -> Uuid {
    Uuid(made_of(PROFILE, member.0, 0))
}

/// The id of a member as a user of the API.
pub const fn user_id(member: MemberId) -> Uuid {
    Uuid(made_of(USER, member.0, 0))
}

impl Uuid {
    /// Whose account of what this is, if it was made by [`account_id`].
    pub const fn to_account(self) -> Option<(MemberId, AssetId)> {
        let (member, asset) = ((self.0 >> 80) as u32, self.0 as u32);
        if made_of(ACCOUNT, member, asset) == self.0 {
            Some((MemberId(member), AssetId(asset)))
        } else {
            None
        }
    }

    /// Whose profile this is, if it was made by [`profile_id`].
    pub const fn to_profile(self) -> Option<MemberId> {
        let member = (self.0 >> 80) as u32;
        if made_of(PROFILE, member, 0) == self.0 {
            Some(MemberId(member))
        } else {
            None
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let u = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (u >> 96) as u32,
            (u >> 80) as u16,
            (u >> 64) as u16,
            (u >> 48) as u16,
            u as u64 & 0xffff_ffff_ffff
        )
    }
}

/// The text is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UuidError;

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a uuid")
    }
}

impl core::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        if text.len() != 36 {
            return Err(UuidError);
        }
        let mut value = 0u128;
        for (at, byte) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(UuidError);
                }
                continue;
            }
            let digit = (byte as char).to_digit(16).ok_or(UuidError)?;
            value = (value << 4) | u128::from(digit);
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_kind_and_survive_their_text_form() {
        for (member, asset) in [(0, 0), (7, 3), (u32::MAX, u32::MAX)] {
            let (member, asset) = (MemberId(member), AssetId(asset));
            let id: Uuid = account_id(member, asset).to_string().parse().unwrap();
            assert_eq!(id.to_account(), Some((member, asset)));
            assert_eq!(id.to_profile(), None);
            assert_eq!(profile_id(member).to_profile(), Some(member));
            assert_eq!(profile_id(member).to_account(), None);
            assert_ne!(user_id(member), profile_id(member));
        }
        assert!("x".parse::<Uuid>().is_err());
    }
}

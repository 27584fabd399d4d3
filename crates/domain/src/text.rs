//! Short texts of a fixed capacity, so that commands and events stay `Copy`.

use core::fmt;
use core::hash::{Hash, Hasher};

/// A text of at most `N` bytes (`N` ≤ 255) of printable ASCII without spaces at its ends.
///
/// The empty text means "not given". Bytes past the length are always zero, so equality of values
/// is equality of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

/// The code of an asset, for instance `USD` or `BTC` (ISO 4217 or the field's usual ticker).
pub type AssetCode = Text<12>;
/// A member's code, unique in the venue (the role of FIX `PartyID`, tag 448).
pub type MemberCode = Text<32>;
/// The client's own id of an order (FIX `ClOrdID`, tag 11); 36 bytes hold a UUID in text form.
pub type ClientOrderId = Text<36>;
/// The requester's idempotency key of a money movement.
pub type Reference = Text<36>;
/// Where a withdrawal goes: an address or account number, opaque to the venue.
pub type Destination = Text<104>;

/// Why bytes are no [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// Longer than the capacity.
    TooLong,
    /// Holds a byte outside printable ASCII (0x20 to 0x7E), or a space at an end.
    NotPrintable,
}

impl<const N: usize> Text<N> {
    /// The empty text.
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// Checks and copies `bytes`.
    ///
    /// # Errors
    /// [`TextError`] when the bytes are too long or not printable ASCII.
    pub fn new(bytes: &[u8]) -> Result<Self, TextError> {
        let mut text = Self::EMPTY;
        text.set(bytes)?;
        Ok(text)
    }

    /// Checks `bytes` and becomes them; stays as it is where they are no text.
    ///
    /// # Errors
    /// As [`Text::new`].
    pub fn set(&mut self, bytes: &[u8]) -> Result<(), TextError> {
        if bytes.len() > N || bytes.len() > 255 {
            return Err(TextError::TooLong);
        }
        // No early exit: texts are short, and so the compiler can check many bytes at once.
        let printable = bytes
            .iter()
            .fold(true, |printable, b| printable & (0x20..=0x7e).contains(b));
        if !printable || bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ') {
            return Err(TextError::NotPrintable);
        }
        self.bytes = [0; N];
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len() as u8;
        Ok(())
    }

    /// The text as a string slice.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("invariant: text is printable ascii")
    }

    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// True when nothing was given.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> Hash for Text<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.len);
        state.write(self.as_bytes());
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> core::str::FromStr for Text<N> {
    type Err = TextError;
    fn from_str(s: &str) -> Result<Self, TextError> {
        Self::new(s.as_bytes())
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "text is too long",
            Self::NotPrintable => "text is not printable ascii",
        })
    }
}

impl core::error::Error for TextError {}

#[cfg(feature = "serde")]
impl<const N: usize> serde::Serialize for Text<N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de, const N: usize> serde::Deserialize<'de> for Text<N> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <alloc::string::String as serde::Deserialize>::deserialize(d)?;
        Self::new(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_printable_ascii_up_to_its_capacity() {
        assert_eq!(Text::<3>::new(b"BTC").unwrap().as_str(), "BTC");
        assert_eq!(Text::<3>::new(b"BTCS"), Err(TextError::TooLong));
        assert_eq!(Text::<8>::new(b"a\nb"), Err(TextError::NotPrintable));
        assert_eq!(Text::<8>::new(b" ab"), Err(TextError::NotPrintable));
        assert_eq!(Text::<8>::new("ä".as_bytes()), Err(TextError::NotPrintable));
        assert!(Text::<8>::new(b"").unwrap().is_empty());
    }
}

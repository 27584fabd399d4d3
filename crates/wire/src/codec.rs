//! How values become bytes: the trait that every encoded type has, its primitives, and the macros
//! that list the fields of a type once for both directions.

use alloc::vec::Vec;
use core::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where in the bytes given, in bytes from their start.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl core::error::Error for DecodeError {}

/// Where bytes go: a buffer or a hash.
pub(crate) trait Sink {
    fn write(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Where bytes come from: those that are left, and how many there were up to their end.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Input<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            end: bytes.len(),
        }
    }

    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error("too short")),
        }
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.error("too short")),
        }
    }

    /// Takes the next `count` bytes as an input of their own, whose offsets go on from here.
    #[inline]
    pub fn part(&mut self, count: usize) -> Result<Input<'a>, DecodeError> {
        let end = self.offset() + count;
        let rest = self.take(count)?;
        Ok(Input { rest, end })
    }

    /// The tag of the frame that comes, if there is one.
    #[inline]
    pub fn tag(&self) -> Option<u16> {
        self.rest.first_chunk().copied().map(u16::from_le_bytes)
    }

    /// The bytes that are left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error("bytes left over"))
        }
    }

    const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// An error where the input stands.
    pub const fn error(&self, what: &'static str) -> DecodeError {
        DecodeError {
            offset: self.offset(),
            what,
        }
    }
}

/// A type with bytes.
pub(crate) trait Wire: Sized {
    fn put<S: Sink>(&self, out: &mut S);
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError>;

    /// The same, into a value that is there: what is large is written where it stays. After an error it
    /// is any value.
    #[inline]
    fn read(&mut self, input: &mut Input<'_>) -> Result<(), DecodeError> {
        *self = Self::get(input)?;
        Ok(())
    }
}

macro_rules! wire_int {
    ($($int:ty),+) => {$(
        impl Wire for $int {
            #[inline]
            fn put<S: Sink>(&self, out: &mut S) {
                out.write(&self.to_le_bytes());
            }
            #[inline]
            fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                input.array().map(<$int>::from_le_bytes)
            }
        }
    )+};
}
wire_int!(u8, u16, u32, u64, i32, i128);

impl Wire for bool {
    #[inline]
    fn put<S: Sink>(&self, out: &mut S) {
        u8::from(*self).put(out);
    }
    #[inline]
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("flag is neither 0 nor 1");
        match u8::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(error),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    #[inline]
    fn put<S: Sink>(&self, out: &mut S) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    #[inline]
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        if bool::get(input)? {
            T::get(input).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put<S: Sink>(&self, out: &mut S) {
        let count = u32::try_from(self.len()).expect("invariant: lists have less than 2^32 items");
        count.put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("list longer than the bytes that are left");
        let count = u32::get(input)? as usize;
        // Every item takes at least one byte. The first allocation is no larger than the input;
        // further ones follow what really was decoded (INV-WIRE-2).
        if count > input.remaining() {
            return Err(error);
        }
        let mut items = Vec::with_capacity(count.min(input.remaining() / size_of::<T>().max(1)));
        for _ in 0..count {
            items.push(T::get(input)?);
        }
        Ok(items)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put<S: Sink>(&self, out: &mut S) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok((A::get(input)?, B::get(input)?))
    }
}

impl<A: Wire, B: Wire, C: Wire> Wire for (A, B, C) {
    fn put<S: Sink>(&self, out: &mut S) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok((A::get(input)?, B::get(input)?, C::get(input)?))
    }
}

/// A struct: its fields one after the other, in the order listed. A field that is missing here
/// does not compile.
macro_rules! wire_struct {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {$(
        impl $crate::codec::Wire for $name {
            #[inline]
            fn put<S: $crate::codec::Sink>(&self, out: &mut S) {
                let Self { $($field),+ } = self;
                $($field.put(out);)+
            }
            #[inline]
            fn get(input: &mut $crate::codec::Input<'_>) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $($field: $crate::codec::Wire::get(input)?),+ })
            }
        }
    )+};
}

/// A struct around one number.
macro_rules! wire_newtype {
    ($($name:ident),+ $(,)?) => {$(
        impl $crate::codec::Wire for $name {
            #[inline]
            fn put<S: $crate::codec::Sink>(&self, out: &mut S) {
                self.0.put(out);
            }
            #[inline]
            fn get(input: &mut $crate::codec::Input<'_>) -> Result<Self, $crate::DecodeError> {
                $crate::codec::Wire::get(input).map(Self)
            }
        }
    )+};
}

/// An enum without fields: one byte with the number listed.
macro_rules! wire_enum {
    ($($name:ident, $what:literal { $($variant:ident = $number:literal),+ $(,)? })+) => {$(
        impl $crate::codec::Wire for $name {
            #[inline]
            fn put<S: $crate::codec::Sink>(&self, out: &mut S) {
                let number: u8 = match self { $(Self::$variant => $number),+ };
                number.put(out);
            }
            #[inline]
            fn get(input: &mut $crate::codec::Input<'_>) -> Result<Self, $crate::DecodeError> {
                let error = input.error(concat!("unknown ", $what));
                match u8::get(input)? {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(error),
                }
            }
        }
    )+};
}

/// An enum whose variants are framed: `u16` tag, `u16` length of the body, body. A variant or a
/// field that is missing here does not compile.
macro_rules! wire_frames {
    ($name:ident, $what:literal { $($tag:literal = $variant:ident { $($field:ident),* })+ }) => {
        /// Every tag with the name of its variant.
        pub const TAGS: &[(u16, &str)] = &[$(($tag, stringify!($variant))),+];

        #[inline]
        fn put_frame(value: &$name, out: &mut alloc::vec::Vec<u8>) {
            let start = out.len();
            match value {
                $($name::$variant { $($field),* } => {
                    out.extend_from_slice(&u32::from($tag as u16).to_le_bytes());
                    $($crate::codec::Wire::put($field, out);)*
                })+
            }
            let body = u16::try_from(out.len() - start - 4)
                .expect(concat!("invariant: the body of a ", $what, " is below 64 KiB"));
            out[start + 2..start + 4].copy_from_slice(&body.to_le_bytes());
        }

        #[inline]
        pub(crate) fn get_frame(input: &mut $crate::codec::Input<'_>) -> Result<$name, $crate::DecodeError> {
            use $crate::codec::Wire;
            let unknown = input.error(concat!("unknown tag of a ", $what));
            let tag = u16::get(input)?;
            let count = usize::from(u16::get(input)?);
            let mut body = input.part(count)?;
            let value = match tag {
                $($tag => $name::$variant { $($field: Wire::get(&mut body)?),* },)+
                _ => return Err(unknown),
            };
            body.finish()?;
            Ok(value)
        }
    };
}

pub(crate) use {wire_enum, wire_frames, wire_newtype, wire_struct};

//! Exact decimal text of integers with decimals, both ways. No floating point is involved.

use core::fmt;

use everopen_domain::{Amount, Price, Quantity};

/// An integer of `decimals` decimal places, ready to be written.
///
/// `{}` writes all places (`1.50`, the form of prices and sizes in the API); `{:#}` leaves out
/// trailing zeros and the point with them (`1.5`, `1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    /// The value in units of 10^-`decimals`.
    pub units: i128,
    /// Decimal places, at most 38.
    pub decimals: u8,
}

impl Decimal {
    /// Units and their places.
    pub const fn new(units: i128, decimals: u8) -> Self {
        Self { units, decimals }
    }

    /// A price of an instrument with `price_decimals`.
    pub const fn price(price: Price, price_decimals: u8) -> Self {
        Self::new(price.0 as i128, price_decimals)
    }

    /// A quantity of an instrument with `size_decimals`.
    pub const fn size(size: Quantity, size_decimals: u8) -> Self {
        Self::new(size.0 as i128, size_decimals)
    }

    /// An amount of an asset with `decimals`.
    pub const fn amount(amount: Amount, decimals: u8) -> Self {
        Self::new(amount.0, decimals)
    }

    /// The bytes of the text, written from the end of `buffer`; the start of the text is returned.
    fn write_into(self, buffer: &mut [u8; 96], trim: bool) -> usize {
        let mut at = buffer.len();
        let mut rest = self.units.unsigned_abs();
        let mut places = self.decimals.min(38);
        if trim {
            while places > 0 && rest.is_multiple_of(10) {
                rest /= 10;
                places -= 1;
            }
        }
        let mut digit = |byte: u8| {
            at -= 1;
            buffer[at] = byte;
        };
        for place in 0..places {
            digit(b'0' + (rest % 10) as u8);
            rest /= 10;
            if place + 1 == places {
                digit(b'.');
            }
        }
        // Most values fit 64 bits, where division is much cheaper.
        loop {
            if let Ok(mut small) = u64::try_from(rest) {
                loop {
                    digit(b'0' + (small % 10) as u8);
                    small /= 10;
                    if small == 0 {
                        break;
                    }
                }
                break;
            }
            digit(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        if self.units < 0 {
            digit(b'-');
        }
        at
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; 96];
        let start = self.write_into(&mut buffer, f.alternate());
        f.write_str(core::str::from_utf8(&buffer[start..]).expect("invariant: digits are ascii"))
    }
}

/// Why a text is no exact value of so many decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It has a nonzero digit past the last place.
    TooPrecise,
    /// It does not fit the integer.
    TooLarge,
    /// It is below zero where that is not allowed.
    Negative,
    /// It is not a decimal number.
    NotANumber,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooPrecise => "number is too precise",
            Self::TooLarge => "number is too large",
            Self::Negative => "number is negative",
            Self::NotANumber => "not a number",
        })
    }
}

impl core::error::Error for ParseError {}

/// The longest text that is looked at.
pub const TEXT_BYTES_MAX: usize = 128;

/// The value of `text` in units of 10^-`decimals`, at or above zero: a price or a size.
///
/// The text is what JSON allows as a number, and besides a missing digit on one side of the point
/// (`.5`, `5.`) and leading zeros. An exponent is taken (`1e-8`), since that is how some languages
/// write small numbers; the result is exact all the same. Digits past the last place are allowed
/// only as zeros.
///
/// # Errors
/// [`ParseError`].
pub fn parse(text: &str, decimals: u8) -> Result<u64, ParseError> {
    let value = parse_amount(text, decimals)?;
    if value < 0 {
        return Err(ParseError::Negative);
    }
    u64::try_from(value).map_err(|_| ParseError::TooLarge)
}

/// The value of `text` in units of 10^-`decimals`, of either sign: an amount. The form is that of
/// [`parse`].
///
/// # Errors
/// [`ParseError`], never [`ParseError::Negative`].
pub fn parse_amount(text: &str, decimals: u8) -> Result<i128, ParseError> {
    let bytes = text.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(ParseError::NotANumber);
    }
    let (negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let (mantissa, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&bytes[..at], parse_exponent(&bytes[at + 1..])?),
        None => (bytes, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let digits = whole.len() + fraction.len();
    if digits == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(ParseError::NotANumber);
    }
    // The number is `digits` as an integer times ten to the power of `shift` units.
    let shift = exponent - fraction.len() as i64 + i64::from(decimals);
    let kept = (digits as i64 + shift.min(0)).max(0) as usize;
    let mut value: i128 = 0;
    for (at, byte) in whole.iter().chain(fraction).enumerate() {
        let digit = i128::from(byte - b'0');
        if at < kept {
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(digit))
                .ok_or(ParseError::TooLarge)?;
        } else if digit != 0 {
            return Err(ParseError::TooPrecise);
        }
    }
    if value != 0 {
        for _ in 0..shift.max(0) {
            value = value.checked_mul(10).ok_or(ParseError::TooLarge)?;
        }
    }
    Ok(if negative { -value } else { value })
}

fn parse_exponent(bytes: &[u8]) -> Result<i64, ParseError> {
    let (negative, digits) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        Some(b'+') => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::NotANumber);
    }
    // Far past any value that fits; the rest of the digits can't change the outcome.
    let mut exponent: i64 = 0;
    for digit in digits {
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(10_000);
    }
    Ok(if negative { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_all_places_or_trims_them() {
        let cases = [
            (150, 2, "1.50", "1.5"),
            (0, 8, "0.00000000", "0"),
            (1, 8, "0.00000001", "0.00000001"),
            (-5, 1, "-0.5", "-0.5"),
            (100, 0, "100", "100"),
            (100, 2, "1.00", "1"),
            (
                i128::MIN,
                18,
                "-170141183460469231731.687303715884105728",
                "-170141183460469231731.687303715884105728",
            ),
            (
                i128::MAX,
                38,
                "1.70141183460469231731687303715884105727",
                "",
            ),
        ];
        for (units, decimals, fixed, trimmed) in cases {
            let decimal = Decimal::new(units, decimals);
            assert_eq!(decimal.to_string(), fixed);
            if !trimmed.is_empty() {
                assert_eq!(format!("{decimal:#}"), trimmed);
            }
        }
    }

    #[test]
    fn reads_exactly_or_says_why_not() {
        use ParseError::*;
        let cases = [
            ("1", 2, Ok(100)),
            ("1.5", 2, Ok(150)),
            ("1.500000", 2, Ok(150)),
            ("001.5", 2, Ok(150)),
            (".5", 2, Ok(50)),
            ("5.", 2, Ok(500)),
            ("1e-8", 8, Ok(1)),
            ("1e-9", 8, Err(TooPrecise)),
            ("0e-9", 8, Ok(0)),
            ("10e-9", 8, Ok(1)),
            ("1.5E+3", 0, Ok(1500)),
            ("1e3", 2, Ok(100_000)),
            ("0e99999", 2, Ok(0)),
            ("1e99999", 2, Err(TooLarge)),
            ("1e-99999", 2, Err(TooPrecise)),
            ("1.005", 2, Err(TooPrecise)),
            ("18446744073709551615", 0, Ok(u64::MAX)),
            ("18446744073709551616", 0, Err(TooLarge)),
            (
                "99999999999999999999999999999999999999999",
                0,
                Err(TooLarge),
            ),
            ("-1", 2, Err(Negative)),
            ("-0", 2, Ok(0)),
            ("", 2, Err(NotANumber)),
            ("-", 2, Err(NotANumber)),
            (".", 2, Err(NotANumber)),
            ("+1", 2, Err(NotANumber)),
            ("1 ", 2, Err(NotANumber)),
            ("1,5", 2, Err(NotANumber)),
            ("1.5.0", 2, Err(NotANumber)),
            ("1e", 2, Err(NotANumber)),
            ("1e1.5", 2, Err(NotANumber)),
            ("NaN", 2, Err(NotANumber)),
            ("Infinity", 2, Err(NotANumber)),
            ("0x10", 2, Err(NotANumber)),
            ("１", 2, Err(NotANumber)),
        ];
        for (text, decimals, expected) in cases {
            assert_eq!(parse(text, decimals), expected, "{text:?}");
        }
        assert_eq!(parse(&"0".repeat(TEXT_BYTES_MAX + 1), 2), Err(NotANumber));
        assert_eq!(parse_amount("-1.5", 2), Ok(-150));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(units in any::<i128>(), decimals in 0u8..=38) {
            prop_assume!(units != i128::MIN);
            let decimal = Decimal::new(units, decimals);
            prop_assert_eq!(parse_amount(&decimal.to_string(), decimals), Ok(units));
            prop_assert_eq!(parse_amount(&format!("{decimal:#}"), decimals), Ok(units));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE ]{0,40}", decimals in 0u8..=38) {
            let _ = parse(&text, decimals);
        }
    }
}

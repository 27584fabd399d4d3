//! Lines, columns and decimal numbers of the text formats, with integers only.

use std::io::Read;

use super::error::Problem;
use super::{Fault, Source};

/// Longest line that is read.
pub(crate) const LINE_LIMIT: usize = 4096;
/// Most columns that are looked at.
pub(crate) const COLUMN_LIMIT: usize = 32;

/// Cuts a source into lines.
#[derive(Default)]
pub(crate) struct Lines {
    /// Number of the line that was shown last, counted from 1.
    number: u64,
    /// Bytes to step over before the next line.
    pending: usize,
}

impl Lines {
    /// Number of the line that was shown last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Offset and bytes of the next line without its line break; `None` at the end of the file. The
    /// last line needs no line break. Blank lines say nothing and are passed over: programs that
    /// write such files like to end them with one.
    pub fn next<'a, R: Read>(
        &mut self,
        source: &'a mut Source<R>,
    ) -> Result<Option<(u64, &'a [u8])>, Fault> {
        let (offset, length) = loop {
            source.consume(std::mem::take(&mut self.pending));
            self.number += 1;
            let offset = source.offset();
            let (length, step) = self.measure(source)?;
            if step == 0 {
                return Ok(None);
            }
            self.pending = step;
            if !matches!(&source.peek(0)?[..length], b"" | b"\r") {
                break (offset, length);
            }
        };
        let line = &source.peek(0)?[..length];
        Ok(Some((offset, line.strip_suffix(b"\r").unwrap_or(line))))
    }

    /// Bytes of the line that the source stands at, without and with its line break.
    fn measure<R: Read>(&self, source: &mut Source<R>) -> Result<(usize, usize), Fault> {
        let offset = source.offset();
        let mut seen = 0;
        let mut wanted = 256;
        // Look at what is buffered first; ask for more only while no line break shows.
        loop {
            let bytes = source.peek(wanted).map_err(|fault| self.at(fault))?;
            let window = &bytes[..bytes.len().min(LINE_LIMIT + 1)];
            if let Some(found) = window[seen..].iter().position(|&byte| byte == b'\n') {
                return Ok((seen + found, seen + found + 1));
            }
            if window.len() > LINE_LIMIT {
                let problem = Problem::LineTooLong { limit: LINE_LIMIT };
                return Err(self.at(Fault::new(offset, problem)));
            }
            if bytes.len() < wanted {
                return Ok((bytes.len(), bytes.len()));
            }
            seen = window.len();
            wanted = (window.len() + 1).max(LINE_LIMIT + 1);
        }
    }

    /// Puts the line number to a fault.
    #[cold]
    pub fn at(&self, mut fault: Fault) -> Fault {
        fault.line = Some(self.number);
        fault
    }
}

/// The columns of one line.
pub(crate) struct Columns<'a> {
    offset: u64,
    line: &'a [u8],
    /// Start and end of each column in the line.
    bounds: [(u16, u16); COLUMN_LIMIT],
    count: usize,
}

impl<'a> Columns<'a> {
    /// Cuts a line at its commas. Quotes around a column are taken off; a quoted column holds no
    /// comma in any of the formats.
    pub fn split(offset: u64, line: &'a [u8]) -> Self {
        let mut columns = Self {
            offset,
            line,
            bounds: [(0, 0); COLUMN_LIMIT],
            count: 0,
        };
        let mut start = 0;
        for end in 0..=line.len() {
            if end == line.len() || line[end] == b',' {
                if columns.count < COLUMN_LIMIT {
                    let quoted = end - start >= 2 && line[start] == b'"' && line[end - 1] == b'"';
                    let inset = usize::from(quoted);
                    columns.bounds[columns.count] = ((start + inset) as u16, (end - inset) as u16);
                }
                columns.count += 1;
                start = end + 1;
            }
        }
        columns
    }

    /// Number of columns.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a column.
    pub fn get(&self, column: usize) -> &'a [u8] {
        let (start, end) = self.bounds[column];
        &self.line[usize::from(start)..usize::from(end)]
    }

    /// A fault in a column.
    #[cold]
    pub fn fault(&self, column: usize, field: &'static str, expected: &'static str) -> Fault {
        let offset = self.offset + u64::from(self.bounds[column].0);
        Fault::field(offset, field, expected, self.get(column))
    }
}

/// A whole number without sign.
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number without sign, times ten to the power of `decimals`. `None` if it is no number,
/// does not fit, or has more decimals than that. Exponents (`1e+05`) are understood because table
/// writers produce them for round numbers.
pub(crate) fn decimal(text: &[u8], decimals: u8) -> Option<u64> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => {
            let (negative, digits) = match &text[at + 1..] {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            let size = i32::try_from(unsigned(digits)?)
                .ok()
                .filter(|size| *size <= 40)?;
            (&text[..at], if negative { -size } else { size })
        }
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    if whole.is_empty() || fraction.len() > 40 {
        return None;
    }
    let mut fraction = fraction;
    while let [rest @ .., b'0'] = fraction {
        fraction = rest;
    }
    let mut value = unsigned(whole)?;
    for byte in fraction {
        value = value.checked_mul(10)?.checked_add(unsigned(&[*byte])?)?;
    }
    let mut shift = i32::from(decimals) + exponent - fraction.len() as i32;
    while shift > 0 && value != 0 {
        value = value.checked_mul(10)?;
        shift -= 1;
    }
    while shift < 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        shift += 1;
    }
    Some(value)
}

/// Seconds with decimals as nanoseconds. Digits past the ninth decimal are below the resolution of
/// any source and are cut off.
pub(crate) fn seconds(text: &[u8]) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        None => (text, &[][..]),
        Some(at) => (&text[..at], &text[at + 1..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + u64::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    }
    unsigned(whole)?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_integers() {
        for (text, decimals, value) in [
            ("236.47", 2, Some(23_647)),
            ("236.4", 2, Some(23_640)),
            ("236", 2, Some(23_600)),
            ("236.", 2, Some(23_600)),
            ("0.00000001", 8, Some(1)),
            ("236.470000", 2, Some(23_647)),
            ("1e+05", 0, Some(100_000)),
            ("1.5e2", 2, Some(15_000)),
            ("25e-1", 1, Some(25)),
            ("18446744073709551615", 0, Some(u64::MAX)),
            ("18446744073709551616", 0, None),
            ("184467440737095516.16", 2, None),
            ("236.475", 2, None),
            ("-1", 2, None),
            ("+1", 2, None),
            ("", 2, None),
            (".", 2, None),
            ("1.2.3", 2, None),
            ("NaN", 2, None),
            ("1e999", 0, None),
            ("0e40", 8, Some(0)),
            ("1e", 0, None),
            (" 1", 0, None),
        ] {
            assert_eq!(
                decimal(text.as_bytes(), decimals),
                value,
                "{text:?} with {decimals}"
            );
        }
    }

    #[test]
    fn seconds_become_nanoseconds() {
        assert_eq!(seconds(b"34200.004241176"), Some(34_200_004_241_176));
        assert_eq!(seconds(b"34200.00426064"), Some(34_200_004_260_640));
        assert_eq!(seconds(b"34713.685155243206"), Some(34_713_685_155_243));
        assert_eq!(seconds(b"34200"), Some(34_200_000_000_000));
        assert_eq!(seconds(b"34200.x"), None);
        assert_eq!(seconds(b"-1.5"), None);
    }
}

//! Times as people and JSON write them: ISO 8601 in UTC.

use core::fmt;

use everopen_domain::Timestamp;

/// Writes a time as `2026-11-23T18:52:04.123456Z`: always UTC, always six digits, the rest of the
/// nanoseconds cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iso(pub Timestamp);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let nanos = self.0.0;
        let (year, month, day) = civil_from_days(nanos / Timestamp::NANOS_PER_DAY);
        let in_day = nanos % Timestamp::NANOS_PER_DAY;
        let seconds = in_day / Timestamp::NANOS_PER_SECOND;
        let micros = in_day % Timestamp::NANOS_PER_SECOND / 1_000;
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], seconds / 3_600);
        put(&mut text[14..16], seconds / 60 % 60);
        put(&mut text[17..19], seconds % 60);
        put(&mut text[20..26], micros);
        f.write_str(core::str::from_utf8(&text).expect("invariant: digits are ascii"))
    }
}

fn put(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year; then 400 years are
/// always 146,097 days.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From 0000-03-01.
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01, which may be before it.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// The text is no time of the form [`parse`] takes, or outside 1970 to 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeError;

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an ISO 8601 time")
    }
}

impl core::error::Error for TimeError {}

/// Reads `2026-11-23`, or `2026-11-23T18:52:04` with up to nine digits of a second and `Z`, an
/// offset such as `+01:00`, or nothing (then UTC) behind it; a space or `t` may stand for the `T`.
///
/// # Errors
/// [`TimeError`].
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    let bytes = text.as_bytes();
    let (year, rest) = number(bytes, 4)?;
    let (month, rest) = number(expect(rest, b"-")?, 2)?;
    let (day, rest) = number(expect(rest, b"-")?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(TimeError),
    };
    if !(1..=days_in_month).contains(&day) {
        return Err(TimeError);
    }
    let mut seconds = days_from_civil(year, month, day) * 86_400;
    let mut nanos = 0;
    if !rest.is_empty() {
        let (hour, rest) = number(expect(rest, b"Tt ")?, 2)?;
        let (minute, rest) = number(expect(rest, b":")?, 2)?;
        let (second, mut rest) = match rest.first() {
            Some(b':') => number(&rest[1..], 2)?,
            _ => (0, rest),
        };
        // A leap second has no time of its own; it is the next second, as in Unix time.
        if hour > 23 || minute > 59 || second > 60 {
            return Err(TimeError);
        }
        if let Some((b'.', fraction)) = rest.split_first() {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return Err(TimeError);
            }
            nanos = number(fraction, digits)?.0 * 10_i64.pow(9 - digits as u32);
            rest = &fraction[digits..];
        }
        seconds += hour * 3_600 + minute * 60 + second - offset(rest)?;
    }
    let total = i128::from(seconds) * i128::from(Timestamp::NANOS_PER_SECOND) + i128::from(nanos);
    u64::try_from(total).map(Timestamp).map_err(|_| TimeError)
}

fn number(bytes: &[u8], digits: usize) -> Result<(i64, &[u8]), TimeError> {
    let (head, rest) = bytes.split_at_checked(digits).ok_or(TimeError)?;
    let mut value = 0;
    for byte in head {
        if !byte.is_ascii_digit() {
            return Err(TimeError);
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Ok((value, rest))
}

fn expect<'a>(bytes: &'a [u8], any_of: &[u8]) -> Result<&'a [u8], TimeError> {
    match bytes.split_first() {
        Some((first, rest)) if any_of.contains(first) => Ok(rest),
        _ => Err(TimeError),
    }
}

/// Seconds that local time is ahead of UTC.
fn offset(bytes: &[u8]) -> Result<i64, TimeError> {
    let (sign, rest) = match bytes {
        [] | [b'Z' | b'z'] => return Ok(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(TimeError),
    };
    let (hours, rest) = number(rest, 2)?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let (minutes, rest) = if rest.is_empty() {
        (0, rest)
    } else {
        number(rest, 2)?
    };
    if hours > 23 || minutes > 59 || !rest.is_empty() {
        return Err(TimeError);
    }
    Ok(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = Timestamp::NANOS_PER_SECOND;

    #[test]
    fn known_times() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (1_795_451_063, "2026-11-23T16:24:23.000000Z"),
        ];
        for (seconds, text) in cases {
            let time = Timestamp(seconds * SECOND);
            assert_eq!(Iso(time).to_string(), text);
            assert_eq!(parse(text), Ok(time));
        }
        assert_eq!(
            Iso(Timestamp(u64::MAX)).to_string(),
            "2554-07-21T23:34:33.709551Z"
        );
    }

    #[test]
    fn forms_that_clients_send() {
        let noon = Ok(Timestamp(1_709_208_000 * SECOND));
        for text in [
            "2024-02-29T12:00:00Z",
            "2024-02-29T12:00:00",
            "2024-02-29 12:00Z",
            "2024-02-29T12:00:00.000Z",
            "2024-02-29T13:30:00.000000000+01:30",
            "2024-02-29T04:00:00-0800",
        ] {
            assert_eq!(parse(text), noon, "{text}");
        }
        assert_eq!(parse("1970-01-02"), Ok(Timestamp(86_400 * SECOND)));
        for text in [
            "",
            "2024",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-01-01T",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00ZZ",
            "1969-12-31T23:59:59Z",
            "3000-01-01",
            "2024-01-01T00:00:00+",
            "２024-01-01",
        ] {
            assert_eq!(parse(text), Err(TimeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in any::<u64>()) {
            let micros = nanos / 1_000 * 1_000;
            prop_assert_eq!(parse(&Iso(Timestamp(nanos)).to_string()), Ok(Timestamp(micros)));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+-]{0,40}") {
            let _ = parse(&text);
        }
    }
}

//! Times of order tables: a number since 1970 or a date.

use crate::feed::text::{seconds, unsigned};

/// 2000-01-01 and 2100-01-01 in seconds since 1970.
const EARLIEST: u64 = 946_684_800;
const LATEST: u64 = 4_102_444_800;

/// Nanoseconds since 1970, if the text is a time between 2000 and 2100.
pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let nanos = if text.contains(&b'-') {
        date(text)?
    } else {
        number(text)?
    };
    (EARLIEST..LATEST)
        .contains(&(nanos / 1_000_000_000))
        .then_some(nanos)
}

/// The four units lie a factor of a thousand apart and the years allowed a factor of five, so the
/// size of the number tells the unit.
fn number(text: &[u8]) -> Option<u64> {
    if text.contains(&b'.') {
        return seconds(text);
    }
    let value = unsigned(text)?;
    let unit = [1_000_000_000, 1_000_000, 1_000, 1]
        .into_iter()
        .find(|unit| {
            let per_second = 1_000_000_000 / unit;
            (EARLIEST..LATEST).contains(&(value / per_second))
        })?;
    value.checked_mul(unit)
}

/// `2015-05-01 00:00:04.518`, with a space or a `T`, with or without decimals and `Z`.
fn date(text: &[u8]) -> Option<u64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let (date, clock) = (text.get(..10)?, text.get(11..)?);
    if date[4] != b'-' || date[7] != b'-' || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    let year = unsigned(&date[..4])?;
    let month = unsigned(&date[5..7])?;
    let day = unsigned(&date[8..])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => return None,
    };
    if !(1..=last).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let (hour, rest) = (clock.get(..2)?, clock.get(2..)?);
    let (minute, rest) = (rest.get(1..3)?, rest.get(3..)?);
    if clock[2] != b':' || rest.first() != Some(&b':') || !rest.get(1)?.is_ascii_digit() {
        return None;
    }
    let (hour, minute, second) = (unsigned(hour)?, unsigned(minute)?, seconds(&rest[1..])?);
    if hour > 23 || minute > 59 || second >= 60_000_000_000 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60;
    seconds.checked_mul(1_000_000_000)?.checked_add(second)
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day
/// comes last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_are_told_by_size_and_dates_are_real_dates() {
        let nanos = 1_430_438_404_518_000_000;
        for text in [
            "1430438404.518",
            "1430438404518",
            "1430438404518000",
            "1430438404518000000",
            "2015-05-01 00:00:04.518",
            "2015-05-01T00:00:04.518Z",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(nanos), "{text}");
        }
        assert_eq!(parse(b"1430438404"), Some(1_430_438_404_000_000_000));
        assert_eq!(
            parse(b"2024-02-29 12:00:00"),
            Some(1_709_208_000_000_000_000)
        );
        for text in [
            "2015-02-29 00:00:00",
            "2015-13-01 00:00:00",
            "2015-00-01 00:00:00",
            "2015-04-31 00:00:00",
            "2015-04-30 24:00:00",
            "2015-04-30 23:60:00",
            "2015-04-30 23:59:60",
            "1915-04-30 23:59:00",
            "2015-04-30",
            "2015-04-30 23:59",
            "2015-04-30x23:59:00",
            "0",
            "-1",
            "99999999999999999999",
            "",
            "now",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}

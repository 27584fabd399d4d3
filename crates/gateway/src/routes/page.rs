//! Pages of lists: `limit`, `before`, `after` in the query; `CB-BEFORE`, `CB-AFTER` in the answer.

use everopen_domain::Timestamp;
use everopen_views::{Page, clock_text, decimal};
use serde::Serialize;

use crate::body::Fields;
use crate::dispatch::Reply;
use crate::errors::ApiError;

/// The query parameters that every list takes.
pub(super) const LIMIT: (&str, &str) = ("limit", "at most so many, 1 to 1000; 100 if not given");
pub(super) const BEFORE: (&str, &str) = ("before", "only what is newer than this cursor");
pub(super) const AFTER: (&str, &str) = ("after", "only what is older than this cursor");
pub(super) const START: (&str, &str) = ("start_date", "only from this ISO 8601 time on");
pub(super) const END: (&str, &str) = ("end_date", "only before this ISO 8601 time");

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

/// The page asked for, where `cursor` reads what `before` and `after` may say besides a number.
pub(super) fn page(query: &Fields, cursor: impl Fn(&str) -> Option<u64>) -> Result<Page, ApiError> {
    let limit = query.integer("limit")?.unwrap_or(LIMIT_DEFAULT.into());
    if limit == 0 {
        return Err(ApiError::bad("limit must be at least 1"));
    }
    let read = |name: &str| match query.text(name)? {
        None => Ok(None),
        Some(text) => match text.parse().ok().or_else(|| cursor(text)) {
            Some(at) => Ok(Some(at)),
            None => Err(ApiError::bad(format!("{name} is not a cursor"))),
        },
    };
    Ok(Page {
        before: read("before")?,
        after: read("after")?,
        limit: u32::try_from(limit).unwrap_or(LIMIT_MAX).min(LIMIT_MAX),
    })
}

/// A list, newest first, with the cursors of its ends.
pub(super) fn reply<T: Serialize>(rows: &[(u64, T)]) -> Reply {
    let values: Vec<&T> = rows.iter().map(|(_, row)| row).collect();
    let reply = Reply::json(&values);
    match (rows.first(), rows.last()) {
        (Some((newest, _)), Some((oldest, _))) => reply
            .with_header("cb-before", newest)
            .with_header("cb-after", oldest),
        _ => reply,
    }
}

/// A time in the query: ISO 8601, or seconds since 1970.
pub(super) fn time(query: &Fields, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = query.text(name)? else {
        return Ok(None);
    };
    let seconds = || match text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        true => decimal::parse(text, 9).ok().map(Timestamp),
        false => None,
    };
    let time = clock_text::parse(text).ok().or_else(seconds);
    time.map(Some)
        .ok_or_else(|| ApiError::bad(format!("{name} is not an ISO 8601 time")))
}

//! Writing JSON by hand: the feed's texts are simple and written often.

use core::fmt::{self, Write};

use axum::extract::ws::Utf8Bytes;
use everopen_domain::Side;

/// Appends to a JSON text.
macro_rules! put {
    ($text:expr, $($args:tt)*) => {
        core::fmt::Write::write_fmt($text, format_args!($($args)*))
            .expect("invariant: a string takes every text")
    };
}
pub(super) use put;

/// A text as the inside of a JSON string.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
            f.write_str(&rest[..at])?;
            let mut chars = rest[at..].chars();
            match chars.next() {
                Some(c @ ('"' | '\\')) => {
                    f.write_char('\\')?;
                    f.write_char(c)?;
                }
                Some(c) => write!(f, "\\u{:04x}", c as u32)?,
                None => {}
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

pub(super) const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// An error frame. The reason is always there: clients rely on it.
pub(super) fn error_frame(message: &str, reason: &str) -> Utf8Bytes {
    let mut text = String::with_capacity(64 + message.len() + reason.len());
    put!(
        &mut text,
        r#"{{"type":"error","message":"{}","reason":"{}"}}"#,
        Escaped(message),
        Escaped(reason)
    );
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives() {
        for text in [
            "",
            "plain",
            "a\"b\\c",
            "\n\t\u{1}",
            "\u{7f}ä€\u{85}",
            "\\\"\\",
        ] {
            let frame = error_frame(text, text);
            let value: serde_json::Value = serde_json::from_str(frame.as_str()).unwrap();
            assert_eq!(value["reason"], text);
        }
    }
}

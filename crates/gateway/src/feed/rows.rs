//! The texts of the `level3` channel: `full` as short rows.

use axum::extract::ws::Utf8Bytes;
use everopen_domain::{Event, Timestamp};
use everopen_views::Product;
use everopen_views::clock_text::Iso;

use super::json::{Escaped, put, side_name};
use super::public::new_text;

/// What the `level3` channel begins with: the fields of its rows.
pub(super) const SCHEMA: &str = concat!(
    r#"{"type":"level3","schema":{"#,
    r#""change":["type","product_id","sequence","order_id","price","size","time"],"#,
    r#""done":["type","product_id","sequence","order_id","time"],"#,
    r#""match":["type","product_id","sequence","maker_order_id","taker_order_id","price","size","time"],"#,
    r#""noop":["type","product_id","sequence","time"],"#,
    r#""open":["type","product_id","sequence","order_id","side","price","size","time"]}}"#
);

/// The `level3` row of an event that carries a sequence.
pub(super) fn row_of(product: &Product, time: Timestamp, event: &Event) -> Option<Utf8Bytes> {
    let mut text = new_text();
    let row = |text: &mut String, kind: &str, sequence: u64| {
        put!(
            text,
            r#"["{kind}","{}","{sequence}""#,
            Escaped(&product.symbol)
        );
    };
    match event {
        Event::OrderAccepted { sequence, .. } | Event::OrderTriggered { sequence, .. } => {
            row(&mut text, "noop", *sequence);
        }
        Event::OrderOpened {
            order,
            sequence,
            side,
            price,
            visible,
            ..
        } => {
            row(&mut text, "open", *sequence);
            put!(
                &mut text,
                r#","{order}","{}","{}","{}""#,
                side_name(*side),
                product.price(*price),
                product.size(*visible)
            );
        }
        Event::Traded {
            sequence,
            maker_order,
            taker_order,
            price,
            quantity,
            ..
        } => {
            row(&mut text, "match", *sequence);
            put!(
                &mut text,
                r#","{maker_order}","{taker_order}","{}","{}""#,
                product.price(*price),
                product.size(*quantity)
            );
        }
        Event::OrderAmended {
            order,
            sequence,
            price,
            visible,
            ..
        } => {
            row(&mut text, "change", *sequence);
            put!(
                &mut text,
                r#","{order}","{}","{}""#,
                product.price(*price),
                product.size(*visible)
            );
        }
        Event::OrderDone {
            order, sequence, ..
        } => {
            row(&mut text, "done", *sequence);
            put!(&mut text, r#","{order}""#);
        }
        _ => return None,
    }
    put!(&mut text, r#","{}"]"#, Iso(time));
    Some(text.into())
}

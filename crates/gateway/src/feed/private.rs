//! The texts of a member's own channels: `user` and `balance`.
//!
//! They tell what the public messages leave out: an iceberg's whole size, the client's id, the
//! fees, why an order was canceled, and what happens to stop orders before they trigger.

use axum::extract::ws::Utf8Bytes;
use everopen_domain::{DoneReason, Event, MemberId, OrderId, Quantity, Rate, Timestamp};
use everopen_views::clock_text::Iso;
use everopen_views::uuid::{Uuid, account_id, profile_id, user_id};
use everopen_views::{AccountView, AssetView, Decimal, Liquidity, OrderView, Product, Views};

use super::json::{Escaped, put, side_name};
use super::public::{
    cancel_reason, change_prices, done_reason, ended, head, new_text, order_terms, stop_name,
};

/// Whose message it is.
fn owner(text: &mut String, member: MemberId) {
    put!(
        text,
        r#","user_id":"{}","profile_id":"{}""#,
        user_id(member),
        profile_id(member)
    );
}

fn client_oid(text: &mut String, order: &OrderView) {
    let id = &order.details.client_order_id;
    if !id.is_empty() {
        put!(text, r#","client_oid":"{}""#, Escaped(id.as_str()));
    }
}

/// A `received` of an order that is older than the subscription, sent before the first message
/// that only makes sense after it. `order` is as it was before that message; `sequence` is below
/// that message's.
pub(super) fn received_before(product: &Product, order: &OrderView, sequence: u64) -> Utf8Bytes {
    let mut text = new_text();
    head(&mut text, "received", product, sequence, order.created_at);
    order_terms(&mut text, product, order, order.details.size);
    if !order.is_by_funds() {
        put!(
            &mut text,
            r#","remaining_size":"{}""#,
            product.size(order.remaining)
        );
    }
    client_oid(&mut text, order);
    owner(&mut text, order.member);
    text.push('}');
    text.into()
}

/// The `user` message of an event other than a trade. `order` is as it is after the event,
/// `unfilled_before` what it had not filled before, if it is amended; `book_sequence` is the market's last sequence.
pub(super) fn order_message(
    product: &Product,
    order: &OrderView,
    unfilled_before: Quantity,
    book_sequence: u64,
    time: Timestamp,
    event: &Event,
) -> Option<Utf8Bytes> {
    let mut text = new_text();
    match event {
        Event::OrderAccepted { sequence: 0, .. } => {
            head(&mut text, "activate", product, 0, time);
            put!(&mut text, r#","timestamp":"{}""#, Iso(time));
            order_terms(&mut text, product, order, order.details.size);
            if let Some(stop) = order.details.stop {
                put!(
                    &mut text,
                    r#","stop_type":"{}","stop_price":"{}""#,
                    stop_name(stop.direction),
                    product.price(stop.price)
                );
            }
            text.push_str(r#","private":true"#);
            client_oid(&mut text, order);
        }
        Event::OrderAccepted { sequence, .. } | Event::OrderTriggered { sequence, .. } => {
            head(&mut text, "received", product, *sequence, time);
            order_terms(&mut text, product, order, order.details.size);
            client_oid(&mut text, order);
        }
        Event::OrderOpened {
            sequence,
            side,
            price,
            remaining,
            ..
        } => {
            head(&mut text, "open", product, *sequence, time);
            put!(
                &mut text,
                r#","order_id":"{}","side":"{}","price":"{}","remaining_size":"{}""#,
                order.order,
                side_name(*side),
                product.price(*price),
                product.size(*remaining)
            );
        }
        Event::OrderAmended {
            sequence,
            side,
            old_price,
            price,
            size,
            remaining,
            self_trade,
            ..
        } => {
            head(&mut text, "change", product, *sequence, time);
            put!(
                &mut text,
                concat!(
                    r#","reason":"{}","order_id":"{}","side":"{}","size":"{}","#,
                    r#""old_size":"{}","new_size":"{}""#
                ),
                if *self_trade { "STP" } else { "modify_order" },
                order.order,
                side_name(*side),
                product.size(*size),
                product.size(unfilled_before),
                product.size(*remaining)
            );
            change_prices(&mut text, product, *old_price, *price);
        }
        Event::OrderDone {
            sequence, reason, ..
        } => {
            let reason = ended(order, *reason);
            // A stop order that never triggered has no sequence, but a client that knows the
            // order ignores messages without one.
            let sequence = if *sequence == 0 {
                book_sequence
            } else {
                *sequence
            };
            head(&mut text, "done", product, sequence, time);
            put!(
                &mut text,
                r#","order_id":"{}","side":"{}","reason":"{}""#,
                order.order,
                side_name(order.details.side),
                done_reason(reason)
            );
            if !order.is_by_funds() {
                put!(
                    &mut text,
                    r#","size":"{}","remaining_size":"{}""#,
                    product.size(order.details.size),
                    product.size(order.remaining)
                );
            }
            if let Some(price) = order.limit() {
                put!(&mut text, r#","price":"{}""#, product.price(price));
            }
            if let DoneReason::Canceled(reason) = reason {
                put!(&mut text, r#","cancel_reason":"{}""#, cancel_reason(reason));
            }
        }
        _ => return None,
    }
    owner(&mut text, order.member);
    text.push('}');
    Some(text.into())
}

/// The `user` message of a trade for one of its sides. `side` is the maker's, as everywhere.
pub(super) fn match_message(
    product: &Product,
    time: Timestamp,
    event: &Event,
    liquidity: Liquidity,
    rate: Rate,
) -> Option<Utf8Bytes> {
    let Event::Traded {
        trade,
        sequence,
        maker_order,
        taker_order,
        maker,
        taker,
        maker_side,
        price,
        quantity,
        maker_fee,
        taker_fee,
        ..
    } = event
    else {
        return None;
    };
    let (role, member, order, fee) = match liquidity {
        Liquidity::Maker => ("maker", *maker, *maker_order, *maker_fee),
        Liquidity::Taker => ("taker", *taker, *taker_order, *taker_fee),
    };
    let mut text = new_text();
    head(&mut text, "match", product, *sequence, time);
    put!(
        &mut text,
        concat!(
            r#","trade_id":{},"order_id":"{}","maker_order_id":"{}","taker_order_id":"{}","#,
            r#""side":"{}","size":"{}","price":"{}","#,
            r#""{role}_user_id":"{user}","{role}_profile_id":"{profile}","#,
            r#""{role}_fee_rate":"{rate:#}","fee":"{fee}""#
        ),
        trade,
        order,
        maker_order,
        taker_order,
        side_name(*maker_side),
        product.size(*quantity),
        product.price(*price),
        role = role,
        user = user_id(member),
        profile = profile_id(member),
        rate = Decimal::new(i128::from(rate.0), 6),
        fee = product.funds(fee)
    );
    owner(&mut text, member);
    text.push('}');
    Some(text.into())
}

/// The member's orders that an event is about: one, or both sides of a trade.
pub(super) fn parties(event: &Event) -> [Option<(MemberId, OrderId)>; 2] {
    match *event {
        Event::OrderAccepted { order, member, .. }
        | Event::OrderTriggered { order, member, .. }
        | Event::OrderOpened { order, member, .. }
        | Event::OrderAmended { order, member, .. }
        | Event::OrderDone { order, member, .. } => [Some((member, order)), None],
        Event::Traded {
            maker_order,
            taker_order,
            maker,
            taker,
            ..
        } => [Some((maker, maker_order)), Some((taker, taker_order))],
        _ => [None, None],
    }
}

/// The `balance` message of an account.
pub(super) fn balance(
    member: MemberId,
    asset: &AssetView,
    account: &AccountView,
    time: Timestamp,
) -> Utf8Bytes {
    let mut text = new_text();
    put!(
        &mut text,
        concat!(
            r#"{{"type":"balance","account_id":"{}","currency":"{}","available":"{}","#,
            r#""holds":"{}","updated":"{time}","timestamp":"{time}"}}"#
        ),
        account_id(member, asset.id),
        Escaped(asset.code.as_str()),
        Decimal::amount(account.available, asset.decimals),
        Decimal::amount(account.held, asset.decimals),
        time = Iso(time)
    );
    text.into()
}

/// The account ids that a subscription names, as accounts of its member.
pub(super) fn accounts_of(
    views: &Views,
    member: MemberId,
    ids: &[String],
) -> Result<Vec<everopen_domain::AssetId>, String> {
    ids.iter()
        .map(|text| {
            let account = text.parse::<Uuid>().ok().and_then(Uuid::to_account);
            match account {
                Some((owner, asset)) if owner == member && views.asset(asset).is_some() => {
                    Ok(asset)
                }
                _ => Err("account_ids holds an unknown account".to_owned()),
            }
        })
        .collect()
}

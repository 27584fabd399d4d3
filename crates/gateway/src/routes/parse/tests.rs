//! Tables of order bodies: what they become and why they are refused.

use everopen_domain::{AssetId, Instrument, InstrumentId, TradingPhase};
use everopen_views::AssetView;

use super::*;

fn product() -> Product {
    let asset = |id, code: &str, decimals| AssetView {
        id: AssetId(id),
        code: code.parse().unwrap(),
        decimals,
    };
    Product {
        id: InstrumentId(4),
        symbol: "BTC-USD".into(),
        instrument: Instrument {
            base: AssetId(0),
            quote: AssetId(1),
            price_decimals: 2,
            size_decimals: 8,
            ..Instrument::default()
        },
        phase: TradingPhase::Online,
        base: asset(0, "BTC", 8),
        quote: asset(1, "USD", 10),
    }
}

const NOW: Timestamp = Timestamp(1_000 * Timestamp::NANOS_PER_SECOND);
const LAST: Option<Price> = Some(Price(10_000));

fn read(body: &str, last: Option<Price>) -> Result<NewOrder, ApiError> {
    order(
        &Fields::parse(body.as_bytes()).unwrap(),
        &product(),
        last,
        NOW,
    )
}

fn base() -> NewOrder {
    NewOrder {
        instrument: InstrumentId(4),
        price: Price(10_000),
        size: Quantity(1_000_000),
        ..NewOrder::default()
    }
}

/// A limit order's body with more fields.
fn limit(more: &str) -> String {
    format!(r#"{{"side":"buy","price":"100","size":"0.01"{more}}}"#)
}

#[test]
fn bodies_that_clients_send_become_orders() {
    let text = r#"{"type":"limit","side":"buy","product_id":"BTC-USD","client_oid":"c1",
        "time_in_force":"GTC","post_only":true,"price":"100","size":"0.01","unknown":[1]}"#;
    let client_order_id = "c1".parse().unwrap();
    assert_eq!(
        read(text, LAST),
        Ok(NewOrder {
            post_only: true,
            client_order_id,
            ..base()
        })
    );

    let market = NewOrder {
        order_type: OrderType::Market,
        price: Price::ZERO,
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..base()
    };
    let text = r#"{"type":"market","side":"sell","product_id":"BTC-USD","size":0.01}"#;
    assert_eq!(
        read(text, LAST),
        Ok(NewOrder {
            side: Side::Sell,
            ..market
        })
    );
    let text = r#"{"type":"market","side":"buy","product_id":"BTC-USD","funds":"5"}"#;
    let funds = Amount(50_000_000_000);
    assert_eq!(
        read(text, LAST),
        Ok(NewOrder {
            size: Quantity::ZERO,
            funds,
            ..market
        })
    );

    let minute = Timestamp(NOW.0 + 60 * Timestamp::NANOS_PER_SECOND);
    let dated = NewOrder {
        time_in_force: TimeInForce::GoodTillTime,
        expires_at: minute,
        ..base()
    };
    assert_eq!(
        read(
            &limit(r#","time_in_force":"GTT","cancel_after":"min""#),
            LAST
        ),
        Ok(dated)
    );
    let until = r#","time_in_force":"GTT","expire_time":"1970-01-01T00:17:40Z""#;
    assert_eq!(read(&limit(until), LAST), Ok(dated));

    let post_only = NewOrder {
        post_only: true,
        ..base()
    };
    assert_eq!(
        read(&limit(r#","time_in_force":"PO""#), LAST),
        Ok(post_only)
    );
    let iceberg = NewOrder {
        display_size: Quantity(10_0000),
        self_trade_prevention: SelfTradePrevention::CancelBoth,
        ..base()
    };
    assert_eq!(
        read(&limit(r#","max_floor":"0.001","stp":"cb""#), LAST),
        Ok(iceberg)
    );
}

#[test]
fn a_stop_without_direction_gets_one() {
    use StopDirection::{Entry, Loss};
    let direction = |side: &str, stop_price: &str, more: &str, last| {
        let text = format!(
            r#"{{"side":"{side}","price":"90","size":"1","stop_price":"{stop_price}"{more}}}"#
        );
        read(&text, last).unwrap().stop.unwrap().direction
    };
    assert_eq!(direction("sell", "91", "", LAST), Loss);
    assert_eq!(
        direction("sell", "110", "", LAST),
        Entry,
        "a profit is taken when it is there"
    );
    assert_eq!(direction("buy", "110", "", LAST), Entry);
    assert_eq!(direction("buy", "91", "", LAST), Loss);
    for last in [None, LAST] {
        assert_eq!(direction("buy", "100", "", last), Entry);
        assert_eq!(direction("sell", "100", "", last), Loss);
        assert_eq!(direction("sell", "110", r#","stop":"loss""#, last), Loss);
        assert_eq!(direction("sell", "91", r#","stop":"entry""#, last), Entry);
    }
}

#[test]
fn wrong_bodies_are_refused_with_a_reason() {
    for (text, message) in [
        (r#"{"price":"1","size":"1"}"#.into(), "side is required"),
        (
            r#"{"side":"BUY","price":"1","size":"1"}"#.into(),
            "side must be buy or sell",
        ),
        (limit(r#","type":"stop""#), "type must be limit or market"),
        (
            r#"{"side":"buy","size":"1"}"#.into(),
            "price is required for a limit order",
        ),
        (r#"{"side":"buy","price":"1"}"#.into(), "size is required"),
        (
            r#"{"side":"buy","type":"market"}"#.into(),
            "size or funds is required",
        ),
        (
            r#"{"side":"buy","type":"market","size":"1","price":"1"}"#.into(),
            "price is not allowed for a market order",
        ),
        (
            r#"{"side":"buy","type":"market","funds":"0"}"#.into(),
            "funds must be positive",
        ),
        (
            r#"{"side":"buy","price":"1.001","size":"1"}"#.into(),
            "price too precise: at most 2 decimals",
        ),
        (
            r#"{"side":"buy","price":"1","size":"0.000000001"}"#.into(),
            "size too precise: at most 8 decimals",
        ),
        (
            r#"{"side":"buy","price":"0","size":"1"}"#.into(),
            "price too small: it must be positive",
        ),
        (
            r#"{"side":"buy","price":"1","size":"0.0"}"#.into(),
            "size is too small: it must be positive",
        ),
        (
            r#"{"side":"buy","price":"-1","size":"1"}"#.into(),
            "price must not be negative",
        ),
        (
            r#"{"side":"buy","price":"NaN","size":"1"}"#.into(),
            "price must be a plain decimal number",
        ),
        (
            r#"{"side":"buy","price":"99999999999999999999","size":"1"}"#.into(),
            "price too large",
        ),
        (
            r#"{"side":"buy","price":"1","size":"99999999999999999999"}"#.into(),
            "size is too large",
        ),
        (
            limit(r#","time_in_force":"DAY""#),
            "time_in_force must be GTC, GTT, IOC, FOK or PO",
        ),
        (
            limit(r#","time_in_force":"PO","post_only":false"#),
            "time_in_force PO contradicts post_only false",
        ),
        (
            limit(r#","post_only":"maybe""#),
            "post_only must be true or false",
        ),
        (
            limit(r#","cancel_after":"min""#),
            "cancel_after and expire_time are only allowed with time_in_force GTT",
        ),
        (
            limit(r#","time_in_force":"GTT""#),
            "cancel_after or expire_time is required with time_in_force GTT",
        ),
        (
            limit(r#","time_in_force":"GTT","cancel_after":"min","expire_time":"2030-01-01""#),
            "cancel_after contradicts expire_time",
        ),
        (
            limit(r#","time_in_force":"GTT","cancel_after":"week""#),
            "cancel_after must be min, hour or day",
        ),
        (
            limit(r#","stop":"loss""#),
            "stop_price is required with stop",
        ),
        (
            limit(r#","stop":"up","stop_price":"1""#),
            "stop must be loss or entry",
        ),
        (
            limit(r#","stp":"xx""#),
            "stp must be dc, co, cn, cb or none",
        ),
        (
            limit(r#","client_oid":"a-client-id-that-is-much-longer-than-a-uuid""#),
            "client_oid must be at most 36 printable characters",
        ),
        (
            limit(r#","client_oid":"ä""#),
            "client_oid must be at most 36 printable characters",
        ),
    ] {
        assert_eq!(
            read(&text, LAST).map_err(|e| e.message.into_owned()),
            Err(message.into()),
            "{text}"
        );
    }
}

#[test]
fn targets_are_ids_or_client_ids() {
    let id = OrderId {
        sequence: 9,
        instrument: InstrumentId(1),
        slot: 2,
    };
    assert_eq!(target(&id.to_string()), Ok(OrderTarget::Order(id)));
    assert_eq!(
        target("client:c1"),
        Ok(OrderTarget::Client("c1".parse().unwrap()))
    );
    let message = |text| target(text).unwrap_err().message.into_owned();
    assert_eq!(
        message("00000000-0000-4000-8000-000000000000"),
        "order not found"
    );
    assert_eq!(message("d0c5340b"), "Invalid order id");
    assert_eq!(message(""), "Invalid order id");
    assert!(target("client:").is_err());
}

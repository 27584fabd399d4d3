//! A member's own channels.

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, AssetId, Command, InstrumentId, MemberId, NewOrder, OrderType, Price, Quantity, Side,
    Stop, StopDirection, TimeInForce,
};
use everopen_gateway::feed::FeedConfig;
use everopen_views::uuid::{account_id, profile_id, user_id};
use serde_json::{Value, json};

use crate::harness::{Client, Server};
use crate::reader::{Orders, size};
use crate::support::Flow;

fn limit(side: Side, price: u64, size: u64) -> NewOrder {
    NewOrder {
        instrument: InstrumentId(0),
        side,
        price: Price(price),
        size: Quantity(size),
        ..NewOrder::default()
    }
}

fn place(server: &Server, flow: &mut Flow, member: u32, order: NewOrder) {
    let member = MemberId(member);
    server.publish(&[flow.apply(&Command::PlaceOrder { member, order })]);
}

async fn started() -> (Server, Flow, Client) {
    let server = Server::start(FeedConfig::default()).await;
    let (flow, entries) = Flow::new(3);
    server.publish(&entries);
    let client = server.client().await;
    (server, flow, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_order_from_received_to_done() {
    let (server, mut flow, mut client) = started().await;
    client
        .subscribe_signed("member-1", &["user"], &["BTC-USD"])
        .await;
    client.next_of("subscriptions").await;
    place(&server, &mut flow, 0, limit(Side::Sell, 5_000_000, 1_000));
    let mut order = limit(Side::Buy, 5_000_000, 3_000);
    order.client_order_id = "mine \"1\"".parse().unwrap();
    place(&server, &mut flow, 1, order);

    let received = client.next().await;
    assert_eq!(received["type"], "received");
    assert_eq!(received["client_oid"], "mine \"1\"");
    assert_eq!(received["size"], "0.003000");
    assert_eq!(received["price"], "50000.00");
    assert_eq!(received["order_type"], "limit");
    assert_eq!(received["user_id"], user_id(MemberId(1)).to_string());
    assert_eq!(received["profile_id"], profile_id(MemberId(1)).to_string());
    let matched = client.next().await;
    assert_eq!(matched["type"], "match");
    assert_eq!(matched["side"], "sell", "always the maker's");
    assert_eq!(matched["taker_fee_rate"], "0.0025");
    assert!(matched.get("maker_fee_rate").is_none());
    assert_eq!(matched["taker_order_id"], received["order_id"]);
    assert_eq!(matched["order_id"], received["order_id"]);
    let open = client.next().await;
    assert_eq!(open["type"], "open");
    assert_eq!(open["remaining_size"], "0.002000");
    // The other side takes the rest; the other member's own messages stay away.
    place(&server, &mut flow, 2, limit(Side::Sell, 4_999_000, 2_000));
    let matched = client.next().await;
    assert_eq!(matched["maker_fee_rate"], "0.001");
    assert_eq!(matched["price"], "50000.00");
    let done = client.next().await;
    assert_eq!(done["type"], "done");
    assert_eq!(done["reason"], "filled");
    assert_eq!(done["remaining_size"], "0.000000");
    let sequences: Vec<u64> = [&received, &open, &done]
        .iter()
        .map(|m| m["sequence"].as_u64().unwrap())
        .collect();
    assert!(sequences.is_sorted_by(|a, b| a < b));
    assert!(client.drain().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_orders_are_told_to_their_member_before_they_trigger() {
    let (server, mut flow, mut client) = started().await;
    let mut public = server.client().await;
    public.subscribe(&["full"], &["BTC-USD"]).await;
    public.next_of("subscriptions").await;
    client
        .subscribe_signed("member-1", &["user"], &["BTC-USD"])
        .await;
    client.next_of("subscriptions").await;
    let mut order = limit(Side::Sell, 4_990_000, 500);
    order.stop = Some(Stop {
        direction: StopDirection::Loss,
        price: Price(4_995_000),
    });
    place(&server, &mut flow, 1, order);
    let activate = client.next().await;
    assert_eq!(activate["type"], "activate");
    assert_eq!(activate["stop_type"], "loss");
    assert_eq!(activate["stop_price"], "49950.00");
    assert_eq!(activate["private"], true);
    assert!(activate.get("sequence").is_none());
    assert!(
        public.drain().await.is_empty(),
        "the market does not see it"
    );
    // A trade at its price sends it into the market.
    place(&server, &mut flow, 0, limit(Side::Buy, 4_995_000, 100));
    place(&server, &mut flow, 2, limit(Side::Sell, 4_995_000, 100));
    let received = client.next().await;
    assert_eq!(received["type"], "received");
    assert_eq!(received["order_id"], activate["order_id"]);
    assert_eq!(client.next().await["type"], "open");
    // One that never triggers ends with a sequence, since clients drop messages without.
    order.price = Price(4_900_000);
    order.stop = Some(Stop {
        direction: StopDirection::Loss,
        price: Price(4_900_000),
    });
    place(&server, &mut flow, 1, order);
    let activate = client.next().await;
    assert_eq!(activate["type"], "activate");
    server.publish(&[flow.apply(&Command::CancelOrders {
        member: MemberId(1),
        instrument: None,
        reason: everopen_domain::CancelReason::Requested,
    })]);
    let done: Vec<Value> = client.drain().await;
    let stop = done.iter().find(|m| m["order_id"] == activate["order_id"]);
    let stop = stop.expect("the stop's end");
    assert_eq!(stop["reason"], "canceled");
    assert_eq!(stop["cancel_reason"], "requested");
    assert!(stop["sequence"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_icebergs_hidden_size_is_for_its_member_only() {
    let (server, mut flow, mut client) = started().await;
    let mut public = server.client().await;
    public.subscribe(&["full", "level2"], &["BTC-USD"]).await;
    public.next_of("snapshot").await;
    client
        .subscribe_signed("member-1", &["user"], &["BTC-USD"])
        .await;
    client.next_of("subscriptions").await;
    let mut order = limit(Side::Buy, 4_990_000, 9_000);
    order.display_size = Quantity(1_000);
    place(&server, &mut flow, 1, order);
    assert_eq!(client.next().await["size"], "0.009000");
    assert_eq!(client.next().await["remaining_size"], "0.009000");
    for message in public.drain().await {
        assert!(!message.to_string().contains("0.009"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_older_than_the_subscription_is_introduced_once() {
    let (server, mut flow, mut client) = started().await;
    place(&server, &mut flow, 1, limit(Side::Buy, 5_000_000, 3_000));
    place(&server, &mut flow, 0, limit(Side::Sell, 5_000_000, 1_000));
    client
        .subscribe_signed("member-1", &["user"], &["BTC-USD"])
        .await;
    client.next_of("subscriptions").await;
    place(&server, &mut flow, 0, limit(Side::Sell, 5_000_000, 500));
    let received = client.next().await;
    assert_eq!(received["type"], "received");
    assert_eq!(received["size"], "0.003000");
    assert_eq!(received["remaining_size"], "0.002000");
    let matched = client.next().await;
    assert_eq!(matched["type"], "match");
    assert!(received["sequence"].as_u64() < matched["sequence"].as_u64());
    place(&server, &mut flow, 0, limit(Side::Sell, 5_000_000, 1_500));
    assert_eq!(client.next().await["type"], "match");
    assert_eq!(client.next().await["type"], "done");
    assert!(client.drain().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_twice_does_not_double_messages() {
    let (server, mut flow, mut client) = started().await;
    for _ in 0..3 {
        let channels = ["user", "matches", "full"];
        client
            .subscribe_signed("member-1", &channels, &["BTC-USD"])
            .await;
        client.next_of("subscriptions").await;
    }
    place(&server, &mut flow, 1, limit(Side::Buy, 5_000_000, 100));
    place(&server, &mut flow, 0, limit(Side::Sell, 5_000_000, 100));
    let messages = client.drain().await;
    let count = |kind: &str, own: bool| {
        let is = |m: &&Value| m["type"] == kind && m.get("user_id").is_some() == own;
        messages.iter().filter(is).count()
    };
    assert_eq!(count("received", true), 1);
    assert_eq!(count("received", false), 2);
    // Once for `full` and `matches` together, once for `user`.
    assert_eq!((count("match", false), count("match", true)), (1, 1));
}

/// Every order of a member under random flow: received before anything else, and what matches say
/// it traded is what its end leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_messages_add_up() {
    let mut shrunk = 0;
    for seed in 20..24 {
        let server = Server::start(FeedConfig::default()).await;
        let (mut flow, entries) = Flow::new(seed);
        server.publish(&entries);
        for _ in 0..200 {
            server.publish(&[flow.step()]);
        }
        let mut client = server.client().await;
        client
            .subscribe_signed("member-2", &["user"], &["BTC-USD", "ETH-USD"])
            .await;
        client.next_of("subscriptions").await;
        for _ in 0..800 {
            server.publish(&[flow.step()]);
        }
        let mut left: BTreeMap<String, Option<u64>> = BTreeMap::new();
        let mut ended = 0;
        let mut sequences: BTreeMap<String, u64> = BTreeMap::new();
        for message in client.drain().await {
            assert_eq!(message["user_id"], user_id(MemberId(2)).to_string());
            let id = message["order_id"].as_str().unwrap().to_owned();
            if let Some(sequence) = message["sequence"].as_u64() {
                let product = message["product_id"].as_str().unwrap().to_owned();
                let last = sequences.entry(product).or_default();
                assert!(sequence >= *last, "{message}");
                *last = sequence;
            }
            match message["type"].as_str().unwrap() {
                "activate" => {
                    left.insert(id, message.get("size").map(size));
                }
                "received" => {
                    let of = |name| message.get(name).map(size);
                    left.insert(id, of("remaining_size").or(of("size")));
                }
                "match" => {
                    let known = left.get_mut(&id).expect("received before");
                    if let Some(left) = known {
                        *left -= size(&message["size"]);
                    }
                }
                "change" => {
                    let known = left.get_mut(&id).expect("received before");
                    assert_eq!(*known, Some(size(&message["old_size"])), "{message}");
                    *known = Some(size(&message["new_size"]));
                    shrunk += u32::from(message["reason"] == "STP");
                }
                "open" => {
                    let known = left.get(&id).expect("received before");
                    let remaining = size(&message["remaining_size"]);
                    assert_eq!(*known, Some(remaining), "{message}");
                }
                "done" => {
                    let left = left.remove(&id).expect("received before");
                    if let (Some(left), Some(remaining)) = (left, message.get("remaining_size")) {
                        assert_eq!(left, size(remaining), "{message}");
                        ended += 1;
                    }
                }
                other => panic!("not of user: {other}"),
            }
        }
        assert!(ended > 20, "the flow is lively: {ended}");
    }
    assert!(shrunk > 3, "self-trade prevention shrinks some: {shrunk}");
}

/// The order that came is not in the book when self-trade prevention shrinks it: a reader of
/// `full` lets the change pass, its member learns the new size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_self_trade_prevention_shrinks_is_told_so() {
    let (server, mut flow, mut own) = started().await;
    let mut public = server.client().await;
    public.subscribe(&["full"], &["BTC-USD"]).await;
    public.next_of("subscriptions").await;
    own.subscribe_signed("member-1", &["user"], &["BTC-USD"])
        .await;
    own.next_of("subscriptions").await;
    place(&server, &mut flow, 1, limit(Side::Buy, 5_000_000, 4_000));
    place(&server, &mut flow, 0, limit(Side::Buy, 4_999_000, 1_000));
    place(&server, &mut flow, 1, limit(Side::Sell, 4_999_000, 10_000));
    let kinds = |messages: &[Value]| -> Vec<String> {
        let kind = |m: &Value| m["type"].as_str().unwrap().to_owned();
        messages.iter().map(kind).collect()
    };
    let told = own.drain().await;
    assert_eq!(
        kinds(&told),
        [
            "received", "open", "received", "done", "match", "change", "open"
        ]
    );
    let change = &told[5];
    assert_eq!(change["order_id"], told[2]["order_id"]);
    assert_eq!(change["reason"], "STP");
    assert_eq!(change["size"], "0.006000", "the total");
    assert_eq!(change["old_size"], "0.009000");
    assert_eq!(change["new_size"], "0.005000");
    assert_eq!(change["price"], "49990.00");
    assert_eq!(told[6]["remaining_size"], change["new_size"]);

    let seen = public.drain().await;
    assert_eq!(
        kinds(&seen[4..]),
        ["received", "done", "match", "done", "change", "open"]
    );
    let public_change = &seen[8];
    for field in [
        "order_id", "reason", "side", "old_size", "new_size", "price",
    ] {
        assert_eq!(public_change[field], change[field], "{field}");
    }
    assert!(public_change.get("size").is_none());
    assert!(public_change.get("user_id").is_none());
    let mut book = Orders::default();
    book.sequence = seen[0]["sequence"].as_u64().unwrap() - 1;
    for message in &seen[..9] {
        book.take(message);
    }
    assert_eq!(book.sorted(), [vec![], vec![]], "a change opens nothing");
    book.take(&seen[9]);
    assert_eq!(book.sorted()[1][0].size, 5_000);

    // Of an iceberg only its peak is told.
    let mut iceberg = limit(Side::Buy, 4_999_000, 9_000);
    iceberg.display_size = Quantity(3_000);
    place(&server, &mut flow, 1, iceberg);
    let told = own.drain().await;
    let own_change = told.iter().find(|m| m["type"] == "change").unwrap();
    assert_eq!(own_change["old_size"], "0.009000");
    assert_eq!(own_change["new_size"], "0.004000");
    let seen = public.drain().await;
    let change = seen.iter().find(|m| m["type"] == "change").unwrap();
    assert_eq!(change["old_size"], "0.003000");
    assert_eq!(change["new_size"], "0.003000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balances_are_sent_at_first_and_with_each_change() {
    let (server, mut flow, mut client) = started().await;
    client.subscribe_signed("member-1", &["balance"], &[]).await;
    client.next_of("subscriptions").await;
    for code in ["USD", "BTC", "ETH"] {
        let balance = client.next().await;
        assert_eq!(
            (&balance["type"], &balance["currency"]),
            (&json!("balance"), &json!(code))
        );
    }
    let deposit = |member| Command::Deposit {
        member: MemberId(member),
        asset: AssetId(1),
        amount: Amount(50_000_000),
        reference: Default::default(),
    };
    server.publish(&[flow.apply(&deposit(0)), flow.apply(&deposit(1))]);
    let balance = client.next().await;
    assert_eq!(balance["available"], "1000000.50000000");
    assert_eq!(balance["holds"], "0.00000000");
    let id = account_id(MemberId(1), AssetId(1)).to_string();
    assert_eq!(balance["account_id"], id);
    // Only one account, and only the member's own.
    let mut one = server.client().await;
    let mut request = json!({
        "type": "subscribe", "channels": [{"name": "balance", "account_ids": [id]}],
        "key": "member-1", "passphrase": "pass", "signature": "good", "timestamp": 1795451067_u64,
    });
    one.send(request.clone()).await;
    assert_eq!(one.next_of("balance").await["currency"], "BTC");
    let mut order = limit(Side::Buy, 5_000_000, 100);
    order.order_type = OrderType::Limit;
    order.time_in_force = TimeInForce::GoodTillCanceled;
    place(&server, &mut flow, 1, order);
    assert!(one.drain().await.is_empty(), "the hold is in USD");
    let held = client.next().await;
    assert_eq!(held["currency"], "USD");
    assert_ne!(held["holds"], "0.000000000");
    request["channels"][0]["account_ids"] =
        json!([account_id(MemberId(0), AssetId(1)).to_string()]);
    one.send(request).await;
    assert_eq!(one.next().await["type"], "error");
}

//! A client's own books, rebuilt from messages alone, as the feed's documentation tells it to.

use std::collections::BTreeMap;

use everopen_domain::snapshot::OrderSnapshot;
use everopen_domain::{Quantity, Side};
use serde_json::Value;

/// Prices and sizes in the venue's units.
pub fn units(text: &Value, decimals: u8) -> u64 {
    everopen_views::decimal::parse(text.as_str().expect("a text"), decimals).expect("exact")
}

const PRICE_DECIMALS: u8 = 2;
const SIZE_DECIMALS: u8 = 6;

pub fn price(text: &Value) -> u64 {
    units(text, PRICE_DECIMALS)
}

pub fn size(text: &Value) -> u64 {
    units(text, SIZE_DECIMALS)
}

fn side(text: &Value) -> Side {
    match text.as_str() {
        Some("buy") => Side::Buy,
        Some("sell") => Side::Sell,
        other => panic!("no side: {other:?}"),
    }
}

/// Levels from `snapshot` and `l2update`.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Levels {
    pub sequence: u64,
    pub levels: [BTreeMap<u64, u64>; 2],
    snapshots: u32,
}

impl Levels {
    pub fn take(&mut self, message: &Value) {
        let sequence = message["sequence"].as_u64().unwrap();
        match message["type"].as_str().unwrap() {
            "snapshot" => {
                for (at, name) in ["bids", "asks"].into_iter().enumerate() {
                    self.levels[at] = message[name]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|level| (price(&level[0]), size(&level[1])))
                        .collect();
                }
                self.snapshots += 1;
            }
            "l2update" => {
                assert!(self.snapshots > 0, "an update before any snapshot");
                assert!(sequence >= self.sequence);
                for change in message["changes"].as_array().unwrap() {
                    let side = &mut self.levels[side(&change[0]) as usize];
                    let price = price(&change[1]);
                    match change[2].as_str().unwrap() {
                        "0" => {
                            side.remove(&price);
                        }
                        _ => {
                            side.insert(price, size(&change[2]));
                        }
                    }
                }
            }
            other => panic!("not of level2: {other}"),
        }
        self.sequence = sequence;
    }

    /// The levels of the venue's orders.
    pub fn of(bids: &[OrderSnapshot], asks: &[OrderSnapshot]) -> [BTreeMap<u64, u64>; 2] {
        [bids, asks].map(|orders| {
            let mut levels = BTreeMap::new();
            for order in orders {
                *levels.entry(order.details.price.0).or_default() += order.visible.0;
            }
            levels
        })
    }
}

#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Resting {
    pub id: String,
    pub price: u64,
    pub size: u64,
}

/// Orders from `full` or `level3`, in the order in which they joined.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Orders {
    pub sequence: u64,
    sides: [Vec<Resting>; 2],
    pub matches: u64,
}

impl Orders {
    /// Takes the next message; its sequence must follow.
    pub fn take(&mut self, message: &Value) {
        let sequence = message["sequence"].as_u64().unwrap();
        assert_eq!(sequence, self.sequence + 1, "a gap before {message}");
        self.sequence = sequence;
        match message["type"].as_str().unwrap() {
            "received" => {}
            "open" => self.open(
                side(&message["side"]),
                &message["order_id"],
                price(&message["price"]),
                size(&message["remaining_size"]),
            ),
            "match" => {
                let traded = size(&message["size"]);
                self.reduce(&message["maker_order_id"], traded);
                self.reduce(&message["taker_order_id"], traded);
                self.matches += 1;
            }
            "change" => self.resize(&message["order_id"], size(&message["new_size"])),
            "done" => self.resize(&message["order_id"], 0),
            other => panic!("not of full: {other}"),
        }
    }

    /// Takes the next row of `level3`.
    pub fn take_row(&mut self, row: &[Value]) {
        let sequence: u64 = row[2].as_str().unwrap().parse().unwrap();
        assert_eq!(sequence, self.sequence + 1);
        self.sequence = sequence;
        match row[0].as_str().unwrap() {
            "noop" => {}
            "open" => self.open(side(&row[4]), &row[3], price(&row[5]), size(&row[6])),
            "match" => {
                self.reduce(&row[3], size(&row[6]));
                self.reduce(&row[4], size(&row[6]));
                self.matches += 1;
            }
            "change" => self.resize(&row[3], size(&row[5])),
            "done" => self.resize(&row[3], 0),
            other => panic!("not of level3: {other}"),
        }
    }

    fn open(&mut self, side: Side, id: &Value, price: u64, size: u64) {
        let id = id.as_str().unwrap().to_owned();
        for side in &mut self.sides {
            side.retain(|order| order.id != id);
        }
        self.sides[side as usize].push(Resting { id, price, size });
    }

    fn find(&mut self, id: &Value) -> Option<&mut Resting> {
        let id = id.as_str().unwrap();
        self.sides.iter_mut().flatten().find(|order| order.id == id)
    }

    fn reduce(&mut self, id: &Value, by: u64) {
        let left = match self.find(id) {
            Some(order) => order.size.saturating_sub(by),
            None => return,
        };
        self.resize(id, left);
    }

    fn resize(&mut self, id: &Value, size: u64) {
        if let Some(order) = self.find(id) {
            order.size = size;
        }
        for side in &mut self.sides {
            side.retain(|order| order.size > 0);
        }
    }

    /// Best price first, then in queue order, as the venue lists them.
    pub fn sorted(&self) -> [Vec<Resting>; 2] {
        let [mut bids, mut asks] = self.sides.clone();
        bids.sort_by_key(|order| core::cmp::Reverse(order.price));
        asks.sort_by_key(|order| order.price);
        [bids, asks]
    }

    /// The venue's orders in the same form.
    pub fn of(bids: &[OrderSnapshot], asks: &[OrderSnapshot]) -> [Vec<Resting>; 2] {
        [bids, asks].map(|orders| {
            orders
                .iter()
                .filter(|order| order.visible != Quantity::ZERO)
                .map(|order| Resting {
                    id: order.order.to_string(),
                    price: order.details.price.0,
                    size: order.visible.0,
                })
                .collect()
        })
    }
}

//! A member who places orders through the edge and the gateway, and keeps what was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::pass;
use crate::support::operator::place;
use crate::support::{Client, Venue};

/// Between two orders. All of them rest, and a member can't have any number of open ones.
const PAUSE: Duration = Duration::from_millis(50);

/// An order that was acknowledged.
#[derive(Clone, Debug)]
pub struct Order {
    /// The member's own id.
    name: String,
    /// The venue's id.
    id: String,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: Mutex<Vec<Order>>,
    unknown: AtomicUsize,
}

/// A trader at work.
pub struct Trader {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

impl Trader {
    /// Starts one.
    pub fn start(venue: &Venue) -> Self {
        let shared = Arc::<Shared>::default();
        let client = Client::connect(venue).expect("connect");
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.trade(client))
        };
        Self { shared, thread }
    }

    /// How many orders were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        // A trader that has ended was told what it may not be told.
        assert!(!self.thread.is_finished(), "the trader has ended");
        self.shared.acknowledged.lock().expect("the orders").len()
    }

    /// Ends it: the orders that were acknowledged.
    pub fn finish(self) -> Vec<Order> {
        self.shared.stop.store(true, Relaxed);
        self.thread.join().expect("the trader");
        let orders = std::mem::take(&mut *self.shared.acknowledged.lock().expect("the orders"));
        let unknown = self.shared.unknown.load(Relaxed);
        println!("{} orders acknowledged, {unknown} unknown", orders.len());
        orders
    }
}

impl Shared {
    fn trade(&self, mut client: Client) {
        for order in 0u64.. {
            if self.stop.load(Relaxed) {
                return;
            }
            let name = format!("trader-{order}");
            match place(&mut client, &name) {
                Ok((200, answer)) => {
                    let id = answer["id"].as_str().expect("an order's id").to_string();
                    let order = Order { name, id };
                    self.acknowledged.lock().expect("the orders").push(order);
                }
                // While something is down it may have come to the venue or not.
                Ok((502..=504, _)) => {
                    self.unknown.fetch_add(1, Relaxed);
                }
                Ok((status, answer)) => panic!("{name} is refused: {status}: {answer}"),
                Err(_) => {
                    self.unknown.fetch_add(1, Relaxed);
                    // The next order fails, and tries again, if there is nobody to connect to.
                    let _ = client.connect_again();
                }
            }
            pass(PAUSE);
        }
    }
}

/// Each of the orders is found again, under the same id.
pub fn all_are_there(venue: &Venue, orders: &[Order]) {
    let mut client = Client::connect(venue).expect("connect");
    for Order { name, id } in orders {
        let (status, found) = client
            .call("GET", &format!("/orders/client:{name}"), "")
            .expect("ask for an order");
        assert_eq!(status, 200, "acknowledged order {name} is lost: {found}");
        assert_eq!(found["id"], **id, "{name} is another order: {found}");
    }
}

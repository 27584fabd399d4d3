//! Room for connections: a bound for all and one for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::limits::address_key;

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Slots {
    max: u32,
    per_address_max: u32,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    by_address: HashMap<u64, u32>,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// None for one that counts with no address.
    key: Option<u64>,
}

impl Slots {
    pub fn new(max: u32, per_address_max: u32) -> Arc<Self> {
        Arc::new(Self {
            max,
            per_address_max,
            open: Mutex::default(),
        })
    }

    /// A place for a proxy's connection, which carries many clients, if there is one.
    pub fn take_for_proxy(self: &Arc<Self>) -> Option<Slot> {
        let mut open = self
            .open
            .lock()
            .expect("invariant: no panic under this lock");
        if open.all >= self.max {
            return None;
        }
        open.all += 1;
        Some(Slot {
            slots: self.clone(),
            key: None,
        })
    }

    /// A place for a connection from `address`, if there is one.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let key = address_key(address);
        let mut open = self
            .open
            .lock()
            .expect("invariant: no panic under this lock");
        let here = open.by_address.get(&key).copied().unwrap_or(0);
        if open.all >= self.max || here >= self.per_address_max {
            return None;
        }
        open.all += 1;
        open.by_address.insert(key, here + 1);
        Some(Slot {
            slots: self.clone(),
            key: Some(key),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self
            .slots
            .open
            .lock()
            .expect("invariant: no panic under this lock");
        open.all -= 1;
        let Some(key) = self.key else { return };
        if let Some(here) = open.by_address.get_mut(&key) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let slots = Slots::new(3, 2);
        let (here, there) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = slots.take(here).unwrap();
        let second = slots.take(here).unwrap();
        assert!(slots.take(here).is_none(), "no more from here");
        let third = slots.take(there).unwrap();
        assert!(slots.take(there).is_none(), "no more from anywhere");
        drop(first);
        let fourth = slots.take_for_proxy().unwrap();
        assert!(slots.take_for_proxy().is_none(), "nor for a proxy");
        drop((second, third, fourth));
        let open = slots.open.lock().unwrap();
        assert!(open.all == 0 && open.by_address.is_empty());
    }
}

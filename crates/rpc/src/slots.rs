//! Connections by their id, without hashing.

use crate::connection::Connection;
use crate::event::ConnId;

/// Low bits of an id that say where it lies; the others count up and never repeat.
const SLOT_BITS: u32 = 20;
/// Tokens of the poll below this are no connections.
pub(crate) const FIRST_ID: u64 = 1 << SLOT_BITS;

impl ConnId {
    pub(crate) fn slot(self) -> usize {
        (self.0 & (FIRST_ID - 1)) as usize
    }

    pub(crate) fn serial(self) -> u64 {
        self.0 >> SLOT_BITS
    }
}

/// Where a hub keeps its connections.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Option<(ConnId, Connection)>>,
    free: Vec<usize>,
    serial: u64,
}

impl Slots {
    /// An id for a connection that is yet to be inserted, or that will never be.
    pub fn reserve(&mut self) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        assert!(
            slot < FIRST_ID as usize,
            "invariant: connections are bounded"
        );
        self.serial += 1;
        ConnId((self.serial << SLOT_BITS) | slot as u64)
    }

    pub fn insert(&mut self, id: ConnId, connection: Connection) {
        self.slots[id.slot()] = Some((id, connection));
    }

    /// Gives a reserved id back that got no connection.
    pub fn release(&mut self, id: ConnId) {
        self.free.push(id.slot());
    }

    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        match self.slots.get(id.slot()) {
            Some(Some((there, connection))) if *there == id => Some(connection),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        match self.slots.get_mut(id.slot()) {
            Some(Some((there, connection))) if *there == id => Some(connection),
            _ => None,
        }
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Connection> {
        self.get(id)?;
        self.free.push(id.slot());
        self.slots[id.slot()]
            .take()
            .map(|(_, connection)| connection)
    }
}

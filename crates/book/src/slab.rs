//! Where the orders of a book live: one table, indexed by slot, with the links of their queues.

use alloc::vec;
use alloc::vec::Vec;

use crate::{BookOrder, Slot};

/// "No slot", "no page".
pub(crate) const NONE: u32 = u32::MAX;

/// What a slot is used for (INV-BOOK-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Use {
    /// In the stack of free slots.
    #[default]
    Free,
    /// Given out, in no queue.
    Held,
    /// In a queue of the book.
    Resting,
    /// In a queue of waiting stop orders.
    Waiting,
}

/// How a slot is linked. Apart from the orders, so that unlinking one order of a deep book touches
/// little memory: four of these share a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(16))]
pub(crate) struct Link {
    /// The order before it in its queue.
    pub prev: Slot,
    /// The order behind it in its queue; of a free slot the one below it in the stack.
    pub next: Slot,
    /// The page of its ladder that holds its level.
    pub page: u32,
    /// Which of the page's levels.
    pub at: u8,
    /// What the slot is used for.
    pub used: Use,
}

const _: () = assert!(size_of::<Link>() == 16, "four links are one cache line");

/// An order in a cache line of its own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line(BookOrder);

/// All slots of a book.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    /// Of a waiting stop order `price` is the stop price; sizes are not used.
    orders: Vec<Line>,
    /// As many as orders.
    links: Vec<Link>,
    /// Top of the stack of free slots.
    free: Slot,
}

impl Slab {
    pub const fn new() -> Self {
        Self {
            orders: Vec::new(),
            links: Vec::new(),
            free: NONE,
        }
    }

    #[inline]
    pub fn allocate(&mut self) -> Slot {
        let slot = self.free;
        if let Some(link) = self.links.get_mut(slot as usize) {
            self.free = link.next;
            link.used = Use::Held;
            return slot;
        }
        self.grow()
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Slot {
        assert!(
            self.links.len() < NONE as usize,
            "invariant: a book has fewer than 2^32 - 1 orders"
        );
        self.orders.push(Line::default());
        self.links.push(Link {
            used: Use::Held,
            ..Link::default()
        });
        (self.links.len() - 1) as Slot
    }

    /// Puts a slot that is in no queue on the stack.
    #[inline]
    pub fn free(&mut self, slot: Slot) {
        let free = self.free;
        let link = self.link_mut(slot);
        link.next = free;
        link.used = Use::Free;
        self.free = slot;
    }

    #[inline(always)]
    pub fn order(&self, slot: Slot) -> &BookOrder {
        &self.orders[slot as usize].0
    }

    #[inline(always)]
    pub fn order_mut(&mut self, slot: Slot) -> &mut BookOrder {
        &mut self.orders[slot as usize].0
    }

    #[inline(always)]
    pub fn link(&self, slot: Slot) -> &Link {
        &self.links[slot as usize]
    }

    #[inline(always)]
    pub fn link_mut(&mut self, slot: Slot) -> &mut Link {
        &mut self.links[slot as usize]
    }

    /// Changes what a slot is used for (INV-BOOK-1).
    #[inline(always)]
    pub fn change(&mut self, slot: Slot, from: Use, to: Use) {
        let link = self.link_mut(slot);
        assert!(
            link.used == from,
            "invariant: a slot is used as its order's state says (INV-BOOK-1)"
        );
        link.used = to;
    }

    /// The order in a slot that is used for this, if there is such a slot.
    #[inline(always)]
    pub fn find(&self, slot: Slot, used: Use) -> Option<&BookOrder> {
        let order = &self.orders.get(slot as usize)?.0;
        (self.link(slot).used == used).then_some(order)
    }

    /// The queue that starts at `head`.
    pub fn queue(&self, head: Slot) -> impl Iterator<Item = (Slot, &BookOrder)> + '_ {
        let mut slot = head;
        core::iter::from_fn(move || {
            let here = slot;
            slot = self.links.get(here as usize)?.next;
            Some((here, self.order(here)))
        })
    }

    /// Free slots, the one used next first.
    pub fn free_stack(&self) -> impl Iterator<Item = Slot> + '_ {
        self.queue(self.free).map(|(slot, _)| slot)
    }

    /// So many slots, all free but in no stack yet.
    pub fn unused(slots: usize) -> Self {
        Self {
            orders: vec![Line::default(); slots],
            links: vec![Link::default(); slots],
            free: NONE,
        }
    }
}

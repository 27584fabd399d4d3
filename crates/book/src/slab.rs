//! Where the orders of a book live: one table, indexed by slot, with the links of their queues.

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

/// A slot's content: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(crate) struct Node {
    /// The order; of a waiting stop order `price` is the stop price and sizes are not used.
    pub order: BookOrder,
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

const _: () = assert!(size_of::<Node>() == 64, "a node is one cache line");

/// All slots of a book.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    nodes: Vec<Node>,
    /// Top of the stack of free slots.
    free: Slot,
}

impl Slab {
    pub const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
        }
    }

    #[inline]
    pub fn allocate(&mut self) -> Slot {
        let slot = self.free;
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            self.free = node.next;
            node.used = Use::Held;
            return slot;
        }
        self.grow()
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Slot {
        assert!(
            self.nodes.len() < NONE as usize,
            "invariant: a book has fewer than 2^32 - 1 orders"
        );
        self.nodes.push(Node {
            used: Use::Held,
            ..Node::default()
        });
        (self.nodes.len() - 1) as Slot
    }

    /// Puts a slot that is in no queue on the stack.
    #[inline]
    pub fn free(&mut self, slot: Slot) {
        let free = self.free;
        let node = self.node_mut(slot);
        node.next = free;
        node.used = Use::Free;
        self.free = slot;
    }

    #[inline(always)]
    pub fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot as usize]
    }

    #[inline(always)]
    pub fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut self.nodes[slot as usize]
    }

    #[inline(always)]
    pub fn find(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot as usize)
    }

    /// The queue that starts at `head`.
    pub fn queue(&self, head: Slot) -> impl Iterator<Item = (Slot, &BookOrder)> + '_ {
        let mut slot = head;
        core::iter::from_fn(move || {
            let node = self.nodes.get(slot as usize)?;
            let here = slot;
            slot = node.next;
            Some((here, &node.order))
        })
    }

    /// Free slots, the one used next first.
    pub fn free_stack(&self) -> impl Iterator<Item = Slot> + '_ {
        self.queue(self.free).map(|(slot, _)| slot)
    }

    /// So many slots, all free but in no stack yet.
    pub fn unused(slots: usize) -> Self {
        let mut nodes = Vec::new();
        nodes.resize(slots, Node::default());
        Self { nodes, free: NONE }
    }
}

//! Where the orders of a book live: one table, indexed by slot, with the links of their queues.

use alloc::vec;
use alloc::vec::Vec;

use everopen_domain::{MemberId, Price, Quantity, SelfTradePrevention, Side};

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

/// What a match reads of an order: half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Core {
    sequence: u64,
    price: Price,
    visible: Quantity,
    member: MemberId,
    side: Side,
    self_trade_prevention: SelfTradePrevention,
    /// Whether it has an [`Iceberg`]; otherwise that of its slot means nothing.
    iceberg: bool,
}

const _: () = assert!(size_of::<Core>() == 32, "two orders are one cache line");

/// What only icebergs have.
#[derive(Clone, Copy, Debug, Default)]
struct Iceberg {
    hidden: Quantity,
    peak: Quantity,
}

/// All slots of a book.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    /// Of a waiting stop order `price` is the stop price; sizes are not used.
    cores: Vec<Core>,
    /// As many; apart, since most orders are none.
    icebergs: Vec<Iceberg>,
    /// As many.
    links: Vec<Link>,
    /// Top of the stack of free slots.
    free: Slot,
}

impl Slab {
    pub const fn new() -> Self {
        Self {
            cores: Vec::new(),
            icebergs: Vec::new(),
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
        self.cores.push(Core::default());
        self.icebergs.push(Iceberg::default());
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
    pub fn order(&self, slot: Slot) -> BookOrder {
        let core = self.cores[slot as usize];
        let iceberg = match core.iceberg {
            true => self.icebergs[slot as usize],
            false => Iceberg::default(),
        };
        BookOrder {
            sequence: core.sequence,
            price: core.price,
            visible: core.visible,
            hidden: iceberg.hidden,
            peak: iceberg.peak,
            member: core.member,
            side: core.side,
            self_trade_prevention: core.self_trade_prevention,
        }
    }

    #[inline(always)]
    pub fn set_order(&mut self, slot: Slot, order: &BookOrder) {
        let iceberg = order.peak != Quantity::ZERO;
        self.cores[slot as usize] = Core {
            sequence: order.sequence,
            price: order.price,
            visible: order.visible,
            member: order.member,
            side: order.side,
            self_trade_prevention: order.self_trade_prevention,
            iceberg,
        };
        if iceberg {
            self.icebergs[slot as usize] = Iceberg {
                hidden: order.hidden,
                peak: order.peak,
            };
        }
    }

    /// Changes only what the book shows of an order.
    #[inline(always)]
    pub fn set_visible(&mut self, slot: Slot, visible: Quantity) {
        self.cores[slot as usize].visible = visible;
    }

    #[inline(always)]
    pub fn price(&self, slot: Slot) -> Price {
        self.cores[slot as usize].price
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
    pub fn find(&self, slot: Slot, used: Use) -> Option<BookOrder> {
        let link = self.links.get(slot as usize)?;
        (link.used == used).then(|| self.order(slot))
    }

    /// The queue that starts at `head`.
    pub fn queue(&self, head: Slot) -> impl Iterator<Item = (Slot, BookOrder)> + '_ {
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
            cores: vec![Core::default(); slots],
            icebergs: vec![Iceberg::default(); slots],
            links: vec![Link::default(); slots],
            free: NONE,
        }
    }
}

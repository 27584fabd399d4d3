//! Where the orders of a book live: one table, indexed by slot, with the links of their queues.

use alloc::vec;
use alloc::vec::Vec;

use everopen_domain::{MemberId, OrderId, Price, Quantity, SelfTradePrevention, Side};

use crate::{BookOrder, Slot};

/// "No slot", "no page".
pub(crate) const NONE: u32 = u32::MAX;

/// What a slot is used for (INV-BOOK-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// In the stack of free slots.
    Free = 0,
    /// Given out, in no queue.
    Held = 1,
    /// In a queue of the book.
    Resting = 2,
    /// In a queue of waiting stop orders.
    Waiting = 3,
}

/// How a slot is linked. Apart from the orders, so that unlinking one order of a deep book touches
/// little memory: eight of these share a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Link {
    /// The order before it in its queue.
    pub prev: Slot,
    /// The order behind it in its queue; of a free slot the one below it in the stack.
    pub next: Slot,
}

/// What a slot holds besides its links, in half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Core {
    /// From the lowest bit: [`Use`] (2 bits), side (1), whether it has an [`Iceberg`] (1; without,
    /// that of its slot means nothing), self-trade prevention (4), sequence (56).
    tag: u64,
    price: Price,
    visible: Quantity,
    member: MemberId,
    /// Where in its ladder its level is.
    place: u32,
}

const _: () = assert!(size_of::<Core>() == 32, "two of these are one cache line");

const USE: u64 = 0b11;
const SELL: u64 = 1 << 2;
const ICEBERG: u64 = 1 << 3;
const PREVENTION: u32 = 4;
const SEQUENCE: u32 = 8;
const _: () = assert!(OrderId::SEQUENCE_END.ilog2() + SEQUENCE == u64::BITS);

/// Self-trade prevention by its number, filled up to a power of two.
const PREVENTIONS: [SelfTradePrevention; 8] = {
    let mut all = [SelfTradePrevention::Allow; 8];
    all[SelfTradePrevention::DecreaseAndCancel as usize] = SelfTradePrevention::DecreaseAndCancel;
    all[SelfTradePrevention::CancelOldest as usize] = SelfTradePrevention::CancelOldest;
    all[SelfTradePrevention::CancelNewest as usize] = SelfTradePrevention::CancelNewest;
    all[SelfTradePrevention::CancelBoth as usize] = SelfTradePrevention::CancelBoth;
    all
};

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
        if let Some(link) = self.links.get(slot as usize) {
            self.free = link.next;
            self.change(slot, Use::Free, Use::Held);
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
        self.cores.push(Core {
            tag: Use::Held as u64,
            ..Core::default()
        });
        self.icebergs.push(Iceberg::default());
        self.links.push(Link {
            prev: NONE,
            next: NONE,
        });
        (self.links.len() - 1) as Slot
    }

    /// Puts a held slot on the stack.
    #[inline]
    pub fn free(&mut self, slot: Slot) {
        self.change(slot, Use::Held, Use::Free);
        self.link_mut(slot).next = self.free;
        self.free = slot;
    }

    #[inline(always)]
    pub fn order(&self, slot: Slot) -> BookOrder {
        let core = self.cores[slot as usize];
        let iceberg = match core.tag & ICEBERG {
            0 => Iceberg::default(),
            _ => self.icebergs[slot as usize],
        };
        BookOrder {
            sequence: core.tag >> SEQUENCE,
            price: core.price,
            visible: core.visible,
            hidden: iceberg.hidden,
            peak: iceberg.peak,
            member: core.member,
            side: match core.tag & SELL {
                0 => Side::Buy,
                _ => Side::Sell,
            },
            self_trade_prevention: PREVENTIONS[(core.tag >> PREVENTION) as usize & 7],
        }
    }

    /// Writes an order; what the slot is used for and its place stay.
    #[inline(always)]
    pub fn set_order(&mut self, slot: Slot, order: &BookOrder) {
        let iceberg = order.peak != Quantity::ZERO;
        let core = &mut self.cores[slot as usize];
        core.tag = core.tag & USE
            | (order.side as u64) << SELL.trailing_zeros()
            | u64::from(iceberg) << ICEBERG.trailing_zeros()
            | (order.self_trade_prevention as u64) << PREVENTION
            | order.sequence << SEQUENCE;
        core.price = order.price;
        core.visible = order.visible;
        core.member = order.member;
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

    /// Where in its ladder an order's level is.
    #[inline(always)]
    pub fn place(&self, slot: Slot) -> u32 {
        self.cores[slot as usize].place
    }

    #[inline(always)]
    pub fn set_place(&mut self, slot: Slot, place: u32) {
        self.cores[slot as usize].place = place;
    }

    /// Changes what a slot is used for.
    #[inline(always)]
    pub fn change(&mut self, slot: Slot, from: Use, to: Use) {
        let tag = &mut self.cores[slot as usize].tag;
        assert!(
            *tag & USE == from as u64,
            "invariant: a slot is used as its order's state says (INV-BOOK-1)"
        );
        *tag ^= from as u64 ^ to as u64;
    }

    /// The order in a slot that is used for this, if there is such a slot.
    #[inline(always)]
    pub fn find(&self, slot: Slot, used: Use) -> Option<BookOrder> {
        let core = self.cores.get(slot as usize)?;
        (core.tag & USE == used as u64).then(|| self.order(slot))
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
            links: vec![
                Link {
                    prev: NONE,
                    next: NONE
                };
                slots
            ],
            free: NONE,
        }
    }
}

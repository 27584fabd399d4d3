//! One side of the book: its price levels in order, and the queue of orders at each.
//!
//! Prices become keys that rise from the best price to the worst. Levels lie in pages of 64
//! neighboring keys, each with a bitmap of the levels that hold orders; pages hang in a trie of
//! 64-way branches, also with bitmaps, that skips digits in which all of its pages agree. So
//! whatever the prices are, a page is at most eleven steps away (two in a usual market), the next
//! level is found with one count of trailing zeros per step, and memory is at most one page and
//! one branch per level in use. Emptied pages and branches are kept for the next use.

use alloc::vec::Vec;

use crate::Slot;
use crate::grain::{self, Grain};
use crate::slab::{Link, NONE, Slab};

/// Bits of a key that say where in its page or branch something lies.
const DIGIT: u32 = 6;
const DIGITS: usize = 1 << DIGIT;
/// How many pages are found without a walk.
const RECENT: usize = 8;
/// Marks a child of a branch, or a root, that is itself a branch.
const BRANCH: u32 = 1 << 31;

/// The queue at one price.
#[derive(Clone, Copy, Debug)]
struct Queue {
    head: Slot,
    tail: Slot,
}

/// 64 neighboring levels.
#[derive(Clone, Debug)]
struct Page {
    /// Which levels hold orders.
    occupied: u64,
    /// The part of the key that all of its levels share.
    prefix: u64,
    parent: u32,
    levels: [Queue; DIGITS],
}

/// 64 ways to pages or further branches.
#[derive(Clone, Debug)]
struct Branch {
    /// Which children there are; at least two.
    occupied: u64,
    /// The part of page prefixes that all pages below it share.
    prefix: u64,
    parent: u32,
    /// Where in a page's prefix its digit lies.
    shift: u32,
    children: [u32; DIGITS],
}

/// One side of the book.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    /// The best price, flipped; `u64::MAX` when the ladder is empty.
    best: u64,
    /// The page of the best level.
    best_page: u32,
    /// Turns prices into numbers that rise from best to worst, and back.
    flip: u64,
    grain: Grain,
    /// The pages used last, by the lowest bits of their prefixes: spares most walks in the trie.
    recent: [u32; RECENT],
    pages: Vec<Page>,
    branches: Vec<Branch>,
    free_pages: Vec<u32>,
    free_branches: Vec<u32>,
    root: u32,
}

#[inline(always)]
const fn bit(at: u64) -> u64 {
    1 << (at & (DIGITS as u64 - 1))
}

#[inline(always)]
const fn digit(prefix: u64, shift: u32) -> u64 {
    (prefix >> shift) & (DIGITS as u64 - 1)
}

/// A page and which of its levels, in one number.
#[inline(always)]
const fn place(page: u32, key: u64) -> u32 {
    page << DIGIT | digit(key, 0) as u32
}

impl Ladder {
    /// A ladder whose best price is the lowest.
    pub const fn lowest_first() -> Self {
        Self::new(0)
    }

    /// A ladder whose best price is the highest.
    pub const fn highest_first() -> Self {
        Self::new(grain::END - 1)
    }

    const fn new(flip: u64) -> Self {
        Self {
            best: u64::MAX,
            best_page: NONE,
            flip,
            grain: Grain::NONE,
            recent: [NONE; RECENT],
            pages: Vec::new(),
            branches: Vec::new(),
            free_pages: Vec::new(),
            free_branches: Vec::new(),
            root: NONE,
        }
    }

    /// True when the best price is at least as good as `price`.
    #[inline(always)]
    pub fn reaches(&self, price: u64) -> bool {
        self.best <= price ^ self.flip
    }

    /// True when `price` is at least as good as `limit`.
    #[inline(always)]
    pub fn within(&self, price: u64, limit: u64) -> bool {
        price ^ self.flip <= limit ^ self.flip
    }

    /// The best price.
    #[inline(always)]
    pub fn best(&self) -> Option<u64> {
        (self.best != u64::MAX).then_some(self.best ^ self.flip)
    }

    /// The first order at the best price. The ladder must not be empty.
    #[inline(always)]
    pub fn first(&self) -> Slot {
        let page = &self.pages[self.best_page as usize];
        page.levels[page.occupied.trailing_zeros() as usize & (DIGITS - 1)].head
    }

    /// Puts an order at the back of its price's queue.
    #[inline]
    pub fn push(&mut self, slab: &mut Slab, slot: Slot, price: u64) {
        let key = match self.grain.count(price) {
            Some(count) => count ^ self.flip,
            None => self.refine(slab, price),
        };
        let prefix = key >> DIGIT;
        let recent = prefix as usize % RECENT;
        let mut at = self.recent[recent];
        if self
            .pages
            .get(at as usize)
            .is_none_or(|p| p.prefix != prefix)
        {
            at = self.page_of(prefix);
            self.recent[recent] = at;
        }
        let page = &mut self.pages[at as usize];
        let queue = &mut page.levels[digit(key, 0) as usize];
        let prev = if page.occupied & bit(key) != 0 {
            let prev = queue.tail;
            slab.link_mut(prev).next = slot;
            prev
        } else {
            queue.head = slot;
            page.occupied |= bit(key);
            if price ^ self.flip < self.best {
                self.best = price ^ self.flip;
                self.best_page = at;
            }
            NONE
        };
        queue.tail = slot;
        let link = slab.link_mut(slot);
        link.prev = prev;
        link.next = NONE;
        slab.set_place(slot, place(at, key));
    }

    /// Takes an order out of its queue.
    #[inline]
    pub fn unlink(&mut self, slab: &mut Slab, slot: Slot) {
        let &Link { prev, next } = slab.link(slot);
        let place = slab.place(slot);
        let (at, key) = (place >> DIGIT, u64::from(place) & (DIGITS as u64 - 1));
        let page = &mut self.pages[at as usize];
        let queue = &mut page.levels[key as usize];
        if prev == NONE {
            queue.head = next;
        } else {
            slab.link_mut(prev).next = next;
        }
        if next == NONE {
            queue.tail = prev;
        } else {
            slab.link_mut(next).prev = prev;
        }
        if prev & next == NONE {
            let was_best = at == self.best_page && u64::from(page.occupied.trailing_zeros()) == key;
            page.occupied &= !bit(key);
            if page.occupied == 0 {
                self.drop_page(at);
            }
            if was_best {
                self.seek_best(slab);
            }
        }
    }

    /// Moves an order to the back of its queue.
    pub fn requeue(&mut self, slab: &mut Slab, slot: Slot) {
        let link = *slab.link(slot);
        if link.next == NONE {
            return;
        }
        let place = slab.place(slot);
        let page = &mut self.pages[(place >> DIGIT) as usize];
        let queue = &mut page.levels[place as usize & (DIGITS - 1)];
        if link.prev == NONE {
            queue.head = link.next;
        } else {
            slab.link_mut(link.prev).next = link.next;
        }
        slab.link_mut(link.next).prev = link.prev;
        let tail = queue.tail;
        queue.tail = slot;
        slab.link_mut(tail).next = slot;
        let link = slab.link_mut(slot);
        link.prev = tail;
        link.next = NONE;
    }

    /// The first order of each level, best level first.
    pub fn heads(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut at = self.best_page;
        let mut left = self.pages.get(at as usize).map_or(0, |page| page.occupied);
        core::iter::from_fn(move || {
            if left == 0 {
                at = self.next_page(at)?;
                left = self.pages[at as usize].occupied;
            }
            let level = left.trailing_zeros() as usize;
            left &= left - 1;
            Some(self.pages[at as usize].levels[level].head)
        })
    }

    /// Finds the best level anew after the best one emptied.
    #[inline]
    fn seek_best(&mut self, slab: &Slab) {
        if self.best_page == NONE {
            if self.root == NONE {
                self.best = u64::MAX;
                return;
            }
            self.best_page = self.first_page(self.root);
        }
        self.best = slab.price(self.first()).0 ^ self.flip;
    }

    /// The best page at or below a root or child.
    fn first_page(&self, mut at: u32) -> u32 {
        while at & BRANCH != 0 {
            let branch = &self.branches[(at ^ BRANCH) as usize];
            at = branch.children[branch.occupied.trailing_zeros() as usize & (DIGITS - 1)];
        }
        at
    }

    /// The page behind this one.
    fn next_page(&self, at: u32) -> Option<u32> {
        let page = self.pages.get(at as usize)?;
        let mut up = page.parent;
        while let Some(branch) = self.branches.get(up as usize) {
            let behind = branch.occupied & (u64::MAX - 1) << digit(page.prefix, branch.shift);
            if behind != 0 {
                return Some(self.first_page(branch.children[behind.trailing_zeros() as usize]));
            }
            up = branch.parent;
        }
        None
    }

    /// The page with this prefix, made if there is none.
    fn page_of(&mut self, prefix: u64) -> u32 {
        let mut at = self.root;
        let mut parent = NONE;
        loop {
            if at == NONE {
                let page = self.new_page(prefix, parent);
                self.root = page;
                return page;
            }
            // What the pages below `at` share, to be compared with ours.
            let shared = if at & BRANCH == 0 {
                let page = &self.pages[at as usize];
                if page.prefix == prefix {
                    return at;
                }
                page.prefix
            } else {
                let branch = &mut self.branches[(at ^ BRANCH) as usize];
                if prefix >> branch.shift >> DIGIT == branch.prefix {
                    let way = digit(prefix, branch.shift);
                    parent = at ^ BRANCH;
                    if branch.occupied & bit(way) == 0 {
                        branch.occupied |= bit(way);
                        let page = self.new_page(prefix, parent);
                        self.branches[parent as usize].children[way as usize] = page;
                        return page;
                    }
                    at = branch.children[way as usize];
                    continue;
                }
                branch.prefix << branch.shift << DIGIT
            };
            return self.fork(at, parent, shared, prefix);
        }
    }

    /// Puts a branch in the place of `at`, with `at` and a new page as its children.
    fn fork(&mut self, at: u32, parent: u32, shared: u64, prefix: u64) -> u32 {
        let shift = (shared ^ prefix).ilog2() / DIGIT * DIGIT;
        let free = self.free_branches.pop();
        let fork = free.unwrap_or(self.branches.len() as u32);
        let page = self.new_page(prefix, fork);
        let mut branch = Branch {
            occupied: bit(digit(shared, shift)) | bit(digit(prefix, shift)),
            prefix: prefix >> shift >> DIGIT,
            parent,
            shift,
            children: [NONE; DIGITS],
        };
        branch.children[digit(shared, shift) as usize] = at;
        branch.children[digit(prefix, shift) as usize] = page;
        match free {
            Some(_) => self.branches[fork as usize] = branch,
            None => self.branches.push(branch),
        }
        self.set_parent(at, fork);
        self.replace(parent, prefix, fork | BRANCH);
        page
    }

    /// Sets what hangs below `parent` on the way to `prefix`.
    fn replace(&mut self, parent: u32, prefix: u64, child: u32) {
        match self.branches.get_mut(parent as usize) {
            Some(branch) => branch.children[digit(prefix, branch.shift) as usize] = child,
            None => self.root = child,
        }
    }

    fn set_parent(&mut self, at: u32, parent: u32) {
        if at & BRANCH == 0 {
            self.pages[at as usize].parent = parent;
        } else {
            self.branches[(at ^ BRANCH) as usize].parent = parent;
        }
    }

    fn new_page(&mut self, prefix: u64, parent: u32) -> u32 {
        if let Some(at) = self.free_pages.pop() {
            let page = &mut self.pages[at as usize];
            page.prefix = prefix;
            page.parent = parent;
            return at;
        }
        assert!(
            self.pages.len() < (NONE >> DIGIT) as usize,
            "invariant: a ladder has fewer than 2^26 - 1 pages"
        );
        self.pages.push(Page {
            occupied: 0,
            prefix,
            parent,
            levels: [Queue {
                head: NONE,
                tail: NONE,
            }; DIGITS],
        });
        (self.pages.len() - 1) as u32
    }

    /// Takes an empty page out of the trie, and a branch that has one child left with it.
    fn drop_page(&mut self, at: u32) {
        let Page { prefix, parent, .. } = self.pages[at as usize];
        // No key has this prefix, so that an unused page is never found by comparing.
        self.pages[at as usize].prefix = u64::MAX;
        self.free_pages.push(at);
        if at == self.best_page {
            self.best_page = NONE;
        }
        let Some(branch) = self.branches.get_mut(parent as usize) else {
            self.root = NONE;
            return;
        };
        branch.occupied &= !bit(digit(prefix, branch.shift));
        if branch.occupied.is_power_of_two() {
            let child = branch.children[branch.occupied.trailing_zeros() as usize];
            let above = branch.parent;
            self.free_branches.push(parent);
            self.set_parent(child, above);
            self.replace(above, prefix, child);
        }
    }

    /// Refines the grain so that `price` is a multiple, lays all levels out anew, and gives the
    /// price's key.
    #[cold]
    #[inline(never)]
    fn refine(&mut self, slab: &mut Slab, price: u64) -> u64 {
        let heads: Vec<Slot> = self.heads().collect();
        self.grain = self.grain.with(price);
        for page in &mut self.pages {
            page.occupied = 0;
            page.prefix = u64::MAX;
        }
        self.free_pages.clear();
        self.free_pages.extend(0..self.pages.len() as u32);
        self.free_branches.clear();
        self.free_branches.extend(0..self.branches.len() as u32);
        self.root = NONE;
        self.best_page = NONE;
        let count = |price: u64| {
            let count = self.grain.count(price);
            count.expect("invariant: the grain divides all prices of its ladder") ^ self.flip
        };
        let keys: Vec<u64> = heads
            .iter()
            .map(|slot| count(slab.price(*slot).0))
            .collect();
        let wanted = count(price);
        for (head, key) in heads.into_iter().zip(keys) {
            let at = self.page_of(key >> DIGIT);
            let (mut slot, mut tail) = (head, head);
            while slot != NONE {
                slab.set_place(slot, place(at, key));
                tail = slot;
                slot = slab.link(slot).next;
            }
            let page = &mut self.pages[at as usize];
            page.occupied |= bit(key);
            page.levels[digit(key, 0) as usize] = Queue { head, tail };
        }
        if self.root != NONE {
            self.best_page = self.first_page(self.root);
        }
        wanted
    }
}

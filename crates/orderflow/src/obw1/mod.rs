//! OBW1, the reproducible order workload for a matching core: generator, records, file format and
//! the totals that every correct price-time book must reach on it.
//!
//! The same parameters give the same bytes on every machine, so two engines that were fed the same
//! file can be compared, and an engine that reports other trades or volume is wrong.
//!
//! The definition asks for `f64` in two places (the skew of symbols and of price distances). It is
//! confined to the generator; no float reaches a record.

mod book;
mod file;
mod generate;

/// Side of an order. Its numbers, 0 to buy and 1 to sell, are those in the file.
pub use everopen_domain::Side;
pub use file::{FileError, HEADER_BYTES, Header, MAGIC, RECORD_BYTES, Reader, Workload};
pub use generate::Generator;

/// What identifies one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Number of symbols, 1 to 65 536.
    pub symbols: u32,
    /// Resting orders per symbol that the warm-up creates and the timed part hovers around.
    pub depth: u32,
    /// Number of timed commands after the warm-up.
    pub commands: u64,
    /// State that the random number generator starts with.
    pub seed: u64,
}

impl Params {
    /// Number of commands that fill the books before the timed part.
    pub fn warm_up(&self) -> u64 {
        u64::from(self.symbols) * u64::from(self.depth)
    }
}

/// What a record asks the book to do. The numbers are those in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A limit order, good till canceled, that rests.
    New = 0,
    /// Takes a live order out; carries its side, price and remaining quantity.
    Cancel = 1,
    /// Moves a live order to the back of the queue at a new price; keeps id and quantity.
    Replace = 2,
    /// A limit order priced through the market; what is left after matching rests.
    Marketable = 3,
}

/// One command of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Order id: 1, 2, 3 … in the order of `New` and `Marketable`.
    pub id: u64,
    /// Limit price in ticks, 80 000 to 119 999.
    pub price: u32,
    /// Quantity in lots, 1 to 100; for `Cancel` and `Replace` what remains.
    pub quantity: u32,
    /// Symbol, counted from zero.
    pub symbol: u16,
    /// What to do.
    pub kind: Kind,
    /// Side of the order.
    pub side: Side,
}

/// Trades and volume that a book must have reported. One trade is one maker order touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of trades.
    pub trades: u64,
    /// Lots traded, each trade counted once.
    pub volume: u64,
}

/// A published workload and the totals of its first timed commands.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Name of the workload, such as `d1k`.
    pub name: &'static str,
    /// Its parameters.
    pub params: Params,
    /// SHA-256 of the file, in lowercase hexadecimal.
    pub sha256: &'static str,
    /// Totals after so many timed commands, ascending. The warm-up trades nothing.
    pub totals: &'static [(u64, Totals)],
}

impl Named {
    /// Totals after the first `commands` timed commands, if they are published.
    pub fn totals_after(&self, commands: u64) -> Option<Totals> {
        self.totals
            .iter()
            .find(|(after, _)| *after == commands)
            .map(|(_, totals)| *totals)
    }
}

/// The published workload of that name.
pub fn named(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|known| known.name == name)
}

const fn params(symbols: u32, depth: u32, commands: u64) -> Params {
    Params {
        symbols,
        depth,
        commands,
        seed: 42,
    }
}

const fn after(commands: u64, trades: u64, volume: u64) -> (u64, Totals) {
    (commands, Totals { trades, volume })
}

/// The five published workloads.
pub const NAMED: [Named; 5] = [
    Named {
        name: "d1k",
        params: params(1, 1_000, 5_000_000),
        sha256: "586470acb04212e783716ee1e70515d697b6e33b5bbda1ff0f00ca81dcbdf65e",
        totals: &[
            after(100_000, 9_770, 251_394),
            after(500_000, 49_660, 1_279_777),
            after(1_000_000, 98_734, 2_537_882),
            after(2_000_000, 197_353, 5_074_798),
            after(5_000_000, 492_526, 12_629_515),
        ],
    },
    Named {
        name: "d100k",
        params: params(1, 100_000, 5_000_000),
        sha256: "6c1f731c7ab9119790a326d51e61b030e53b3d3c71bdbcf7b07f90610181299a",
        totals: &[
            after(100_000, 9_976, 255_056),
            after(500_000, 50_240, 1_283_263),
            after(1_000_000, 99_525, 2_538_251),
            after(2_000_000, 198_569, 5_068_903),
            after(5_000_000, 494_540, 12_621_640),
        ],
    },
    Named {
        name: "m100",
        params: params(100, 1_000, 5_000_000),
        sha256: "d248d10d05a28facd5e09b3b0269a39210d8389e6676bc34a6bf68bcc42b448d",
        totals: &[
            after(100_000, 9_896, 254_240),
            after(500_000, 49_686, 1_271_609),
            after(1_000_000, 98_491, 2_519_896),
            after(2_000_000, 196_656, 5_038_077),
            after(5_000_000, 492_157, 12_621_837),
        ],
    },
    Named {
        name: "s1k",
        params: params(1, 1_000, 100_000),
        sha256: "e9cea95b734dfb4698bd05b2780a62f3d0a59f8472a0579a96f9e03807fe5204",
        totals: &[after(100_000, 9_770, 251_394)],
    },
    Named {
        name: "s100",
        params: params(100, 1_000, 100_000),
        sha256: "0be7acaf0ca4d7f5c56a72a3718cab47246e33e2265f6719833a7edc5177f05e",
        totals: &[after(100_000, 9_896, 254_240)],
    },
];

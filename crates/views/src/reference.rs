//! Assets and products: what can be held and what can be traded.

use everopen_domain::{AssetCode, AssetId, Instrument, InstrumentId, TradingPhase};
use serde::{Deserialize, Serialize};

use crate::Decimal;
use everopen_domain::{Amount, Price, Quantity};

/// An asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetView {
    /// Its id.
    pub id: AssetId,
    /// Its code, for instance `USD`.
    pub code: AssetCode,
    /// Its decimals.
    pub decimals: u8,
}

/// An instrument with everything that is needed to talk about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: InstrumentId,
    /// Its name: base and quote code with a dash, for instance `BTC-USD`.
    pub symbol: String,
    /// What it is, with its present rules.
    pub instrument: Instrument,
    /// The phase of its market.
    pub phase: TradingPhase,
    /// What is bought and sold.
    pub base: AssetView,
    /// What it is paid with.
    pub quote: AssetView,
}

impl Product {
    /// A price of this product as text.
    pub fn price(&self, price: Price) -> Decimal {
        Decimal::price(price, self.instrument.price_decimals)
    }

    /// A size of this product as text.
    pub fn size(&self, size: Quantity) -> Decimal {
        Decimal::size(size, self.instrument.size_decimals)
    }

    /// A sum of sizes of this product as text.
    pub fn volume(&self, volume: u128) -> Decimal {
        Decimal::new(
            i128::try_from(volume).unwrap_or(i128::MAX),
            self.instrument.size_decimals,
        )
    }

    /// An amount of the quote asset as text.
    pub fn funds(&self, amount: Amount) -> Decimal {
        Decimal::amount(amount, self.quote.decimals)
    }

    /// Price × size in atoms of the quote asset.
    pub fn notional(&self, price: Price, size: Quantity) -> Amount {
        let used = self.instrument.price_decimals + self.instrument.size_decimals;
        let scale = 10_i128.pow(u32::from(self.quote.decimals - used));
        let product = i128::from(price.0).saturating_mul(i128::from(size.0));
        Amount(product.saturating_mul(scale))
    }

    /// A size in atoms of the base asset.
    pub fn base_atoms(&self, size: Quantity) -> Amount {
        let places = self.base.decimals - self.instrument.size_decimals;
        Amount(i128::from(size.0) * 10_i128.pow(u32::from(places)))
    }
}

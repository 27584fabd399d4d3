//! Money, price, quantity and rates: integers with their units, and nothing that rounds unseen.

use core::fmt;

/// An amount of one asset in *atoms*, the smallest unit of that asset: 10^`decimals` atoms are
/// one whole unit. Signed, since the venue's counter accounts go below zero.
///
/// With 18 decimals the range is about ±1.7 × 10^20 whole units. Arithmetic that could leave the
/// range is checked by whoever does it; overflow is a refusal, never a wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Amount(pub i128);

impl Amount {
    /// Nothing; also "not given" where an amount is optional.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` on overflow.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// True for exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// True above zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for Amount {
    /// Atoms; decimals belong to the asset.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A price (FIX `Price`, tag 44): quote asset per whole unit of base asset, in units of
/// 10^-`price_decimals` of the instrument. Zero means "not given"; no order has price zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Price(pub u64);

impl Price {
    /// "Not given".
    pub const ZERO: Self = Self(0);
    /// The largest price that an order may carry. The room above keeps price arithmetic in 64
    /// bits for bands and protective limits.
    pub const MAX: Self = Self(1 << 62);
}

/// A quantity of the base asset (FIX `OrderQty`, tag 38) in units of 10^-`size_decimals` of the
/// instrument. Zero means "not given" or "nothing left".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quantity(pub u64);

impl Quantity {
    /// Nothing, or "not given".
    pub const ZERO: Self = Self(0);
    /// The largest quantity that an order may carry.
    pub const MAX: Self = Self(1 << 62);
}

/// A share in parts per million: 10,000 is one percent, 100 is one basis point. Negative rates are
/// rebates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rate(pub i32);

impl Rate {
    /// Parts that make a whole.
    pub const ONE: i32 = 1_000_000;
    /// No charge.
    pub const ZERO: Self = Self(0);
}

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(Price, Quantity, Rate);

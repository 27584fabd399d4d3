//! Exact amounts: notional, fees that add up, and what a budget can pay for.

use everopen_domain::{Amount, Instrument, Price, Quantity, Rate};
use everopen_ledger::SUPPLY_MAX;

const PARTS: u64 = Rate::ONE as u64;

/// The most that a market order's funds may be: room for a multiplication by parts per million.
pub(crate) const FUNDS_MAX: Amount = Amount(1 << 105);

/// How many atoms one unit of price × size, and one unit of size, are worth in an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    quote: u64,
    base: u64,
}

impl Scale {
    /// The scale of an instrument whose assets have these decimals, or `None` where amounts would
    /// need rounding.
    pub fn new(instrument: &Instrument, base_decimals: u8, quote_decimals: u8) -> Option<Self> {
        let used = instrument
            .price_decimals
            .checked_add(instrument.size_decimals)?;
        let quote = quote_decimals.checked_sub(used)?;
        let base = base_decimals.checked_sub(instrument.size_decimals)?;
        Some(Self {
            quote: 10u64.checked_pow(u32::from(quote))?,
            base: 10u64.checked_pow(u32::from(base))?,
        })
    }

    /// Price × size in quote atoms; `None` past what an asset's supply can be.
    #[inline]
    pub fn notional(self, price: Price, size: Quantity) -> Option<Amount> {
        let small = price
            .0
            .checked_mul(size.0)
            .and_then(|n| n.checked_mul(self.quote));
        match small {
            Some(n) => Some(Amount(i128::from(n))),
            None => self.notional_units(u128::from(price.0) * u128::from(size.0)),
        }
    }

    /// The same from a sum of price × size.
    pub fn notional_units(self, units: u128) -> Option<Amount> {
        let atoms = units.checked_mul(u128::from(self.quote))?;
        i128::try_from(atoms)
            .ok()
            .map(Amount)
            .filter(|n| *n <= SUPPLY_MAX)
    }

    /// A size in base atoms. Sizes are at most 2^62 and the scale at most 10^18, so it fits.
    #[inline]
    pub fn base(self, size: Quantity) -> Amount {
        Amount(i128::from(size.0) * i128::from(self.base))
    }

    /// The largest size that `atoms` of the base asset hold.
    pub fn size_within(self, atoms: Amount) -> Quantity {
        let size = atoms.0.max(0) / i128::from(self.base);
        Quantity(u64::try_from(size).unwrap_or(u64::MAX).min(Quantity::MAX.0))
    }

    /// Quote atoms per unit of size at a price.
    #[inline]
    fn unit(self, price: Price) -> u128 {
        u128::from(price.0) * u128::from(self.quote)
    }

    /// The largest size at `price` whose notional and fee `budget` pays for, given the slack of
    /// the fees charged so far. Exact: `size × unit + ceil((size × unit × rate − slack) / 10^6) ≤
    /// budget` holds just when `size × unit × (10^6 + rate) ≤ budget × 10^6 + slack`.
    pub fn affordable(self, budget: Amount, price: Price, rate: Rate, slack: u32) -> Quantity {
        let unit = self.unit(price);
        let Some(cost) = unit.checked_mul(u128::from(PARTS) + u128::from(rate.0.unsigned_abs()))
        else {
            return Quantity::ZERO;
        };
        let have = (budget.0.max(0) as u128) * u128::from(PARTS) + u128::from(slack);
        divide(have, cost)
    }

    /// The largest size at `price` whose notional is within `proceeds`.
    pub fn within(self, proceeds: Amount, price: Price) -> Quantity {
        divide(proceeds.0.max(0) as u128, self.unit(price))
    }
}

/// A quotient as a quantity, with the short division where it does.
fn divide(have: u128, cost: u128) -> Quantity {
    if cost == 0 {
        return Quantity::MAX;
    }
    let quotient = match (u64::try_from(have), u64::try_from(cost)) {
        (Ok(have), Ok(cost)) => have / cost,
        _ => u64::try_from(have / cost).unwrap_or(u64::MAX),
    };
    Quantity(quotient.min(Quantity::MAX.0))
}

/// The largest multiple of `lot` within `size`.
#[inline]
pub(crate) fn floor_to_lot(size: Quantity, lot: Quantity) -> Quantity {
    if lot.0 <= 1 {
        size
    } else {
        Quantity(size.0 - size.0 % lot.0)
    }
}

/// The fee of the next `notional` at `rate`, after fees that were rounded up by `slack` millionths
/// of an atom so far, and the slack after it. The sum of all fees of an order is thereby its exact
/// fee rounded up once, however many trades it took.
///
/// Rates are within ±10^6 parts (a whole), `notional` within the supply of an asset.
#[inline]
pub(crate) fn fee(notional: Amount, rate: Rate, slack: u32) -> (Amount, u32) {
    if rate.0 == 0 {
        return (Amount::ZERO, slack);
    }
    debug_assert!(notional.0 >= 0, "invariant: a notional is not negative");
    // notional = whole × 10^6 + rest, so that only the rest needs rounding and nothing overflows.
    let (whole, rest) = match u64::try_from(notional.0) {
        Ok(n) => (i128::from(n / PARTS), n % PARTS),
        Err(_) => {
            let n = notional.0 as u128;
            (
                (n / u128::from(PARTS)) as i128,
                (n % u128::from(PARTS)) as u64,
            )
        }
    };
    let parts = u64::from(rate.0.unsigned_abs());
    let slack = u64::from(slack);
    if rate.0 > 0 {
        let exact = rest * parts;
        // exact − slack rounded up; never below zero, since slack is less than one atom.
        let charged = (exact + (PARTS - 1) - slack) / PARTS;
        let slack = (charged * PARTS + slack) - exact;
        (
            Amount(whole * i128::from(parts) + i128::from(charged)),
            slack as u32,
        )
    } else {
        let owed = rest * parts + slack;
        let paid = owed / PARTS;
        (
            Amount(-(whole * i128::from(parts) + i128::from(paid))),
            (owed % PARTS) as u32,
        )
    }
}

/// What must be held for a buy of this notional: notional and fee.
#[inline]
pub(crate) fn cost(notional: Amount, rate: Rate, slack: u32) -> Amount {
    Amount(notional.0 + fee(notional, rate, slack).0.0)
}

/// The highest price of a buy in a band: reference × (1 + band), rounded down.
#[inline]
pub(crate) fn band_top(reference: Price, band: Rate) -> Price {
    let parts = PARTS + u64::from(band.0.unsigned_abs());
    let top = match reference.0.checked_mul(parts) {
        Some(product) => product / PARTS,
        None => {
            let top = u128::from(reference.0) * u128::from(parts) / u128::from(PARTS);
            u64::try_from(top).unwrap_or(u64::MAX)
        }
    };
    Price(top.min(Price::MAX.0))
}

/// The lowest price of a sell in a band: reference × (1 − band), rounded up.
#[inline]
pub(crate) fn band_bottom(reference: Price, band: Rate) -> Price {
    let parts = PARTS.saturating_sub(u64::from(band.0.unsigned_abs()));
    let bottom = match reference.0.checked_mul(parts) {
        Some(product) => product.div_ceil(PARTS),
        None => {
            let product = u128::from(reference.0) * u128::from(parts);
            u64::try_from(product.div_ceil(u128::from(PARTS))).unwrap_or(u64::MAX)
        }
    };
    Price(bottom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(quote: u32, base: u32) -> Scale {
        Scale {
            quote: 10u64.pow(quote),
            base: 10u64.pow(base),
        }
    }

    #[test]
    fn fees_are_rounded_up_once_over_all_trades() {
        // Three trades of 1 atom at 40 %: 1.2 in all, so 1, 0, 1 and a slack of 0.8.
        let rate = Rate(400_000);
        assert_eq!(fee(Amount(1), rate, 0), (Amount(1), 600_000));
        assert_eq!(fee(Amount(1), rate, 600_000), (Amount(0), 200_000));
        assert_eq!(fee(Amount(1), rate, 200_000), (Amount(1), 800_000));
        assert_eq!(fee(Amount(3), rate, 0), (Amount(2), 800_000));
    }

    #[test]
    fn rebates_are_rounded_down() {
        assert_eq!(fee(Amount(1), Rate(-400_000), 0), (Amount(0), 400_000));
        assert_eq!(
            fee(Amount(2), Rate(-400_000), 400_000),
            (Amount(-1), 200_000)
        );
    }

    #[test]
    fn bands_round_inwards() {
        assert_eq!(band_top(Price(101), Rate(100_000)), Price(111));
        assert_eq!(band_bottom(Price(101), Rate(100_000)), Price(91));
        assert_eq!(band_bottom(Price(101), Rate(1_500_000)), Price(0));
        assert_eq!(band_top(Price::MAX, Rate(i32::MAX)), Price::MAX);
    }

    #[test]
    fn notional_past_the_supply_is_refused() {
        assert_eq!(scale(18, 0).notional(Price::MAX, Quantity::MAX), None);
        assert_eq!(scale(0, 0).notional(Price::MAX, Quantity::MAX), None);
        assert_eq!(
            scale(18, 0).notional(Price(3), Quantity(5)),
            Some(Amount(15 * 10i128.pow(18)))
        );
    }

    proptest! {
        #[test]
        fn fees_of_parts_sum_to_the_fee_of_the_whole(
            parts in proptest::collection::vec(0i128..(1 << 100), 1..8),
            rate in -1_000_000i32..=1_000_000,
        ) {
            let (mut slack, mut sum, mut whole) = (0, 0i128, 0i128);
            for part in parts {
                let (charged, next) = fee(Amount(part), Rate(rate), slack);
                prop_assert!(next < 1_000_000);
                slack = next;
                sum += charged.0;
                whole += part;
            }
            prop_assert_eq!((Amount(sum), slack), fee(Amount(whole), Rate(rate), 0));
        }

        #[test]
        fn fee_agrees_with_its_definition(
            notional in 0i128..(1 << 100), rate in -1_000_000i32..=1_000_000, slack in 0u32..1_000_000,
        ) {
            let (charged, next) = fee(Amount(notional), Rate(rate), slack);
            let exact = notional * i128::from(rate) - i128::from(slack);
            prop_assert_eq!(charged.0, exact.div_euclid(1_000_000) + i128::from(exact.rem_euclid(1_000_000) != 0));
            prop_assert_eq!(i128::from(next), charged.0 * 1_000_000 - exact);
        }

        #[test]
        fn affordable_is_the_largest_size_that_the_budget_pays(
            budget in 0i128..(1 << 70), price in 1u64..(1 << 40), rate in 0i32..=1_000_000,
            slack in 0u32..1_000_000, decimals in 0u32..6,
        ) {
            let scale = scale(decimals, 0);
            let size = scale.affordable(Amount(budget), Price(price), Rate(rate), slack);
            let pays = |size: u64| scale
                .notional(Price(price), Quantity(size))
                .is_some_and(|n| cost(n, Rate(rate), slack).0 <= budget);
            prop_assert!(size.0 == 0 || pays(size.0));
            prop_assert!(size.0 >= Quantity::MAX.0 || !pays(size.0 + 1));
        }
    }
}

//! Assets, members, money, instruments and phases: what a venue needs before a feed's orders fit.

use everopen_domain::{
    Amount, AssetCode, AssetId, Command, FeeScheduleId, FeeTier, FeeTiers, Instrument,
    InstrumentId, InstrumentLimits, MemberCode, MemberId, Price, Quantity, Reference, TradingPhase,
};

use super::{Book, Driver, Purpose};
use crate::feed::{Phase, Symbol};

/// Atoms that each feed member gets of what it pays with: far more than any feed moves, far less
/// than an amount can hold.
const FUNDS: Amount = Amount(10_i128.pow(32));

impl Driver {
    pub(super) fn set_phase(&mut self, symbol: Symbol, phase: Phase, out: &mut Vec<Command>) {
        let phase = match phase {
            // The venue's own `Halted` refuses cancels, which a halted market does not.
            Phase::Halted | Phase::Paused => TradingPhase::CancelOnly,
            Phase::Quoting => TradingPhase::Auction,
            Phase::Trading => TradingPhase::Online,
        };
        let Some(&index) = self.by_symbol.get(&symbol) else {
            self.phases.insert(symbol, phase);
            return;
        };
        let book = &mut self.books[index as usize];
        if book.phase != phase {
            book.phase = phase;
            let instrument = book.instrument;
            self.send(
                Purpose::Setup,
                Command::SetTradingPhase { instrument, phase },
                out,
            );
        }
    }

    /// The instrument of a symbol; on first use the commands that create it come first.
    pub(super) fn instrument(&mut self, symbol: Symbol, out: &mut Vec<Command>) -> InstrumentId {
        if let Some(&index) = self.by_symbol.get(&symbol) {
            return self.books[index as usize].instrument;
        }
        self.start(out);
        let index = self.books.len() as u32;
        let instrument = InstrumentId(self.config.next_instrument.0 + index);
        let base = self.add_asset(self.base_code(symbol), self.config.size_decimals, out);
        let phase = self.phases.remove(&symbol).unwrap_or(TradingPhase::Online);
        let limits = InstrumentLimits {
            tick: Price(1),
            lot: Quantity(1),
            min_size: Quantity(1),
            max_size: Quantity::MAX,
            ..InstrumentLimits::default()
        };
        let added = Instrument {
            base,
            quote: self.quote,
            price_decimals: self.config.price_decimals,
            size_decimals: self.config.size_decimals,
            limits,
        };
        self.send(
            Purpose::Setup,
            Command::AddInstrument { instrument: added },
            out,
        );
        if phase != TradingPhase::CancelOnly {
            self.send(
                Purpose::Setup,
                Command::SetTradingPhase { instrument, phase },
                out,
            );
        }
        self.deposit(self.sellers, base, out);
        self.books.push(Book {
            symbol,
            instrument,
            base,
            phase,
        });
        self.by_symbol.insert(symbol, index);
        self.summary.books += 1;
        instrument
    }

    /// A stock may be called like the money (there is one with the ticker USD): its asset then gets
    /// a suffix.
    fn base_code(&self, symbol: Symbol) -> AssetCode {
        if symbol != self.config.quote {
            return symbol;
        }
        let text = format!("{}.S", symbol.as_str());
        AssetCode::new(text.as_bytes()).unwrap_or(symbol)
    }

    /// Members, money and fees, before the first instrument.
    fn start(&mut self, out: &mut Vec<Command>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let decimals = self.config.price_decimals + self.config.size_decimals;
        self.add_asset(self.config.quote, decimals, out);
        let mut tiers = FeeTiers {
            volume_asset: self.quote,
            len: 1,
            ..FeeTiers::default()
        };
        tiers.tiers[0] = FeeTier::default();
        let fees = Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers,
        };
        self.send(Purpose::Setup, fees, out);
        for code in ["feed-buyers", "feed-sellers"] {
            let code = MemberCode::new(code.as_bytes()).expect("invariant: a plain code");
            self.send(Purpose::Setup, Command::AddMember { code }, out);
        }
        self.deposit(self.buyers, self.quote, out);
    }

    fn add_asset(&mut self, code: AssetCode, decimals: u8, out: &mut Vec<Command>) -> AssetId {
        let asset = AssetId(self.config.next_asset.0 + self.assets);
        self.assets += 1;
        self.send(Purpose::Setup, Command::AddAsset { code, decimals }, out);
        asset
    }

    fn deposit(&mut self, member: MemberId, asset: AssetId, out: &mut Vec<Command>) {
        let reference = Reference::EMPTY;
        let deposit = Command::Deposit {
            member,
            asset,
            amount: FUNDS,
            reference,
        };
        self.send(Purpose::Setup, deposit, out);
    }
}

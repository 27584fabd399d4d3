//! What operators change: assets, instruments, members, fees, limits, phases, kill switches.

use everopen_domain::snapshot::{AccountOwner, AssetSnapshot};
use everopen_domain::{
    Amount, AssetCode, AssetId, CancelReason, Command, Event, EventSink, FeeScheduleId, FeeTiers,
    Instrument, InstrumentId, InstrumentLimits, MemberCode, MemberId, MemberLimits, OrderId,
    OrderLimits, Price, Quantity, Rate, RejectReason,
};

use crate::arithmetic::Scale;
use crate::market::Market;
use crate::member::Member;
use crate::venue::Venue;

/// The most decimals of an asset, a price or a size.
const DECIMALS_MAX: u8 = 18;

impl Venue {
    pub(crate) fn administer(
        &mut self,
        command: &Command,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        match *command {
            Command::AddAsset { code, decimals } => self.add_asset(code, decimals, out),
            Command::AddInstrument { instrument } => self.add_instrument(instrument, out),
            Command::AmendInstrument { instrument, limits } => {
                self.amend_instrument(instrument, limits, out)
            }
            Command::SetTradingPhase { instrument, phase } => {
                self.set_phase(instrument, phase, out)
            }
            Command::SetReferencePrice { instrument, price } => {
                self.set_reference_price(instrument, price, out)
            }
            Command::SetFeeSchedule {
                schedule,
                ref tiers,
            } => self.set_fee_schedule(schedule, tiers, out),
            Command::AddMember { code } => self.add_member(code, out),
            Command::SetMemberLimits { member, limits } => {
                self.set_member_limits(member, limits, out)
            }
            Command::SetOrderLimits {
                member,
                instrument,
                limits,
            } => self.set_order_limits(member, instrument, limits, out),
            Command::EngageKillSwitch { member } => self.engage_kill_switch(member, out),
            Command::ReleaseKillSwitch { member } => self.release_kill_switch(member, out),
            Command::ActivateLogic { version } => self.activate_logic(version, out),
            _ => unreachable!("invariant: only administration comes here"),
        }
    }

    fn add_asset(
        &mut self,
        code: AssetCode,
        decimals: u8,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        if code.is_empty() || self.assets.iter().any(|asset| asset.code == code) {
            return Err(RejectReason::AssetCodeTaken);
        }
        if decimals > DECIMALS_MAX {
            return Err(RejectReason::DecimalsInvalid);
        }
        let asset = next_id(self.assets.len(), u32::MAX).map(AssetId)?;
        self.assets.push(AssetSnapshot { code, decimals });
        self.ledger.open(AccountOwner::External, asset);
        out.emit(Event::AssetAdded {
            asset,
            code,
            decimals,
        });
        Ok(())
    }

    fn add_instrument(
        &mut self,
        instrument: Instrument,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let scale = self.scale(&instrument)?;
        check_limits(&instrument.limits)?;
        self.check_schedule(instrument.limits.fee_schedule)?;
        let pair = |market: &Market| (market.instrument.base, market.instrument.quote);
        if self
            .markets
            .iter()
            .any(|market| pair(market) == (instrument.base, instrument.quote))
        {
            return Err(RejectReason::InstrumentTaken);
        }
        let id = next_id(self.markets.len(), OrderId::INSTRUMENT_END).map(InstrumentId)?;
        self.markets.push(Market::new(id, instrument, scale));
        self.books.push(everopen_book::Book::new());
        out.emit(Event::InstrumentAdded { id, instrument });
        Ok(())
    }

    /// The scale of an instrument whose assets exist and whose amounts need no rounding.
    pub(crate) fn scale(&self, instrument: &Instrument) -> Result<Scale, RejectReason> {
        let asset = |id: AssetId| {
            self.assets
                .get(id.0 as usize)
                .ok_or(RejectReason::UnknownAsset)
        };
        let (base, quote) = (asset(instrument.base)?, asset(instrument.quote)?);
        if instrument.base == instrument.quote {
            return Err(RejectReason::InstrumentInvalid);
        }
        if instrument.price_decimals > DECIMALS_MAX || instrument.size_decimals > DECIMALS_MAX {
            return Err(RejectReason::DecimalsInvalid);
        }
        Scale::new(instrument, base.decimals, quote.decimals).ok_or(RejectReason::InstrumentInexact)
    }

    pub(crate) fn check_schedule(&self, schedule: FeeScheduleId) -> Result<(), RejectReason> {
        match self.fee_schedules.get(usize::from(schedule.0)) {
            Some(Some(_)) => Ok(()),
            _ => Err(RejectReason::UnknownFeeSchedule),
        }
    }

    fn market(&mut self, instrument: InstrumentId) -> Result<&mut Market, RejectReason> {
        self.markets
            .get_mut(instrument.0 as usize)
            .ok_or(RejectReason::UnknownInstrument)
    }

    fn amend_instrument(
        &mut self,
        instrument: InstrumentId,
        limits: InstrumentLimits,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let old = self.market(instrument)?.instrument.limits;
        check_limits(&limits)?;
        self.check_schedule(limits.fee_schedule)?;
        if limits == old {
            return Err(RejectReason::Unchanged);
        }
        self.market(instrument)?.instrument.limits = limits;
        out.emit(Event::InstrumentAmended { instrument, limits });
        Ok(())
    }

    fn set_reference_price(
        &mut self,
        instrument: InstrumentId,
        price: Price,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let market = self.market(instrument)?;
        let on_tick = price.0.is_multiple_of(market.instrument.limits.tick.0);
        if price == Price::ZERO || price > Price::MAX || !on_tick {
            return Err(RejectReason::ReferencePriceInvalid);
        }
        market.reference_price = price;
        market.indicate = true;
        out.emit(Event::ReferencePriceSet { instrument, price });
        Ok(())
    }

    fn set_fee_schedule(
        &mut self,
        schedule: FeeScheduleId,
        tiers: &FeeTiers,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        check_tiers(tiers)?;
        if tiers.volume_asset.0 as usize >= self.assets.len() {
            return Err(RejectReason::UnknownAsset);
        }
        let at = usize::from(schedule.0);
        if self.fee_schedules.len() <= at {
            self.fee_schedules.resize(at + 1, None);
        }
        self.fee_schedules[at] = Some(*tiers);
        for (level, tier) in tiers.as_slice().iter().enumerate() {
            out.emit(Event::FeeTierSet {
                schedule,
                volume_asset: tiers.volume_asset,
                level: level as u8,
                levels: tiers.len,
                tier: *tier,
            });
        }
        Ok(())
    }

    fn add_member(
        &mut self,
        code: MemberCode,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        if code.is_empty() || self.member_codes.contains_key(&code) {
            return Err(RejectReason::MemberCodeTaken);
        }
        let member = next_id(self.members.len(), u32::MAX).map(MemberId)?;
        self.member_codes.insert(code, member);
        self.members.push(Member::new(code));
        out.emit(Event::MemberAdded { member, code });
        Ok(())
    }

    fn set_member_limits(
        &mut self,
        member: MemberId,
        limits: MemberLimits,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let now = self.time;
        let state = self.member(member)?;
        check_member_limits(&limits)?;
        state.set_limits(limits, now);
        out.emit(Event::MemberLimitsSet { member, limits });
        Ok(())
    }

    fn set_order_limits(
        &mut self,
        member: MemberId,
        instrument: InstrumentId,
        limits: OrderLimits,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        self.member(member)?;
        self.market(instrument)?;
        check_order_limits(&limits)?;
        let seat = self.seat(member, instrument);
        self.market(instrument)?.seats[seat as usize].limits = limits;
        out.emit(Event::OrderLimitsSet {
            member,
            instrument,
            limits,
        });
        Ok(())
    }

    fn engage_kill_switch(
        &mut self,
        member: Option<MemberId>,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        if core::mem::replace(self.kill_switch(member)?, true) {
            return Err(RejectReason::Unchanged);
        }
        out.emit(Event::KillSwitchEngaged { member });
        match member {
            None => self.cancel_all(CancelReason::Killed, out),
            Some(member) => {
                for at in 0..self.markets.len() {
                    self.cancel_seat(member, InstrumentId(at as u32), CancelReason::Killed, out);
                }
            }
        }
        Ok(())
    }

    fn release_kill_switch(
        &mut self,
        member: Option<MemberId>,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        if !core::mem::replace(self.kill_switch(member)?, false) {
            return Err(RejectReason::Unchanged);
        }
        out.emit(Event::KillSwitchReleased { member });
        Ok(())
    }

    fn kill_switch(&mut self, member: Option<MemberId>) -> Result<&mut bool, RejectReason> {
        match member {
            None => Ok(&mut self.killed),
            Some(member) => Ok(&mut self.member(member)?.killed),
        }
    }
}

/// The next dense id, or a refusal when there are `end` already.
fn next_id(len: usize, end: u32) -> Result<u32, RejectReason> {
    match u32::try_from(len) {
        Ok(id) if id < end => Ok(id),
        _ => Err(RejectReason::TooManyInstruments),
    }
}

/// Checks the rules of an instrument against each other.
pub(crate) fn check_limits(limits: &InstrumentLimits) -> Result<(), RejectReason> {
    let within = |value: u64, most: u64| (1..=most).contains(&value);
    let smallest = limits.min_size.max(limits.lot);
    let valid = within(limits.tick.0, Price::MAX.0)
        && within(limits.lot.0, Quantity::MAX.0)
        && limits.max_size >= smallest
        && limits.max_size <= Quantity::MAX
        && limits.min_notional >= Amount::ZERO
        && limits.max_notional >= Amount::ZERO
        && (limits.max_notional.is_zero() || limits.max_notional >= limits.min_notional)
        && limits.price_band >= Rate::ZERO;
    if valid {
        Ok(())
    } else {
        Err(RejectReason::InstrumentInvalid)
    }
}

/// Checks the limits of a member.
pub(crate) fn check_member_limits(limits: &MemberLimits) -> Result<(), RejectReason> {
    if limits.message_rate > 0 && limits.message_burst == 0 {
        return Err(RejectReason::LimitsInvalid);
    }
    Ok(())
}

/// Checks the limits of a member in an instrument.
pub(crate) fn check_order_limits(limits: &OrderLimits) -> Result<(), RejectReason> {
    if limits.max_notional < Amount::ZERO || limits.max_size > Quantity::MAX {
        return Err(RejectReason::LimitsInvalid);
    }
    Ok(())
}

/// Checks a fee schedule. No maker's rebate is above any taker's fee of the schedule, so that on
/// one schedule the venue never pays for a trade, whichever steps the two sides stand on.
pub(crate) fn check_tiers(tiers: &FeeTiers) -> Result<(), RejectReason> {
    let steps = tiers.as_slice();
    let in_use = usize::from(tiers.len);
    let rising = steps
        .windows(2)
        .all(|pair| pair[0].min_volume < pair[1].min_volume);
    let lowest_maker = steps.iter().map(|step| step.maker.0).min().unwrap_or(0);
    let in_range = steps.iter().all(|step| {
        (-Rate::ONE..=Rate::ONE).contains(&step.maker.0)
            && (0..=Rate::ONE).contains(&step.taker.0)
            && step.taker.0 + lowest_maker >= 0
    });
    let clean = tiers.tiers[steps.len()..]
        .iter()
        .all(|step| *step == Default::default());
    let valid = (1..=tiers.tiers.len()).contains(&in_use)
        && steps[0].min_volume.is_zero()
        && rising
        && in_range
        && clean;
    if valid {
        Ok(())
    } else {
        Err(RejectReason::FeeScheduleInvalid)
    }
}

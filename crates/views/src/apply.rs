//! What each event changes in the views.

use everopen_domain::{
    Amount, AssetId, Event, Instrument, InstrumentId, MemberId, Quantity, Side, Timestamp,
};

use crate::account::{LedgerDetail, LedgerKind};
use crate::book::{AuctionIndication, BookOrder};
use crate::market::{Market, TradeView};
use crate::member::{FillView, Liquidity, Member};
use crate::order::{OrderDoneView, OrderStatus, OrderView};
use crate::reference::{AssetView, Product};
use crate::views::{State, Views};

impl Views {
    pub(crate) fn apply_administration(&mut self, event: &Event) {
        let state = &mut self.state;
        match *event {
            Event::AssetAdded {
                asset,
                code,
                decimals,
            } => {
                debug_assert_eq!(asset.0 as usize, state.assets.len(), "invariant: dense ids");
                state.assets.push(AssetView {
                    id: asset,
                    code,
                    decimals,
                });
            }
            Event::InstrumentAdded { id, instrument } => {
                debug_assert_eq!(id.0 as usize, state.markets.len(), "invariant: dense ids");
                let product = product_of(&state.assets, id, instrument);
                state.symbols.insert(product.symbol.clone(), id);
                state.markets.push(Market::new(product));
            }
            Event::InstrumentAmended { instrument, limits } => {
                state.market(instrument).product.instrument.limits = limits;
            }
            Event::TradingPhaseChanged { instrument, phase } => {
                let market = state.market(instrument);
                market.product.phase = phase;
                market.book.set_indication(None);
            }
            Event::FeeTierSet {
                schedule,
                volume_asset,
                level,
                levels,
                tier,
            } => state
                .fees
                .set(schedule.0, volume_asset, level, levels, tier),
            Event::MemberAdded { member, code } => {
                debug_assert_eq!(
                    member.0 as usize,
                    state.members.len(),
                    "invariant: dense ids"
                );
                state.member_codes.insert(code, member);
                state.members.push(Member::new(code));
            }
            Event::MemberLimitsSet { member, limits } => state.member(member).limits = limits,
            Event::KillSwitchEngaged { member } => state.set_killed(member, true),
            Event::KillSwitchReleased { member } => state.set_killed(member, false),
            _ => {}
        }
    }

    pub(crate) fn apply_order(&mut self, time: Timestamp, event: &Event) {
        let state = &mut self.state;
        match *event {
            Event::OrderAccepted {
                order,
                member,
                sequence,
                details,
                hold,
                maker_rate,
                taker_rate,
            } => {
                state.market(order.instrument).book.advance(sequence);
                state.last_order = state.last_order.max(order.sequence);
                state.member(member).add_order(OrderView {
                    order,
                    member,
                    details,
                    created_at: time,
                    triggered_at: None,
                    filled: Quantity::ZERO,
                    executed_value: Amount::ZERO,
                    fees: Amount::ZERO,
                    remaining: details.size,
                    hold,
                    fee_parts: 0,
                    maker_rate,
                    taker_rate,
                    status: match details.stop {
                        Some(_) if sequence == 0 => OrderStatus::Active,
                        _ => OrderStatus::Pending,
                    },
                    done: None,
                });
            }
            Event::OrderTriggered {
                order,
                member,
                sequence,
                ..
            } => {
                state.market(order.instrument).book.advance(sequence);
                if let Some(view) = state.member(member).order_mut(order) {
                    view.triggered_at = Some(time);
                    view.status = OrderStatus::Pending;
                }
            }
            Event::OrderOpened {
                order,
                member,
                sequence,
                side,
                price,
                visible,
                remaining,
            } => {
                let book = &mut state.market(order.instrument).book;
                book.advance(sequence);
                book.join(
                    side,
                    BookOrder {
                        order,
                        member,
                        price,
                        visible,
                    },
                );
                let (markets, members) = (&state.markets, &mut state.members);
                let product = &markets[order.instrument.0 as usize].product;
                if let Some(view) = members[member.0 as usize].order_mut(order) {
                    view.status = OrderStatus::Open;
                    view.remaining = remaining;
                    view.hold = view.resting_hold(product);
                }
            }
            Event::OrderAmended {
                order,
                member,
                sequence,
                price,
                size,
                visible,
                remaining,
                hold,
                kept_priority,
                ..
            } => {
                if sequence != 0 {
                    let book = &mut state.market(order.instrument).book;
                    book.advance(sequence);
                    book.show(
                        order,
                        if kept_priority {
                            visible
                        } else {
                            Quantity::ZERO
                        },
                    );
                }
                if let Some(view) = state.member(member).order_mut(order) {
                    view.details.price = price;
                    view.details.size = size;
                    view.remaining = remaining;
                    view.hold = hold;
                    if sequence != 0 && !kept_priority {
                        view.status = OrderStatus::Pending;
                    }
                }
            }
            Event::OrderDone {
                order,
                member,
                sequence,
                remaining,
                reason,
                ..
            } => {
                let book = &mut state.market(order.instrument).book;
                book.advance(sequence);
                book.leave(order);
                let config = self.config;
                let member = state.member(member);
                if let Some(view) = member.order_mut(order) {
                    view.status = OrderStatus::Done;
                    view.remaining = remaining;
                    view.hold = Amount::ZERO;
                    view.done = Some(OrderDoneView { reason, at: time });
                }
                member.end_order(&config, order);
            }
            Event::AuctionIndicated {
                instrument,
                price,
                volume,
                surplus_side,
                surplus,
            } => state
                .market(instrument)
                .book
                .set_indication(Some(AuctionIndication {
                    price,
                    volume,
                    surplus_side,
                    surplus,
                })),
            Event::AuctionUncrossed { instrument, .. } => {
                state.market(instrument).book.set_indication(None);
            }
            _ => {}
        }
    }

    pub(crate) fn apply_trade(&mut self, time: Timestamp, event: &Event) {
        let Event::Traded {
            trade,
            sequence,
            maker_order,
            taker_order,
            maker,
            taker,
            maker_side,
            price,
            quantity,
            notional,
            maker_fee,
            taker_fee,
            maker_remaining,
            maker_visible,
            taker_remaining,
            auction,
        } = *event
        else {
            return;
        };
        let config = self.config;
        let state = &mut self.state;
        let market = state.market(maker_order.instrument);
        market.book.advance(sequence);
        market.book.show(maker_order, maker_visible);
        if auction {
            // The taker rests, too. A hidden rest comes back with its own `OrderOpened`.
            let shown = market.book.visible_of(taker_order);
            let left = Quantity(shown.0.saturating_sub(quantity.0));
            market.book.show(taker_order, left.min(taker_remaining));
        }
        market.add_trade(
            &config,
            TradeView {
                trade,
                sequence,
                time,
                price,
                size: quantity,
                maker_side,
                maker_order,
                taker_order,
                maker,
                taker,
                auction,
            },
        );
        let base_atoms = market.product.base_atoms(quantity);
        let (base, quote) = (market.product.base.id, market.product.quote.id);
        let instrument = maker_order.instrument.0 as usize;
        let sides = [
            (maker, maker_order, maker_side, maker_fee, Liquidity::Maker),
            (
                taker,
                taker_order,
                maker_side.opposite(),
                taker_fee,
                Liquidity::Taker,
            ),
        ];
        for (member, order, side, fee, liquidity) in sides {
            let remaining = match liquidity {
                Liquidity::Maker => maker_remaining,
                Liquidity::Taker => taker_remaining,
            };
            let (markets, members) = (&state.markets, &mut state.members);
            let records = &mut members[member.0 as usize];
            records.add_fill(
                &config,
                FillView {
                    id: 0,
                    trade,
                    instrument: order.instrument,
                    order,
                    side,
                    price,
                    size: quantity,
                    notional,
                    fee,
                    liquidity,
                    created_at: time,
                },
            );
            // A member that trades with itself earns no lower fees by it.
            if maker != taker {
                let volume = records.volumes.entry(quote).or_default();
                volume.add(time.day(), notional);
            }
            if let Some(view) = records.order_mut(order) {
                let rests = auction || liquidity == Liquidity::Maker;
                let rate = if rests {
                    view.maker_rate
                } else {
                    view.taker_rate
                };
                view.fee_parts += notional.0.saturating_mul(i128::from(rate.0));
                view.remaining = remaining;
                if rests {
                    view.hold = view.resting_hold(&markets[instrument].product);
                }
            }
            let detail = LedgerDetail::Trade {
                order,
                trade,
                instrument: order.instrument,
            };
            let (base_change, quote_change) = match side {
                Side::Buy => (base_atoms.0, -notional.0),
                Side::Sell => (-base_atoms.0, notional.0),
            };
            let kind = LedgerKind::Match;
            state.post(&config, time, member, base, base_change, kind, detail);
            state.post(&config, time, member, quote, quote_change, kind, detail);
            let kind = if fee.0 > 0 {
                LedgerKind::Fee
            } else {
                LedgerKind::Rebate
            };
            state.post(&config, time, member, quote, -fee.0, kind, detail);
        }
    }
}

impl State {
    pub(crate) fn market(&mut self, id: InstrumentId) -> &mut Market {
        self.markets
            .get_mut(id.0 as usize)
            .expect("invariant: an event's instrument was added before")
    }

    pub(crate) fn member(&mut self, id: MemberId) -> &mut Member {
        self.members
            .get_mut(id.0 as usize)
            .expect("invariant: an event's member was added before")
    }

    fn set_killed(&mut self, member: Option<MemberId>, killed: bool) {
        match member {
            Some(member) => self.member(member).killed = killed,
            None => self.killed = killed,
        }
    }
}

fn product_of(assets: &[AssetView], id: InstrumentId, instrument: Instrument) -> Product {
    let asset = |id: AssetId| {
        *assets
            .get(id.0 as usize)
            .expect("invariant: an instrument's assets were added before")
    };
    let (base, quote) = (asset(instrument.base), asset(instrument.quote));
    Product {
        id,
        symbol: format!("{}-{}", base.code, quote.code),
        instrument,
        phase: everopen_domain::TradingPhase::CancelOnly,
        base,
        quote,
    }
}

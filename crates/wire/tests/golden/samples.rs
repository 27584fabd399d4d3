//! One of each kind, with a distinct value in every field, so that two fields in each other's
//! place show.

use everopen_domain::snapshot::{
    AccountOwner, AccountSnapshot, AssetSnapshot, InstrumentSnapshot, MemberSnapshot,
    OrderSnapshot, VenueSnapshot, VolumeSnapshot, WithdrawalSnapshot,
};
use everopen_domain::{
    AmendOrder, Amount, AssetId, CancelReason, Command, DoneReason, Event, FeeScheduleId, FeeTier,
    FeeTiers, Instrument, InstrumentId, InstrumentLimits, MemberId, MemberLimits, NewOrder,
    OrderId, OrderLimits, OrderTarget, OrderType, Price, Quantity, Rate, RejectReason,
    SelfTradePrevention, Side, Stop, StopDirection, Text, TimeInForce, Timestamp, TradeId,
    TradingPhase, TransferId,
};

/// 2025-01-02T03:04:05.000000006 UTC.
pub const TIME: Timestamp = Timestamp(1_735_787_045_000_000_006);

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::new(text.as_bytes()).unwrap()
}

const MEMBER: MemberId = MemberId(0x0102_0304);
const OTHER: MemberId = MemberId(7);
const ASSET: AssetId = AssetId(8_849);
const INSTRUMENT: InstrumentId = InstrumentId(0x0a0b);
const ORDER: OrderId = OrderId {
    sequence: 0x00ab_cdef_0123_4567,
    instrument: INSTRUMENT,
    slot: 0xfedc_ba98,
};
const MAKER: OrderId = OrderId {
    sequence: 1_000_001,
    instrument: INSTRUMENT,
    slot: 12,
};

fn limits() -> InstrumentLimits {
    InstrumentLimits {
        tick: Price(5),
        lot: Quantity(6),
        min_size: Quantity(60),
        max_size: Quantity(6_000_000),
        min_notional: Amount(1_000_000),
        max_notional: Amount(1 << 100),
        price_band: Rate(50_000),
        fee_schedule: FeeScheduleId(3),
        allow_self_trade: true,
    }
}

fn instrument() -> Instrument {
    Instrument {
        base: ASSET,
        quote: AssetId(1),
        price_decimals: 2,
        size_decimals: 8,
        limits: limits(),
    }
}

fn tiers() -> FeeTiers {
    let mut tiers = FeeTiers {
        volume_asset: AssetId(1),
        len: 2,
        ..FeeTiers::default()
    };
    tiers.tiers[0] = tier(0, 4_000, 6_000);
    tiers.tiers[1] = tier(1_000_000_000_000_000_000_000_000, -50, 500);
    tiers
}

fn tier(min_volume: i128, maker: i32, taker: i32) -> FeeTier {
    FeeTier {
        min_volume: Amount(min_volume),
        maker: Rate(maker),
        taker: Rate(taker),
    }
}

fn plain_limit() -> NewOrder {
    NewOrder {
        instrument: INSTRUMENT,
        side: Side::Sell,
        price: Price(6_423_115),
        size: Quantity(150_000_000),
        client_order_id: text("c-000000000017"),
        ..NewOrder::default()
    }
}

/// All fields given, though no venue would take them together.
fn full_order() -> NewOrder {
    NewOrder {
        instrument: INSTRUMENT,
        side: Side::Sell,
        order_type: OrderType::Market,
        price: Price(Price::MAX.0),
        size: Quantity(2),
        funds: Amount(3),
        time_in_force: TimeInForce::FillOrKill,
        expires_at: Timestamp(4),
        post_only: true,
        display_size: Quantity(5),
        stop: Some(Stop {
            direction: StopDirection::Entry,
            price: Price(6),
        }),
        self_trade_prevention: SelfTradePrevention::Allow,
        client_order_id: text("6ba7b810-9dad-41d1-80b4-00c04fd430c8"),
    }
}

fn market_by_funds() -> NewOrder {
    NewOrder {
        instrument: INSTRUMENT,
        order_type: OrderType::Market,
        funds: Amount(10_000_000_000_000_000_000_000),
        time_in_force: TimeInForce::ImmediateOrCancel,
        self_trade_prevention: SelfTradePrevention::CancelNewest,
        ..NewOrder::default()
    }
}

fn member_limits() -> MemberLimits {
    MemberLimits {
        max_open_orders: 500,
        message_rate: 20,
        message_burst: 30,
    }
}

fn order_limits() -> OrderLimits {
    OrderLimits {
        max_size: Quantity(9),
        max_notional: Amount(10),
    }
}

/// The kinds of command that came after version 1 of entries.
pub fn later_commands() -> Vec<Command> {
    vec![Command::ActivateLogic { version: 0x0405 }]
}

/// The kinds of event that came with them.
pub fn later_events() -> Vec<Event> {
    vec![Event::LogicActivated { version: 0x0607 }]
}

/// At least one of each kind that logs of entry version 1 have.
pub fn commands() -> Vec<Command> {
    let place = |order| Command::PlaceOrder {
        member: MEMBER,
        order,
    };
    vec![
        Command::Tick,
        Command::AddAsset {
            code: text("BTC"),
            decimals: 8,
        },
        Command::AddInstrument {
            instrument: instrument(),
        },
        Command::AmendInstrument {
            instrument: INSTRUMENT,
            limits: limits(),
        },
        Command::SetTradingPhase {
            instrument: INSTRUMENT,
            phase: TradingPhase::Auction,
        },
        Command::SetReferencePrice {
            instrument: INSTRUMENT,
            price: Price(77),
        },
        Command::SetFeeSchedule {
            schedule: FeeScheduleId(3),
            tiers: tiers(),
        },
        Command::AddMember {
            code: text("northwind"),
        },
        Command::SetMemberLimits {
            member: MEMBER,
            limits: member_limits(),
        },
        Command::SetOrderLimits {
            member: MEMBER,
            instrument: INSTRUMENT,
            limits: order_limits(),
        },
        Command::EngageKillSwitch {
            member: Some(MEMBER),
        },
        Command::EngageKillSwitch { member: None },
        Command::ReleaseKillSwitch {
            member: Some(OTHER),
        },
        Command::ReleaseKillSwitch { member: None },
        place(plain_limit()),
        place(full_order()),
        place(market_by_funds()),
        Command::AmendOrder {
            member: MEMBER,
            amendment: AmendOrder {
                target: OrderTarget::Order(ORDER),
                price: Price(8),
                size: Quantity(9),
            },
        },
        Command::ReplaceOrder {
            member: MEMBER,
            target: OrderTarget::Client(text("old one")),
            order: plain_limit(),
        },
        Command::CancelOrder {
            member: MEMBER,
            target: OrderTarget::Order(ORDER),
        },
        Command::CancelOrders {
            member: MEMBER,
            instrument: Some(INSTRUMENT),
            reason: CancelReason::Disconnected,
        },
        Command::CancelOrders {
            member: MEMBER,
            instrument: None,
            reason: CancelReason::Requested,
        },
        Command::Deposit {
            member: MEMBER,
            asset: ASSET,
            amount: Amount(123_456_789_012_345_678_901_234_567_890),
            reference: text("wire 17"),
        },
        Command::RequestWithdrawal {
            member: MEMBER,
            asset: ASSET,
            amount: Amount(11),
            reference: text("out 18"),
            destination: text("bank:DE00 0000 0000 0000 0000 00"),
        },
        Command::CompleteWithdrawal {
            transfer: TransferId(19),
        },
        Command::CancelWithdrawal {
            transfer: TransferId(20),
        },
        Command::Transfer {
            from: MEMBER,
            to: OTHER,
            asset: ASSET,
            amount: Amount(-1),
            reference: text(""),
        },
    ]
}

/// At least one of each kind that came from them.
#[allow(clippy::too_many_lines)]
pub fn events() -> Vec<Event> {
    vec![
        Event::CommandRejected {
            reason: RejectReason::AssetCodeTaken,
        },
        Event::AssetAdded {
            asset: ASSET,
            code: text("BTC"),
            decimals: 8,
        },
        Event::InstrumentAdded {
            id: INSTRUMENT,
            instrument: instrument(),
        },
        Event::InstrumentAmended {
            instrument: INSTRUMENT,
            limits: limits(),
        },
        Event::TradingPhaseChanged {
            instrument: INSTRUMENT,
            phase: TradingPhase::Online,
        },
        Event::ReferencePriceSet {
            instrument: INSTRUMENT,
            price: Price(77),
        },
        Event::FeeTierSet {
            schedule: FeeScheduleId(3),
            volume_asset: AssetId(1),
            level: 1,
            levels: 2,
            tier: tier(99, -50, 500),
        },
        Event::MemberAdded {
            member: MEMBER,
            code: text("northwind"),
        },
        Event::MemberLimitsSet {
            member: MEMBER,
            limits: member_limits(),
        },
        Event::OrderLimitsSet {
            member: MEMBER,
            instrument: INSTRUMENT,
            limits: order_limits(),
        },
        Event::KillSwitchEngaged {
            member: Some(MEMBER),
        },
        Event::KillSwitchReleased { member: None },
        Event::OrderAccepted {
            order: ORDER,
            member: MEMBER,
            sequence: 21,
            details: plain_limit(),
            hold: Amount(22),
            maker_rate: Rate(-23),
            taker_rate: Rate(24),
        },
        Event::OrderRejected {
            member: MEMBER,
            instrument: INSTRUMENT,
            client_order_id: text("c-18"),
            reason: RejectReason::InsufficientFunds,
        },
        Event::OrderTriggered {
            order: ORDER,
            member: MEMBER,
            sequence: 25,
            trigger_price: Price(26),
        },
        Event::OrderOpened {
            order: ORDER,
            member: MEMBER,
            sequence: 27,
            side: Side::Sell,
            price: Price(28),
            visible: Quantity(29),
            remaining: Quantity(30),
        },
        Event::OrderAmended {
            order: ORDER,
            member: MEMBER,
            sequence: 31,
            side: Side::Sell,
            old_price: Price(32),
            price: Price(33),
            size: Quantity(34),
            old_visible: Quantity(35),
            visible: Quantity(36),
            remaining: Quantity(37),
            hold: Amount(38),
            kept_priority: true,
            self_trade: false,
        },
        Event::AmendRejected {
            member: MEMBER,
            target: OrderTarget::Order(ORDER),
            reason: RejectReason::AmendSizeFilled,
        },
        Event::CancelRejected {
            member: MEMBER,
            target: OrderTarget::Client(text("gone")),
            reason: RejectReason::OrderNotFound,
        },
        Event::Traded {
            trade: TradeId(39),
            sequence: 40,
            maker_order: MAKER,
            taker_order: ORDER,
            maker: OTHER,
            taker: MEMBER,
            maker_side: Side::Sell,
            price: Price(41),
            quantity: Quantity(42),
            notional: Amount(43),
            maker_fee: Amount(-44),
            taker_fee: Amount(45),
            maker_remaining: Quantity(46),
            maker_visible: Quantity(47),
            taker_remaining: Quantity(48),
            auction: true,
        },
        Event::OrderDone {
            order: ORDER,
            member: MEMBER,
            sequence: 49,
            side: Side::Sell,
            price: Price(50),
            visible: Quantity(51),
            remaining: Quantity(52),
            reason: DoneReason::Filled,
        },
        Event::OrderDone {
            order: ORDER,
            member: MEMBER,
            sequence: 53,
            side: Side::Buy,
            price: Price(54),
            visible: Quantity(55),
            remaining: Quantity(56),
            reason: DoneReason::Canceled(CancelReason::NotAccepted),
        },
        Event::AuctionIndicated {
            instrument: INSTRUMENT,
            price: Price(57),
            volume: Quantity(58),
            surplus_side: Side::Sell,
            surplus: Quantity(59),
        },
        Event::AuctionUncrossed {
            instrument: INSTRUMENT,
            price: Price(60),
            volume: Quantity(61),
        },
        Event::Deposited {
            transfer: TransferId(62),
            member: MEMBER,
            asset: ASSET,
            amount: Amount(63),
            reference: text("wire 17"),
        },
        Event::WithdrawalRequested {
            transfer: TransferId(64),
            member: MEMBER,
            asset: ASSET,
            amount: Amount(65),
            reference: text("out 18"),
            destination: text("bank:DE00 0000 0000 0000 0000 00"),
        },
        Event::WithdrawalCompleted {
            transfer: TransferId(66),
            member: MEMBER,
            asset: ASSET,
            amount: Amount(67),
        },
        Event::WithdrawalCanceled {
            transfer: TransferId(68),
            member: MEMBER,
            asset: ASSET,
            amount: Amount(69),
        },
        Event::Transferred {
            transfer: TransferId(70),
            from: MEMBER,
            to: OTHER,
            asset: ASSET,
            amount: Amount(71),
            reference: text("in house"),
        },
        Event::BalanceChanged {
            member: MEMBER,
            asset: ASSET,
            available: Amount(72),
            held: Amount(i128::MAX),
        },
    ]
}

fn order(details: NewOrder, number: u64) -> OrderSnapshot {
    OrderSnapshot {
        order: OrderId {
            sequence: number,
            ..ORDER
        },
        member: MEMBER,
        details,
        accepted_at: Timestamp(TIME.0 + number),
        visible: Quantity(number + 1),
        remaining: Quantity(number + 2),
        hold: Amount(i128::from(number) + 3),
        maker_rate: Rate(-4),
        taker_rate: Rate(5),
        fee_slack: 999_999,
    }
}

/// A state with at least one item in every list.
pub fn snapshot() -> VenueSnapshot {
    let account = |owner, available, held| AccountSnapshot {
        owner,
        asset: ASSET,
        available: Amount(available),
        held: Amount(held),
    };
    VenueSnapshot {
        time: TIME,
        last_order_sequence: 100,
        last_transfer: TransferId(101),
        killed: true,
        assets: vec![
            AssetSnapshot {
                code: text("USD"),
                decimals: 2,
            },
            AssetSnapshot {
                code: text("BTC"),
                decimals: 8,
            },
        ],
        fee_schedules: vec![(FeeScheduleId(3), tiers())],
        members: vec![MemberSnapshot {
            code: text("northwind"),
            killed: false,
            limits: member_limits(),
            message_tokens: 102,
            message_time: Timestamp(103),
            volumes: vec![VolumeSnapshot {
                asset: ASSET,
                day: 20_090,
                days: (0..30).map(|day| Amount(1_000 + day)).collect(),
            }],
            recent_client_order_ids: vec![text("c-1"), text("c-2")],
            recent_references: vec![text("wire 17")],
        }],
        order_limits: vec![(MEMBER, INSTRUMENT, order_limits())],
        accounts: vec![
            account(AccountOwner::External, -600, 0),
            account(AccountOwner::Fees, 100, 0),
            account(AccountOwner::Member(MEMBER), 200, 300),
        ],
        withdrawals: vec![WithdrawalSnapshot {
            transfer: TransferId(104),
            member: MEMBER,
            asset: ASSET,
            amount: Amount(105),
            destination: text("bank:DE00 0000 0000 0000 0000 00"),
        }],
        instruments: vec![InstrumentSnapshot {
            instrument: instrument(),
            phase: TradingPhase::LimitOnly,
            sequence: 106,
            last_trade: TradeId(107),
            last_price: Price(108),
            reference_price: Price(109),
            bids: vec![order(plain_limit(), 110), order(plain_limit(), 120)],
            asks: vec![order(plain_limit(), 130)],
            stops: vec![order(full_order(), 140)],
            free_slots: vec![150, 149],
        }],
        logic: 1,
    }
}

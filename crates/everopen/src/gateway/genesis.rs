//! The first entry of a new venue's log: assets, instruments, fees, members and their demo money.

use everopen_domain::{
    Amount, AssetCode, AssetId, Command, FeeScheduleId, FeeTier, FeeTiers, Instrument,
    InstrumentId, InstrumentLimits, MemberCode, MemberId, MemberLimits, Price, Quantity, Rate,
    Reference, TradingPhase,
};
use everopen_views::Views;

/// The member whose key `up` prints.
pub const DEMO_MEMBER: MemberId = MemberId(0);
/// The simulated market's members follow the demo member.
pub const MARKET_MEMBERS: u32 = 6;

/// An asset of the demo: its code, its decimals and how many whole units a member gets.
pub struct DemoAsset {
    pub code: &'static str,
    pub decimals: u8,
    pub demo_units: u64,
    pub market_units: u64,
}

/// An instrument of the demo.
pub struct DemoInstrument {
    base: u32,
    quote: u32,
    price_decimals: u8,
    size_decimals: u8,
    lot: u64,
    min_size: u64,
    max_size: u64,
    /// Whole units and decimals of the quote asset's atoms.
    min_notional: i128,
    /// Where the simulated market begins.
    pub start_price: u64,
    /// A usual order of the simulated market.
    pub typical_size: u64,
}

const USD: u32 = 0;
const BTC: u32 = 1;
const ETH: u32 = 2;
const SOL: u32 = 3;

pub const ASSETS: [DemoAsset; 4] = [
    DemoAsset {
        code: "USD",
        decimals: 10,
        demo_units: 1_000_000,
        market_units: 2_000_000_000_000,
    },
    DemoAsset {
        code: "BTC",
        decimals: 16,
        demo_units: 100,
        market_units: 20_000_000,
    },
    DemoAsset {
        code: "ETH",
        decimals: 18,
        demo_units: 1_000,
        market_units: 400_000_000,
    },
    DemoAsset {
        code: "SOL",
        decimals: 12,
        demo_units: 10_000,
        market_units: 5_000_000_000,
    },
];

pub const INSTRUMENTS: [DemoInstrument; 4] = [
    DemoInstrument {
        base: BTC,
        quote: USD,
        price_decimals: 2,
        size_decimals: 8,
        lot: 1,
        min_size: 1_000,
        max_size: 1_000 * 100_000_000,
        min_notional: 10_i128.pow(10),
        start_price: 6_000_000,
        typical_size: 5_000_000,
    },
    DemoInstrument {
        base: ETH,
        quote: USD,
        price_decimals: 2,
        size_decimals: 8,
        lot: 1,
        min_size: 10_000,
        max_size: 20_000 * 100_000_000,
        min_notional: 10_i128.pow(10),
        start_price: 250_000,
        typical_size: 100_000_000,
    },
    DemoInstrument {
        base: ETH,
        quote: BTC,
        price_decimals: 5,
        size_decimals: 8,
        lot: 1,
        min_size: 10_000,
        max_size: 20_000 * 100_000_000,
        min_notional: 10_i128.pow(16) / 100_000,
        start_price: 4_167,
        typical_size: 100_000_000,
    },
    DemoInstrument {
        base: SOL,
        quote: USD,
        price_decimals: 2,
        size_decimals: 8,
        lot: 100_000,
        min_size: 100_000,
        max_size: 500_000 * 100_000_000,
        min_notional: 10_i128.pow(10),
        start_price: 15_000,
        typical_size: 2_000_000_000,
    },
];

/// Volume from which a tier holds in whole dollars, maker and taker in parts per million: the
/// shape of a large venue's public schedule.
const TIERS: [(i128, i32, i32); 9] = [
    (0, 4_000, 6_000),
    (10_000, 2_500, 4_000),
    (50_000, 1_500, 2_500),
    (100_000, 1_000, 2_000),
    (1_000_000, 800, 1_800),
    (15_000_000, 600, 1_600),
    (75_000_000, 300, 1_200),
    (250_000_000, 0, 800),
    (400_000_000, 0, 500),
];

/// How far from the reference price the simulated market's instruments may trade.
const MARKET_BAND: Rate = Rate(100_000);

fn text<const N: usize>(s: &str) -> everopen_domain::Text<N> {
    s.parse()
        .expect("invariant: the demo's names are short printable ascii")
}

/// Whole units of a demo asset in atoms.
pub fn atoms(asset: usize, units: u64) -> Amount {
    Amount(i128::from(units) * 10_i128.pow(u32::from(ASSETS[asset].decimals)))
}

impl DemoInstrument {
    fn limits(&self, price_band: Rate) -> InstrumentLimits {
        InstrumentLimits {
            tick: Price(1),
            lot: Quantity(self.lot),
            min_size: Quantity(self.min_size),
            max_size: Quantity(self.max_size),
            min_notional: Amount(self.min_notional),
            max_notional: Amount::ZERO,
            price_band,
            fee_schedule: FeeScheduleId(0),
            allow_self_trade: false,
        }
    }
}

fn fee_tiers() -> FeeTiers {
    let mut tiers = [FeeTier::default(); 10];
    for (tier, (volume, maker, taker)) in tiers.iter_mut().zip(TIERS) {
        *tier = FeeTier {
            min_volume: Amount(volume * 10_i128.pow(u32::from(ASSETS[USD as usize].decimals))),
            maker: Rate(maker),
            taker: Rate(taker),
        };
    }
    FeeTiers {
        volume_asset: AssetId(USD),
        len: TIERS.len() as u8,
        tiers,
    }
}

fn fund(member: MemberId, units: impl Fn(&DemoAsset) -> u64, reference: &str) -> Vec<Command> {
    let deposit = |(asset, demo): (usize, &DemoAsset)| Command::Deposit {
        member,
        asset: AssetId(asset as u32),
        amount: atoms(asset, units(demo)),
        reference: text::<36>(&format!("{reference}-{}", demo.code)) as Reference,
    };
    ASSETS.iter().enumerate().map(deposit).collect()
}

/// What a new venue's log begins with.
pub fn venue() -> Vec<Command> {
    let mut commands = Vec::new();
    for asset in &ASSETS {
        let code: AssetCode = text(asset.code);
        commands.push(Command::AddAsset {
            code,
            decimals: asset.decimals,
        });
    }
    commands.push(Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: fee_tiers(),
    });
    for (id, demo) in INSTRUMENTS.iter().enumerate() {
        commands.push(Command::AddInstrument {
            instrument: Instrument {
                base: AssetId(demo.base),
                quote: AssetId(demo.quote),
                price_decimals: demo.price_decimals,
                size_decimals: demo.size_decimals,
                limits: demo.limits(Rate::ZERO),
            },
        });
        let instrument = InstrumentId(id as u32);
        commands.push(Command::SetTradingPhase {
            instrument,
            phase: TradingPhase::Online,
        });
    }
    let code: MemberCode = text("demo");
    commands.push(Command::AddMember { code });
    let limits = MemberLimits {
        max_open_orders: 5_000,
        message_rate: 0,
        message_burst: 0,
    };
    commands.push(Command::SetMemberLimits {
        member: DEMO_MEMBER,
        limits,
    });
    commands.extend(fund(DEMO_MEMBER, |asset| asset.demo_units, "opening"));
    for number in 1..=MARKET_MEMBERS {
        let code: MemberCode = text(&format!("market-{number}"));
        commands.push(Command::AddMember { code });
        commands.extend(fund(
            MemberId(number),
            |asset| asset.market_units,
            "opening",
        ));
    }
    commands
}

/// What the simulated market needs before its first order: where prices begin, and bands around
/// them. A venue without it has no reference price, so bands could not hold anyway.
pub fn market() -> Vec<Command> {
    let mut commands = Vec::new();
    for (id, demo) in INSTRUMENTS.iter().enumerate() {
        let instrument = InstrumentId(id as u32);
        commands.push(Command::SetReferencePrice {
            instrument,
            price: Price(demo.start_price),
        });
        commands.push(Command::AmendInstrument {
            instrument,
            limits: demo.limits(MARKET_BAND),
        });
    }
    commands
}

/// Whether [`market`] has not been executed and nothing has been traded that would go on without
/// it.
pub fn is_without_market(views: &Views) -> bool {
    views.products().all(|product| {
        views.last_price(product.id).is_none()
            && product.instrument.limits.price_band != MARKET_BAND
    })
}

/// Whether the venue has what [`venue`] gives it, whoever gave it.
///
/// # Errors
/// Says what differs.
pub fn check(views: &Views) -> Result<(), String> {
    for (id, demo) in ASSETS.iter().enumerate() {
        let there = views.asset(AssetId(id as u32));
        if there
            .is_none_or(|asset| asset.code.as_str() != demo.code || asset.decimals != demo.decimals)
        {
            return Err(format!("asset {id} is not {}", demo.code));
        }
    }
    for (id, demo) in INSTRUMENTS.iter().enumerate() {
        let there = views.product(InstrumentId(id as u32));
        let is_same = there.is_some_and(|product| {
            let instrument = &product.instrument;
            (instrument.base, instrument.quote) == (AssetId(demo.base), AssetId(demo.quote))
                && instrument.price_decimals == demo.price_decimals
                && instrument.size_decimals == demo.size_decimals
        });
        if !is_same {
            return Err(format!(
                "product {id} is not {}-{}",
                ASSETS[demo.base as usize].code, ASSETS[demo.quote as usize].code
            ));
        }
    }
    let names = (1..=MARKET_MEMBERS).map(|number| format!("market-{number}"));
    for (id, name) in (0u32..).zip(std::iter::once("demo".to_string()).chain(names)) {
        if views.member_by_code(&name) != Some(MemberId(id)) {
            return Err(format!("member {id} is not {name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use everopen_domain::{Event, LogIndex, Timestamp};
    use everopen_venue::Venue;

    fn apply(venue: &mut Venue, views: &mut Views, index: u64, commands: &[Command]) -> usize {
        let (index, time) = (LogIndex(index), Timestamp(index));
        let mut events: Vec<Event> = Vec::new();
        for command in commands {
            venue.apply(time, command, &mut events);
        }
        views.advance(index, time);
        events.iter().for_each(|e| views.apply(index, time, e));
        events
            .iter()
            .filter(|e| matches!(e, Event::CommandRejected { .. }))
            .count()
    }

    #[test]
    fn twice_is_as_good_as_once() {
        let (mut venue, mut views) = (Venue::new(), Views::new(everopen_views::Config::default()));
        assert!(check(&views).is_err());
        assert_eq!(apply(&mut venue, &mut views, 1, &super::venue()), 0);
        check(&views).unwrap();
        let funds = |views: &Views| {
            let accounts = views.accounts(DEMO_MEMBER);
            accounts.map(|a| format!("{a:?}")).collect::<Vec<_>>()
        };
        let before = funds(&views);
        assert!(apply(&mut venue, &mut views, 2, &super::venue()) > 0);
        check(&views).unwrap();
        assert_eq!(funds(&views), before, "no money came twice");
        assert!(is_without_market(&views));
        assert_eq!(apply(&mut venue, &mut views, 3, &market()), 0);
        assert!(!is_without_market(&views));
    }

    #[test]
    fn another_venue_is_told_apart() {
        let (mut venue, mut views) = (Venue::new(), Views::new(everopen_views::Config::default()));
        let other = Command::AddAsset {
            code: text("EUR"),
            decimals: 2,
        };
        apply(&mut venue, &mut views, 1, &[other]);
        apply(&mut venue, &mut views, 2, &super::venue());
        assert_eq!(check(&views), Err("asset 0 is not USD".into()));
    }
}

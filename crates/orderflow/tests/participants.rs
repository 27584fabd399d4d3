//! The lively market against a slow, obvious venue.

mod support;

use everopen_domain::{
    AssetCode, AssetId, Command, Event, Instrument, InstrumentId, InstrumentLimits, MemberCode,
    MemberId, Price, Quantity, Rate, RejectReason, Side, Timestamp, TradingPhase,
};
use everopen_orderflow::participants::{Config, Market, Participants};
use support::venue::Venue;

const START: Timestamp = Timestamp(1_767_623_400_000_000_000);
const STEP: u64 = 50_000_000;

fn markets() -> Vec<Market> {
    let market = |id: u32, price: u64, tick: u64, lot: u64, typical: u64, band: i32| Market {
        id: InstrumentId(id),
        instrument: Instrument {
            base: AssetId(id + 1),
            quote: AssetId(0),
            price_decimals: 2,
            size_decimals: 8,
            limits: InstrumentLimits {
                tick: Price(tick),
                lot: Quantity(lot),
                min_size: Quantity(lot * 10),
                max_size: Quantity(lot * 1_000_000),
                price_band: Rate(band),
                ..InstrumentLimits::default()
            },
        },
        base_decimals: 8,
        quote_decimals: 10,
        phase: TradingPhase::Online,
        start_price: Price(price),
        typical_size: Quantity(typical),
    };
    vec![
        market(0, 6_412_500, 1, 10_000, 5_000_000, 100_000),
        market(1, 310_025, 5, 100_000, 100_000_000, 50_000),
        // A price of a few ticks: everything rounds.
        market(2, 37, 1, 100_000_000, 100_000_000_000, 0),
    ]
}

struct World {
    venue: Venue,
    participants: Participants,
    now: Timestamp,
    commands: Vec<Command>,
    sent: u64,
    trades: u64,
}

impl World {
    fn new(seed: u64, config: Config) -> Self {
        let members: Vec<MemberId> = (0..6).map(MemberId).collect();
        let participants = Participants::new(seed, &markets(), &members, config);
        let mut venue = Venue::default();
        for (code, decimals) in [("USD", 10), ("BTC", 8), ("ETH", 8), ("PENNY", 8)] {
            let code = AssetCode::new(code.as_bytes()).unwrap();
            venue.apply(&Command::AddAsset { code, decimals });
        }
        for market in markets() {
            venue.apply(&Command::AddInstrument {
                instrument: market.instrument,
            });
            let phase = TradingPhase::Online;
            venue.apply(&Command::SetTradingPhase {
                instrument: market.id,
                phase,
            });
        }
        for member in &members {
            let code = MemberCode::new(format!("sim-{member}").as_bytes()).unwrap();
            venue.apply(&Command::AddMember { code });
        }
        for command in participants.funding() {
            venue.apply(&command);
        }
        let commands = Vec::new();
        Self {
            venue,
            participants,
            now: START,
            commands,
            sent: 0,
            trades: 0,
        }
    }

    fn step(&mut self, nanos: u64) {
        self.now = self.now.checked_add(nanos).unwrap();
        let expired = self.venue.tick(self.now);
        self.participants.observe(&expired);
        self.commands.clear();
        self.participants.step(self.now, &mut self.commands);
        for command in &self.commands {
            let events = self.venue.apply(command);
            let traded = |event: &&Event| matches!(event, Event::Traded { .. });
            self.trades += events.iter().filter(traded).count() as u64;
            self.participants.observe(&events);
        }
        self.sent += self.commands.len() as u64;
    }

    fn resting(&self) -> usize {
        let orders = |m: &support::venue::Market| m.resting.len() + m.waiting.len();
        self.venue.markets.iter().map(orders).sum()
    }
}

#[test]
fn the_market_lives_for_hours_with_two_sides_and_money_left() {
    let config = Config {
        commands_per_second: 40,
        ..Config::default()
    };
    let mut world = World::new(7, config);
    let mut one_sided = [0_u32; 3];
    let (mut samples, mut biggest) = (0, 0);
    let mut range = [(u64::MAX, 0_u64); 3];
    for step in 0..3 * 3_600 * 20 {
        world.step(STEP);
        if step > 1_200 && step % 20 == 0 {
            samples += 1;
            for (market, count) in one_sided.iter_mut().enumerate() {
                let id = InstrumentId(market as u32);
                let sides = [Side::Buy, Side::Sell].map(|side| world.venue.best(id, side));
                *count += u32::from(sides.contains(&None));
                let last = world.venue.markets[market].last.unwrap();
                range[market] = (range[market].0.min(last), range[market].1.max(last));
            }
            biggest = biggest.max(world.resting());
        }
    }
    assert_eq!(
        world.participants.open_orders(),
        world.resting(),
        "the view is the truth"
    );
    assert!(biggest <= 6 * 3 * 24, "{biggest} orders rest");
    for (market, count) in one_sided.into_iter().enumerate() {
        assert!(
            count * 200 < samples,
            "market {market}: one-sided in {count} of {samples}"
        );
        let start = markets()[market].start_price.0;
        let (low, high) = range[market];
        assert!(
            low >= start / 3 && high <= start * 3,
            "market {market}: {low} to {high}"
        );
        assert!(low < high, "market {market}: the price never moves");
    }
    for ((member, asset), balance) in &world.venue.balances {
        assert!(
            *balance > 0,
            "member {member} has {balance} of asset {asset}"
        );
    }
    let expected = 3 * 3_600 * 40;
    assert!(
        world.sent > expected * 9 / 10 && world.sent <= expected + 100,
        "{} sent",
        world.sent
    );
    assert!(
        world.trades * 20 > world.sent,
        "{} trades in {}",
        world.trades,
        world.sent
    );
    assert!(
        world.participants.news() > 60,
        "{} news",
        world.participants.news()
    );
    let rejected = world.participants.rejected();
    let refused: u64 = rejected.values().sum();
    assert!(
        refused * 5 < world.sent,
        "{refused} of {} refused: {rejected:?}",
        world.sent
    );
    let mistakes = [
        RejectReason::PriceOffTick,
        RejectReason::SizeOffLot,
        RejectReason::SizeTooSmall,
        RejectReason::SizeTooLarge,
        RejectReason::DisplaySizeInvalid,
        RejectReason::PriceMissing,
        RejectReason::InsufficientFunds,
    ];
    for reason in mistakes {
        assert!(!rejected.contains_key(&reason), "{rejected:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_commands_and_another_gives_others() {
    let run = |seed| {
        let mut world = World::new(seed, Config::default());
        let mut all = Vec::new();
        for _ in 0..400 {
            world.step(STEP);
            all.extend_from_slice(&world.commands);
        }
        all
    };
    let first = run(3);
    assert!(first.len() > 3_000);
    assert!(first == run(3), "two runs differ");
    assert!(first != run(4), "the seed does nothing");
}

#[test]
fn a_new_instance_takes_over_and_a_late_step_is_bounded() {
    let mut world = World::new(5, Config::default());
    (0..400).for_each(|_| world.step(STEP));
    assert!(world.resting() > 50);
    let members: Vec<MemberId> = (0..6).map(MemberId).collect();
    world.participants = Participants::new(6, &markets(), &members, Config::default());
    world.step(STEP);
    assert_eq!((world.resting(), world.participants.open_orders()), (0, 0));
    world.step(3_600 * Timestamp::NANOS_PER_SECOND);
    // Some turns are passed, since nobody has an order to change yet.
    assert!(
        (200..=256).contains(&world.commands.len()),
        "{}",
        world.commands.len()
    );
    (0..400).for_each(|_| world.step(STEP));
    assert_eq!(world.participants.open_orders(), world.resting());
}

#[test]
fn commands_that_are_turned_away_on_their_way_do_not_silence_anybody() {
    let mut world = World::new(5, Config::default());
    (0..100).for_each(|_| world.step(STEP));
    for _ in 0..600 {
        world.now = world.now.checked_add(STEP).unwrap();
        world.commands.clear();
        world.participants.step(world.now, &mut world.commands);
    }
    let before = world.trades;
    (0..400).for_each(|_| world.step(STEP));
    assert!(
        world.trades > before + 50,
        "{} trades after the gap",
        world.trades - before
    );
}

#[test]
fn phases_are_respected() {
    let mut world = World::new(9, Config::default());
    (0..200).for_each(|_| world.step(STEP));
    for (phase, quiet) in [
        (TradingPhase::CancelOnly, true),
        (TradingPhase::Auction, false),
        (TradingPhase::Online, false),
    ] {
        let instrument = InstrumentId(0);
        let events = world
            .venue
            .apply(&Command::SetTradingPhase { instrument, phase });
        world.participants.observe(&events);
        let mut placed = 0;
        for _ in 0..200 {
            world.step(STEP);
            placed += world
                .commands
                .iter()
                .filter(|command| match command {
                    Command::PlaceOrder { order, .. } => order.instrument == instrument,
                    _ => false,
                })
                .count();
        }
        assert_eq!(placed == 0, quiet, "{phase:?}: {placed} orders");
    }
    let rejected = world.participants.rejected();
    assert!(
        !rejected.contains_key(&RejectReason::CancelOnly),
        "{rejected:?}"
    );
    assert!(
        !rejected.contains_key(&RejectReason::AuctionPhase),
        "{rejected:?}"
    );
}

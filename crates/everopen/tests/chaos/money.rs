//! Accounts and members for tests, and amounts that are used once.

use everopen_client::{Client, Outcome, Refusal};
use everopen_domain::{
    Amount, AssetId, ClientOrderId, Command, Event, FeeScheduleId, FeeTiers, Instrument,
    InstrumentId, InstrumentLimits, MemberId, NewOrder, OrderType, Price, Quantity, Rate,
    Reference, Side, TimeInForce, TradingPhase,
};

use crate::until;

/// Assets that every venue here has: USD, BTC and two more.
pub const ASSETS: u32 = 4;
/// Enough for every order of a test.
const RICH: i128 = 10_i128.pow(24);

/// An account.
pub type Account = (MemberId, AssetId);

/// The `number`-th amount: no other number has it, and sums of a few tell which ones they are of.
/// Below 2^61.
pub fn amount(number: u64) -> i128 {
    assert!(number < 1 << 21, "amounts run out");
    let high = crate::Random(number).next() & ((1 << 40) - 1);
    i128::from((high << 21) | number)
}

/// Money without a reference: one that is applied twice must not be refused as known.
pub fn deposit((member, asset): Account, amount: i128) -> Command {
    Command::Deposit {
        member,
        asset,
        amount: Amount(amount),
        reference: Reference::default(),
    }
}

/// An order that is accepted and ends at once, since nobody sells.
pub fn order(member: MemberId, number: u64) -> Command {
    let id: ClientOrderId = number.to_string().parse().expect("an id");
    Command::PlaceOrder {
        member,
        order: NewOrder {
            instrument: InstrumentId(0),
            side: Side::Buy,
            order_type: OrderType::Limit,
            price: Price(10_000),
            size: Quantity(1_000_000),
            time_in_force: TimeInForce::ImmediateOrCancel,
            client_order_id: id,
            ..NewOrder::default()
        },
    }
}

/// Executes, as often as it takes; only for what may be done twice, or while nothing fails.
fn sure(client: &Client, commands: &[Command]) -> Outcome {
    until("the cluster takes a command", || {
        match client.execute(commands.to_vec()) {
            Ok(outcome) => Some(outcome),
            Err(Refusal::OutcomeUnknown) => panic!("outcome unknown while nothing fails"),
            Err(_) => None,
        }
    })
}

/// New members of a running venue, with money for orders.
pub fn members(client: &Client, prefix: &str, count: u32) -> Vec<MemberId> {
    let add = |number| Command::AddMember {
        code: format!("{prefix}{number}").parse().expect("a code"),
    };
    let outcome = sure(client, &(0..count).map(add).collect::<Vec<_>>());
    let added = outcome.events.iter().filter_map(|event| match event {
        Event::MemberAdded { member, .. } => Some(*member),
        _ => None,
    });
    let members: Vec<MemberId> = added.collect();
    assert_eq!(members.len(), count as usize, "{:?}", outcome.events);
    members
}

/// Gives members money to trade with.
pub fn fund(client: &Client, members: &[MemberId]) {
    let give = |member: &MemberId| deposit((*member, AssetId(0)), RICH);
    sure(client, &members.iter().map(give).collect::<Vec<_>>());
}

/// What a gateway does for a new venue: assets and a market.
pub fn open_market(client: &Client) {
    let code = |text: &str| text.parse().expect("a code");
    let mut commands: Vec<Command> = [("USD", 10), ("BTC", 8), ("ETH", 8), ("SOL", 8)]
        .into_iter()
        .map(|(asset, decimals)| Command::AddAsset {
            code: code(asset),
            decimals,
        })
        .collect();
    let mut tiers = FeeTiers {
        len: 1,
        ..FeeTiers::default()
    };
    tiers.tiers[0].taker = Rate(6_000);
    commands.push(Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers,
    });
    commands.push(Command::AddInstrument {
        instrument: Instrument {
            base: AssetId(1),
            quote: AssetId(0),
            price_decimals: 2,
            size_decimals: 8,
            limits: InstrumentLimits {
                tick: Price(1),
                lot: Quantity(1),
                min_size: Quantity(1),
                max_size: Quantity(1 << 40),
                ..InstrumentLimits::default()
            },
        },
    });
    commands.push(Command::SetTradingPhase {
        instrument: InstrumentId(0),
        phase: TradingPhase::Online,
    });
    let events = sure(client, &commands).events;
    let refused = |event: &&Event| matches!(event, Event::CommandRejected { .. });
    assert!(events.iter().find(refused).is_none(), "{events:?}");
}

//! A command port with a real venue behind it: applies, publishes, answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use everopen_domain::{
    Amount, AssetId, Command, Event, FeeScheduleId, FeeTier, FeeTiers, Instrument, InstrumentId,
    InstrumentLimits, LogIndex, MemberId, Price, Quantity, Rate, Timestamp, TradingPhase,
};
use everopen_gateway::feed::Feed;
use everopen_gateway::{BoxFuture, CommandPort, Outcome, PortError};
use everopen_venue::Venue;

pub const BTC: AssetId = AssetId(0);
pub const USD: AssetId = AssetId(1);
pub const BTC_USD: InstrumentId = InstrumentId(0);

pub struct VenuePort {
    state: Mutex<(Venue, LogIndex)>,
    feed: OnceLock<Arc<Feed>>,
    /// What the port says instead of submitting; none to submit.
    trouble: Mutex<Option<PortError>>,

    /// Whether the port fails as nothing should.
    pub panics: AtomicBool,
    /// What was answered elsewhere and has not come here; a barrier waits for it.
    pub elsewhere: Mutex<Vec<Command>>,
    /// While it is locked, commands wait .
    pub gate: tokio::sync::Mutex<()>,
}

impl VenuePort {
    pub fn new() -> Self {
        Self {
            state: Mutex::new((Venue::new(), LogIndex(0))),
            feed: OnceLock::new(),
            trouble: Mutex::new(None),
            panics: AtomicBool::new(false),
            elsewhere: Mutex::default(),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    pub fn publish_to(&self, feed: Arc<Feed>) {
        assert!(self.feed.set(feed).is_ok());
    }

    pub fn answer_with(&self, trouble: Option<PortError>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// The entries so far.
    pub fn index(&self) -> LogIndex {
        self.state.lock().unwrap().1
    }

    pub fn apply(&self, command: Command) -> Outcome {
        let mut state = self.state.lock().unwrap();
        let (venue, index) = &mut *state;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut events = Vec::new();
        venue.apply(Timestamp(now.as_nanos() as u64), &command, &mut events);
        index.0 += 1;
        let (index, time) = (*index, venue.time());
        self.feed.get().unwrap().publish(index, time, &events);
        Outcome {
            index,
            time,
            events,
        }
    }

    /// Adds a member with a million dollars and a hundred coins.
    pub fn add_member(&self, code: &str) -> MemberId {
        let outcome = self.apply(Command::AddMember {
            code: code.parse().unwrap(),
        });
        let Some(Event::MemberAdded { member, .. }) = outcome.events.first() else {
            panic!("no member: {:?}", outcome.events);
        };
        for (asset, amount) in [
            (USD, 1_000_000 * 10_i128.pow(10)),
            (BTC, 100 * 10_i128.pow(8)),
        ] {
            self.apply(Command::Deposit {
                member: *member,
                asset,
                amount: Amount(amount),
                reference: Default::default(),
            });
        }
        *member
    }
}

impl CommandPort for VenuePort {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Outcome, PortError>> {
        Box::pin(async move {
            let _open = self.gate.lock().await;
            assert!(!self.panics.load(Ordering::Relaxed), "a panic on purpose");
            let trouble = *self.trouble.lock().unwrap();
            match trouble {
                Some(trouble) => Err(trouble),
                None => Ok(self.apply(command)),
            }
        })
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, PortError>> {
        Box::pin(async move {
            let trouble = *self.trouble.lock().unwrap();
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            for command in self.elsewhere.lock().unwrap().drain(..) {
                self.apply(command);
            }
            Ok(self.index())
        })
    }
}

/// Two assets, fees of 0.1 % and 0.2 %, and `BTC-USD` with ticks of a cent.
pub fn set_up(port: &VenuePort) {
    let asset = |code: &str, decimals| Command::AddAsset {
        code: code.parse().unwrap(),
        decimals,
    };
    port.apply(asset("BTC", 8));
    port.apply(asset("USD", 10));
    let mut tiers = FeeTiers {
        volume_asset: USD,
        len: 1,
        ..FeeTiers::default()
    };
    tiers.tiers[0] = FeeTier {
        min_volume: Amount(0),
        maker: Rate(1_000),
        taker: Rate(2_000),
    };
    port.apply(Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers,
    });
    port.apply(Command::AddInstrument {
        instrument: Instrument {
            base: BTC,
            quote: USD,
            price_decimals: 2,
            size_decimals: 8,
            limits: InstrumentLimits {
                tick: Price(1),
                lot: Quantity(1),
                min_size: Quantity(1_000),
                max_size: Quantity(1_000_000_000_000),
                ..InstrumentLimits::default()
            },
        },
    });
    let phase = TradingPhase::Online;
    let outcome = port.apply(Command::SetTradingPhase {
        instrument: BTC_USD,
        phase,
    });
    assert!(
        outcome
            .events
            .iter()
            .any(|event| matches!(event, Event::TradingPhaseChanged { .. })),
        "{:?}",
        outcome.events
    );
}

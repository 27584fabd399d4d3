//! The channels and sets of them.

/// A channel of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub(super) enum Channel {
    Level2 = 1 << 0,
    Level2Batch = 1 << 1,
    Level250 = 1 << 2,
    Matches = 1 << 3,
    Ticker = 1 << 4,
    TickerBatch = 1 << 5,
    Full = 1 << 6,
    Level3 = 1 << 7,
    User = 1 << 8,
    Heartbeat = 1 << 9,
    Auction = 1 << 10,
    Status = 1 << 11,
    Balance = 1 << 12,
}

impl Channel {
    pub const ALL: [Self; 13] = [
        Self::Level2,
        Self::Level2Batch,
        Self::Level250,
        Self::Matches,
        Self::Ticker,
        Self::TickerBatch,
        Self::Full,
        Self::Level3,
        Self::User,
        Self::Heartbeat,
        Self::Auction,
        Self::Status,
        Self::Balance,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Level2 => "level2",
            Self::Level2Batch => "level2_batch",
            Self::Level250 => "level2_50",
            Self::Matches => "matches",
            Self::Ticker => "ticker",
            Self::TickerBatch => "ticker_batch",
            Self::Full => "full",
            Self::Level3 => "level3",
            Self::User => "user",
            Self::Heartbeat => "heartbeat",
            Self::Auction => "auctionfeed",
            Self::Status => "status",
            Self::Balance => "balance",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Whether it is about one product at a time.
    pub const fn is_per_product(self) -> bool {
        !matches!(self, Self::Status | Self::Balance)
    }

    /// Whether only a signed subscribe may have it.
    pub const fn is_private(self) -> bool {
        matches!(self, Self::User | Self::Balance)
    }
}

/// A set of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels(u16);

impl Channels {
    pub const NONE: Self = Self(0);
    /// Those whose messages come from a timer with the levels that changed.
    pub const BATCHED_LEVELS: Self = Self::NONE
        .with(Channel::Level2Batch)
        .with(Channel::Level250);

    pub const fn with(self, channel: Channel) -> Self {
        Self(self.0 | channel as u16)
    }

    pub const fn without(self, channel: Channel) -> Self {
        Self(self.0 & !(channel as u16))
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, channel: Channel) -> bool {
        self.0 & channel as u16 != 0
    }

    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

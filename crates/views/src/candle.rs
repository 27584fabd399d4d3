//! Candles of every granularity, and what rolls with them: 24-hour statistics, 30-day volume.

use std::collections::VecDeque;

use everopen_domain::{Price, Quantity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::{Config, push_bounded};

/// How long a candle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// 60 seconds.
    Minute,
    /// 300 seconds.
    FiveMinutes,
    /// 900 seconds.
    QuarterHour,
    /// 3,600 seconds.
    Hour,
    /// 21,600 seconds.
    SixHours,
    /// 86,400 seconds.
    Day,
}

impl Granularity {
    /// All, shortest first.
    pub const ALL: [Self; 6] = [
        Self::Minute,
        Self::FiveMinutes,
        Self::QuarterHour,
        Self::Hour,
        Self::SixHours,
        Self::Day,
    ];

    /// Its length.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::SixHours => 21_600,
            Self::Day => 86_400,
        }
    }

    /// The granularity of this length, if there is one.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.seconds() == seconds)
    }
}

/// The trades of one span of time. Spans without a trade have no candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    /// The beginning, in seconds since 1970 UTC; a multiple of the granularity.
    pub start: u64,
    /// The first trade's price.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last trade's price.
    pub close: Price,
    /// The sum of sizes.
    pub volume: u128,
    /// How many trades.
    pub trades: u64,
}

impl Candle {
    fn add(&mut self, price: Price, quantity: Quantity) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume += u128::from(quantity.0);
        self.trades += 1;
    }
}

/// What 24 hours amount to, without the price of the last trade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub volume: u128,
    pub trades: u64,
}

impl Day {
    fn of<'a>(candles: impl Iterator<Item = &'a Candle>) -> Self {
        let mut day = Self::default();
        for candle in candles {
            if day.trades == 0 {
                (day.open, day.high, day.low) = (candle.open, candle.high, candle.low);
            }
            day.high = day.high.max(candle.high);
            day.low = day.low.min(candle.low);
            day.volume += candle.volume;
            day.trades += candle.trades;
        }
        day
    }
}

/// The candles of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candles {
    /// In the order of [`Granularity::ALL`].
    series: [VecDeque<Candle>; 6],
    /// The minute, in minutes since 1970, for which the fields below hold.
    minute: u64,
    /// Where the last 24 hours begin among the minute candles.
    day_from: u32,
    /// Where the last 30 days begin among the minute candles.
    month_from: u32,
    day: Day,
    month_volume: u128,
}

const DAY_MINUTES: u64 = 1_440;
const MONTH_MINUTES: u64 = 30 * DAY_MINUTES;

impl Candles {
    pub fn add(&mut self, config: &Config, time: Timestamp, price: Price, quantity: Quantity) {
        let seconds = time.0 / Timestamp::NANOS_PER_SECOND;
        self.roll(seconds / 60);
        for (granularity, series) in Granularity::ALL.into_iter().zip(&mut self.series) {
            let start = seconds - seconds % granularity.seconds();
            // Time never goes backwards, so only the last candle can be meant.
            if let Some(last) = series.back_mut()
                && last.start == start
            {
                last.add(price, quantity);
                continue;
            }
            let candle = Candle {
                start,
                open: price,
                high: price,
                low: price,
                close: price,
                volume: u128::from(quantity.0),
                trades: 1,
            };
            if granularity == Granularity::Minute {
                while series.len() >= config.minute_candles as usize {
                    let dropped = series.pop_front().expect("invariant: series is not empty");
                    // What is dropped while it still counts is lost to the statistics.
                    match self.month_from {
                        0 => self.month_volume -= dropped.volume,
                        _ => self.month_from -= 1,
                    }
                    match self.day_from {
                        0 => self.day = Day::of(series.iter()),
                        _ => self.day_from -= 1,
                    }
                }
                series.push_back(candle);
            } else {
                push_bounded(series, candle, config.larger_candles);
            }
        }
        if self.day.trades == 0 {
            (self.day.open, self.day.high, self.day.low) = (price, price, price);
        }
        self.day.high = self.day.high.max(price);
        self.day.low = self.day.low.min(price);
        self.day.volume += u128::from(quantity.0);
        self.day.trades += 1;
        self.month_volume += u128::from(quantity.0);
    }

    /// Lets what is older than 24 hours and 30 days fall out, now that it is `minute`.
    pub fn roll(&mut self, minute: u64) {
        if minute <= self.minute {
            return;
        }
        self.minute = minute;
        let minutes = &self.series[0];
        while let Some(candle) = minutes.get(self.month_from as usize)
            && candle.start / 60 + MONTH_MINUTES <= minute
        {
            self.month_volume -= candle.volume;
            self.month_from += 1;
        }
        let day_from = self.day_from;
        while let Some(candle) = minutes.get(self.day_from as usize)
            && candle.start / 60 + DAY_MINUTES <= minute
        {
            self.day_from += 1;
        }
        if self.day_from != day_from {
            self.day = Day::of(minutes.range(self.day_from as usize..));
        }
    }

    pub fn day(&self) -> Day {
        self.day
    }

    pub fn month_volume(&self) -> u128 {
        self.month_volume
    }

    /// Candles that begin within `start..=end` (seconds), newest first.
    pub fn list(
        &self,
        granularity: Granularity,
        start: u64,
        end: u64,
    ) -> impl Iterator<Item = &Candle> + '_ {
        let series = &self.series[granularity as usize];
        let from = series.partition_point(|candle| candle.start < start);
        let to = series.partition_point(|candle| candle.start <= end);
        series.range(from..to.max(from)).rev()
    }
}

//! Recorded feeds: the real files where they are at hand, damage of every kind.

mod support;

use std::collections::BTreeMap;

use everopen_orderflow::feed::{Clock, Compression, Feed, Format, Options};
use support::shared_market;

#[test]
fn the_real_itch_file_has_the_counted_messages() {
    let Some(path) = shared_market("smoke.itch.gz") else {
        return;
    };
    let mut feed = Feed::open(path, Options::default()).unwrap();
    assert_eq!(feed.format(), Format::Itch);
    assert_eq!(feed.compression(), Compression::Gzip);
    assert_eq!(feed.clock(), Clock::Midnight);
    let mut kinds = BTreeMap::new();
    for message in &mut feed {
        *kinds
            .entry(char::from(message.unwrap().kind))
            .or_insert(0_u32) += 1;
    }
    let counted = [
        ('A', 18_173),
        ('C', 26),
        ('D', 8_811),
        ('E', 271),
        ('F', 18_096),
        ('H', 8_851),
        ('I', 43),
        ('L', 210_669),
        ('P', 242),
        ('Q', 190),
        ('R', 8_849),
        ('S', 3),
        ('U', 8_655),
        ('V', 1),
        ('X', 184),
        ('Y', 8_849),
    ];
    assert_eq!(kinds, BTreeMap::from(counted));
    assert_eq!((feed.offset(), feed.time_reversals()), (8_687_026, 0));
    assert_eq!(
        (feed.position(), feed.total_bytes()),
        (3_565_513, Some(3_565_513))
    );
}

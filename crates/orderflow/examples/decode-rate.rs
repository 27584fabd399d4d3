//! How fast a feed decodes on this machine: `decode-rate FILE [rounds]`. The file is read to memory
//! and, unless it is compressed with xz, unpacked first, so that only decoding is timed.

use std::error::Error;
use std::io::Read;
use std::time::Instant;

use everopen_orderflow::feed::{Count, Feed, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: decode-rate FILE [rounds]")?;
    let rounds: u32 = std::env::args()
        .nth(2)
        .unwrap_or_else(|| "5".to_owned())
        .parse()?;
    let mut bytes = std::fs::read(&path)?;
    if bytes.starts_with(&[0x1F, 0x8B]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain)?;
        bytes = plain;
    }
    for _ in 0..rounds {
        let start = Instant::now();
        let mut count = Count::default();
        for message in Feed::from_reader(&path, &bytes[..], None, Options::default())? {
            count.add(&message?);
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{} messages, {:.1} ns each, {:.1} million/s, {:.0} MB/s",
            count.messages,
            seconds * 1e9 / count.messages as f64,
            count.messages as f64 / seconds / 1e6,
            bytes.len() as f64 / seconds / 1e6,
        );
    }
    Ok(())
}

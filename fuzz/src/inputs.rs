//! Inputs without coverage guidance: random bytes, and valid inputs that were damaged a little.

/// SplitMix64: small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from the name and the number given.
    pub fn new(name: &str, number: u64) -> Self {
        let named = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(named ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }
}

/// Numbers at which arithmetic and lengths go wrong.
const EDGES: [u64; 8] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// Input number `number` for a target: one in four is noise, the others are damaged seeds.
pub fn input(name: &str, number: u64, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random::new(name, number);
    if seeds.is_empty() || random.below(4) == 0 {
        // Short inputs are where headers and lengths are judged, so half of them are short.
        let most = if random.below(2) == 0 { 64 } else { 4096 };
        let count = random.below(most);
        return random.bytes(count);
    }
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(5) {
        damage(&mut bytes, &mut random, seeds);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>]) {
    if bytes.is_empty() {
        bytes.extend(random.bytes(8));
        return;
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.word() as u8,
        2 => bytes.truncate(at),
        3 => {
            let width = 1 << random.below(4);
            let edge = EDGES[random.below(EDGES.len())];
            let edge = if random.below(2) == 0 {
                edge.to_le_bytes()
            } else {
                edge.to_be_bytes()
            };
            for (place, byte) in bytes[at..].iter_mut().zip(&edge[..width]) {
                *place = *byte;
            }
        }
        4 => {
            let count = random.below(16);
            let more = random.bytes(count);
            bytes.splice(at..at, more);
        }
        5 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + random.below(64)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len().max(1));
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_the_same_every_time_and_differ_from_each_other() {
        let seeds = vec![vec![7; 100], vec![9; 10]];
        let all: Vec<_> = (0..200).map(|n| input("a", n, &seeds)).collect();
        assert_eq!(
            all,
            (0..200).map(|n| input("a", n, &seeds)).collect::<Vec<_>>()
        );
        assert_ne!(
            all,
            (0..200).map(|n| input("b", n, &seeds)).collect::<Vec<_>>()
        );
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(distinct.len() > 100, "{} of 200 differ", distinct.len());
    }
}

//! Sums what happens.
use std::collections::BTreeMap;
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (from, count) = (args.next().unwrap_or(1), args.next().unwrap_or(1));
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in from..from + count {
        let r = everopen_sim::run(seed, &Default::default());
        for (k, v) in r.counts {
            *sums.entry(k).or_default() += v;
        }
    }
    for (k, v) in sums {
        println!("{v:>9} {k}");
    }
    let options = everopen_sim::Options {
        steps: 40_000,
        canary: Some(everopen_sim::Canary::Braggart),
        ..Default::default()
    };
    everopen_sim::run_showing(1, &options, &mut |l| {
        if l.contains("operator")
            || l.contains("stops")
            || l.contains("healing")
            || l.contains("Leader")
        {
            println!("{l}")
        }
    });
}

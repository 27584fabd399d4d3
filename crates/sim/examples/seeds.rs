//! Runs seeds.
use std::time::Instant;
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (from, count) = (args.next().unwrap_or(1), args.next().unwrap_or(1));
    let trace = args.next().is_some();
    let options = everopen_sim::Options::default();
    let mut failed = 0;
    for seed in from..from + count {
        let t = Instant::now();
        let r = if trace {
            everopen_sim::run_showing(seed, &options, &mut |l| println!("{l}"))
        } else {
            everopen_sim::run(seed, &options)
        };
        if count == 1 {
            println!("{r:#?}");
        }
        match r.violation {
            Some(v) => {
                failed += 1;
                println!("{seed}: {:?} {v}", t.elapsed())
            }
            None => println!(
                "{seed}: {:?} sim {} s, committed {}, acked {:?}",
                t.elapsed(),
                r.simulated_us / 1_000_000,
                r.committed,
                r.counts.get("commands acknowledged")
            ),
        }
    }
    println!("{failed} failed");
}

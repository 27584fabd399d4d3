//! Runs canaries.
fn main() {
    for canary in everopen_sim::Canary::ALL {
        for silent in [false, true] {
            for seed in 1..=3 {
                let options = everopen_sim::Options {
                    steps: 40_000,
                    canary: Some(*canary),
                    silent,
                    ..Default::default()
                };
                let r = everopen_sim::run(seed, &options);
                let found = r.violation.as_ref().map(|v| v.to_string());
                let fits = r
                    .violation
                    .as_ref()
                    .map(|v| canary.found_by().contains(&v.check));
                println!("{canary:?} silent {silent} seed {seed}: {fits:?} {found:?}");
            }
        }
    }
}

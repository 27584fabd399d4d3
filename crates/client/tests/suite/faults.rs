//! Many faults at once, drawn from a seed.

use everopen_client::Refusal;
use everopen_wire::message::RefusalCode;

use crate::support::*;

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Half of the time what is right.
    fn does(&mut self) -> Does {
        match self.below(200) {
            0 => Does::LosesAnswer,
            1 => Does::LosesIt,
            2..=7 => Does::AppliesAndCloses,
            8..=13 => Does::Closes,
            14..=19 => Does::StepsDown,
            20..=25 => Does::AppliesAndRefuses(RefusalCode::OutcomeUnknown),
            26..=31 => Does::Refuses(RefusalCode::OutcomeUnknown),
            32..=37 => Does::Refuses(RefusalCode::Busy),
            38..=43 => Does::Refuses(RefusalCode::WindowFull),
            _ => Does::Right,
        }
    }
}

/// Every submission is applied at most once, is answered once, and the answer is true.
#[test]
fn whatever_happens_each_submission_is_applied_once_and_its_answer_is_true() {
    for seed in 1..=8 {
        let cluster = Cluster::start(3);
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ seed);
        cluster.world().script = Box::new(move |_| draw.does());
        let client = cluster.client();
        let mut submitted = Submitted::new();
        for price in 1..=400 {
            submitted.submit(&client, price);
        }
        let answers = submitted.answers();
        let mut applied = cluster.applied();
        applied.sort_unstable();
        let count = applied.len();
        applied.dedup();
        assert_eq!(count, applied.len(), "seed {seed}: one is applied twice");
        let mut busy = 0;
        for (price, answer) in answers {
            let is_applied = applied.contains(&price);
            match answer {
                Ok(outcome) => {
                    assert!(is_applied, "seed {seed}: {price} is not");
                    assert_eq!(prices(&outcome.events), [price], "seed {seed}");
                    let world = cluster.world();
                    assert_eq!(world.log[outcome.index.0 as usize - 1], [price]);
                }
                Err(Refusal::Busy { .. }) => {
                    assert!(!is_applied, "seed {seed}: {price} was refused");
                    busy += 1;
                }
                Err(refusal) => panic!("seed {seed}: {price} ends with {refusal:?}"),
            }
        }
        assert_eq!(count + busy, 400, "seed {seed}");
        assert_eq!(cluster.world().opened, 1);
    }
}

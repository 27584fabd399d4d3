//! Histories that are linearizable and histories that are not, small ones by hand and many by chance.

use super::*;

const STEPS: u64 = 1_000_000;

type Deed = Operation<Ask, Told>;

fn deposit(client: u32, invoked: u64, returned: u64, amount: i128) -> Deed {
    Operation {
        client,
        invoked,
        call: Ask::Deposit(amount),
        returned: Some((returned, Told::Deposited)),
    }
}

fn unknown(client: u32, invoked: u64, amount: i128) -> Deed {
    Operation {
        client,
        invoked,
        call: Ask::Deposit(amount),
        returned: None,
    }
}

fn read(client: u32, invoked: u64, returned: u64, balance: i128) -> Deed {
    Operation {
        client,
        invoked,
        call: Ask::Balance,
        returned: Some((returned, Told::Balance(balance))),
    }
}

fn holds(history: &[Deed]) -> bool {
    match check(&Account::default(), history, STEPS) {
        Verdict::Linearizable { .. } => true,
        Verdict::NotLinearizable { .. } => false,
        Verdict::Undecided { .. } => panic!("undecided"),
    }
}

#[test]
fn one_client_sees_what_it_did() {
    assert!(holds(&[]));
    assert!(holds(&[deposit(1, 0, 1, 5), read(1, 2, 3, 5)]));
    assert!(!holds(&[deposit(1, 0, 1, 5), read(1, 2, 3, 0)]));
    assert!(!holds(&[read(1, 0, 1, 5), deposit(1, 2, 3, 5)]));
}

#[test]
fn overlapping_operations_may_stand_in_either_order() {
    for balance in [0, 5] {
        assert!(holds(&[deposit(1, 0, 9, 5), read(2, 3, 4, balance)]));
    }
    // Both reads overlap the deposit, but the second cannot go back.
    assert!(!holds(&[
        deposit(1, 0, 9, 5),
        read(2, 1, 2, 5),
        read(2, 3, 4, 0),
    ]));
    // The same moment is an overlap.
    assert!(holds(&[deposit(1, 0, 3, 5), read(2, 3, 4, 0)]));
    assert!(!holds(&[deposit(1, 0, 2, 5), read(2, 3, 4, 0)]));
}

#[test]
fn a_stale_read_at_another_client_is_found() {
    assert!(!holds(&[
        deposit(1, 0, 1, 5),
        deposit(1, 2, 3, 7),
        read(2, 4, 6, 5),
        read(1, 4, 6, 12),
    ]));
}

#[test]
fn an_acknowledged_deposit_that_is_lost_or_doubled_is_found() {
    let mut history = vec![deposit(1, 0, 1, 5), deposit(2, 0, 2, 7), read(1, 5, 6, 7)];
    assert!(!holds(&history));
    history[2] = read(1, 5, 6, 17);
    assert!(!holds(&history));
    history[2] = read(1, 5, 6, 12);
    assert!(holds(&history));
}

#[test]
fn an_unknown_outcome_may_come_at_any_later_time_or_never() {
    let begun = [unknown(1, 0, 5), read(2, 1, 2, 0)];
    for later in [0, 5] {
        let history = [&begun[..], &[read(2, 10, 11, later)]].concat();
        assert!(holds(&history), "{later}");
    }
    // Once, not twice, and not undone.
    let doubled = [&begun[..], &[read(2, 10, 11, 10)]].concat();
    assert!(!holds(&doubled));
    let undone = [&begun[..], &[read(2, 10, 11, 5), read(2, 12, 13, 0)]].concat();
    assert!(!holds(&undone));
    // Not before it was invoked.
    assert!(!holds(&[read(2, 0, 1, 5), unknown(1, 2, 5)]));
}

#[test]
fn which_of_many_unknown_ones_happened_is_found_out() {
    // Powers of two: each balance tells the set.
    let mut history: Vec<Deed> = (0..12).map(|n| unknown(n, 0, 1 << n)).collect();
    history.push(read(90, 10, 11, 0b1010_0000_0001));
    history.push(read(90, 12, 13, 0b1010_0100_0011));
    assert!(holds(&history));
    history.push(read(90, 14, 15, 0b1010_0100_0001));
    assert!(!holds(&history));
}

#[test]
fn what_is_wrong_is_shown() {
    let mut history = History::default();
    for operation in [deposit(1, 0, 1, 5), read(2, 4, 6, 4)] {
        history.add("one", operation);
    }
    history.add("two", unknown(3, 1, 9));
    assert_eq!(history.counts(), (3, 1));
    let said = history.check(&Account::default(), STEPS).unwrap_err();
    assert!(said.contains("\"one\" is not linearizable"), "{said}");
    assert!(
        said.contains("client 2 at 4: Balance -> Balance(4) at 6"),
        "{said}"
    );
    let said = history.check(&Account::default(), 1).unwrap_err();
    assert!(said.contains("undecided after 1 steps"), "{said}");
}

#[test]
fn a_list_shows_the_order() {
    let append = |client, invoked, returned, number| Operation {
        client,
        invoked,
        call: Entry::Append(number),
        returned: Some((returned, None)),
    };
    let read = |invoked, numbers: &[u64]| Operation {
        client: 9,
        invoked,
        call: Entry::Read,
        returned: Some((
            invoked + 1,
            Some(numbers.iter().fold(Seen::default(), |seen, n| seen.and(*n))),
        )),
    };
    let is_good = |reads: &[Operation<Entry, Option<Seen>>]| {
        let mut all = vec![append(1, 0, 5, 1), append(2, 1, 6, 2), append(1, 7, 8, 3)];
        all.extend_from_slice(reads);
        matches!(check(&List, &all, STEPS), Verdict::Linearizable { .. })
    };
    assert!(is_good(&[read(10, &[1, 2, 3])]));
    assert!(is_good(&[read(2, &[2]), read(10, &[2, 1, 3])]));
    assert!(!is_good(&[read(2, &[1]), read(10, &[2, 1, 3])]));
    assert!(!is_good(&[read(10, &[1, 3, 2])]));
    assert!(!is_good(&[read(10, &[1, 2, 2, 3])]));
    assert!(!is_good(&[read(10, &[1, 3])]));
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Every order, by hand: slow and plainly right.
fn holds_by_force(history: &[Deed]) -> bool {
    fn go(history: &[Deed], used: &mut Vec<bool>, balance: i128) -> bool {
        let open = |used: &[bool]| {
            (0..history.len())
                .filter(|at| !used[*at])
                .collect::<Vec<_>>()
        };
        let left = open(used);
        if left.iter().all(|at| history[*at].returned.is_none()) {
            return true;
        }
        // Whatever returned before another was invoked stands before it.
        let earliest = left
            .iter()
            .filter_map(|at| history[*at].returned.map(|(time, _)| time))
            .min()
            .unwrap_or(u64::MAX);
        for at in left {
            let operation = &history[at];
            if operation.invoked > earliest {
                continue;
            }
            let answer = operation.returned.as_ref().map(|(_, answer)| answer);
            if let Some(next) = Account::default().step(&balance, &operation.call, answer) {
                used[at] = true;
                if go(history, used, next) {
                    return true;
                }
                used[at] = false;
            }
        }
        false
    }
    go(history, &mut vec![false; history.len()], 0)
}

#[test]
fn small_random_histories_get_the_same_answer_as_by_trying_every_order() {
    let mut random = Random(7);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4_000 {
        let count = 2 + random.below(5) as usize;
        let history: Vec<Deed> = (0..count)
            .map(|client| {
                let client = client as u32;
                let invoked = random.below(8);
                let returned = invoked + random.below(6);
                match random.below(5) {
                    0 => unknown(client, invoked, 1 + random.below(3) as i128),
                    1 | 2 => deposit(client, invoked, returned, 1 + random.below(3) as i128),
                    _ => read(client, invoked, returned, random.below(6) as i128),
                }
            })
            .collect();
        let expected = holds_by_force(&history);
        assert_eq!(holds(&history), expected, "{history:#?}");
        if expected {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}

/// A history as a correct register would give it: each operation takes effect at a moment between
/// its invocation and its return.
fn real(random: &mut Random, clients: u32, each: u32, unknown_in: u64) -> Vec<Deed> {
    let mut effects: Vec<(u64, Deed)> = Vec::new();
    for client in 0..clients {
        let mut now = random.below(20);
        for _ in 0..each {
            let effect = now + random.below(30);
            let end = effect + random.below(30);
            // Sums of few of them do not meet, so that a balance tells which ones came.
            let amount = 1 + random.below(1 << 40) as i128;
            let operation = if random.below(2) == 0 {
                read(client, now, end, 0)
            } else if random.below(unknown_in) == 0 {
                unknown(client, now, amount)
            } else {
                deposit(client, now, end, amount)
            };
            effects.push((effect, operation));
            now = end + 1 + random.below(5);
        }
    }
    effects.sort_by_key(|(at, _)| *at);
    let mut balance = 0;
    for (_, operation) in &mut effects {
        match (operation.call, &mut operation.returned) {
            // Half of the unknown ones never happen.
            (Ask::Deposit(amount), None) if amount % 2 == 0 => {}
            (Ask::Deposit(amount), _) => balance += amount,
            (Ask::Balance, Some((_, told))) => *told = Told::Balance(balance),
            (Ask::Balance, None) => {}
        }
    }
    effects
        .into_iter()
        .map(|(_, operation)| operation)
        .collect()
}

#[test]
fn long_histories_are_decided_in_few_steps() {
    for seed in 0..8 {
        let mut history = real(&mut Random(seed), 8, 1_000, 500);
        let steps = match check(&Account::default(), &history, 20_000_000) {
            Verdict::Linearizable { steps } => steps,
            other => panic!("seed {seed}: {other:?}"),
        };
        assert!(
            steps < 1_000 * history.len() as u64,
            "seed {seed}: {steps} steps"
        );
        // One read in the middle that saw one atom too few.
        let middle = history.len() / 2;
        let wrong =
            history[middle..]
                .iter_mut()
                .find_map(|operation| match &mut operation.returned {
                    Some((_, Told::Balance(balance))) => Some(balance),
                    _ => None,
                });
        *wrong.expect("a read") -= 1;
        let verdict = check(&Account::default(), &history, 20_000_000);
        assert!(
            matches!(verdict, Verdict::NotLinearizable { .. }),
            "seed {seed}: {verdict:?}"
        );
    }
}

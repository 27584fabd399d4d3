//! One suite for both ledgers. Goal: whatever sequence of movements a venue makes, the fast ledger
//! gives the results and balances of the slow one, and every invariant holds after each of them.
//! Method: a table of stories with exact balances, then random sequences with amounts from single
//! atoms to the limits.

use everopen_domain::snapshot::AccountOwner::{External, Fees, Member};
use everopen_domain::snapshot::{AccountOwner, AccountSnapshot};
use everopen_domain::{Amount, AssetId, MemberId};
use everopen_ledger::twin::TwinLedger;
use everopen_ledger::{Balance, FEES_DEBT_MAX, Ledger, LedgerError, RestoreError, SUPPLY_MAX};
use proptest::prelude::*;

type Who = (AccountOwner, AssetId);

/// One movement, as the suite writes it down.
#[derive(Clone, Copy, Debug)]
enum Op {
    Begin,
    Deposit(Who, i128),
    WithdrawHeld(Who, i128),
    Hold(Who, i128),
    Release(Who, i128),
    Settle(Who, Who, i128),
    Transfer(Who, Who, i128),
    ChargeHeld(Who, i128),
    ChargeAvailable(Who, i128),
    Rebate(Who, i128),
}

/// What a movement answered: the amount moved, or the refusal.
type Answer = Result<Amount, LedgerError>;

trait Subject: Default {
    fn run(&mut self, op: Op) -> Answer;
    fn balance_of(&self, who: Who) -> Balance;
    fn touched_names(&self) -> Vec<Who>;
    fn total(&self, asset: AssetId) -> Amount;
    fn snapshot(&self) -> Vec<AccountSnapshot>;
    fn audit(&self) {}
}

macro_rules! run_op {
    ($ledger:expr, $op:expr, $open:expr) => {{
        let ledger = $ledger;
        #[allow(clippy::redundant_closure_call)]
        match $op {
            Op::Begin => {
                ledger.begin_command();
                Ok(Amount(0))
            }
            Op::Deposit(to, n) => {
                let to = $open(ledger, to);
                ledger.deposit(to, Amount(n)).map(|()| Amount(n))
            }
            Op::WithdrawHeld(from, n) => {
                let from = $open(ledger, from);
                ledger.withdraw_held(from, Amount(n));
                Ok(Amount(n))
            }
            Op::Hold(of, n) => {
                let of = $open(ledger, of);
                ledger.hold(of, Amount(n)).map(|()| Amount(n))
            }
            Op::Release(of, n) => {
                let of = $open(ledger, of);
                ledger.release(of, Amount(n));
                Ok(Amount(n))
            }
            Op::Settle(from, to, n) => {
                let (from, to) = ($open(ledger, from), $open(ledger, to));
                ledger.settle(from, to, Amount(n));
                Ok(Amount(n))
            }
            Op::Transfer(from, to, n) => {
                let (from, to) = ($open(ledger, from), $open(ledger, to));
                ledger.transfer(from, to, Amount(n)).map(|()| Amount(n))
            }
            Op::ChargeHeld(from, n) => {
                let from = $open(ledger, from);
                ledger.charge_held(from, Amount(n));
                Ok(Amount(n))
            }
            Op::ChargeAvailable(from, n) => {
                let from = $open(ledger, from);
                ledger.charge_available(from, Amount(n));
                Ok(Amount(n))
            }
            Op::Rebate(to, n) => {
                let to = $open(ledger, to);
                Ok(ledger.rebate(to, Amount(n)))
            }
        }
    }};
}

impl Subject for Ledger {
    fn run(&mut self, op: Op) -> Answer {
        run_op!(self, op, |ledger: &mut Ledger, who: Who| ledger
            .open(who.0, who.1))
    }
    fn balance_of(&self, who: Who) -> Balance {
        Ledger::balance_of(self, who.0, who.1)
    }
    fn touched_names(&self) -> Vec<Who> {
        let name = |a: &everopen_ledger::Account| (self.owner(*a), self.asset(*a));
        self.touched().iter().map(name).collect()
    }
    fn total(&self, asset: AssetId) -> Amount {
        self.sum(asset)
    }
    fn snapshot(&self) -> Vec<AccountSnapshot> {
        self.accounts_sorted()
    }
    fn audit(&self) {
        self.check();
    }
}

impl Subject for TwinLedger {
    fn run(&mut self, op: Op) -> Answer {
        run_op!(self, op, |_: &mut TwinLedger, who: Who| who)
    }
    fn balance_of(&self, who: Who) -> Balance {
        self.balance(who)
    }
    fn touched_names(&self) -> Vec<Who> {
        self.touched().to_vec()
    }
    fn total(&self, asset: AssetId) -> Amount {
        self.sum(asset)
    }
    fn snapshot(&self) -> Vec<AccountSnapshot> {
        self.accounts_sorted()
    }
}

const USD: AssetId = AssetId(0);
const BTC: AssetId = AssetId(1);

fn member(id: u32, asset: AssetId) -> Who {
    (Member(MemberId(id)), asset)
}

fn balance(available: i128, held: i128) -> Balance {
    Balance {
        available: Amount(available),
        held: Amount(held),
    }
}

/// Runs `ops`, then compares the named balances.
fn tell<S: Subject>(ops: &[(Op, Answer)], expected: &[(Who, Balance)]) -> S {
    let mut subject = S::default();
    for (op, answer) in ops {
        assert_eq!(subject.run(*op), *answer, "{op:?}");
        subject.audit();
        for asset in [USD, BTC] {
            assert_eq!(subject.total(asset), Amount(0), "INV-LEDGER-1 after {op:?}");
        }
    }
    for (who, balance) in expected {
        assert_eq!(subject.balance_of(*who), *balance, "{who:?}");
    }
    subject
}

fn ok(op: Op) -> (Op, Answer) {
    let n = match op {
        Op::Begin => 0,
        Op::Deposit(_, n)
        | Op::WithdrawHeld(_, n)
        | Op::Hold(_, n)
        | Op::Release(_, n)
        | Op::Settle(_, _, n)
        | Op::Transfer(_, _, n)
        | Op::ChargeHeld(_, n)
        | Op::ChargeAvailable(_, n)
        | Op::Rebate(_, n) => n,
    };
    (op, Ok(Amount(n)))
}

fn stories<S: Subject>() {
    let (alice, bob) = (member(0, USD), member(1, USD));
    let (alice_btc, bob_btc) = (member(0, BTC), member(1, BTC));

    // A trade: alice pays 100 USD and a fee of 1 for 5 BTC of bob, who gets a rebate of 2.
    let subject: S = tell(
        &[
            ok(Op::Deposit(alice, 150)),
            ok(Op::Deposit(bob_btc, 7)),
            ok(Op::Hold(alice, 110)),
            ok(Op::Hold(bob_btc, 5)),
            ok(Op::Begin),
            ok(Op::Settle(alice, bob, 100)),
            ok(Op::Settle(bob_btc, alice_btc, 5)),
            ok(Op::ChargeHeld(alice, 1)),
            ok(Op::Rebate(bob, 2)),
            ok(Op::Release(alice, 9)),
        ],
        &[
            (alice, balance(49, 0)),
            (bob, balance(102, 0)),
            (alice_btc, balance(5, 0)),
            (bob_btc, balance(2, 0)),
            ((Fees, USD), balance(-1, 0)),
            ((External, USD), balance(-150, 0)),
            ((External, BTC), balance(-7, 0)),
        ],
    );
    let touched = [alice, bob, bob_btc, alice_btc, (Fees, USD)];
    assert_eq!(
        subject.touched_names(),
        touched,
        "each once, first touch first"
    );

    // A withdrawal: requested, then completed; another is refused.
    tell::<S>(
        &[
            ok(Op::Deposit(alice, 10)),
            ok(Op::Hold(alice, 10)),
            (Op::Hold(alice, 1), Err(LedgerError::InsufficientFunds)),
            ok(Op::WithdrawHeld(alice, 10)),
        ],
        &[(alice, balance(0, 0)), ((External, USD), balance(0, 0))],
    );

    // A member trades with itself, and transfers to itself.
    tell::<S>(
        &[
            ok(Op::Deposit(alice, 10)),
            ok(Op::Hold(alice, 10)),
            ok(Op::Settle(alice, alice, 4)),
            ok(Op::Transfer(alice, alice, 4)),
        ],
        &[(alice, balance(4, 6))],
    );

    // The supply's limit is exact, per asset, and freed by withdrawals.
    tell::<S>(
        &[
            ok(Op::Deposit(alice, SUPPLY_MAX.0 - 1)),
            (Op::Deposit(bob, 2), Err(LedgerError::Overflow)),
            (Op::Deposit(bob, i128::MAX), Err(LedgerError::Overflow)),
            ok(Op::Deposit(bob, 1)),
            (Op::Deposit(bob, 1), Err(LedgerError::Overflow)),
            ok(Op::Deposit(bob_btc, SUPPLY_MAX.0)),
            ok(Op::Hold(bob, 1)),
            ok(Op::WithdrawHeld(bob, 1)),
            ok(Op::Deposit(bob, 1)),
            ok(Op::Transfer(alice, bob, SUPPLY_MAX.0 - 1)),
        ],
        &[(alice, balance(0, 0)), (bob, balance(SUPPLY_MAX.0, 0))],
    );

    // The venue's debt has a floor; a rebate past it pays the rest. Full supply on top still fits.
    tell::<S>(
        &[
            ok(Op::Deposit(alice, SUPPLY_MAX.0)),
            ok(Op::Rebate(alice, FEES_DEBT_MAX.0 - 3)),
            (Op::Rebate(bob, i128::MAX), Ok(Amount(3))),
            (Op::Rebate(bob, 1), Ok(Amount(0))),
        ],
        &[
            (alice, balance(SUPPLY_MAX.0 + FEES_DEBT_MAX.0 - 3, 0)),
            (bob, balance(3, 0)),
        ],
    );

    // Nothing moved, nothing touched.
    let subject: S = tell(
        &[
            ok(Op::Deposit(alice, 0)),
            ok(Op::Hold(alice, 0)),
            ok(Op::Rebate(alice, 0)),
            ok(Op::Settle(alice, bob, 0)),
        ],
        &[],
    );
    assert!(subject.touched_names().is_empty() && subject.snapshot().is_empty());
}

#[test]
fn the_ledger_tells_the_stories() {
    stories::<Ledger>();
}

#[test]
fn the_twin_tells_the_stories() {
    stories::<TwinLedger>();
}

#[test]
fn one_account_at_a_high_asset_costs_one_account() {
    let mut ledger = Ledger::new();
    let account = ledger.open(Member(MemberId(7)), AssetId(8_849));
    assert_eq!(account, ledger.open(Member(MemberId(7)), AssetId(8_849)));
    ledger.deposit(account, Amount(1)).unwrap();
    assert_eq!(ledger.accounts_sorted().len(), 2, "its own and External");
    assert_eq!(ledger.find(Member(MemberId(7)), AssetId(8_848)), None);
    assert_eq!(ledger.find(Member(MemberId(6)), AssetId(8_849)), None);
}

#[test]
fn what_only_a_mistake_can_cause_panics_and_says_so() {
    let alice = member(0, USD);
    let mistakes = [
        Op::Release(alice, 6),
        Op::WithdrawHeld(alice, 6),
        Op::Settle(alice, member(1, USD), 6),
        Op::ChargeHeld(alice, 6),
        Op::ChargeAvailable(alice, 6),
        Op::Settle(alice, member(1, BTC), 1),
        Op::Transfer(alice, member(1, BTC), 1),
        Op::Hold(alice, -1),
        Op::Release(alice, -1),
        Op::Deposit(alice, -1),
        Op::Rebate(alice, -1),
        Op::Deposit((Fees, USD), 1),
        Op::Hold((Fees, USD), 1),
        Op::Settle(alice, (External, USD), 1),
        Op::Transfer(alice, (Fees, USD), 1),
    ];
    for op in mistakes {
        let mut ledger = Ledger::new();
        ledger.run(Op::Deposit(alice, 10)).unwrap();
        ledger.run(Op::Hold(alice, 5)).unwrap();
        let run = std::panic::AssertUnwindSafe(|| ledger.run(op));
        let panic = std::panic::catch_unwind(run).expect_err(&format!("{op:?} went through"));
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        assert!(text.unwrap().starts_with("invariant:"), "{op:?}");
    }
}

#[test]
fn a_snapshot_that_no_ledger_has_is_refused() {
    let account = |owner, asset, available, held| AccountSnapshot {
        owner,
        asset,
        available: Amount(available),
        held: Amount(held),
    };
    let alice = Member(MemberId(0));
    let good = [account(External, USD, -10, 0), account(alice, USD, 7, 3)];
    assert_eq!(Ledger::restore(&good).unwrap().accounts_sorted(), good);

    let swapped = [good[1], good[0]];
    let twice = [good[0], good[0]];
    let empty = [account(alice, USD, 0, 0)];
    let negative = [account(External, USD, 3, 0), account(alice, USD, -3, 0)];
    let negative_held = [account(alice, USD, 3, -3)];
    let fees_hold = [account(Fees, USD, -3, 3)];
    let external_low = [account(External, USD, -SUPPLY_MAX.0 - 1, 0)];
    let huge = [account(alice, USD, i128::MAX, i128::MAX)];
    let unbalanced = [good[0], account(alice, USD, 7, 4)];
    use RestoreError::{Empty, NotSorted, OutOfRange, Unbalanced};
    let table: [(&[AccountSnapshot], RestoreError); 9] = [
        (&swapped, NotSorted(External, USD)),
        (&twice, NotSorted(External, USD)),
        (&empty, Empty(alice, USD)),
        (&negative, OutOfRange(alice, USD)),
        (&negative_held, OutOfRange(alice, USD)),
        (&fees_hold, OutOfRange(Fees, USD)),
        (&external_low, OutOfRange(External, USD)),
        (&huge, OutOfRange(alice, USD)),
        (&unbalanced, Unbalanced(USD, Amount(1))),
    ];
    for (accounts, error) in table {
        assert_eq!(Ledger::restore(accounts).unwrap_err(), error);
    }
}

fn any_who() -> impl Strategy<Value = Who> {
    (0..4u32, prop_oneof![Just(USD), Just(BTC)]).prop_map(|(m, a)| member(m, a))
}

fn any_amount() -> impl Strategy<Value = i128> {
    prop_oneof![
        4 => 0..100i128,
        2 => 0..=SUPPLY_MAX.0,
        1 => SUPPLY_MAX.0 - 2..=SUPPLY_MAX.0 + 2,
        1 => i128::MAX - 2..=i128::MAX,
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let who_amount = || (any_who(), any_amount());
    let pair = || (0..4u32, 0..4u32, prop_oneof![Just(USD), Just(BTC)]);
    prop_oneof![
        1 => Just(Op::Begin),
        4 => who_amount().prop_map(|(w, n)| Op::Deposit(w, n)),
        1 => who_amount().prop_map(|(w, n)| Op::WithdrawHeld(w, n)),
        4 => who_amount().prop_map(|(w, n)| Op::Hold(w, n)),
        1 => who_amount().prop_map(|(w, n)| Op::Release(w, n)),
        3 => (pair(), any_amount())
            .prop_map(|((f, t, a), n)| Op::Settle(member(f, a), member(t, a), n)),
        2 => (pair(), any_amount())
            .prop_map(|((f, t, a), n)| Op::Transfer(member(f, a), member(t, a), n)),
        1 => who_amount().prop_map(|(w, n)| Op::ChargeHeld(w, n)),
        1 => who_amount().prop_map(|(w, n)| Op::ChargeAvailable(w, n)),
        1 => who_amount().prop_map(|(w, n)| Op::Rebate(w, n)),
    ]
}

/// Movements that a venue may only make with what is there are cut to what is there.
fn fit(op: Op, twin: &TwinLedger) -> Op {
    let held = |who: Who| twin.balance(who).held.0;
    match op {
        Op::WithdrawHeld(w, n) => Op::WithdrawHeld(w, n.min(held(w))),
        Op::Release(w, n) => Op::Release(w, n.min(held(w))),
        Op::Settle(f, t, n) => Op::Settle(f, t, n.min(held(f))),
        Op::ChargeHeld(w, n) => Op::ChargeHeld(w, n.min(held(w))),
        Op::ChargeAvailable(w, n) => Op::ChargeAvailable(w, n.min(twin.balance(w).available.0)),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ledgers_agree(ops in prop::collection::vec(any_op(), 1..120), cut in 0..120usize) {
        let mut ledger = Ledger::new();
        let mut twin = TwinLedger::default();
        for (at, op) in ops.into_iter().enumerate() {
            let op = fit(op, &twin);
            let before = twin.snapshot();
            let answer = twin.run(op);
            prop_assert_eq!(ledger.run(op), answer, "{:?}", op);
            prop_assert_eq!(ledger.snapshot(), twin.snapshot());
            prop_assert_eq!(ledger.touched_names(), twin.touched_names());
            if answer.is_err() {
                prop_assert_eq!(&before, &twin.snapshot(), "a refusal changed something");
            }
            ledger.audit();
            for asset in [USD, BTC] {
                prop_assert_eq!(ledger.sum(asset), Amount(0));
                prop_assert_eq!(twin.sum(asset), Amount(0));
            }
            if at == cut {
                // A restored ledger goes on as the one that was saved would have.
                ledger = Ledger::restore(&ledger.snapshot()).expect("own snapshot");
                ledger.begin_command();
                twin.begin_command();
            }
        }
    }
}

//! One account of one asset: money comes in, and its balance is read.

use super::Model;

/// An account that begins with a balance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// The balance at first.
    pub opening: i128,
}

/// What is asked of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Money comes in. Where every amount is used once, a balance tells which ones came.
    Deposit(i128),
    /// The balance is read.
    Balance,
}

/// What an account says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The money came in.
    Deposited,
    /// The balance.
    Balance(i128),
}

impl Model for Account {
    type State = i128;
    type Call = Ask;
    type Answer = Told;

    fn first(&self) -> i128 {
        self.opening
    }

    fn step(&self, balance: &i128, call: &Ask, answer: Option<&Told>) -> Option<i128> {
        match (call, answer) {
            (Ask::Deposit(amount), None | Some(Told::Deposited)) => balance.checked_add(*amount),
            (Ask::Balance, None) => Some(*balance),
            (Ask::Balance, Some(Told::Balance(seen))) => (seen == balance).then_some(*balance),
            _ => None,
        }
    }
}

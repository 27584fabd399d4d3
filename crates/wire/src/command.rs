//! A command: `u16` tag, `u16` length of the body, body.
//!
//! | Tag | Command |
//! |---|---|
//! | 1 | `Tick` |
//! | 10 | `AddAsset` |
//! | 11 | `AddInstrument` |
//! | 12 | `AmendInstrument` |
//! | 13 | `SetTradingPhase` |
//! | 14 | `SetReferencePrice` |
//! | 15 | `SetFeeSchedule` |
//! | 16 | `AddMember` |
//! | 17 | `SetMemberLimits` |
//! | 18 | `SetOrderLimits` |
//! | 19 | `EngageKillSwitch` |
//! | 20 | `ReleaseKillSwitch` |
//! | 21 | `ActivateLogic` |
//! | 100 | `PlaceOrder` |
//! | 101 | `AmendOrder` |
//! | 102 | `ReplaceOrder` |
//! | 103 | `CancelOrder` |
//! | 104 | `CancelOrders` |
//! | 200 | `Deposit` |
//! | 201 | `RequestWithdrawal` |
//! | 202 | `CompleteWithdrawal` |
//! | 203 | `CancelWithdrawal` |
//! | 204 | `Transfer` |
//!
//! The body is the command's fields in the order of the list in this file.

use alloc::vec::Vec;

use everopen_domain::{AmendOrder, Command, MemberId, NewOrder};

use crate::DecodeError;
use crate::codec::{Input, Wire, wire_frames, wire_struct};

wire_struct! {
    AmendOrder { target, price, size }
}

wire_frames! {
    Command, "command" {
        1 = Tick {}
        10 = AddAsset { code, decimals }
        11 = AddInstrument { instrument }
        12 = AmendInstrument { instrument, limits }
        13 = SetTradingPhase { instrument, phase }
        14 = SetReferencePrice { instrument, price }
        15 = SetFeeSchedule { schedule, tiers }
        16 = AddMember { code }
        17 = SetMemberLimits { member, limits }
        18 = SetOrderLimits { member, instrument, limits }
        19 = EngageKillSwitch { member }
        20 = ReleaseKillSwitch { member }
        21 = ActivateLogic { version }
        100 = PlaceOrder { member, order }
        101 = AmendOrder { member, amendment }
        102 = ReplaceOrder { member, target, order }
        103 = CancelOrder { member, target }
        104 = CancelOrders { member, instrument, reason }
        200 = Deposit { member, asset, amount, reference }
        201 = RequestWithdrawal { member, asset, amount, reference, destination }
        202 = CompleteWithdrawal { transfer }
        203 = CancelWithdrawal { transfer }
        204 = Transfer { from, to, asset, amount, reference }
    }
}

/// The tag of [`Command::PlaceOrder`].
const PLACE_ORDER: u16 = 100;
/// The most bytes that a command takes, tag and length included.
pub const BYTES_MAX: usize = 250;

/// Appends a command.
pub fn encode(command: &Command, out: &mut Vec<u8>) {
    put_frame(command, out);
}

/// Reads a command into one that is there. The most frequent in the log is also among the largest, and is
/// written where it stays.
pub(crate) fn read_frame(input: &mut Input<'_>, into: &mut Command) -> Result<(), DecodeError> {
    if input.tag() != Some(PLACE_ORDER) {
        *into = get_frame(input)?;
        return Ok(());
    }
    u16::get(input)?;
    let count = usize::from(u16::get(input)?);
    let mut body = input.part(count)?;
    *into = Command::PlaceOrder {
        member: MemberId::get(&mut body)?,
        order: NewOrder::default(),
    };
    if let Command::PlaceOrder { order, .. } = into {
        order.read(&mut body)?;
    }
    body.finish()
}

/// The command that `bytes` are.
///
/// # Errors
/// [`DecodeError`] when they are not exactly one command.
pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
    let mut input = Input::new(bytes);
    let command = get_frame(&mut input)?;
    input.finish()?;
    Ok(command)
}

/// The `count` commands that `bytes` are, one after the other.
pub fn decode_all(bytes: &[u8], count: u32) -> Commands<'_> {
    Commands::over(Input::new(bytes), count)
}

/// Reads commands: an iterator that ends after the first error. Bytes after the last command are
/// an error, too.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    input: Input<'a>,
    left: u32,
    ended: bool,
}

impl<'a> Commands<'a> {
    /// As [`Iterator::next`], into a command that is there: none is moved. After an error it is any command.
    #[inline]
    pub fn next_into(&mut self, command: &mut Command) -> Option<Result<(), DecodeError>> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return self.input.finish().err().map(Err);
        }
        self.left -= 1;
        let read = read_frame(&mut self.input, command);
        self.ended = read.is_err();
        Some(read)
    }

    pub(crate) const fn over(input: Input<'a>, count: u32) -> Self {
        Self {
            input,
            left: count,
            ended: false,
        }
    }

    /// How many commands are still to come, if the bytes are what they say.
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// The bytes of the commands that are still to come.
    pub fn bytes(&self) -> &'a [u8] {
        self.input.rest()
    }
}

impl Iterator for Commands<'_> {
    type Item = Result<Command, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut command = Command::Tick;
        let read = self.next_into(&mut command)?;
        Some(read.map(|()| command))
    }
}

impl core::iter::FusedIterator for Commands<'_> {}

/// Whether the input can hold that many commands: each takes at least four bytes.
pub(crate) const fn may_hold(input: &Input<'_>, count: u32) -> bool {
    count as u64 * 4 <= input.remaining() as u64
}

/// Passes over a command without looking at its body.
#[inline]
pub(crate) fn skip(input: &mut Input<'_>) -> Result<(), DecodeError> {
    let [_, _, low, high] = input.array()?;
    input.take(usize::from(u16::from_le_bytes([low, high])))?;
    Ok(())
}

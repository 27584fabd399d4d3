//! Versions of the venue's rules: activated one after the other by the log, each as it was.

mod support;

use everopen_domain::*;
use everopen_venue::{RestoreError, Venue};
use support::*;

fn withdraw(member: MemberId) -> Command {
    Command::RequestWithdrawal {
        member,
        asset: USD,
        amount: Amount(10),
        reference: Text::EMPTY,
        destination: text("bank"),
    }
}

fn transfer(from: MemberId, to: MemberId) -> Command {
    Command::Transfer {
        from,
        to,
        asset: USD,
        amount: Amount(10),
        reference: Text::EMPTY,
    }
}

fn engage(member: Option<MemberId>) -> Command {
    Command::EngageKillSwitch { member }
}

#[test]
fn versions_are_activated_one_after_the_other() {
    let mut desk = Desk::plain();
    assert_eq!(desk.venue.logic(), 1);
    for version in [0, 1, 3, u16::MAX] {
        let activate = Command::ActivateLogic { version };
        assert!(desk.venue.knows(&activate));
        assert_eq!(desk.refused(activate), RejectReason::LogicVersionInvalid);
    }
    for version in 2..=Venue::LOGIC_MAX {
        let activate = Command::ActivateLogic { version };
        assert!(desk.venue.knows(&activate));
        assert_eq!(desk.ok(activate), [Event::LogicActivated { version }]);
        assert_eq!(desk.venue.logic(), version);
        assert_eq!(desk.refused(activate), RejectReason::LogicVersionInvalid);
    }
    // What would be next belongs to another release.
    let next = Command::ActivateLogic {
        version: Venue::LOGIC_MAX + 1,
    };
    assert!(!desk.venue.knows(&next));
    assert_eq!(desk.refused(next), RejectReason::LogicVersionInvalid);
    assert!(desk.venue.knows(&Command::Tick));
}

#[test]
fn under_version_1_a_kill_switch_stops_trading_only() {
    let mut desk = Desk::plain();
    desk.ok(engage(Some(ANN)));
    desk.ok(engage(None));
    desk.ok(withdraw(ANN));
    desk.ok(transfer(ANN, BOB));
    assert_eq!(desk.money(ANN, USD), (999_980, 10));
}

#[test]
fn from_version_2_on_a_kill_switch_stops_money_on_its_way_out() {
    let mut desk = Desk::plain();
    desk.ok(withdraw(ANN));
    desk.ok(engage(Some(ANN)));
    desk.ok(withdraw(ANN));
    desk.ok(Command::ActivateLogic { version: 2 });
    let before = desk.venue.snapshot();
    assert_eq!(desk.refused(withdraw(ANN)), RejectReason::MemberKilled);
    assert_eq!(desk.refused(transfer(ANN, BOB)), RejectReason::MemberKilled);
    assert_eq!(
        desk.refused(withdraw(MemberId(9))),
        RejectReason::UnknownMember
    );
    let mut after = desk.venue.snapshot();
    after.time = before.time;
    assert_eq!(after, before, "refusals change nothing");
    // Money that comes in, and what was asked for before, go on.
    desk.ok(transfer(BOB, ANN));
    desk.ok(withdraw(BOB));
    desk.ok(Command::Deposit {
        member: ANN,
        asset: USD,
        amount: Amount(5),
        reference: Text::EMPTY,
    });
    let first = TransferId(desk.venue.snapshot().withdrawals[0].transfer.0);
    desk.ok(Command::CompleteWithdrawal { transfer: first });
    let second = TransferId(desk.venue.snapshot().withdrawals[0].transfer.0);
    desk.ok(Command::CancelWithdrawal { transfer: second });

    desk.ok(engage(None));
    assert_eq!(desk.refused(withdraw(ANN)), RejectReason::VenueKilled);
    assert_eq!(desk.refused(withdraw(BOB)), RejectReason::VenueKilled);
    assert_eq!(desk.refused(transfer(BOB, ANN)), RejectReason::VenueKilled);
    desk.ok(Command::ReleaseKillSwitch { member: None });
    assert_eq!(desk.refused(withdraw(ANN)), RejectReason::MemberKilled);
    desk.ok(Command::ReleaseKillSwitch { member: Some(ANN) });
    desk.ok(withdraw(ANN));
    desk.ok(transfer(ANN, BOB));
}

#[test]
fn a_snapshot_keeps_the_version_and_one_that_is_not_known_is_refused() {
    let mut desk = Desk::plain();
    desk.ok(Command::ActivateLogic { version: 2 });
    desk.ok(engage(Some(ANN)));
    let mut snapshot = desk.venue.snapshot();
    assert_eq!(snapshot.logic, 2);
    let mut bytes = Vec::new();
    everopen_wire::snapshot::encode(&snapshot, &mut bytes);
    let read = everopen_wire::snapshot::decode(&bytes).expect("a snapshot");
    let mut restored = Venue::restore(&read).expect("a venue");
    assert_eq!(restored.snapshot(), snapshot);
    let mut events = Vec::new();
    restored.apply(Timestamp(desk.now), &withdraw(ANN), &mut events);
    assert_eq!(refusal(&events), Some(RejectReason::MemberKilled));
    for version in [0, Venue::LOGIC_MAX + 1] {
        snapshot.logic = version;
        let refused = Venue::restore(&snapshot).expect_err("an unknown version");
        assert_eq!(refused, RestoreError::Logic(version));
        assert!(refused.to_string().contains(&version.to_string()));
    }
}

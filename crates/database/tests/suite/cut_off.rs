//! The controller is killed, and what it needs is: the outcome is one side or the other, and clients write to
//! one of them only.

use everopen_database::run::{self, Side};
use everopen_rollout::journal::{Entry, Outcome};

use crate::place::Place;
use crate::servers::{Load, sql_at, until};

/// Clients can write where they are, and the other side takes nothing.
#[track_caller]
fn serves(place: &Place, side: Side) {
    assert_eq!(
        place.version(),
        if side == Side::Blue { "15" } else { "18" }
    );
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
}

#[test]
fn a_controller_that_is_killed_at_any_step_leaves_one_side_serving() {
    let place = Place::new();
    let file = place.file("");
    for text in [
        "look at",
        "schema",
        "copy all",
        "slot of the way",
        "hold clients",
    ] {
        place.cut_off(
            &file,
            |entry| matches!(entry, Entry::Begun { text: step, .. } if step.contains(text)),
        );
        serves(&place, Side::Blue);
        let ended = place.resume();
        assert_eq!(
            (ended.outcome, ended.serving),
            (Outcome::Old, Side::Blue),
            "{text}"
        );
        assert_eq!(place.left(), "", "{text}");
        serves(&place, Side::Blue);
        place
            .green
            .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    }
    // While clients are held: they wait, and go on where they were.
    let load = Load::start(&place, 20);
    until("clients write", || {
        place.blue.sql("SELECT count(*) > 100 FROM orders") == "t"
    });
    place.cut_off(
        &file,
        |entry| matches!(entry, Entry::Done { evidence, .. } if evidence == "clients are held"),
    );
    // What `everopen rollout guard` does beside a controller; it need not wait for people.
    let guarded = place.carry(async |site| run::watch_over(site, "shop").await);
    guarded.expect("it is brought to an end");
    assert!(
        place.evidence_of_the_end().contains("Old"),
        "it was taken back"
    );
    load.end_without_failure();
    assert_eq!(place.left(), "");
    serves(&place, Side::Blue);
    place
        .green
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");

    // From when clients are sent on there is only forward.
    let load = Load::start(&place, 20);
    place.cut_off(
        &file,
        |entry| matches!(entry, Entry::Begun { text, .. } if text.contains("send clients")),
    );
    let ended = place.resume();
    assert_eq!((ended.outcome, ended.serving), (Outcome::New, Side::Green));
    load.end_without_failure();
    serves(&place, Side::Green);
    place.finish();
    assert_eq!(place.left(), "");
}

#[test]
fn a_table_that_is_changed_meanwhile_takes_it_back() {
    let place = Place::new();
    let file = place.file("");
    let port = place.blue.port;
    let ended = place.carry(async |site| {
        let mut tell = |line: &everopen_rollout::journal::Line| {
            if matches!(&line.entry, Entry::Begun { text, .. } if text.contains("slot of the way"))
            {
                crate::servers::sql_at(port, "shop", "ALTER TABLE orders ADD COLUMN late int");
            }
        };
        run::apply(site, &file, &mut tell).await
    });
    let ended = ended.expect("it ends");
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    let why = ended.reason.expect("a reason");
    assert!(why.contains("public.orders was changed"), "{why}");
    assert_eq!(place.left(), "");
    serves(&place, Side::Blue);
}

#[test]
fn without_its_pooler_nothing_is_changed() {
    let place = Place::new();
    let file = place.file("attempts = 2");
    place.bouncer.kill();
    let ended = place.apply(&file);
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    assert!(ended.reason.expect("a reason").contains("pgbouncer"));
    assert_eq!(place.left(), "");
    place
        .blue
        .sql("INSERT INTO orders (account, price) VALUES (1, 1)");
}

#[test]
fn clients_are_let_go_when_the_journal_is_full() {
    let place = Place::new();
    let Some(disk) = place.small_disk() else {
        println!("LEFT OUT: a tmpfs can't be mounted here");
        return;
    };
    let file = place.file("");
    let load = Load::start(&place, 20);
    let fault = place.carry(async |site| {
        let mut tell = |line: &everopen_rollout::journal::Line| {
            let is_held = |evidence: &String| evidence == "clients are held";
            if matches!(&line.entry, Entry::Done { evidence, .. } if is_held(evidence)) {
                disk.fill();
            }
        };
        run::apply(site, &file, &mut tell).await
    });
    let said = fault.expect_err("it can't go on").to_string();
    assert!(said.contains("write the journal"), "{said}");
    serves(&place, Side::Blue);
    disk.empty();
    let ended = place.resume();
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    load.end_without_failure();
    assert_eq!(place.left(), "");
}

#[test]
fn clients_who_were_let_go_are_not_sent_on_by_an_old_word() {
    let place = Place::new();
    let file = place.file("");
    place.cut_off(
        &file,
        |entry| matches!(entry, Entry::Begun { text, .. } if text.contains("send clients")),
    );
    // As a controller does whose journal fails: the word was on the disk after all.
    place
        .blue
        .sql("SET default_transaction_read_only = off; SET transaction_read_only = off; ALTER DATABASE shop RESET default_transaction_read_only");
    sql_at(place.pooler, "pgbouncer", "RESUME shop");
    place.sql("INSERT INTO orders (account, price) VALUES (7, 7)");
    let ended = place.resume();
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    assert_eq!(
        place.sql("SELECT count(*) FROM orders WHERE account = 7"),
        "1"
    );
    assert_eq!(place.left(), "");
}

//! A pooler is killed: clients of the others notice nothing, and when it comes back it leads where they do.

use everopen_database::file::File;
use everopen_database::run::{self, Ended, Fault, Side};
use everopen_rollout::journal::{Entry, Line, Outcome};

use crate::clients::{Busy, Stubborn};
use crate::made::{self, Clone};
use crate::place::Place;
use crate::servers::{Bouncer, some, sql_at, until};

/// When one that was killed comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// At once: it holds nobody, whatever it was told before.
    AtOnce,
    /// When the controller has given up or gone on.
    Afterwards,
}

/// Applies; a pooler is killed as a step begins.
fn apply(place: &Place, file: &File, victim: &Bouncer, text: &str, back: Back) -> Ended {
    let mut is_killed = false;
    let applied = place.carry(async |site| {
        let mut tell = |line: &Line| {
            if matches!(&line.entry, Entry::Begun { text: step, .. } if step.contains(text)) {
                victim.kill();
                is_killed = true;
                if back == Back::AtOnce {
                    victim.start_again();
                }
            }
        };
        run::apply(site, file, &mut tell).await
    });
    assert!(is_killed, "there is no step {text}");
    victim.start_again();
    let ended = match applied {
        Ok(ended) => ended,
        Err(Fault::Stuck(_)) => place.resume(),
        Err(other) => panic!("{text}: {other}"),
    };
    println!("killed at {text:?}, back {back:?}: {ended:?}");
    ended
}

const STEPS: [&str; 8] = [
    "look at",
    "schema",
    "copy all",
    "slot of the way",
    "hold clients",
    "send clients",
    "lead the other way",
    "compare",
];
const VERSION: &str = "SELECT current_setting('server_version_num')::int / 10000";

/// Each pooler leads to the side that serves, clients write there, and the other side takes nothing.
#[track_caller]
fn leads(place: &Place, ports: &[u16], ended: &Ended) {
    let (major, other) = match ended.serving {
        Side::Blue => ("15", &place.green),
        Side::Green => ("18", &place.blue),
    };
    for port in ports {
        assert_eq!(sql_at(*port, "shop", VERSION), major);
        sql_at(*port, "shop", "INSERT INTO orders (account) VALUES (0)");
    }
    if ended.outcome == Outcome::New {
        assert_eq!(other.sql("SHOW default_transaction_read_only"), "on");
    }
}

/// A subscriber on 15 may take five seconds to begin, for which three tries are not enough.
fn follows(place: &Place) {
    until("blue follows", || place.way_back().contains("it follows"));
}

/// Back to blue, with nothing left.
#[track_caller]
fn begin_anew(place: &Place, ended: &Ended, file: &File) {
    match ended.outcome {
        Outcome::New => {
            follows(place);
            let back = place.turn_back();
            assert_eq!((back.serving, &back.reason), (Side::Blue, &None));
            place.finish();
        }
        _ => assert_eq!(ended.serving, Side::Blue),
    }
    assert_eq!(place.left(), "");
    for pooler in &file.database.poolers {
        let line = std::fs::read_to_string(&pooler.file).expect("a file");
        assert!(line.contains(&pooler.blue), "{line}");
    }
    place.empty_green();
}

#[test]
fn the_pooler_is_killed_at_any_step() {
    let place = Place::new();
    let file = place.file("attempts = 3");
    for (at, text) in some(STEPS.into_iter().enumerate(), &[2, 4, 5]) {
        let client = Stubborn::start(place.pooler);
        until("a client writes", || client.done() > 10);
        let ended = apply(&place, &file, &place.bouncer, text, Back::Afterwards);
        // Who is killed before clients are held can't hold any.
        let is_new = at >= 5;
        assert_eq!(ended.outcome == Outcome::New, is_new, "{ended:?}");
        assert_eq!(ended.reason.is_none(), is_new, "{ended:?}");
        let before = client.done();
        until("the client goes on", || client.done() > before + 10);
        leads(&place, &[place.pooler], &ended);
        let (written, which) = client.end();
        let there = place.sql(&format!("SELECT count(*) FROM orders WHERE {which}"));
        assert_eq!(
            there,
            written.to_string(),
            "{text}: acknowledged, and there"
        );
        begin_anew(&place, &ended, &file);
        place.sql("DELETE FROM orders");
    }
}

#[test]
fn one_of_two_poolers_is_killed_while_clients_are_led() {
    let place = Place::new();
    let survivor = place.second_pooler();
    // The one that is killed is told first.
    let mut file = place.file_of_two(&survivor);
    file.database.attempts = 3;
    let steady = Busy::start_at(
        survivor.port,
        "shop",
        "INSERT INTO orders (account, note) VALUES (1, 'steady')",
    );
    let moments = STEPS[4..7].iter();
    let moments = moments.flat_map(|text| [(text, Back::AtOnce), (text, Back::Afterwards)]);
    for (text, back) in some(moments, &[0, 3, 4]) {
        let client = Stubborn::start(place.pooler);
        until("both write", || client.done() > 10 && steady.done() > 10);
        steady.longest_ms();
        let ended = apply(&place, &file, &place.bouncer, text, back);
        let is_old = text.contains("hold") && back == Back::Afterwards;
        assert_eq!(ended.outcome == Outcome::Old, is_old, "{ended:?}");
        let before = (client.done(), steady.done());
        until("both go on", || {
            client.done() > before.0 + 10 && steady.done() > before.1 + 10
        });
        let held = steady.longest_ms();
        println!("clients of the other one waited for {held} ms at most");
        assert!(held < 3_000, "{text}, {back:?}: {held} ms");
        leads(&place, &[place.pooler, survivor.port], &ended);
        let (written, which) = client.end();
        let there = place.sql(&format!("SELECT count(*) FROM orders WHERE {which}"));
        assert_eq!(there, written.to_string(), "{text}, {back:?}");
        begin_anew(&place, &ended, &file);
        place.sql("DELETE FROM orders WHERE note = 'stubborn'");
    }
    let (written, refused) = steady.end();
    assert_eq!(refused, 0);
    let there = place.sql("SELECT count(*) FROM orders WHERE note = 'steady'");
    assert_eq!(there, written.to_string());
}

/// It holds nobody when it comes back, so its clients connect to a side that takes no writes; and go on to read
/// only there, if nobody sees to it that they connect anew.
#[test]
fn clients_of_one_that_came_back_while_others_were_held_write_again() {
    let place = Place::new();
    let second = place.second_pooler();
    let file = place.file_of_two(&second);
    place.cut_off(
        &file,
        |entry| matches!(entry, Entry::Done { evidence, .. } if evidence == "clients are held"),
    );
    second.kill();
    second.start_again();
    let write = "INSERT INTO orders (account) VALUES (1)";
    let client = Busy::start_at(second.port, "shop", write);
    until("it reads only", || client.refused() > 3);
    let ended = place.resume();
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    until("it writes again", || client.done() > 10);
    let refused = client.refused();
    let before = client.done();
    until("it goes on", || client.done() > before + 20);
    assert_eq!(client.refused(), refused);
    client.end();
    leads(&place, &[place.pooler, second.port], &ended);
    assert_eq!(place.left(), "");
}

#[test]
fn the_pooler_is_killed_while_a_clone_is_made() {
    let at = Clone::new();
    std::fs::write(
        at.place.path("change.sql"),
        "ALTER TABLE orders ADD COLUMN mark int NOT NULL DEFAULT 7;",
    )
    .expect("written");
    let file = at.file(
        "how = \"base_backup\"",
        "change = [\"change.sql\"]\nattempts = 3",
    );
    let moments = ["hold or refuse", "make green", "send clients"];
    let moments = moments
        .into_iter()
        .flat_map(|text| [(text, Back::AtOnce), (text, Back::Afterwards)]);
    for (text, back) in some(moments, &[1, 2, 5]) {
        let client = Stubborn::start(at.place.pooler);
        until("a client writes", || client.done() > 10);
        let ended = apply(&at.place, &file, &at.place.bouncer, text, back);
        // All clients are held once more before they are led elsewhere, for which it is needed.
        let is_new = back == Back::AtOnce;
        assert_eq!(ended.outcome == Outcome::New, is_new, "{ended:?}");
        let before = client.done();
        until("the client goes on", || client.done() > before + 10);
        let (written, which) = client.end();
        let there = format!("SELECT count(*) FROM orders WHERE {which}");
        let there = at.place.sql(&there);
        assert_eq!(there, written.to_string(), "{text}, {back:?}");
        if is_new {
            let reads_only = at.place.blue.sql("SHOW default_transaction_read_only");
            assert_eq!(reads_only, "on");
            follows(&at.place);
            made::is_new(&at.place.turn_back(), Side::Blue);
            at.place.finish();
            made::stop(&at.data);
            std::fs::remove_dir_all(&at.data).expect("a clone");
        }
        at.nothing_is_left();
        at.place.sql("DELETE FROM orders");
    }
}

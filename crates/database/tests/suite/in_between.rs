//! What goes wrong between the servers or on green: clients stay where they are, or go over without a failure,
//! and nothing is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use everopen_database::run::{self, Ended, Side};
use everopen_rollout::journal::{Entry, Line, Outcome};
use everopen_testkit::sandbox::{self, Needs};

use crate::network::{self, Network};
use crate::place::Place;
use crate::servers::{Load, until};
use crate::servers_gone::{COPYING, locked};

/// With a network from green to blue.
fn file(place: &Place, network: &Network, more: &str) -> everopen_database::file::File {
    let (host, port) = (network.at.ip(), network.at.port());
    place.file(&format!(
        "blue_from_green = \"host={host} port={port} user=postgres dbname=shop\"\n{more}"
    ))
}

/// Applies, and does something as a step begins.
fn apply_and_at(
    place: &Place,
    file: &everopen_database::file::File,
    text: &str,
    mut then: impl FnMut() + Send,
) -> Ended {
    let applied = place.carry(async |site| {
        let mut tell = |line: &Line| {
            if matches!(&line.entry, Entry::Begun { text: step, .. } if step.contains(text)) {
                then();
            }
        };
        run::apply(site, file, &mut tell).await
    });
    applied.unwrap_or_else(|fault| panic!("{fault:?}"))
}

#[track_caller]
fn is_old(ended: &Ended) -> String {
    assert_eq!(
        (ended.outcome, ended.serving),
        (Outcome::Old, Side::Blue),
        "{ended:?}"
    );
    ended.reason.clone().expect("a reason")
}

const COPY: &str = "copy all rows";
const HOLD: &str = "hold clients";

#[test]
fn a_network_that_is_cut_in_the_copy_and_comes_back_costs_time() {
    let place = Place::new();
    let network = Network::to(place.blue.port);
    let load = Load::start(&place, 40);
    let ended = std::thread::scope(|scope| {
        apply_and_at(&place, &file(&place, &network, ""), COPY, || {
            scope.spawn(|| {
                until("green is connected", || {
                    place
                        .blue
                        .sql("SELECT count(*) > 0 FROM pg_stat_replication")
                        == "t"
                });
                network.cut();
                let before = place.sql("SELECT count(*) FROM orders");
                until("clients have written meanwhile", || {
                    let now: u64 = place
                        .sql("SELECT count(*) FROM orders")
                        .parse()
                        .expect("a number");
                    now > before.parse::<u64>().expect("a number") + 300
                });
                network.mend();
            });
        })
    });
    assert_eq!(
        (ended.outcome, ended.serving, ended.reason),
        (Outcome::New, Side::Green, None)
    );
    load.end_without_failure();
    place.finish();
    assert_eq!(place.left(), "");
}

#[test]
fn a_network_that_stays_cut_takes_it_back() {
    let place = Place::new();
    let network = Network::to(place.blue.port);
    let load = Load::start(&place, 20);
    let ended = std::thread::scope(|scope| {
        apply_and_at(
            &place,
            &file(&place, &network, "copy_ms = 8000"),
            COPY,
            || {
                // So that the copy is not over before.
                let lock = locked(&place);
                scope.spawn(|| {
                    until("a table is copied", || place.blue.sql(COPYING) == "t");
                    network.cut();
                    drop(lock);
                });
            },
        )
    });
    let reason = is_old(&ended);
    assert!(reason.contains("within 8000 ms"), "{reason}");
    assert_eq!(place.left(), "");
    load.end_without_failure();
}

/// How whoever takes a copy ends it (PostgreSQL manual, 55.7, `CopyDone`). The server waits for the answer without
/// hearing what it is told, and holds a lock on its subscription, until its connection fails.
const COPY_DONE: &[u8] = b"c\0\0\0\x04";

#[test]
fn a_network_that_is_cut_as_a_copy_ends_takes_it_back() {
    let name = "in_between::a_network_that_is_cut_as_a_copy_ends_takes_it_back";
    if !sandbox::is_inside(name, Needs::Users) {
        return;
    }
    network::lay();
    let place = Place::new();
    let network = Network::silent(place.blue.port, COPY_DONE);
    let load = Load::start(&place, 20);
    let ended = apply_and_at(
        &place,
        &file(&place, &network, "copy_ms = 8000"),
        COPY,
        || {},
    );
    let reason = is_old(&ended);
    assert!(reason.contains("within 8000 ms"), "{reason}");
    assert_eq!(place.left(), "");
    load.end_without_failure();
}

#[test]
fn a_network_that_is_cut_as_clients_are_held_holds_them_for_the_budget_and_no_longer() {
    let place = Place::new();
    let network = Network::to(place.blue.port);
    let load = Load::start(&place, 30);
    let file = file(&place, &network, "attempts = 2");
    let ended = apply_and_at(&place, &file, HOLD, || network.cut());
    let reason = is_old(&ended);
    assert!(reason.contains("had not come over in time"), "{reason}");
    assert_eq!(place.left(), "");
    load.end_without_failure();
    place.sql("INSERT INTO orders (account) VALUES (1)");
}

#[test]
fn a_row_that_somebody_made_on_green_takes_it_back() {
    let place = Place::new();
    let load = Load::start(&place, 45);
    let mut made = false;
    let ended = apply_and_at(&place, &place.file("attempts = 3"), "way back", || {
        // Where the next orders come.
        place.green.sql("BEGIN READ WRITE; INSERT INTO orders (id, account) SELECT max(id) + generate_series(20, 2000), 7 FROM orders; COMMIT");
        let orders = || {
            place
                .sql("SELECT max(id) FROM orders")
                .parse::<u64>()
                .expect("a number")
        };
        let before = orders();
        until("clients meet it", || orders() > before + 100);
        made = true;
    });
    assert!(made);
    let reason = is_old(&ended);
    assert!(
        reason.contains("not connected to its stream") || reason.contains("had not come over"),
        "{reason}"
    );
    assert_eq!(place.left(), "");
    load.end_without_failure();
}

#[test]
fn a_full_disk_of_green_takes_it_back() {
    let Some(place) = Place::with_small_green() else {
        println!("left out: no file system can be mounted here");
        return;
    };
    let load = Load::start(&place, 30);
    let disk = place.path("small");
    let ended = apply_and_at(&place, &place.file("copy_ms = 60000"), COPY, || {
        // As much as there is room for, but for a little.
        let _ = fs::write(disk.join("filling"), vec![0; 1 << 30]);
    });
    let reason = is_old(&ended);
    println!("{reason}");
    let _ = fs::remove_file(disk.join("filling"));
    let left = place.blue.sql("SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL SELECT 'publication ' || pubname FROM pg_publication UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'everopen'");
    assert_eq!(left, "");
    load.end_without_failure();
}

#[test]
fn a_disk_of_green_that_is_too_small_stands_in_the_way() {
    let Some(place) = Place::with_small_green() else {
        println!("left out: no file system can be mounted here");
        return;
    };
    // More than what is free there, and all of it on blue.
    place.blue.sql(
        "CREATE TABLE big (id int PRIMARY KEY, filler text);
         ALTER TABLE big ALTER filler SET STORAGE PLAIN;
         INSERT INTO big SELECT i, repeat('x', 4000) FROM generate_series(1, 60000) i",
    );
    let ended = place.apply(&place.file(""));
    let reason = is_old(&ended);
    println!("{reason}");
    assert!(
        reason.contains("BLOCKS: blue's tables and indexes have") && reason.contains("MB free"),
        "{reason}"
    );
    assert_eq!(place.left(), "");
    // Without it there is room, and that is said as well.
    place.blue.sql("DROP TABLE big");
    let ended = place.apply(&place.file(""));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    let told = &place.evidence()[0];
    assert!(
        told.contains("note: blue's tables and indexes have"),
        "{told}"
    );
}

/// A client of the pooler to which one dictates.
struct Session(Child);

impl Session {
    fn new(place: &Place) -> Self {
        let session = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"])
            .args(["--host", "127.0.0.1", "--username", "postgres"])
            .args(["--port", &place.pooler.to_string(), "--dbname", "shop"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(session.expect("psql starts"))
    }

    fn say(&mut self, text: &str) {
        let input = self.0.stdin.as_mut().expect("an input");
        input.write_all(text.as_bytes()).expect("sent");
    }

    #[track_caller]
    fn end_well(mut self) {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_copy_and_a_cursor_in_flight_are_waited_for() {
    let place = Place::new();
    let (mut copy, mut cursor) = (Session::new(&place), Session::new(&place));
    copy.say("COPY orders (account) FROM STDIN;\n1\n2\n");
    cursor.say("BEGIN; DECLARE c CURSOR FOR SELECT * FROM pgbench_accounts; FETCH 100 FROM c;\n");
    let in_flight = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND (query LIKE 'COPY orders%' OR query LIKE 'FETCH%') AND state <> 'idle'";
    until("both are under way", || place.blue.sql(in_flight) == "2");
    // When the controller looks for long transactions: each time is another try.
    let looks = "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity WHERE application_name = 'everopen' AND query LIKE '%xact_start > interval%'";
    let mut sessions = Some((copy, cursor));
    let ended = std::thread::scope(|scope| {
        apply_and_at(&place, &place.file(""), HOLD, || {
            let (mut copy, mut cursor) = sessions.take().expect("it is begun once");
            let place = &place;
            scope.spawn(move || {
                let mut tries = BTreeSet::new();
                until("it is put off", || {
                    tries.insert(place.blue.sql(looks));
                    tries.len() > 3
                });
                cursor.say("FETCH 100 FROM c; COMMIT;\n");
                cursor.end_well();
                copy.say("3\n\\.\n");
                copy.end_well();
            });
        })
    });
    assert_eq!(
        (ended.outcome, ended.serving, ended.reason),
        (Outcome::New, Side::Green, None)
    );
    assert_eq!(place.sql("SELECT sum(account) FROM orders"), "6");
}

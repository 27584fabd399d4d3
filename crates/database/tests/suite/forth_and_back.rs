//! From 15 to 18 and back while clients write.

use std::process::{Command, Stdio};

use everopen_database::run::Side;
use everopen_rollout::journal::Outcome;

use crate::place::Place;
use crate::servers::{Load, middle, sql_at, until};

/// What clients may be held for at most.
const HELD_MAX_MS: f64 = 250.0;

fn orders(place: &Place) -> u64 {
    place
        .sql("SELECT count(*) FROM orders")
        .parse()
        .expect("a number")
}

#[test]
fn a_major_version_comes_and_goes_and_no_transaction_fails() {
    let place = Place::alone();
    let mut load = Load::start(&place, 60);
    until("clients write", || orders(&place) > 100);
    let ended = place.apply(&place.file(""));
    assert_eq!(
        (ended.outcome, ended.serving),
        (Outcome::New, Side::Green),
        "{ended:?}"
    );
    assert_eq!(ended.reason, None);
    assert_eq!(place.version(), "18");
    let mut held = vec![place.held_ms()];
    assert!(
        place
            .way_back()
            .contains("to blue, promised for 59 min more; it follows"),
        "{}",
        place.way_back()
    );

    // Ten cutovers in all, forth and back.
    for turn in 0..9 {
        let before = orders(&place);
        until("clients go on", || orders(&place) > before + 50);
        let ended = place.turn_back();
        let serving = if turn % 2 == 0 {
            Side::Blue
        } else {
            Side::Green
        };
        assert_eq!(
            (ended.outcome, ended.serving),
            (Outcome::New, serving),
            "{ended:?}"
        );
        assert_eq!(ended.reason, None, "both sides are the same each time");
        assert_eq!(
            place.version(),
            if serving == Side::Blue { "15" } else { "18" }
        );
        held.push(place.held_ms());
        println!("{}", place.evidence()[2]);
        let evidence = place.evidence();
        assert!(
            evidence
                .iter()
                .any(|told| told.contains("the same on both sides")),
            "{evidence:?}"
        );
    }
    assert!(load.is_running(), "clients wrote all the time");
    let transactions = load.end_without_failure();
    println!("{transactions} transactions, 0 failed; clients were held for {held:?} ms");
    held.sort_by(f64::total_cmp);
    assert!(held[held.len() - 1] <= HELD_MAX_MS, "{held:?}");
    // Every transaction that a client saw committed is there once, wherever it was written.
    assert_eq!(orders(&place), transactions);
    assert_eq!(
        place.sql("SELECT count(DISTINCT id) FROM orders"),
        transactions.to_string()
    );
    assert_eq!(
        place.sql("SELECT count(*) FROM dear WHERE price <= 100"),
        "0"
    );
    place.finish();
    assert_eq!(place.left(), "", "nothing of it is left");
    assert_eq!(place.version(), "15");
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
}

#[test]
fn a_long_transaction_is_waited_for_outside_of_the_pause() {
    let place = Place::new();
    let port = place.pooler.to_string();
    let hold = |seconds: u32| {
        let sql = format!(
            "BEGIN; UPDATE orders SET price = 0 WHERE id = -1; SELECT pg_sleep({seconds}); COMMIT;"
        );
        Command::new("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set",
                "ON_ERROR_STOP=1",
                "--host",
                "127.0.0.1",
            ])
            .args([
                "--port",
                &port,
                "--username",
                "postgres",
                "--dbname",
                "shop",
                "--command",
                &sql,
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("psql starts")
    };
    let sleeps = || {
        place.blue.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()") != "0"
    };
    // Where the budget can't be met nothing has changed.
    let mut long = hold(30);
    until("it is open", sleeps);
    let ended = place.apply(&place.file("attempts = 2"));
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("nothing has changed") && why.contains("process "),
        "{why}"
    );
    assert_eq!(
        (place.left(), place.version()),
        (String::new(), "15".into())
    );
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
    long.kill().expect("kill");
    let _ = long.wait();
    place.blue.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    place
        .green
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");

    // One that ends is waited for, and nobody is held meanwhile.
    let load = Load::start(&place, 20);
    let mut long = hold(8);
    until("it is open", sleeps);
    let ended = place.apply(&place.file("attempts = 100"));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    assert!(long.wait().expect("it ends").success(), "it is committed");
    assert!(place.held_ms() <= 500.0, "{}", place.held_ms());
    load.end_without_failure();
    assert_eq!(place.version(), "18");
}

#[test]
fn a_change_is_made_on_the_way_and_a_stray_connection_is_fenced() {
    let place = Place::new();
    std::fs::write(
        place.path("change.sql"),
        "ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'shop';\nCREATE INDEX ON orders (channel);\n",
    )
    .expect("written");
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
    // Somebody who goes around the pooler, and stays connected.
    let mut stray = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--host",
            "127.0.0.1",
            "--port",
            &place.blue.port.to_string(),
        ])
        .args(["--username", "postgres", "--dbname", "shop"])
        .env("PGAPPNAME", "stray")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql starts");
    until("it is connected", || {
        place
            .blue
            .sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stray'")
            == "1"
    });
    let ended = place.apply(&place.file("change = [\"change.sql\"]"));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    assert_eq!(ended.reason, None);
    let evidence = place.evidence();
    assert!(
        evidence
            .iter()
            .any(|told| told.contains("gone around the poolers were ended: stray of postgres")),
        "{evidence:?}"
    );
    // Who comes again there can't write, as far as they do not insist.
    let refused = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--host",
            "127.0.0.1",
        ])
        .args([
            "--port",
            &place.blue.port.to_string(),
            "--username",
            "postgres",
            "--dbname",
            "shop",
        ])
        .args([
            "--command",
            "INSERT INTO orders (account, price) VALUES (2, 2)",
        ])
        .output()
        .expect("psql runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read-only transaction"));
    assert_eq!(place.sql("SELECT channel FROM orders"), "shop");
    place.sql("INSERT INTO orders (account, price, channel) VALUES (3, 3, 'desk')");
    until("it goes back", || {
        place.blue.sql("SELECT count(*) FROM orders") == "2"
    });
    let _ = stray.kill();
    let _ = stray.wait();
}

#[test]
fn clients_of_two_poolers_go_over_together() {
    let place = Place::new();
    let second = place.second_pooler();
    let file = place.file_of_two(&second);
    let loads = [
        Load::start(&place, 20),
        Load::start_at(&place, second.port, 20),
    ];
    until("clients write", || orders(&place) > 100);
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    let ended = place.turn_back();
    assert_eq!((ended.outcome, ended.reason), (Outcome::New, None));
    let ended = place.turn_back();
    assert_eq!(
        (ended.serving, ended.reason),
        (Side::Green, None),
        "both sides are the same"
    );
    let transactions: u64 = loads.into_iter().map(Load::end_without_failure).sum();
    assert_eq!(orders(&place), transactions);
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    assert_eq!(sql_at(second.port, "shop", version), "18");
}

#[test]
fn a_version_in_between_comes_and_goes_and_what_was_counted_is_kept() {
    let place = Place::to(&middle());
    let load = Load::start(&place, 20);
    until("clients write", || orders(&place) > 100);
    assert_eq!(place.apply(&place.file("")).outcome, Outcome::New);
    assert_eq!(place.version(), "17");
    let proof = place.proof();
    let tables = proof["tables"].as_array().expect("tables");
    let accounts = tables
        .iter()
        .find(|table| table["name"] == "public.pgbench_accounts");
    let accounts = accounts.expect("it is one of them");
    assert_eq!(accounts["is_equal"], true);
    let parts = accounts["parts"][0].as_array().expect("parts");
    let rows = parts
        .iter()
        .map(|part| part["rows"].as_u64().expect("a count"));
    assert_eq!((parts.len(), rows.sum::<u64>()), (16, 200_000));
    let places = [0, 1].map(|at| {
        proof["sides"][at]["lsn"]
            .as_str()
            .unwrap_or_default()
            .contains('/')
    });
    assert_eq!(places, [true, true], "{}", proof["sides"]);
    assert_eq!(place.turn_back().outcome, Outcome::New);
    let done = load.end_without_failure();
    assert_eq!(orders(&place), done);
    place.finish();
    assert_eq!(place.left(), "");
}

//! One plan for a service and its database, with the program itself: real servers, a pooler, an edge, clients
//! of both that go on, and controllers that are killed.

use std::sync::Arc;

use crate::greeter::{Example, Load, until};
use crate::pair::{Both, Writers};
use crate::servers::{OLD, new, run_by};

#[test]
fn both_go_forth_and_come_back_by_one_command_while_clients_go_on() {
    let both = Both::new();
    let example = Arc::clone(&both.example);
    both.write("both.toml", "v2.toml", "");
    let (load, writers) = (Load::start(&example), Writers::start(&both.place));
    until("clients write", || both.orders() > 50);

    let shown = example.done(&["plan", "both.toml"]);
    for part in [
        "the database, then the service",
        "hold clients until all rows are there                 all wait some milliseconds",
        "10 % of new requests                                  new requests move",
        "both, for 60 min",
        "service greeter: nothing stands in the way",
        "Nothing has changed",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    both.are("1", "15");
    let said = example.done(&["apply", "both.toml", "--why", "the yearly upgrade"]);
    println!("{said}");
    assert!(
        said.ends_with("database shop is new, service greeter is new\n"),
        "{said}"
    );
    both.are("2", "18");
    let status = example.done(&["status", "both.toml"]);
    println!("{status}");
    assert!(
        status.contains("back     both to old, for 59 min more")
            || status.contains("back     both to old, for 60 min more"),
        "{status}"
    );

    // One of them went back alone: then both are not taken back as one.
    example.done(&["rollback", "shop"]);
    let (success, said) = example.rollout(&["rollback", "greeter"]);
    assert!(
        !success
            && said.contains("database shop is not where it should be (new)")
            && said.contains("everopen rollout rollback shop"),
        "{said}"
    );
    example.only("2");
    example.done(&["rollback", "shop"]);

    let said = example.done(&["rollback", "greeter", "--why", "just to see"]);
    println!("{said}");
    both.are("1", "15");
    let (first, second) = (
        said.find("service greeter: back"),
        said.find("database shop: back"),
    );
    assert!(first.is_some() && first < second, "in reverse: {said}");
    example.done(&["rollback", "greeter"]);
    both.are("2", "18");
    let before = both.orders();
    until("clients go on", || both.orders() > before + 50);
    let history = example.done(&["history", "greeter"]);
    for part in [
        "the yearly upgrade",
        "just to see",
        "was rolled back",
        "database shop",
    ] {
        assert!(history.contains(part), "{part}: {history}");
    }

    // Closed, each goes alone, and nothing is left.
    let said = example.done(&["finish", "greeter"]);
    assert!(said.contains("each goes alone"), "{said}");
    assert_eq!(both.place.left(), "");
    example.done(&["rollback", "greeter"]);
    both.are("1", "18");
    both.end(load, writers);
}

#[test]
fn when_either_part_fails_both_are_as_before_with_all_that_was_written() {
    let both = Both::new();
    let example = Arc::clone(&both.example);
    let (load, writers) = (Load::start(&example), Writers::start(&both.place));
    until("clients write", || both.orders() > 50);

    // The database goes last, and its change is none.
    let change = both.place.path("change.sql");
    std::fs::write(&change, "ALTER TABLE nothing ADD COLUMN x int;\n").expect("written");
    let more = format!(
        "when = \"after\"\nchange = [{:?}]",
        change.display().to_string()
    );
    both.write("after.toml", "v2.toml", &more);
    let (success, said) = example.rollout(&["apply", "after.toml"]);
    assert!(
        !success
            && said.contains("service greeter is old, database shop is old, as before")
            && said.contains("nothing"),
        "{said}"
    );
    both.are("1", "15");
    assert_eq!(both.place.left(), "");
    both.place.empty_green();

    // The service goes last, and is broken.
    both.write("broken.toml", "v3-broken.toml", "");
    // It is written while green serves.
    let port = both.place.pooler.to_string();
    let write = "INSERT INTO orders (account, price, note) VALUES (1, 1, 'on green')";
    both.hook(
        "broken.toml",
        &[
            "psql",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--username",
            "postgres",
            "--dbname",
            "shop",
            "--command",
            write,
        ],
    );
    let (success, said) = example.rollout(&["apply", "broken.toml"]);
    println!("{said}");
    assert!(
        !success
            && said.contains("back, database shop: back to the old one")
            && said.contains("status 500, expected 200"),
        "{said}"
    );
    both.are("1", "15");
    let meanwhile = "SELECT count(*) FROM orders WHERE note = 'on green'";
    assert_eq!(both.place.blue.sql(meanwhile), "1");
    let before = both.orders();
    until("clients go on", || both.orders() > before + 50);

    // Mended, the database goes forth by the stream that is there.
    both.write("both.toml", "v2.toml", "");
    let said = example.done(&["apply", "both.toml"]);
    assert!(said.contains("green follows already"), "{said}");
    both.are("2", "18");
    both.end(load, writers);
}

#[test]
fn what_can_not_be_taken_back_is_said_and_is_when_the_server_is_there_again() {
    let mut both = Both::new();
    let example = Arc::clone(&both.example);
    both.write("broken.toml", "v3-broken.toml", "");
    let pid = std::fs::read_to_string(both.place.path("blue/postmaster.pid")).expect("it runs");
    let pid = pid.lines().next().expect("a number").to_string();
    both.hook("broken.toml", &["kill", "-QUIT", &pid]);
    let (load, writers) = (Load::start(&example), Writers::start(&both.place));
    until("clients write", || both.orders() > 50);

    let (success, said) = example.rollout(&["apply", "broken.toml"]);
    println!("{said}");
    for part in [
        "status 500, expected 200",
        "database shop can't be taken back",
        "database shop is new, service greeter is old",
        "`everopen rollout resume greeter` tries again",
        "`everopen rollout finish greeter` leaves it as it is",
    ] {
        assert!(!success && said.contains(part), "{part}: {said}");
    }
    both.are("1", "18");
    both.place.blue.start_again();
    let (success, said) = example.rollout(&["resume", "greeter"]);
    assert!(
        !success && said.contains("database shop is old, service greeter is old, as before"),
        "{said}"
    );
    both.are("1", "15");
    let before = both.orders();
    until("clients go on", || both.orders() > before + 50);
    both.end(load, writers);
}

#[test]
fn whenever_the_controller_is_killed_resume_brings_both_to_one_end() {
    let both = Both::new();
    let example = Arc::clone(&both.example);
    both.write("both.toml", "v2.toml", "");
    let (load, writers) = (Load::start(&example), Writers::start(&both.place));
    until("clients write", || both.orders() > 50);
    let one_end = || {
        let ends = both.ends();
        let all = [("1", "15"), ("2", "18")].map(|(a, b)| (a.to_string(), b.to_string()));
        assert!(all.contains(&ends), "{ends:?}");
        ends.0 == "2"
    };

    // Between both.
    both.kill_at(&["apply", "both.toml"], "done: green serves");
    let status = example.done(&["status", "greeter"]);
    assert!(status.contains("the plan was CUT OFF"), "{status}");
    for refused in [&["apply", "v2.toml"][..], &["rollback", "shop"]] {
        let (success, said) = example.rollout(refused);
        assert!(
            !success && said.contains("everopen rollout resume greeter"),
            "{refused:?}: {said}"
        );
    }
    example.rollout(&["resume", "greeter"]);
    if !one_end() {
        // It was killed just as the service was begun.
        example.done(&["apply", "both.toml"]);
    }
    both.are("2", "18");

    // In the second part, on the way back, while clients of the database are held.
    both.kill_at(
        &["rollback", "greeter"],
        "hold clients until all rows are there ...",
    );
    example.rollout(&["resume", "greeter"]);
    if one_end() {
        example.done(&["rollback", "greeter"]);
    }
    both.are("1", "15");

    // In the second part, on the way forth, while two versions share the traffic: it is taken back.
    both.kill_at(&["apply", "both.toml"], "50 % of new requests ...");
    assert_eq!(both.place.version(), "18");
    let (success, said) = example.rollout(&["rollback", "greeter"]);
    assert!(
        !success && said.contains("as before: it was taken back"),
        "{said}"
    );
    both.are("1", "15");

    // And in the first part, while rows go over: what is resumed has one end, too.
    both.kill_at(&["apply", "both.toml"], "send clients there ...");
    example.rollout(&["resume", "greeter"]);
    one_end();
    let before = both.orders();
    until("clients go on", || both.orders() > before + 50);
    both.end(load, writers);
}

#[test]
fn a_bad_file_of_both_is_refused_with_its_place() {
    let example = Example::new();
    let mut edge = example.edge(&[]);
    let version = std::fs::read_to_string(example.path("v2.toml")).expect("read");
    let database = r#"
[database]
name = "shop"
blue = "host=127.0.0.1 port=1 user=postgres dbname=shop"
green = "host=127.0.0.1 port=2 user=postgres dbname=shop"

[[database.pgbouncer]]
admin = "host=127.0.0.1 port=3 user=postgres dbname=pgbouncer"
database = "shop"
file = "shop.ini"
blue = "host=127.0.0.1 port=1 dbname=shop"
green = "host=127.0.0.1 port=2 dbname=shop"
"#;
    let text = version + database;
    for (from, to, found) in [
        ("name = \"shop\"", "name = \"greeter\"", "database.name: "),
        (
            "name = \"shop\"",
            "when = \"while\"\nname = \"shop\"",
            "unknown variant `while`",
        ),
        // Nothing serves yet.
        (
            "name = \"shop\"",
            "when = \"after\"\nname = \"shop\"",
            "database.when: ",
        ),
        (
            "percent = [10, 50]",
            "percent = [50, 10]",
            "strategy.percent: 10 after 50",
        ),
        (
            "[database]",
            "[schema]\nname = \"cents\"\n\n[database]",
            "schema: ",
        ),
        (
            "name = \"shop\"",
            "names = \"shop\"",
            "unknown field `names`",
        ),
        ("", "", "connect"),
    ] {
        std::fs::write(example.path("bad.toml"), text.replacen(from, to, 1)).expect("written");
        for command in ["plan", "apply"] {
            let (success, said) = example.rollout(&[command, "bad.toml"]);
            assert!(!success && said.contains(found), "{found}: {said}");
        }
    }
    let alone = database.replace("name = \"shop\"", "when = \"after\"\nname = \"shop\"");
    std::fs::write(example.path("alone.toml"), alone).expect("written");
    let (success, said) = example.rollout(&["plan", "alone.toml"]);
    assert!(!success && said.contains("database.when: "), "{said}");
    let (success, said) = example.rollout(&["game-day", "bad.toml"]);
    assert!(
        !success && said.contains("the file has no [database.game_day]"),
        "{said}"
    );
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}

#[test]
fn a_game_day_of_both_has_the_faults_of_each_part() {
    let both = Both::new();
    let more = format!(
        "[database.game_day]\nfolder = {:?}\nbin = \"{OLD}\"\ngreen_bin = {:?}\nclients = 2\nrate = 50\n{}\n",
        both.place.path("day"),
        new(),
        run_by(),
    );
    both.write("day.toml", "v2.toml", &more);
    let example = &both.example;
    let text = std::fs::read_to_string(example.path("day.toml")).expect("read");
    // What is thrown in may cost the probes something; the outcome is looked at here.
    let text = text
        .replace("bake_ms = 500", "bake_ms = 1500")
        .replace("failed = 0", "failed = 50");
    std::fs::write(example.path("day.toml"), text).expect("written");
    let before = both.place.left();
    let (success, said) = example.rollout(&["game-day", "day.toml", "--only", "the edge is gone"]);
    assert!(
        !success
            && said.contains("green dies at: ")
            && said.contains("a process of the new version is killed"),
        "{said}"
    );
    let arguments = [
        "game-day",
        "day.toml",
        "--only",
        "none",
        "--only",
        "a process",
    ];
    let (success, said) = example.rollout(&arguments);
    assert!(success, "{said}");
    // The plan without a fault on the clone, and two faults of the service.
    let rows = |end: &str| said.lines().filter(|line| line.ends_with(end)).count();
    assert_eq!(rows("  yes"), 1, "{said}");
    assert_eq!(
        said.matches("  the old version serves").count(),
        2,
        "{said}"
    );
    both.are("1", "15");
    assert_eq!(both.place.left(), before, "production is as before");
    both.stop();
}

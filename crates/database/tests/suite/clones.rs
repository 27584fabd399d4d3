//! Green is made of blue while nobody writes, and reads go on.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use everopen_database::file::File;
use everopen_database::preflight;
use everopen_database::run::Side;
use everopen_rollout::journal::{Entry, Outcome};

use crate::clients::Busy;
use crate::made::{Clone, READ, WRITE, is_new, stop};
use crate::place::Place;
use crate::servers::{OLD, SharingDisk, is_long, some, sql_at, until};

/// Goes to a clone that `clone` makes and back again, while clients read and write.
fn there_and_back(at: &Clone, file: &File, refuses: bool, major: &str) {
    let place = &at.place;
    let readers: Vec<Busy> = (0..4)
        .map(|_| Busy::start(place, "shop_reads", READ))
        .collect();
    let writer = Busy::start(place, "shop", WRITE);
    until("a client writes", || writer.done() > 20);
    let ended = place.apply(file);
    is_new(&ended, Side::Green);
    assert_eq!(place.version(), major);
    let evidence = place.evidence().join("\n");
    assert!(
        evidence.contains("counts and hashes are the same on both sides"),
        "{evidence}"
    );
    println!("{evidence}");
    let before = writer.done();
    until("it goes on to write", || writer.done() > before + 20);
    let port = file.database.green.split("port=").nth(1).expect("a port");
    let port: u16 = port
        .split(' ')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a number");
    let mark = sql_at(
        port,
        "shop",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'mark'",
    );
    assert_eq!(mark, "mark", "the change is there");

    assert!(
        place.way_back().contains("it follows"),
        "{}",
        place.way_back()
    );
    is_new(&place.turn_back(), Side::Blue);
    assert_eq!(place.version(), "15");
    let before = writer.done();
    until("it goes on to write", || writer.done() > before + 20);
    is_new(&place.turn_back(), Side::Green);
    let (written, refused) = writer.end();
    assert_eq!(refused > 0, refuses, "{refused} were refused");
    for reader in readers {
        let (done, refused) = reader.end();
        assert!(
            done > 200 && refused == 0,
            "{done} reads, {refused} refused"
        );
    }
    let found = place.sql("SELECT count(*) FROM orders WHERE note = 'writer'");
    assert_eq!(
        found,
        written.to_string(),
        "all that was acknowledged is there"
    );
    place.finish();
    let left = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(
        (sql_at(port, "shop", left), place.blue.sql(left)),
        ("0".into(), "0".into())
    );
}

fn change(at: &Clone) {
    fs::write(
        at.place.path("change.sql"),
        "ALTER TABLE orders ADD COLUMN mark int NOT NULL DEFAULT 7;
         CREATE INDEX ON orders (price);
         UPDATE pgbench_branches SET filler = 'changed';",
    )
    .expect("written");
}

#[test]
fn a_base_backup_takes_over_while_reads_go_on() {
    let at = Clone::new();
    change(&at);
    let file = at.file("how = \"base_backup\"", "change = [\"change.sql\"]");
    there_and_back(&at, &file, true, "15");
    assert_eq!(at.sql("SHOW shared_buffers"), "16MB");
}

#[test]
fn writes_may_wait_for_it() {
    let at = Clone::new();
    change(&at);
    let file = at.file(
        "how = \"base_backup\"\nwrites = \"held\"",
        "change = [\"change.sql\"]",
    );
    there_and_back(&at, &file, false, "15");
}

#[test]
fn a_dump_takes_a_later_major_version_over() {
    let at = Clone::new();
    change(&at);
    let file = at.write(
        &format!("[database.clone]\nhow = \"dump\"\nbin = \"{OLD}\""),
        "change = [\"change.sql\"]",
        at.place.green.port,
    );
    there_and_back(&at, &file, true, "18");
}

/// In the long suite with a gigabyte, for which writes may be refused for at most fifteen seconds.
#[test]
fn files_that_share_blocks_take_over() {
    let scale = if is_long() { 68 } else { 2 };
    let Some(disk) = SharingDisk::new() else {
        println!("left out: no file system that shares blocks can be mounted here");
        return;
    };
    let at = Clone::of(Place::within(&disk.path, scale));
    change(&at);
    let blue = at.place.path("blue").display().to_string();
    let file = at.file(
        &format!("how = \"copy_on_write\"\nblue_data = \"{blue}\""),
        "change = [\"change.sql\"]",
    );
    // Another database of the server is written meanwhile, which no fence is for; each round lets the server
    // remove the log before it.
    sql_at(
        at.place.blue.port,
        "postgres",
        "CREATE TABLE others (n int)",
    );
    let busy = Arc::new(AtomicBool::new(true));
    let (others, port) = (Arc::clone(&busy), at.place.blue.port);
    let other = std::thread::spawn(move || {
        while others.load(SeqCst) {
            sql_at(
                port,
                "postgres",
                "INSERT INTO others SELECT generate_series(1, 1000); DROP TABLE IF EXISTS brief; CREATE TABLE brief (n int); SELECT pg_switch_wal(); CHECKPOINT",
            );
        }
    });
    there_and_back(&at, &file, true, "15");
    busy.store(false, SeqCst);
    other.join().expect("it writes");
    let evidence = at.place.all_evidence();
    let told = evidence
        .iter()
        .find(|told| told.contains("writes were refused"));
    let told = told.expect("it is said");
    println!(
        "{}: {told}",
        evidence
            .iter()
            .find(|told| told.contains("by sharing blocks"))
            .expect("it is said")
    );
    let ms = told
        .split("for ")
        .nth(1)
        .and_then(|ms| ms.split(' ').next());
    let ms: f64 = ms.and_then(|ms| ms.parse().ok()).expect("a time");
    assert!(ms <= 15_000.0, "{told}");
}

#[test]
fn programs_of_ones_own_make_and_remove_it() {
    let at = Clone::new();
    change(&at);
    let file = at.file_of_ones_own();
    there_and_back(&at, &file, true, "15");
}

#[test]
fn programs_of_ones_own_remove_what_is_not_wanted() {
    let at = Clone::new();
    fs::write(at.place.path("change.sql"), "SELECT 1 / 0;").expect("written");
    let ended = at.place.apply(&at.file_of_ones_own());
    let reason = ended.reason.expect("a reason");
    assert!(reason.contains("division by zero"), "{reason}");
    at.nothing_is_left();
}

#[test]
fn a_change_that_fails_leaves_no_clone() {
    let at = Clone::new();
    fs::write(
        at.place.path("change.sql"),
        "ALTER TABLE nothing ADD COLUMN a int;",
    )
    .expect("written");
    let reader = Busy::start(&at.place, "shop_reads", READ);
    let writer = Busy::start(&at.place, "shop", WRITE);
    until("a client writes", || writer.done() > 20);
    let ended = at
        .place
        .apply(&at.file("how = \"base_backup\"", "change = [\"change.sql\"]"));
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    let reason = ended.reason.expect("a reason");
    assert!(reason.contains("\"nothing\" does not exist"), "{reason}");
    let before = writer.done();
    until("it goes on to write", || writer.done() > before + 20);
    writer.end();
    assert_eq!(reader.end().1, 0);
    at.nothing_is_left();
}

#[test]
fn what_takes_too_long_goes_back_by_itself() {
    let at = Clone::new();
    // A change that would take a minute, were writes held for so long.
    fs::write(
        at.place.path("change.sql"),
        "SELECT pg_advisory_xact_lock(1);",
    )
    .expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let own = format!("host=127.0.0.1 port={} user=postgres dbname=shop", at.port);
    let port = at.port;
    // Somebody has the lock on green as soon as it is there.
    let locker = runtime.spawn(async move {
        loop {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&own, tokio_postgres::NoTls).await
            {
                let connection = tokio::spawn(connection);
                if client
                    .simple_query("SELECT pg_advisory_lock(1)")
                    .await
                    .is_ok()
                {
                    let _ = connection.await;
                }
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let file = at.file(
        "how = \"base_backup\"\nhold_ms = 6000",
        "change = [\"change.sql\"]",
    );
    let ended = at.place.apply(&file);
    locker.abort();
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    let reason = ended.reason.expect("a reason");
    assert_eq!(
        reason, "writes were held for as long as they may be",
        "port {port}"
    );
    at.nothing_is_left();
}

#[test]
fn a_controller_that_is_killed_at_any_step_leaves_writes_and_no_clone() {
    let at = Clone::new();
    change(&at);
    let file = at.file("how = \"base_backup\"", "change = [\"change.sql\"]");
    // As its steps begin, but for the last two, after which nothing can go back.
    for step in some(0..6, &[2, 3, 5]) {
        at.place.cut_off(
            &file,
            |entry| matches!(entry, Entry::Begun { step: begun, .. } if *begun == step),
        );
        let ended = at.place.resume();
        assert_eq!(
            (ended.outcome, ended.serving),
            (Outcome::Old, Side::Blue),
            "step {step}"
        );
        at.nothing_is_left();
    }
    for step in some(6..9, &[0]) {
        at.place.cut_off(
            &file,
            |entry| matches!(entry, Entry::Begun { step: begun, .. } if *begun == step),
        );
        let ended = at.place.resume();
        is_new(&ended, Side::Green);
        at.place.sql("INSERT INTO orders (account) VALUES (2)");
        // To where it began, so that the next one can begin there.
        is_new(&at.place.turn_back(), Side::Blue);
        at.place.finish();
        stop(&at.data);
        fs::remove_dir_all(&at.data).expect("a clone");
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let at = Clone::new();
    fs::create_dir(&at.data).expect("made");
    at.place.blue.sql("CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' PUBLICATION none WITH (connect = false)");
    // It goes on to write itself.
    for setting in [
        "ALTER SYSTEM SET synchronous_commit = 'local'",
        "ALTER SYSTEM SET synchronous_standby_names = 'elsewhere'",
        "SELECT pg_reload_conf()",
    ] {
        at.place.blue.sql(setting);
    }
    until("it is told", || {
        at.place.blue.sql("SHOW synchronous_standby_names") == "elsewhere"
    });
    let blue = at.place.path("blue").display().to_string();
    let file = at.file("how = \"base_backup\"", "");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let found = |file: &File| {
        let found = runtime
            .block_on(preflight::look(&file.database))
            .expect("they can be asked");
        let found = found.into_iter().filter(|finding| finding.blocks);
        found
            .map(|finding| finding.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let told = found(&file);
    assert!(
        told.contains("subscriptions of blue")
            && told.contains("is there already")
            && told.contains("blue waits for standbys (elsewhere)"),
        "{told}"
    );
    let ended = at.place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old);
    assert!(at.data.exists(), "what was there before stays");
    // The file system of tests does not share blocks, or it does; then nothing is said of it.
    let shares = format!("how = \"copy_on_write\"\nblue_data = \"{blue}\"");
    let told = found(&at.file(&shares, ""));
    let shared = Command::new("cp")
        .args(["--reflink=always", "rollout.toml", "copy.toml"])
        .current_dir(at.place.folder.path())
        .output()
        .expect("cp runs");
    assert_eq!(
        told.contains("blocks can't be shared"),
        !shared.status.success(),
        "{told}"
    );
}

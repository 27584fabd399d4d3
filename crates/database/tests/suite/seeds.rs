//! Green begins as a clone of blue, made while clients write, and follows from where the clone ends.

use std::fs;

use everopen_database::file::File;
use everopen_database::run::{self, Side};
use everopen_rollout::journal::{Entry, Line, Outcome};

use crate::made::{Clone, is_new, stop};
use crate::place::Place;
use crate::servers::{Load, Session, SharingDisk, is_long, some, sql_at, until};

const CHANGE: &str = "ALTER TABLE orders ADD COLUMN mark int NOT NULL DEFAULT 7;
    CREATE INDEX ON orders (price);";

/// A file by which green begins as a clone and then follows.
fn file(at: &Clone, clone: &str) -> File {
    let _ = at.file(clone, "change = [\"change.sql\"]");
    following(at)
}

/// The same file by the other strategy.
fn following(at: &Clone) -> File {
    let text = fs::read_to_string(at.place.path("rollout.toml")).expect("a file");
    at.place.write(&text.replace("strategy = \"clone\"", ""))
}

fn changes(at: &Clone, sql: &str) {
    fs::write(at.place.path("change.sql"), sql).expect("written");
}

/// A session with a transaction that stays open.
fn open(port: u16, sql: &str) -> Session {
    let mut session = Session::open(port, "open");
    session.tell("BEGIN");
    session.tell(sql);
    until("its transaction is open", || {
        sql_at(
            port,
            "shop",
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'open' AND state = 'idle in transaction' AND query LIKE 'INSERT%'",
        ) == "1"
    });
    session
}

/// Forth under load, with a transaction that is open while the clone is made, and back.
fn there_and_back(at: &Clone, file: &File, seconds: u32) -> Vec<String> {
    let place = &at.place;
    let load = Load::start(place, seconds);
    until("clients write", || {
        place.blue.sql("SELECT count(*) > 50 FROM orders") == "t"
    });
    let mut begun = None;
    let port = place.blue.port;
    let ended = place.carry(async |site| {
        let mut tell = |line: &Line| match &line.entry {
            Entry::Begun { text, .. } if text.contains("make green") => {
                begun = Some(open(
                    port,
                    "INSERT INTO orders (account, note) VALUES (1, 'open')",
                ));
            }
            Entry::Begun { text, .. } if text.contains("follow what") => {
                if let Some(session) = begun.take() {
                    session.end("COMMIT");
                }
            }
            _ => {}
        };
        run::apply(site, file, &mut tell).await
    });
    let ended = ended.unwrap_or_else(|fault| panic!("{fault:?}"));
    is_new(&ended, Side::Green);
    let evidence = place.evidence();
    println!("{}", evidence.join("\n"));
    assert!(place.held_ms() <= 500.0, "{evidence:?}");
    assert_eq!(
        at.sql("SELECT count(*) FROM orders WHERE note = 'open'"),
        "1",
        "what was open when the clone was made came over"
    );
    is_new(&place.turn_back(), Side::Blue);
    let done = load.end_without_failure();
    let orders = place
        .blue
        .sql("SELECT count(*) FROM orders WHERE note LIKE 'of %'");
    assert_eq!(orders, done.to_string(), "each transaction once");
    place.finish();
    let count = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(
        (at.sql(count), place.blue.sql(count)),
        ("0".into(), "0".into())
    );
    let publications = "SELECT count(*) FROM pg_publication";
    assert_eq!(at.sql(publications), "0");
    assert_eq!(place.left(), "");
    evidence
}

#[test]
fn a_base_backup_follows_while_clients_write() {
    let at = Clone::new();
    changes(&at, CHANGE);
    // Other limits than blue's, which a server that others may read while it recovers could not have.
    let _ = file(&at, "how = \"base_backup\"");
    let path = at.place.path("rollout.toml");
    let text = fs::read_to_string(path).expect("a file");
    let file = at
        .place
        .write(&text.replace("settings = [", "settings = [\"max_connections = 60\", "));
    there_and_back(&at, &file, 25);
    assert_eq!(at.sql("SHOW max_connections"), "60");
    assert_eq!(at.sql("SHOW restore_command"), "");
    assert_eq!(
        at.sql("SELECT count(*) > 0 FROM orders WHERE mark = 7"),
        "t"
    );
}

/// In the long suite with a gigabyte.
#[test]
fn files_that_share_blocks_follow_while_clients_write() {
    let scale = if is_long() { 68 } else { 2 };
    let Some(disk) = SharingDisk::new() else {
        println!("left out: no file system that shares blocks can be mounted here");
        return;
    };
    let at = Clone::of(Place::within(&disk.path, scale));
    changes(&at, CHANGE);
    let blue = at.place.path("blue").display().to_string();
    let file = file(
        &at,
        &format!("how = \"copy_on_write\"\nblue_data = \"{blue}\""),
    );
    there_and_back(&at, &file, if is_long() { 60 } else { 25 });
}

#[test]
fn programs_of_ones_own_say_where_it_ends() {
    let at = Clone::new();
    changes(&at, CHANGE);
    let _ = at.file_of_ones_own();
    let file = following(&at);
    // Nothing in it says that it is to begin a timeline of its own.
    let ended = at.place.apply(&file);
    let reason = ended.reason.expect("a reason");
    assert!(reason.contains("recovery.signal"), "{reason}");
    at.nothing_is_left();

    let script = at.place.path("make.sh");
    let text = fs::read_to_string(&script).expect("a script");
    let signal = format!(
        "; touch {data}/recovery.signal; chown postgres {data}/recovery.signal || true; echo \"restore_command = 'false'\" >>{data}/postgresql.auto.conf; ",
        data = at.data.display()
    );
    let (backup, start) = text.split_once("; ").expect("two commands");
    fs::write(&script, format!("{backup}{signal}{start}")).expect("written");
    there_and_back(&at, &file, 25);
}

#[test]
fn a_change_may_not_alter_rows_that_go_on_to_come_from_blue() {
    let at = Clone::new();
    changes(
        &at,
        "ALTER TABLE pgbench_tellers ADD COLUMN mark int;
         UPDATE pgbench_tellers SET mark = 1;
         UPDATE pgbench_branches SET filler = 'changed';",
    );
    let ended = at.place.apply(&file(&at, "how = \"base_backup\""));
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    let reason = ended.reason.expect("a reason");
    assert!(
        reason.contains("public.pgbench_branches: 2 rows before, 2 afterwards")
            && !reason.contains("pgbench_tellers"),
        "{reason}"
    );
    at.nothing_is_left();
    // What only fills what it has added is no harm.
    changes(
        &at,
        "ALTER TABLE pgbench_tellers ADD COLUMN mark int;
         UPDATE pgbench_tellers SET mark = 1;",
    );
    is_new(
        &at.place.apply(&file(&at, "how = \"base_backup\"")),
        Side::Green,
    );
    assert_eq!(
        at.sql("SELECT count(*) FROM pgbench_tellers WHERE mark = 1"),
        "20"
    );
}

#[test]
fn a_controller_that_is_killed_at_any_step_leaves_one_side_serving() {
    let at = Clone::new();
    changes(&at, CHANGE);
    let file = file(&at, "how = \"base_backup\"");
    for step in some(0..11, &[3, 5, 7, 8]) {
        at.place.cut_off(
            &file,
            |entry| matches!(entry, Entry::Begun { step: begun, .. } if *begun == step),
        );
        let ended = at.place.resume();
        if step < 8 {
            assert_eq!(
                (ended.outcome, ended.serving),
                (Outcome::Old, Side::Blue),
                "step {step}"
            );
            at.nothing_is_left();
            continue;
        }
        is_new(&ended, Side::Green);
        at.place.sql("INSERT INTO orders (account) VALUES (2)");
        is_new(&at.place.turn_back(), Side::Blue);
        at.place.finish();
        stop(&at.data);
        fs::remove_dir_all(&at.data).expect("a clone");
    }
}

#[test]
fn green_that_dies_while_it_follows_leaves_nothing() {
    let at = Clone::new();
    changes(&at, CHANGE);
    let file = file(&at, "how = \"base_backup\"");
    let steps = [
        "make the change",
        "follow what",
        "slot of the way",
        "hold clients",
    ];
    for text in some(steps, &[1, 3]) {
        let load = Load::start(&at.place, 12);
        let ended = at.place.carry(async |site| {
            let mut tell = |line: &Line| {
                if matches!(&line.entry, Entry::Begun { text: step, .. } if step.contains(text)) {
                    stop(&at.data);
                }
            };
            run::apply(site, &file, &mut tell).await
        });
        let ended = ended.unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!(
            (ended.outcome, ended.serving),
            (Outcome::Old, Side::Blue),
            "{text}"
        );
        load.end_without_failure();
        at.nothing_is_left();
    }
}

#[test]
fn what_has_no_use_is_refused() {
    let at = Clone::new();
    let wrong = |clone: &str, what: &str| {
        let _ = at.file("how = \"base_backup\"", "");
        let path = at.place.path("rollout.toml");
        let text = fs::read_to_string(&path).expect("a file");
        let text = text
            .replace("strategy = \"clone\"", "")
            .replace("how = \"base_backup\"", clone);
        fs::write(&path, text).expect("written");
        let said = File::read(&path).expect_err("refused").to_string();
        assert!(said.contains(what), "{said}");
    };
    wrong("how = \"dump\"", "database.clone.how");
    wrong(
        "how = \"base_backup\"\nhold_ms = 5",
        "database.clone.hold_ms",
    );
    wrong(
        "how = \"base_backup\"\nwrites = \"held\"",
        "database.clone.writes",
    );
    wrong("how = \"copy_on_write\"", "database.clone.blue_data");
}

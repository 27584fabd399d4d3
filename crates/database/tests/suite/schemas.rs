//! A change of schema across releases, while clients of the last version write.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use everopen_database::schema::file::File;
use everopen_database::schema::{self, Done, Fault, Phase};
use everopen_rollout::execute::By;
use everopen_rollout::journal::{Entry, Line};

use crate::place::Place;
use crate::servers::{Load, good, until};

/// Prices become cents. Version 1 knows the price alone, version 2 writes both and reads cents, version 3 knows
/// nothing of the price any more.
pub struct Change {
    pub place: Place,
    runtime: tokio::runtime::Runtime,
}

const EXPAND: &str = "ALTER TABLE orders ADD COLUMN cents bigint;
CREATE FUNCTION cents_of() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.cents := coalesce(NEW.cents, (coalesce(NEW.price, 0) * 100)::bigint); RETURN NEW; END $$;
CREATE TRIGGER cents BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION cents_of();";
const UNDO: &str =
    "DROP TRIGGER cents ON orders; DROP FUNCTION cents_of; ALTER TABLE orders DROP COLUMN cents;";
const CONTRACT: &str = "DROP TRIGGER cents ON orders; DROP FUNCTION cents_of; DROP VIEW dear; ALTER TABLE orders DROP COLUMN price;";
const CHECK: &str = r#"#!/bin/sh
run() { psql -X -q -v ON_ERROR_STOP=1 "$DATABASE" -c "$1" >/dev/null; }
case $1 in
1) run "BEGIN; INSERT INTO orders (account, price) VALUES (1, 2.5); SELECT price FROM orders; ROLLBACK" ;;
2) run "BEGIN; INSERT INTO orders (account, price, cents) VALUES (1, 2.5, 250); SELECT cents FROM orders; ROLLBACK" ;;
3) run "BEGIN; INSERT INTO orders (account, cents) VALUES (1, 250); SELECT cents FROM orders; ROLLBACK" ;;
esac
"#;

impl Change {
    pub fn new() -> Self {
        let place = Place::new();
        for (name, text) in [
            ("expand.sql", EXPAND),
            ("undo.sql", UNDO),
            ("contract.sql", CONTRACT),
            ("check.sh", CHECK),
        ] {
            fs::write(place.path(name), text).expect("written");
        }
        good(Command::new("chmod").arg("755").arg(place.path("check.sh")));
        Self {
            place,
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        }
    }

    pub fn file(&self, serving: &str, more: &str) -> File {
        let text = format!(
            r#"
[schema]
name = "cents"
database = "host=127.0.0.1 port={} user=postgres dbname=shop"
serving = [{serving}]
retry_ms = 100
{more}

[schema.expand]
file = "expand.sql"
undo = "undo.sql"

[[schema.expand.index]]
name = "orders_cents"
on = "orders (cents)"

[[schema.backfill]]
table = "orders"
set = "cents = (coalesce(price, 0) * 100)::bigint"
where = "cents IS NULL"
batch = 200
pause_ms = 1

[schema.contract]
file = "contract.sql"

[[schema.version]]
name = "1"
check = ["./check.sh", "1"]

[[schema.version]]
name = "2"
check = ["./check.sh", "2"]

[[schema.version]]
name = "3"
check = ["./check.sh", "3"]
"#,
            self.place.blue.port
        );
        let path = self.place.path("schema.toml");
        fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    fn root(&self) -> PathBuf {
        self.place.path("rollouts")
    }

    pub fn apply(&self, file: &File) -> Result<Done, Fault> {
        let root = self.root();
        let by = By::default();
        self.runtime
            .block_on(schema::apply(&root, &by, file, &mut |_| {}))
    }

    fn roll_back(&self, file: &File) -> Result<Done, Fault> {
        let root = self.root();
        let by = By::default();
        self.runtime
            .block_on(schema::roll_back(&root, &by, file, &mut |_| {}))
    }

    fn phase(&self, file: &File) -> Phase {
        self.runtime
            .block_on(schema::phase(file))
            .expect("it can be asked")
    }

    fn clones(&self) -> String {
        let sql = "SELECT count(*) FROM pg_database WHERE datname LIKE 'everopen%'";
        self.place.blue.sql(sql)
    }
}

#[track_caller]
fn refused(done: Result<Done, Fault>) -> String {
    done.expect_err("refused").to_string()
}

#[test]
fn a_column_comes_gets_values_and_another_goes_while_clients_write() {
    let change = Change::new();
    let place = &change.place;
    place.sql(
        "INSERT INTO orders (account, price) SELECT n, n / 100.0 FROM generate_series(1, 20000) n",
    );
    let load = Load::start(place, 15);
    let file = change.file("\"1\"", "");
    let orders = || {
        place
            .sql("SELECT count(*) FROM orders")
            .parse::<u64>()
            .expect("a number")
    };
    let before = orders();
    until("clients write", || orders() > before + 100);
    let done = change.apply(&file).expect("it is expanded");
    assert_eq!(
        (done.phase, change.phase(&file)),
        (Phase::Migrated, Phase::Migrated)
    );
    println!("{}", done.told.join("\n"));
    let all = done.told.join("\n");
    assert!(
        all.contains("version 1 (serves) on expanded: runs"),
        "{all}"
    );
    assert!(all.contains("version 2 on expanded: runs"), "{all}");
    let wrong = "SELECT count(*) FROM orders WHERE cents IS DISTINCT FROM (price * 100)::bigint";
    assert_eq!(place.sql(wrong), "0");
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_cents'::regclass";
    assert_eq!(place.sql(valid), "t");
    load.end_without_failure();

    // Not as long as one runs that needs what goes.
    let why = refused(change.apply(&file));
    assert!(
        why.contains("version 1 (serves) on contracted: FAILS"),
        "{why}"
    );
    assert!(why.contains("column \"price\""), "it says why: {why}");
    let why = refused(change.apply(&change.file("\"2\", \"3\"", "")));
    assert!(
        why.contains("version 2 (serves) on contracted: FAILS"),
        "{why}"
    );
    assert_eq!(change.phase(&file), Phase::Migrated);
    let done = change
        .apply(&change.file("\"3\"", ""))
        .expect("it is contracted");
    assert_eq!(done.phase, Phase::Contracted);
    let columns = "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns WHERE table_name = 'orders'";
    assert_eq!(place.sql(columns), "account,at,cents,id,note");
    let why = refused(change.roll_back(&file));
    assert!(why.contains("is gone"), "{why}");
    assert_eq!(change.clones(), "0");
}

#[test]
fn a_change_that_a_running_version_can_not_bear_is_refused_and_nothing_is_changed() {
    let change = Change::new();
    fs::write(
        change.place.path("expand.sql"),
        "ALTER TABLE orders RENAME COLUMN price TO cents",
    )
    .expect("written");
    let file = change.file("\"1\"", "");
    let proofs = change
        .runtime
        .block_on(schema::proofs(&change.root(), &file))
        .expect("tried");
    let told: Vec<String> = proofs.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "version 1 (serves) on before: runs");
    assert!(
        told[1].starts_with("version 1 (serves) on expanded: FAILS"),
        "{told:?}"
    );
    let why = refused(change.apply(&file));
    assert!(
        why.contains("version 1 (serves) on expanded: FAILS"),
        "{why}"
    );
    assert_eq!(change.phase(&file), Phase::Before);
    change.place.sql("SELECT price FROM orders");
    // One that fails on what there is has a check that is wrong.
    fs::write(
        change.place.path("check.sh"),
        "#!/bin/sh\necho no database in sight; exit 3\n",
    )
    .expect("written");
    let why = refused(change.apply(&file));
    assert!(
        why.contains("version 1 (serves) on before: FAILS: exit status: 3: no database in sight"),
        "{why}"
    );
    let why = refused(change.apply(&File {
        schema: schema::file::Schema {
            serving: vec!["0".into()],
            ..file.schema
        },
    }));
    assert!(
        why.contains("version 0 serves or can be gone back to"),
        "{why}"
    );
    assert_eq!(change.clones(), "0");
}

#[test]
fn it_goes_back_before_it_was_contracted_and_on_where_it_was_cut_off() {
    let change = Change::new();
    let file = change.file("\"1\"", "");
    let root = change.root();
    // The controller is gone as each step begins.
    for step in 0..5 {
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let by = By::default();
            let mut tell = |line: &Line| {
                let is_it = matches!(line.entry, Entry::Begun { step: begun, .. } if begun == step);
                assert!(!is_it, "the controller is killed");
            };
            let _ = change
                .runtime
                .block_on(schema::apply(&root, &by, &file, &mut tell));
        }));
        assert!(cut.is_err(), "it was to be cut off at {step}");
        let done = change.apply(&file).expect("it goes on");
        assert_eq!(done.phase, Phase::Migrated, "{step}");
        assert_eq!(change.roll_back(&file).expect("back").phase, Phase::Before);
        change
            .place
            .sql("INSERT INTO orders (account, price) VALUES (1, 1)");
    }
    let why = refused(change.roll_back(&file));
    assert!(why.contains("nothing was changed"), "{why}");
}

#[test]
fn a_lock_that_does_not_come_keeps_nobody_waiting() {
    let change = Change::new();
    let place = &change.place;
    let port = place.blue.port.to_string();
    let mut reader = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--host",
            "127.0.0.1",
            "--username",
            "postgres",
        ])
        .args(["--port", &port, "--dbname", "shop"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("psql starts");
    let input = reader.stdin.as_mut().expect("an input");
    std::io::Write::write_all(input, b"BEGIN; SELECT count(*) FROM orders;\n").expect("sent");
    until("it reads", || {
        place.blue.sql("SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'AccessShareLock' AND pid <> pg_backend_pid()") != "0"
    });
    let load = Load::start(place, 8);
    let file = change.file("\"1\"", "lock_ms = 50\nattempts = 5");
    let why = refused(change.apply(&file));
    assert!(
        why.contains("no lock within 50 ms in 5 tries; nothing has changed"),
        "{why}"
    );
    assert_eq!(change.phase(&file), Phase::Before);
    drop(reader.stdin.take());
    reader.wait().expect("it ends");
    load.end_without_failure();
    assert_eq!(
        change.apply(&file).expect("now it comes").phase,
        Phase::Migrated
    );
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    let change = Change::new();
    let file = change.file("\"1\"", "");
    let path = change.place.path("schema.toml");
    let good = fs::read_to_string(&path).expect("written");
    for (from, to, why) in [
        ("serving = [\"1\"]", "", "schema.serving"),
        (
            "serving = [\"1\"]",
            "serving = [\"9\"]",
            "is no `version` of this file",
        ),
        ("batch = 200", "batch = 0", "schema.backfill[0].batch"),
        ("name = \"cents\"", "name = \"a/b\"", "schema.name"),
        ("undo = ", "undone = ", "unknown field `undone`"),
    ] {
        fs::write(&path, good.replace(from, to)).expect("written");
        let told = File::read(&path).expect_err("refused").to_string();
        assert!(told.contains(why), "{told}");
    }
    // A backfill that never ends is one that is told so.
    let mut endless = file;
    endless.schema.backfill[0].set = "note = 'again'".into();
    fs::write(
        change.place.path("expand.sql"),
        "ALTER TABLE orders ADD COLUMN cents bigint",
    )
    .expect("written");
    change.place.sql("INSERT INTO orders (account) VALUES (1)");
    let told = refused(change.apply(&endless));
    assert!(told.contains("does `note = 'again'` end that?"), "{told}");
}

//! What clients keep in their sessions: it comes over, or it is said before who keeps what.

use everopen_database::file::File;
use everopen_database::preflight::{self, Finding};
use everopen_rollout::journal::Outcome;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::place::Place;
use crate::servers::sql_at;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

async fn connect(port: u16, name: &str) -> Client {
    let at =
        format!("host=127.0.0.1 port={port} user=postgres dbname=shop application_name={name}");
    let (client, connection) = tokio_postgres::connect(&at, NoTls)
        .await
        .expect("connected");
    tokio::spawn(connection);
    client
}

/// The first value of what a statement gives, or the SQLSTATE by which it fails.
async fn say(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(said) => {
            let mut rows = said.into_iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_string()),
                _ => None,
            });
            rows.next().unwrap_or_default()
        }
        Err(error) => match error.code() {
            Some(code) => code.code().to_string(),
            None => format!("{error:?}"),
        },
    }
}

fn look(file: &File) -> Vec<Finding> {
    let found = runtime().block_on(preflight::look(&file.database));
    found.expect("they can be asked")
}

#[track_caller]
fn finding<'a>(found: &'a [Finding], what: &str) -> &'a Finding {
    let one = found.iter().find(|finding| finding.what.contains(what));
    one.unwrap_or_else(|| panic!("{what} is not among {found:#?}"))
}

#[test]
fn what_sessions_keep_is_named_with_who_keeps_it() {
    let place = Place::new();
    let runtime = runtime();
    // Who, what it does, and what is said of it.
    let keep = [
        ("listener", "LISTEN news", "sessions that LISTEN"),
        (
            "locker",
            "SELECT pg_advisory_lock(7)",
            "advisory locks are held",
        ),
        (
            "preparer",
            "PREPARE one AS SELECT 1",
            "PREPARE statements in SQL",
        ),
        (
            "reader",
            "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM pgbench_accounts",
            "a cursor WITH HOLD",
        ),
        (
            "shopper",
            "CREATE TEMP TABLE cart (id int)",
            "temporary tables",
        ),
        (
            "tuner",
            "SET work_mem = '8MB'",
            "sessions that SET something",
        ),
        (
            "waiter",
            "BEGIN; INSERT INTO orders (account) VALUES (1)",
            "open for longer than clients may be held",
        ),
    ];
    // Not through the pooler, which might give two of them one session.
    let sessions = runtime.block_on(async {
        let mut sessions = Vec::new();
        for (name, sql, _) in keep {
            let client = connect(place.blue.port, name).await;
            client.simple_query(sql).await.expect("done");
            sessions.push((name, say(&client, "SELECT pg_backend_pid()").await, client));
        }
        // The last statement is what tells.
        for ((_, sql, _), (_, _, client)) in keep.iter().zip(&sessions) {
            if sql.starts_with("SET") || sql.starts_with("LISTEN") {
                client.simple_query(sql).await.expect("done");
            }
        }
        for (at, sql) in [
            (2, "PREPARE two AS SELECT 2"),
            (3, "DECLARE d CURSOR WITH HOLD FOR SELECT 1"),
            (4, "CREATE TEMP TABLE cart_2 (id int)"),
        ] {
            sessions[at].2.simple_query(sql).await.expect("done");
        }
        sessions
    });
    crate::servers::until("it has been open for long", || {
        place.blue.sql("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'waiter' AND clock_timestamp() - xact_start > interval '500 ms'") == "t"
    });
    // What the pooler carries over is not named.
    let zoned = runtime.block_on(async {
        let client = connect(place.blue.port, "zoned").await;
        say(&client, "SET SESSION TimeZone = 'UTC'").await;
        client
    });
    place.sql("SELECT 1");
    let found = look(&place.file(""));
    drop(zoned);
    assert!(!finding(&found, "SET something").what.contains("zoned"));
    for ((name, pid, _), (_, _, what)) in sessions.iter().zip(keep) {
        let told = finding(&found, what);
        let who = format!("{name} (process {pid} of postgres)");
        assert!(told.what.contains(&who), "{who}: {told}");
        assert!(!told.blocks && !told.cure.is_empty());
        let around = finding(&found, "have not come through a pooler");
        assert!(around.what.contains(&who), "{around}");
        // Each is named for what it does, and for nothing else.
        let times = found.iter().filter(|one| one.what.contains(&who)).count();
        assert_eq!(times, 2, "{who}: {found:#?}");
    }
    // Whoever comes through the pooler has not gone around it.
    let around = finding(&found, "have not come through a pooler");
    assert!(!around.what.contains("psql"), "{around}");
    assert!(finding(&found, "temporary tables").what.contains("cart_2"));
}

#[test]
fn what_a_session_keeps_comes_over_or_fails_as_it_is_said() {
    let place = Place::new();
    let runtime = runtime();
    let (client, listener) = runtime.block_on(async {
        let client = connect(place.pooler, "client").await;
        for sql in [
            "SET TimeZone = 'Asia/Tokyo'",
            "SET work_mem = '9MB'",
            "PREPARE one AS SELECT 42",
            "SELECT pg_advisory_lock(7)",
            "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 9)",
            "CREATE TEMP TABLE cart AS SELECT 3 AS n",
        ] {
            client.simple_query(sql).await.expect("done");
        }
        // Nobody else is there: all of it is in one session.
        for (sql, kept) in [
            ("SHOW TimeZone", "Asia/Tokyo"),
            ("SHOW work_mem", "9MB"),
            ("EXECUTE one", "42"),
            ("FETCH c", "1"),
            ("SELECT n FROM cart", "3"),
        ] {
            assert_eq!(say(&client, sql).await, kept, "{sql}");
        }
        let listener = connect(place.blue.port, "listener").await;
        listener.simple_query("LISTEN news").await.expect("done");
        (client, listener)
    });
    let ended = place.apply(&place.file(""));
    assert_eq!((ended.outcome, &ended.reason), (Outcome::New, &None));
    let told = &place.evidence()[0];
    for (what, who) in [
        ("advisory locks", "client (process "),
        ("temporary tables", "cart of postgres"),
        ("sessions that LISTEN", "listener (process "),
    ] {
        let line = told.lines().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("{what}: {told}"));
        assert!(line.contains(who), "{line}");
    }
    runtime.block_on(async {
        let version = "SELECT current_setting('server_version_num')::int / 10000";
        for (sql, now) in [
            (version, "18"),
            // The pooler carries these over.
            ("SHOW TimeZone", "Asia/Tokyo"),
            ("SHOW application_name", "client"),
            ("SHOW work_mem", "4MB"),
            ("EXECUTE one", "26000"),
            ("FETCH c", "34000"),
            ("SELECT n FROM cart", "42P01"),
            // And all of it can be made anew.
            ("PREPARE one AS SELECT 42", ""),
            ("EXECUTE one", "42"),
            ("SELECT pg_try_advisory_lock(7)", "t"),
        ] {
            assert_eq!(say(&client, sql).await, now, "{sql}");
        }
        let refused = listener.simple_query("SELECT 1").await;
        refused.expect_err("it was ended");
        // It connects to the side that serves, and hears what clients say there.
        let again = connect(place.green.port, "listener").await;
        again.simple_query("LISTEN news").await.expect("done");
        client.simple_query("NOTIFY news").await.expect("done");
    });
    // Nothing of the old session holds anything.
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(place.blue.sql(locks), "0");
}

#[test]
fn a_pool_by_session_stands_in_the_way() {
    let place = Place::new();
    place.sql("SELECT 1");
    let file = place.file("");
    let told = |change: fn(String) -> String, back: fn(String) -> String| {
        place.bouncer.change(change);
        sql_at(place.pooler, "pgbouncer", "RELOAD");
        let found = look(&file);
        place.bouncer.change(back);
        sql_at(place.pooler, "pgbouncer", "RELOAD");
        let found = finding(&found, "is pooled by session").clone();
        assert!(found.blocks, "{found}");
        found.what
    };
    let all = told(
        |text| text.replace("pool_mode = transaction", "pool_mode = session"),
        |text| text.replace("pool_mode = session", "pool_mode = transaction"),
    );
    assert!(all.starts_with("shop is pooled"), "{all}");
    let user = told(
        |text| text + "[users]\npostgres = pool_mode=session\n",
        |text| text.replace("pool_mode=session", "pool_mode=transaction"),
    );
    assert!(user.starts_with("shop of postgres is pooled"), "{user}");
    assert!(!look(&file).iter().any(|finding| finding.blocks));
}

#[test]
fn settings_of_the_database_must_be_on_green() {
    let place = Place::new();
    place.blue.sql("ALTER DATABASE shop SET work_mem = '7MB'; ALTER ROLE postgres IN DATABASE shop SET statement_timeout = '9s'");
    let found = look(&place.file(""));
    let told = finding(&found, "settings of the database");
    assert!(told.blocks, "{told}");
    for one in ["work_mem=7MB", "postgres: statement_timeout=9s"] {
        assert!(told.what.contains(one), "{told}");
    }
    place.green.sql("ALTER DATABASE shop SET work_mem = '7MB'; ALTER ROLE postgres IN DATABASE shop SET statement_timeout = '9s'");
    let found = look(&place.file(""));
    assert!(!found.iter().any(|one| one.blocks), "{found:#?}");
}

//! What pre-flight finds, before anything is done; and files that make no sense.

use everopen_database::file::File;
use everopen_rollout::journal::Outcome;

use crate::place::Place;
use crate::servers::sql_at;

#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_begun() {
    let place = Place::new();
    place.blue.sql(
        "CREATE TABLE log (line text);
         CREATE UNLOGGED TABLE cache (id int PRIMARY KEY);
         CREATE MATERIALIZED VIEW sums AS SELECT sum(price) FROM orders;
         CREATE EXTENSION pgcrypto;
         CREATE ROLE clerk;
         GRANT SELECT ON orders TO clerk;
         CREATE SEQUENCE small AS smallint;
         SELECT setval('small', 32000);
         SELECT lo_create(0);",
    );
    place.green.sql("CREATE TABLE there (id int)");
    let ended = place.apply(&place.file(""));
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    for (what, cure) in [
        (
            "without a primary key or replica identity: an UPDATE or DELETE would fail on blue as soon as they are published: public.log",
            "REPLICA IDENTITY FULL",
        ),
        (
            "unlogged tables: their rows do not come over: public.cache",
            "SET LOGGED",
        ),
        ("materialized views come over empty: public.sums", "REFRESH"),
        ("1 large objects", "bytea"),
        ("sequences near their end: public.small at 32000", "bigint"),
        (
            "roles that green's server does not have: owners and grants would be lost: clerk",
            "pg_dumpall",
        ),
        ("green is not empty: public.there", "anew"),
        ("does not carry prepared statements", "1.22"),
    ] {
        assert!(why.contains(what), "{what}: {why}");
        assert!(why.contains(cure), "{cure}: {why}");
    }
    assert_eq!(place.left(), "");
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
    // With it all out of the way, it goes.
    place.blue.sql("ALTER TABLE log REPLICA IDENTITY FULL; DROP TABLE cache; SELECT lo_unlink(oid) FROM pg_largeobject_metadata;");
    sql_at(place.green.port, "postgres", "CREATE ROLE clerk");
    place.green.sql("DROP TABLE there");
    let ended = place.apply(&place.file(""));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    assert_eq!(
        place
            .green
            .sql("SELECT has_table_privilege('clerk', 'orders', 'select')"),
        "t"
    );
}

#[test]
fn a_file_that_makes_no_sense_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollout.toml");
    let good = r#"
[database]
name = "shop"
blue = "host=a dbname=shop"
green = "host=b dbname=shop"

[[database.pgbouncer]]
admin = "host=p dbname=pgbouncer"
database = "shop"
file = "shop.ini"
blue = "host=a dbname=shop"
green = "host=b dbname=shop"
"#;
    std::fs::write(&path, good).expect("written");
    assert!(File::is_one(&path) && File::read(&path).is_ok());
    for (from, to, why) in [
        ("name = \"shop\"", "name = \"../shop\"", "database.name"),
        (
            "green = \"host=b dbname=shop\"\n\n",
            "green = \"host=a dbname=shop\"\n\n",
            "same server",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\npause_ms = 0",
            "pause_ms: 0",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\nattempts = 0",
            "attempts",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\nwarm_ms = 999999999",
            "48 hours",
        ),
        ("name = \"shop\"", "name = \"shop\"\npaus_ms = 1", "paus_ms"),
        (
            "blue = \"host=a dbname=shop\"",
            "blue = \"host\"",
            "database.blue",
        ),
        ("file = \"shop.ini\"", "", "file"),
        (
            "database = \"shop\"",
            "database = \"sh op\"",
            "pgbouncer[0].database",
        ),
    ] {
        std::fs::write(&path, good.replace(from, to)).expect("written");
        let error = File::read(&path).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("rollout.toml"), "{error}");
    }
}
